"""LedgerAnchor on a real node: who may do what, what moves a log, and what nobody can do to it."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from eth_abi import encode as abi_encode
from eth_account import Account
from web3 import Web3

from contracts.tests.chain import Chain, event, shipped, typed
from contracts.tests.trees import read_huge, reader
from ledger.merkle import EMPTY_ROOT, leaf_hash, prove_consistency, prove_inclusion, tree_root

ENTRIES = [b"entry %d" % i for i in range(40)]
READ = reader(ENTRIES)
OTHER = reader([*ENTRIES[:10], b"put in another's place", *ENTRIES[11:]])
NOTE_KEY = sha256(b"\x01" + b"k" * 32).digest()
ORIGIN = "log.example/one"
CHECKPOINT = "Checkpoint(bytes32 logId,uint64 size,bytes32 root)"
KEY, PAST, STRANGER = (Account.from_key(sha256(name).digest()) for name in (b"anchorer", b"past", b"stranger"))
NOBODY = "0x" + "00" * 20
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Log:
    """A log on chain, whose tree is `ENTRIES`. The chain's first person is its admin and anchors."""

    def __init__(self, chain: Chain, contract: Any, origin: str = ORIGIN) -> None:
        self.chain, self.contract, self.verbs = chain, contract, contract.functions
        self.admin, self.anchorer = chain.people[0], chain.people[0]
        chain.send(self.verbs.createLog(origin, NOTE_KEY, self.anchorer), by=self.admin)
        self.id: bytes = self.verbs.logIdOf(self.admin, origin, NOTE_KEY).call()

    def state(self) -> tuple[bytes, int, int, bool]:
        """Root, size, sequence, equivocated."""
        root, size, sequence, equivocated, *_ = self.verbs.logs(self.id).call()
        return root, size, sequence, equivocated

    def anchor(self, size: int, read: Any = READ) -> Any:
        proof = prove_consistency(self.state()[1], size, read)
        return self.verbs.anchor(self.id, size, tree_root(size, read), proof)

    def grow(self, *sizes: int) -> None:
        for size in sizes:
            self.chain.send(self.anchor(size), by=self.anchorer)

    def signature(self, size: int, root: bytes, key: Any = KEY, **domain: Any) -> bytes:
        message = {"logId": self.id, "size": size, "root": root}
        signable = typed(self.chain, self.contract, "LedgerAnchor", CHECKPOINT, message, **domain)
        return bytes(key.sign_message(signable).signature)

    def signed(self, size: int, signature: bytes) -> Any:
        proof = prove_consistency(self.state()[1], size, READ)
        return self.verbs.anchorSigned(self.id, size, tree_root(size, READ), proof, signature)

    def pin(self, size: int, read: Any = READ) -> Any:
        return self.verbs.pin(self.id, size, tree_root(size, read), prove_consistency(size, self.state()[1], read))

    def prove(self, size: int, root_a: bytes, by_a: Any, root_b: bytes, by_b: Any) -> Any:
        signed = self.signature(size, root_a, by_a), self.signature(size, root_b, by_b)
        return self.verbs.proveEquivocation(self.id, size, root_a, signed[0], root_b, signed[1])


@pytest.fixture(scope="module")
def contract(chain: Chain) -> Any:
    return chain.deploy(shipped("LedgerAnchor"))


@pytest.fixture
def log(chain: Chain, contract: Any, request: pytest.FixtureRequest) -> Log:
    return Log(chain, contract, f"{ORIGIN}/{request.node.name}"[:128])


# --- creating ---


def test_a_log_begins_empty_and_is_bound_to_its_note_key(chain: Chain, contract: Any) -> None:
    admin, anchorer = chain.people[1:3]
    receipt = chain.send(contract.functions.createLog(ORIGIN, NOTE_KEY, anchorer), by=admin)
    log_id = Web3.keccak(abi_encode(["address", "bytes32", "bytes32"], [admin, Web3.keccak(text=ORIGIN), NOTE_KEY]))
    assert event(contract, receipt, "LogCreated") == {
        "logId": log_id,
        "admin": admin,
        "origin": ORIGIN,
        "noteKeyHash": NOTE_KEY,
    }
    assert contract.functions.logIdOf(admin, ORIGIN, NOTE_KEY).call() == log_id
    state = contract.functions.logs(log_id).call()
    assert state == [EMPTY_ROOT, 0, 0, False, Web3.keccak(text=ORIGIN), NOTE_KEY, admin, NOBODY]
    assert contract.functions.anchorers(log_id, anchorer).call() == 1
    assert contract.functions.anchorers(log_id, admin).call() == 0


