"""ContributionClaims on a real node, over real entries: one credit a record, to the fork's owner and nobody else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compile import HERE, compile_all
from contracts.tests.chain import Chain, event
from contracts.tests.trees import reader
from contracts.tests.world import (
    BUYER,
    CLAIM,
    OWNER,
    STRANGER,
    World,
    entries_of_a_ledger,
    fork_hash,
    path_of,
    world,
)
from ledger.entry import decode_entry, encode_entry
from ledger.merkle import leaf_hash
from ledger.wire.v1 import entry_pb2 as wire
from tests.ledger.written import Writer

PINNED, CURRENT = 300, 304
AGAIN = 128, 256  # so far behind the first record stand its bytes again
HONEST = 0


@dataclass
class Claimed:
    """A world whose log is `entries`: those of a real ledger, then what a log of bad will might have taken in."""

    world: World
    writers: list[Writer]
    entries: list[bytes]
    forged: list[bytes]

    def index(self, entry: bytes) -> int:
        return self.entries.index(entry)

    def record(self, writer: Writer, number: int) -> int:
        """The leaf index of a fork's record."""
        for index, entry in enumerate(self.entries[:12]):
            read = decode_entry(entry)
            if (read.fork_id, read.version) == (writer.fork_id, number + 1):
                return index
        raise AssertionError(f"no record {number}")

    def claim(self, index: int, fork: bytes | None = None, /, **changes: Any) -> Any:
        return self.world.claims.functions.claim(*self._given(index, fork, **changes))

    def signed(self, index: int, key: Any = OWNER, /, **changes: Any) -> Any:
        deadline = changes.pop("deadline", self.world.chain.now() + 60)
        domain = {name: changes.pop(name) for name in ("chainId", "verifyingContract", "name") if name in changes}
        registry, fork, size, place, entry, proof = self._given(index, changes.pop("fork", None), **changes)
        message = {
            "registry": registry, "chainForkId": fork, "index": place, "leafHash": leaf_hash(entry),
            "deadline": deadline, **changes.get("said", {}),
        }  # fmt: skip
        signature = self.world.signed(CLAIM, message, key, **domain)
        verb = self.world.claims.functions.claimSigned
        return verb(registry, fork, size, place, entry, proof, deadline, signature)

    def _given(self, index: int, fork: bytes | None, /, **changes: Any) -> tuple[Any, ...]:
        size = changes.get("size", PINNED)
        return (
            changes.get("registry", self.world.registry.address),
            fork or self.world.id_of(self.writers[0]),
            size,
            changes.get("index", index),
            changes.get("entry", self.entries[index]),
            changes["proof"] if "proof" in changes else path_of(self.entries, index, size),
        )

    def refusal(self, verb: Any, by: str = OWNER.address) -> tuple[Any, ...]:
        return self.world.chain.refusal(verb, by)


def forgeries(record: bytes) -> list[bytes]:
    """Entries that no honest log takes in. A parser of protobuf reads most of them, as the record's fork or another."""
    read = decode_entry(record)
    origin, fork = read.origin.encode(), read.fork_id.encode()
    other_fork = b"00000000-0000-4000-8000-000000000000"
    start = len(b"\x0a" + bytes([len(origin)]) + origin)
    assert record[start : start + 2] == b"\x12\x24"
    end = start + 2 + 36
    other = record.replace(fork, other_fork)
    return [
        record + b"\x12\x24" + other_fork,  # a field that comes again: the last one counts
        other + b"\x12\x24" + fork,
        other[:start] + record[start:end] + other[start:],
        record[:start] + b"\x12\xa4\x00" + record[start + 2 :],  # 36 with a byte too many
        b"\x8a\x00" + record[1:],  # tag 1 likewise
        record[start:end] + record[:start] + record[end:],  # fields in another order
        record + b"\x48\x01",  # a field of later versions
        record + b"\x00",
        record[:-1],
        record[:-2],  # no authority
        record[:end] + record[end + 2 :],  # no version
        record[:end] + b"\x18\x00" + record[end + 2 :],  # version 0, which is left out
        record[:end] + b"\x18\x82\x00" + record[end + 2 :],
        record[:end] + b"\x18" + b"\x82" * 9 + b"\x02" + record[end + 2 :],  # more than 64 bits
        record[:end] + b"\x18" + b"\x82" * 10 + b"\x01" + record[end + 2 :],
        record[: end + 2] + b"\x22\x1f" + record[end + 5 :],  # previous of 31 and of 33 bytes
        record[: end + 2] + b"\x22\x21\x00" + record[end + 4 :],
        record[1:],
        record[: end + 10],
        record[:start] + b"\x12\x25" + fork + b"0" + record[end:],  # 37 characters
        b"",
    ]