def test_nobody_can_take_anothers_log_first(chain: Chain, contract: Any) -> None:
    mine, squatter = chain.people[3:5]
    create = contract.functions.createLog("log.example/squatted", NOTE_KEY, mine)
    chain.send(contract.functions.createLog("log.example/squatted", NOTE_KEY, squatter), by=squatter)
    chain.send(create, by=mine)
    mine_id, theirs = (
        contract.functions.logIdOf(who, "log.example/squatted", NOTE_KEY).call() for who in (mine, squatter)
    )
    assert mine_id != theirs
    assert contract.functions.anchorers(mine_id, squatter).call() == 0
    assert chain.refusal(create, by=mine) == ("LogExists", mine_id)
    assert chain.refusal(contract.functions.anchor(mine_id, 1, bytes(32), []), by=squatter) == (
        "NotAnchorer", mine_id, squatter.lower(),
    )  # fmt: skip


def test_a_log_has_an_origin_a_note_key_and_an_anchorer(chain: Chain, contract: Any) -> None:
    create, who = contract.functions.createLog, chain.people[5]
    assert chain.refusal(create("", NOTE_KEY, who), by=who) == ("BadOrigin", 0)
    assert chain.refusal(create("o" * 129, NOTE_KEY, who), by=who) == ("BadOrigin", 129)
    assert chain.refusal(create("o", bytes(32), who), by=who) == ("Missing",)
    assert chain.refusal(create("o", NOTE_KEY, NOBODY), by=who) == ("Missing",)
    chain.send(create("o" * 128, NOTE_KEY, who), by=who)


# --- anchoring ---


def test_every_checkpoint_that_grows_is_taken(log: Log) -> None:
    for sequence, size in enumerate((1, 2, 3, 7, 8, 20, 33, 40), start=1):
        receipt = log.chain.send(log.anchor(size), by=log.anchorer)
        root = tree_root(size, READ)
        assert log.state() == (root, size, sequence, False)
        assert event(log.contract, receipt, "Anchored") == {
            "logId": log.id, "size": size, "root": root, "sequence": sequence, "anchorer": log.anchorer,
        }  # fmt: skip


def test_the_first_checkpoint_comes_with_no_proof(log: Log) -> None:
    refused = log.verbs.anchor(log.id, 5, tree_root(5, READ), [bytes(32)])
    assert log.chain.refusal(refused) == ("NotConsistent", 0, 5)
    assert log.chain.refusal(log.verbs.anchor(log.id, 0, EMPTY_ROOT, [])) == ("NotGrown", 0, 0)


def test_a_checkpoint_that_is_not_larger_is_refused(log: Log) -> None:
    log.grow(20)
    for size, root in (
        (20, tree_root(20, READ)),
        (20, tree_root(20, OTHER)),
        (19, tree_root(19, READ)),
        (0, EMPTY_ROOT),
    ):
        assert log.chain.refusal(log.verbs.anchor(log.id, size, root, [])) == ("NotGrown", 20, size)


def test_a_log_that_was_rewritten_is_refused_whatever_it_proves(log: Log) -> None:
    log.grow(20)
    for read in (READ, OTHER):
        proof = prove_consistency(20, 33, read)
        refused = log.verbs.anchor(log.id, 33, tree_root(33, OTHER), proof)
        assert log.chain.refusal(refused) == ("NotConsistent", 20, 33)
    log.grow(33)


def test_what_was_replaced_after_the_last_anchor_is_not_seen(log: Log) -> None:
    """The chain knows what it was told: entries between two anchors are tied by the later one only."""
    log.grow(10)
    log.chain.send(log.anchor(33, OTHER))


def test_an_anchorer_can_end_a_log_by_its_size(log: Log) -> None:
    """Nobody can take a root back, so nobody can mend this: the log goes on under another id."""
    largest = 2**64 - 1
    log.chain.send(log.verbs.anchor(log.id, largest, tree_root(largest, read_huge), []))
    assert log.chain.refusal(log.verbs.anchor(log.id, largest, bytes(32), [])) == ("NotGrown", largest, largest)
    proof = prove_consistency(2**40, largest, read_huge)
    log.chain.send(log.verbs.pin(log.id, 2**40, tree_root(2**40, read_huge), proof))


def test_a_log_that_nobody_created_is_no_log(chain: Chain, contract: Any) -> None:
    absent, verbs = b"\x07" * 32, contract.functions
    assert chain.refusal(verbs.anchor(absent, 1, bytes(32), [])) == ("NoLog", absent)
    assert chain.refusal(verbs.pin(absent, 1, bytes(32), [])) == ("NoLog", absent)
    assert chain.refusal(verbs.setAnchorer(absent, chain.people[0], True)) == ("NoLog", absent)
    assert chain.refusal(verbs.proposeAdmin(absent, chain.people[0])) == ("NoLog", absent)
    assert chain.refusal(verbs.acceptAdmin(absent)) == ("NoLog", absent)
    assert chain.refusal(verbs.verifyInclusion(absent, 0, bytes(32), 0, [])) == ("NotPinned", absent, 0)


# --- who may ---


def test_only_an_anchorer_anchors_and_only_until_revoked(log: Log) -> None:
    guest = log.chain.people[1]
    refusal = ("NotAnchorer", log.id, guest.lower())
    assert log.chain.refusal(log.anchor(5), by=guest) == refusal
    log.chain.send(log.verbs.setAnchorer(log.id, guest, True))
    log.chain.send(log.anchor(5), by=guest)
    receipt = log.chain.send(log.verbs.setAnchorer(log.id, guest, False))
    assert event(log.contract, receipt, "AnchorerSet") == {"logId": log.id, "who": guest, "may": False}
    assert log.chain.refusal(log.anchor(7), by=guest) == refusal
    log.grow(7)
    log.chain.send(log.verbs.setAnchorer(log.id, guest, True))
    log.chain.send(log.anchor(9), by=guest)


def test_the_admin_does_not_anchor_by_being_admin(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, log.chain.people[1], True))
    log.chain.send(log.verbs.setAnchorer(log.id, log.admin, False))
    assert log.chain.refusal(log.anchor(5), by=log.admin) == ("NotAnchorer", log.id, log.admin.lower())


def test_an_anchorer_of_one_log_is_a_stranger_to_the_next(log: Log, chain: Chain, contract: Any) -> None:
    who = chain.people[7]
    chain.send(contract.functions.createLog("log.example/two", NOTE_KEY, who), by=who)
    assert chain.refusal(log.anchor(5), by=who) == ("NotAnchorer", log.id, who.lower())


def test_only_the_admin_names_anchorers_and_a_successor(log: Log) -> None:
    guest = log.chain.people[1]
    log.chain.send(log.verbs.setAnchorer(log.id, guest, True))  # an anchorer is not an admin
    assert log.chain.refusal(log.verbs.setAnchorer(log.id, guest, True), by=guest) == (
        "NotAdmin",
        log.id,
        guest.lower(),
    )
    assert log.chain.refusal(log.verbs.proposeAdmin(log.id, guest), by=guest) == ("NotAdmin", log.id, guest.lower())
    assert log.chain.refusal(log.verbs.setAnchorer(log.id, NOBODY, True)) == ("Missing",)


def test_an_admin_hands_over_in_two_steps(log: Log) -> None:
    successor, other = log.chain.people[1:3]
    accept = log.verbs.acceptAdmin(log.id)
    assert log.chain.refusal(accept, by=successor) == ("NotAdmin", log.id, successor.lower())
    receipt = log.chain.send(log.verbs.proposeAdmin(log.id, successor))
    assert event(log.contract, receipt, "AdminProposed") == {"logId": log.id, "admin": log.admin, "proposed": successor}
    # Until it is accepted nothing has changed: a mistyped address takes nothing away.
    assert log.chain.refusal(log.verbs.setAnchorer(log.id, other, True), by=successor)[0] == "NotAdmin"
    log.chain.send(log.verbs.setAnchorer(log.id, other, True), by=log.admin)
    assert log.chain.refusal(accept, by=other) == ("NotAdmin", log.id, other.lower())
    assert log.chain.refusal(accept, by=log.admin)[0] == "NotAdmin"
    receipt = log.chain.send(accept, by=successor)
    assert event(log.contract, receipt, "AdminChanged") == {"logId": log.id, "before": log.admin, "admin": successor}
    assert log.chain.refusal(log.verbs.setAnchorer(log.id, other, False), by=log.admin)[0] == "NotAdmin"
    assert log.chain.refusal(accept, by=successor)[0] == "NotAdmin"  # once
    log.chain.send(log.verbs.setAnchorer(log.id, other, False), by=successor)


def test_a_proposal_can_be_taken_back(log: Log) -> None:
    log.chain.send(log.verbs.proposeAdmin(log.id, log.chain.people[1]))
    log.chain.send(log.verbs.proposeAdmin(log.id, NOBODY))
    assert log.chain.refusal(log.verbs.acceptAdmin(log.id), by=log.chain.people[1])[0] == "NotAdmin"


# --- relayed ---