@pytest.fixture(scope="module")
def there(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Claimed:
    writers, entries = entries_of_a_ledger(tmp_path_factory.mktemp("ledger"))
    assert len(entries) == 12
    record = next(each for each in entries if decode_entry(each).topic.startswith("user-training"))
    read = decode_entry(record)
    elsewhere = encode_entry(
        type(read)(**{**{f: getattr(read, f) for f in read.__slots__}, "origin": "else.example/log"})
    )
    bad = [elsewhere, *forgeries(record)]
    entries = [*entries, *bad]
    entries += [b"padding %d" % i for i in range(CURRENT - len(entries))]
    for further in AGAIN:
        entries[entries.index(record) + further] = record
    there = world(chain)
    there.grow(PINNED, reader(entries))
    there.grow(CURRENT, reader(entries), pin=False)
    chain.send(there.register(there.registration(writers[0], OWNER.address)))
    chain.send(there.register(there.registration(writers[1], STRANGER.address), STRANGER))
    return Claimed(there, writers, entries, bad)


@pytest.fixture(autouse=True)
def again(chain: Chain, there: Claimed) -> Iterator[None]:
    before = chain.node.call("evm_snapshot")
    yield
    chain.node.call("evm_revert", before)


def test_the_owner_claims_each_record_once(there: Claimed) -> None:
    fork = there.world.id_of(there.writers[0])
    for number in range(1, 6):
        index = there.record(there.writers[0], number)
        receipt = there.world.chain.send(there.claim(index), by=OWNER.address)
        assert event(there.world.claims, receipt, "Contributed") == {
            "registry": there.world.registry.address, "chainForkId": fork, "owner": OWNER.address,
            "logId": there.world.log, "index": index, "leafHash": leaf_hash(there.entries[index]),
        }  # fmt: skip
        claimed = there.world.claims.functions.claimed
        place = there.world.registry.address, there.world.anchor.address, there.world.log
        assert claimed(*place, index).call()
        assert not claimed(*place, index + 1).call()
        assert not claimed(*place, index + 256).call()
        assert there.refusal(there.claim(index)) == ("AlreadyClaimed", there.world.log, index)
        assert there.refusal(there.signed(index)) == ("AlreadyClaimed", there.world.log, index)


def test_a_record_is_not_claimed_again_under_another_size(there: Claimed) -> None:
    index = there.record(there.writers[0], 1)
    there.world.grow(CURRENT + 1, reader([*there.entries, b"one more"]))
    there.world.chain.send(there.claim(index), by=OWNER.address)
    proof = path_of([*there.entries, b"one more"], index, CURRENT + 1)
    again = there.claim(index, size=CURRENT + 1, proof=proof)
    assert there.refusal(again) == ("AlreadyClaimed", there.world.log, index)


def test_anothers_record_is_refused(there: Claimed) -> None:
    theirs = there.record(there.writers[1], 2)
    mine, fork = there.world.id_of(there.writers[0]), there.world.id_of(there.writers[1])
    assert there.refusal(there.claim(theirs, mine)) == ("OtherFork",)
    assert there.refusal(there.claim(theirs, fork)) == ("NotOwner", fork, OWNER.address.lower())
    there.world.chain.send(there.claim(theirs, fork), by=STRANGER.address)


def test_a_claim_that_is_copied_or_sent_first_gains_nothing(there: Claimed) -> None:
    fork, index = there.world.id_of(there.writers[0]), there.record(there.writers[0], 3)
    refusal = ("NotOwner", fork, STRANGER.address.lower())
    assert there.refusal(there.claim(index), by=STRANGER.address) == refusal
    # By signature it may be sent first: the owner is credited all the same.
    receipt = there.world.chain.send(there.signed(index), by=STRANGER.address)
    assert event(there.world.claims, receipt, "Contributed")["owner"] == OWNER.address
    assert there.refusal(there.claim(index)) == ("AlreadyClaimed", there.world.log, index)


def test_a_signature_counts_for_what_it_names(there: Claimed) -> None:
    index, other = there.record(there.writers[0], 3), there.record(there.writers[0], 4)
    for verb in (
        there.signed(index, STRANGER),
        there.signed(index, said={"index": other}),
        there.signed(index, said={"leafHash": leaf_hash(there.entries[other])}),
        there.signed(index, said={"chainForkId": there.world.id_of(there.writers[1])}),
        there.signed(index, said={"registry": STRANGER.address}),
        there.signed(index, said={"deadline": 1}),
        there.signed(index, chainId=1),
        there.signed(index, verifyingContract=there.world.registry.address),
        there.signed(index, name="ForkRegistry"),
    ):
        assert there.refusal(verb, by=OWNER.address) == ("BadSignature",)
    late = there.world.chain.now() - 1
    assert there.refusal(there.signed(index, deadline=late)) == ("Expired", late)
    there.world.chain.send(there.signed(index))


def test_the_credit_goes_to_who_owns_the_fork_now(there: Claimed) -> None:
    fork, index = there.world.id_of(there.writers[0]), there.record(there.writers[0], 3)
    signed_before = there.signed(index)
    there.world.chain.send(there.world.registry.functions.transfer(fork, BUYER.address), by=OWNER.address)
    assert there.refusal(there.claim(index)) == ("NotOwner", fork, OWNER.address.lower())
    assert there.refusal(signed_before) == ("BadSignature",)
    receipt = there.world.chain.send(there.claim(index), by=BUYER.address)
    assert event(there.world.claims, receipt, "Contributed")["owner"] == BUYER.address


def test_a_fork_that_nobody_registered_has_no_claims(there: Claimed) -> None:
    absent = b"\x09" * 32
    assert there.refusal(there.claim(there.record(there.writers[0], 1), absent)) == ("NoFork", absent)


def test_an_entry_of_another_origin_is_refused(there: Claimed) -> None:
    """Also where the log took it in: an entry says of which log it is."""
    assert there.refusal(there.claim(there.index(there.forged[0]))) == ("OtherOrigin",)


def test_what_is_no_training_record_is_refused(there: Claimed) -> None:
    assert decode_entry(there.entries[0]).topic == "fork-created/v1"
    assert there.refusal(there.claim(0)) == ("NotARecord",)


def test_every_other_spelling_is_refused_also_where_the_log_took_it_in(there: Claimed) -> None:
    for entry in there.forged[1:]:
        index = there.index(entry)
        error, *_ = there.refusal(there.claim(index))
        assert error == "BadEntry", (there.forged.index(entry), error)


def test_an_entry_cut_anywhere_is_refused(there: Claimed) -> None:
    index = there.record(there.writers[0], 1)
    whole = there.entries[index]
    for length in range(0, len(whole), 7):
        assert there.refusal(there.claim(index, entry=whole[:length]))[0] in {"BadEntry", "NotARecord"}


def test_an_entry_has_at_most_65535_bytes(there: Claimed) -> None:
    read = wire.Entry.FromString(there.entries[there.record(there.writers[0], 1)])
    for length, refusal in ((65_000, "NotIncluded"), (65_400, "BadEntry")):
        read.body = bytes(length)
        entry = read.SerializeToString(deterministic=True)
        assert (len(entry) > 65_535) == (refusal == "BadEntry")
        assert there.refusal(there.claim(2, entry=entry))[0] == refusal


def test_each_leaf_has_a_bit_of_its_own(there: Claimed) -> None:
    """Here the log took the same bytes in three times: to the contract, three leaves are three records."""
    first = there.entries.index(there.entries[there.record(there.writers[0], 1)])
    for index in (first, *(first + further for further in AGAIN)):
        there.world.chain.send(there.claim(index), by=OWNER.address)
    for index in (first, *(first + further for further in AGAIN)):
        assert there.refusal(there.claim(index)) == ("AlreadyClaimed", there.world.log, index)


@settings(max_examples=40)
@given(data=st.data())
def test_an_entry_that_differs_in_a_byte_is_refused(data: st.DataObject, there: Claimed) -> None:
    index = there.record(there.writers[0], 1)
    whole = there.entries[index]
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    changed = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    expected = {"BadEntry", "NotARecord", "OtherOrigin", "OtherFork", "NotIncluded"}
    assert there.refusal(there.claim(index, entry=changed))[0] in expected


def test_the_place_must_be_proven_at_a_pinned_size(there: Claimed) -> None:
    index = there.record(there.writers[0], 1)
    assert there.refusal(there.claim(index, size=CURRENT)) == ("NotPinned", there.world.log, CURRENT)
    wrong: list[dict[str, Any]] = [
        {"index": index + 1},
        {"index": 2**64 - 1},
        {"proof": path_of(there.entries, index, PINNED)[:-1]},
        {"proof": path_of(there.entries, index + 2, PINNED)},
        {"proof": []},
    ]
    for changes in wrong:
        refused = there.refusal(there.claim(index, **changes))
        assert refused == ("NotIncluded", changes.get("index", index), PINNED)


def test_a_wallet_claims_for_its_fork(there: Claimed) -> None:
    wallet = there.world.chain.deploy(compile_all(HERE / "tests" / "Wallet.sol")["Wallet"])
    there.world.chain.send(wallet.functions.become(BUYER.address, HONEST))
    fork, index = there.world.id_of(there.writers[0]), there.record(there.writers[0], 2)
    there.world.chain.send(there.world.registry.functions.transfer(fork, wallet.address), by=OWNER.address)
    assert there.refusal(there.signed(index, OWNER)) == ("BadSignature",)
    receipt = there.world.chain.send(there.signed(index, BUYER), by=STRANGER.address)
    assert event(there.world.claims, receipt, "Contributed")["owner"] == wallet.address


def test_a_registry_that_lies_spoils_nothing_but_its_own(there: Claimed) -> None:
    """Anybody can deploy a registry that says anything. Its claims stand under its own address."""
    index, real = there.record(there.writers[0], 1), there.world.registry
    fork = there.world.id_of(there.writers[0])
    fields = (there.world.anchor.address, there.world.log, fork_hash(there.writers[0]), bytes(32), STRANGER.address, 0)
    words = b"".join(
        bytes.fromhex(each[2:]).rjust(32, b"\0")
        if isinstance(each, str)
        else each
        if isinstance(each, bytes)
        else bytes(32)
        for each in fields
    )
    fake = there.world.chain.people[9]
    # Code that returns these six words, whatever is asked: it copies what stands after itself.
    code = bytes.fromhex("60c0600b5f3960c05ff300") + bytes(0) + words
    there.world.chain.node.call("anvil_setCode", fake, "0x" + code.hex())
    receipt = there.world.chain.send(there.claim(index, registry=fake), by=STRANGER.address)
    assert event(there.world.claims, receipt, "Contributed")["registry"] == fake
    receipt = there.world.chain.send(there.claim(index), by=OWNER.address)
    told = event(there.world.claims, receipt, "Contributed")
    assert (told["registry"], told["chainForkId"], told["owner"]) == (real.address, fork, OWNER.address)


def test_a_real_ledger_was_claimed_from(tmp_path: Path) -> None:
    writers, entries = entries_of_a_ledger(tmp_path)
    topics = [decode_entry(each).topic for each in entries]
    assert topics == ["fork-created/v1"] * 2 + ["user-training-record/v1"] * 10
    assert len(writers) == 2