def test_a_signed_checkpoint_is_anchored_by_anybody_once(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    signature = log.signature(9, tree_root(9, READ))
    relayer = log.chain.people[8]
    receipt = log.chain.send(log.signed(9, signature), by=relayer)
    assert event(log.contract, receipt, "Anchored")["anchorer"] == KEY.address
    again = log.verbs.anchorSigned(log.id, 9, tree_root(9, READ), [], signature)
    assert log.chain.refusal(again, by=relayer) == ("NotGrown", 9, 9)


def test_a_signature_counts_for_what_it_names_and_nothing_else(log: Log, chain: Chain, contract: Any) -> None:
    chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    root = tree_root(9, READ)
    elsewhere = Log(chain, contract, "log.example/elsewhere")
    chain.send(elsewhere.verbs.setAnchorer(elsewhere.id, KEY.address, True))
    for signature in (
        log.signature(8, root),
        log.signature(9, tree_root(8, READ)),
        elsewhere.signature(9, root),
        log.signature(9, root, key=STRANGER),
        log.signature(9, root, chainId=1),
        log.signature(9, root, verifyingContract=chain.people[0]),
        log.signature(9, root, name="WitnessQuorum"),
        log.signature(9, root, version="2"),
    ):
        error, log_id, who = chain.refusal(log.signed(9, signature))
        assert (error, log_id) == ("NotAnchorer", log.id)  # whose key made it is anybody's guess
        assert who != KEY.address.lower()
    chain.send(log.verbs.setAnchorer(log.id, KEY.address, False))
    refused = chain.refusal(log.signed(9, log.signature(9, root)))
    assert refused == ("NotAnchorer", log.id, KEY.address.lower())


def malformed(good: bytes) -> Sequence[bytes]:
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    return (
        b"",
        good[:64],
        good + b"\x00",
        good[:64] + bytes([v - 27]),
        good[:64] + b"\x1d",
        r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v]),  # the same signature's other spelling
        bytes(65),
        bytes(64) + bytes([v]),  # recovers to nobody, which is not an anchorer
        ORDER.to_bytes(32, "big") + good[32:],
    )


def test_a_second_spelling_of_a_signature_and_what_is_none_are_refused(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    good = log.signature(9, tree_root(9, READ))
    for signature in malformed(good):
        assert log.chain.refusal(log.signed(9, signature)) == ("BadSignature",)
    log.chain.send(log.signed(9, good))


# --- pinning and inclusion ---


def test_the_current_size_and_earlier_ones_can_be_pinned_by_anybody(log: Log) -> None:
    log.grow(7, 21)
    guest = log.chain.people[4]
    for size in (1, 7, 13, 16, 20, 21):  # also sizes that were never anchored
        receipt = log.chain.send(log.pin(size), by=guest)
        assert event(log.contract, receipt, "Pinned") == {"logId": log.id, "size": size, "root": tree_root(size, READ)}
    log.grow(40)
    for size in (1, 7, 13, 16, 20, 21):
        assert log.verbs.pinned(log.id, size).call() == tree_root(size, READ)
        log.chain.send(log.pin(size), by=guest)  # again changes nothing
    assert log.verbs.pinned(log.id, 2).call() == bytes(32)


def test_a_root_that_was_not_the_logs_cannot_be_pinned(log: Log) -> None:
    log.grow(21)
    assert log.chain.refusal(log.pin(15, OTHER)) == ("NotConsistent", 15, 21)
    assert log.chain.refusal(log.verbs.pin(log.id, 21, tree_root(21, OTHER), [])) == ("NotConsistent", 21, 21)
    assert log.chain.refusal(log.verbs.pin(log.id, 22, tree_root(22, READ), [])) == ("NotConsistent", 22, 21)
    assert log.chain.refusal(log.verbs.pin(log.id, 0, EMPTY_ROOT, [])) == ("EmptyTree",)


def test_inclusion_is_shown_at_the_current_and_at_pinned_sizes(log: Log) -> None:
    log.grow(7, 21)
    log.chain.send(log.pin(7))
    for size in (7, 21):
        for index in range(size):
            proof = prove_inclusion(index, size, READ)
            leaf = leaf_hash(ENTRIES[index])
            assert log.verbs.verifyInclusion(log.id, size, leaf, index, proof).call()
            assert not log.verbs.verifyInclusion(log.id, size, leaf_hash(b"never"), index, proof).call()
            assert not log.verbs.verifyInclusion(log.id, size, leaf, (index + 1) % size, proof).call()
    log.grow(33)
    assert log.chain.refusal(log.verbs.verifyInclusion(log.id, 21, leaf_hash(ENTRIES[0]), 0, [])) == (
        "NotPinned", log.id, 21,
    )  # fmt: skip
    assert log.verbs.verifyInclusion(log.id, 7, leaf_hash(ENTRIES[3]), 3, prove_inclusion(3, 7, READ)).call()


def test_nothing_is_in_an_empty_log(log: Log) -> None:
    assert not log.verbs.verifyInclusion(log.id, 0, leaf_hash(ENTRIES[0]), 0, []).call()
    assert not log.verbs.verifyInclusion(log.id, 0, EMPTY_ROOT, 0, []).call()


# --- equivocation ---


@pytest.mark.parametrize("when", ["present", "past"])
def test_two_roots_at_one_size_convict_present_and_past_anchorers(log: Log, when: str) -> None:
    for key in (KEY, PAST):
        log.chain.send(log.verbs.setAnchorer(log.id, key.address, True))
    if when == "past":
        log.chain.send(log.verbs.setAnchorer(log.id, PAST.address, False))
    log.grow(20)
    root_a, root_b = tree_root(33, READ), tree_root(33, OTHER)
    receipt = log.chain.send(log.prove(33, root_a, KEY, root_b, PAST), by=log.chain.people[6])
    assert event(log.contract, receipt, "Equivocation") == {
        "logId": log.id, "size": 33, "rootA": root_a, "signerA": KEY.address, "rootB": root_b, "signerB": PAST.address,
    }  # fmt: skip
    assert log.state() == (tree_root(20, READ), 20, 1, True)
    log.grow(33)  # it does not stop the log: who holds a stolen key that was revoked must not be able to
    assert log.state() == (root_a, 33, 2, True)


def test_one_anchorer_convicts_itself(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    log.chain.send(log.prove(33, tree_root(33, READ), KEY, tree_root(33, OTHER), KEY))
    assert log.state()[3]


def test_a_stranger_convicts_nobody(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    log.chain.send(log.verbs.setAnchorer(log.id, STRANGER.address, False))  # to say so makes nobody a past anchorer
    root_a, root_b = tree_root(33, READ), tree_root(33, OTHER)
    for by_a, by_b in ((KEY, STRANGER), (STRANGER, KEY), (STRANGER, STRANGER)):
        refusal = ("NotAnchorer", log.id, STRANGER.address.lower())
        assert log.chain.refusal(log.prove(33, root_a, by_a, root_b, by_b)) == refusal
    assert not log.state()[3]


def test_one_root_or_two_sizes_are_no_equivocation(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    root, other = tree_root(33, READ), tree_root(32, READ)
    assert log.chain.refusal(log.prove(33, root, KEY, root, KEY)) == ("SameRoot", root)
    mixed = log.verbs.proveEquivocation(log.id, 33, root, log.signature(33, root), other, log.signature(32, other))
    assert log.chain.refusal(mixed)[0] == "NotAnchorer"
    for signature in malformed(log.signature(33, other)):
        given = log.verbs.proveEquivocation(log.id, 33, root, log.signature(33, root), other, signature)
        assert log.chain.refusal(given) == ("BadSignature",)


# --- what readers of storage rely on ---


def test_a_log_stands_in_the_slots_that_proofs_of_storage_name(log: Log) -> None:
    log.chain.send(log.verbs.setAnchorer(log.id, KEY.address, True))
    log.grow(7, 21)
    log.chain.send(log.pin(7))
    log.chain.send(log.prove(33, tree_root(33, READ), KEY, tree_root(33, OTHER), KEY))

    def slot(place: int) -> bytes:
        return bytes(log.chain.w3.eth.get_storage_at(log.contract.address, place)).rjust(32, b"\x00")

    def mapped(key: bytes, place: int) -> int:
        return int.from_bytes(Web3.keccak(key + place.to_bytes(32, "big")), "big")

    at = mapped(log.id, 0)
    assert slot(at) == tree_root(21, READ)
    assert int.from_bytes(slot(at + 1), "big") == 21 | 2 << 64 | 1 << 128
    who = bytes.fromhex(KEY.address[2:]).rjust(32, b"\x00")
    assert int.from_bytes(slot(mapped(who, mapped(log.id, 1))), "big") == 1
    assert slot(mapped((7).to_bytes(32, "big"), mapped(log.id, 2))) == tree_root(7, READ)


def test_the_contract_takes_no_money_and_no_unknown_call(chain: Chain, contract: Any) -> None:
    for sent in ({"value": 1}, {"data": "0x12345678"}):
        with pytest.raises(Exception, match="revert"):
            chain.w3.eth.call({"to": contract.address, "from": chain.people[0], **sent})
