"""What a fork's ledger key signs to name its owner on a chain, and what a registration is worth beside the ledger."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from eth_abi import decode as abi_decode
from eth_abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger import entry
from ledger.anchor.deploy import deploy
from ledger.anchor.evm import FORK_REGISTRY, EvmNode, encode_call
from ledger.anchor.registration import (
    ATTESTATION,
    CONSENT,
    Naming,
    Reading,
    Recorded,
    chain_fork_id,
    check_naming,
    check_registration,
    fork_id_hash,
    ledger_message,
    read_recorded,
    rights_at_head,
    sign_naming,
    typed,
)
from ledger.entry import Entry
from ledger.errors import BadSignature, Malformed, NotFound, Refused
from ledger.rights import Rights
from tests.anvil import Anvil, running
from tests.ledger.anchor.anchoring import ADMIN, CAP
from tests.ledger.written import ORIGIN, Writer

FORK, OTHER = Writer(1), Writer(2)
RIGHTS = Rights(FORK.key.public, 1)
NAMING = Naming(31337, b"\x01" * 20, b"\x02" * 20, b"\x03" * 32, sha256(FORK.fork_id.encode()).digest(), b"\x05" * 20)
REGISTRATION = sign_naming(NAMING, FORK.key, 1_800_000_000)

namings = st.builds(
    Naming,
    chain_id=st.integers(1, 2**64 - 1),
    registry=st.binary(min_size=20, max_size=20),
    ledger_anchor=st.binary(min_size=20, max_size=20),
    log_id=st.binary(min_size=32, max_size=32),
    fork_id_hash=st.binary(min_size=32, max_size=32),
    owner=st.binary(min_size=20, max_size=20),
)


def recorded(**changes: Any) -> Recorded:
    first = Recorded(
        NAMING, REGISTRATION.ledger_key, REGISTRATION.ledger_signature, b"\x06" * 20, 7, b"\x08" * 32, NAMING.owner, 0
    )
    return replace(first, **changes)


def entries(*topics: str, writer: Writer = FORK, **changes: Any) -> Iterator[Entry]:
    """A fork's entries: its creation, and then one of each topic."""
    made = writer.control(entry.encode_fork_created(writer.creation(**changes)))
    yield Entry(ORIGIN, writer.fork_id, 1, entry.NO_ENTRY, made.topic, made.body, made.signatures, 1)
    for version, topic in enumerate(topics, 2):
        yield Entry(ORIGIN, writer.fork_id, version, bytes(32), topic, b"", (), 1)


# --- the message ---


def test_the_message_has_each_part_in_its_place() -> None:
    assert ledger_message(NAMING).hex() == (
        "666f726b6c65646765722f636861696e2d6f776e65722f763100"
        "0000000000000000000000000000000000000000000000000000000000007a69"
        + "01" * 20
        + "02" * 20
        + "03" * 32
        + NAMING.fork_id_hash.hex()
        + "05" * 20
    )


@given(namings, namings)
def test_two_namings_have_two_messages(one: Naming, other: Naming) -> None:
    assert (ledger_message(one) == ledger_message(other)) == (one == other)


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with running() as started:
        account = Account.from_key(ADMIN).address
        started.call("anvil_setBalance", account, hex(10**20))
        sender = EvmNode(started.url, ADMIN, 10)
        assert deploy(sender, CAP, started.mine, contract=FORK_REGISTRY) == FORK_REGISTRY.address
        sender.close()
        yield started


@given(namings)
def test_the_contract_asks_for_the_same_message(node: Anvil, naming: Naming) -> None:
    naming = replace(naming, chain_id=31337, registry=bytes.fromhex(FORK_REGISTRY.address[2:]))
    asked = encode_call(
        "ledgerMessage", naming.ledger_anchor, naming.log_id, naming.fork_id_hash, naming.owner, of=FORK_REGISTRY
    )  # fmt: skip
    told = node.call("eth_call", {"to": FORK_REGISTRY.address, "data": f"0x{asked.hex()}"}, "latest")
    assert abi_decode(["bytes"], bytes.fromhex(told[2:])) == (ledger_message(naming),)


@given(namings)
def test_a_chain_fork_id_is_that_of_the_abi(naming: Naming) -> None:
    parts = (f"0x{naming.ledger_anchor.hex()}", naming.log_id, naming.fork_id_hash)
    assert naming.chain_fork_id == keccak(abi_encode(["address", "bytes32", "bytes32"], parts))
    assert naming.chain_fork_id == chain_fork_id(naming.ledger_anchor, naming.log_id, naming.fork_id_hash)


@pytest.mark.parametrize("chain_id", [0, -1, 2**64])
def test_a_chain_id_has_64_bits_and_is_not_0(chain_id: int) -> None:
    with pytest.raises(Malformed, match="chain id"):
        replace(NAMING, chain_id=chain_id)


@pytest.mark.parametrize("what", ["registry", "ledger_anchor", "log_id", "fork_id_hash", "owner"])
def test_a_part_of_another_length_is_none(what: str) -> None:
    with pytest.raises(Malformed, match=what):
        replace(NAMING, **{what: getattr(NAMING, what) + b"\0"})


# --- the signature ---


@given(namings)
def test_what_a_key_named_is_checked_by_anybody(naming: Naming) -> None:
    made = sign_naming(naming, FORK.key, 5)
    check_naming(naming, made.ledger_key, made.ledger_signature)
    assert made.ledger_key == FORK.key.public.raw


@pytest.mark.parametrize(
    "change",
    [{"chain_id": 1}, *({each: b"\x09" * 20} for each in ("registry", "ledger_anchor", "owner")),
     *({each: b"\x09" * 32} for each in ("log_id", "fork_id_hash"))],
)  # fmt: skip
def test_a_signature_counts_for_what_it_names(change: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        check_naming(replace(NAMING, **change), REGISTRATION.ledger_key, REGISTRATION.ledger_signature)


@given(st.integers(0, 511))
def test_a_signature_with_another_bit_is_none(bit: int) -> None:
    other = bytearray(REGISTRATION.ledger_signature)
    other[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        check_naming(NAMING, REGISTRATION.ledger_key, bytes(other))


# --- what an anchorer attests ---


def test_an_anchorer_attests_what_the_owners_key_signed() -> None:
    check_registration(REGISTRATION, FORK.fork_id, RIGHTS)


def test_a_key_that_is_not_the_owners_names_nobody() -> None:
    with pytest.raises(Refused, match="another key came"):
        check_registration(sign_naming(NAMING, OTHER.key, 5), FORK.fork_id, RIGHTS)


def test_a_registration_of_another_fork_is_not_attested_for_this_one() -> None:
    with pytest.raises(Refused, match="that of another fork came"):
        check_registration(REGISTRATION, OTHER.fork_id, RIGHTS)


def test_a_signature_that_does_not_hold_is_not_attested() -> None:
    with pytest.raises(BadSignature):
        check_registration(replace(REGISTRATION, ledger_signature=bytes(64)), FORK.fork_id, RIGHTS)
    with pytest.raises(BadSignature):
        check_registration(replace(REGISTRATION, naming=replace(NAMING, owner=b"\x09" * 20)), FORK.fork_id, RIGHTS)


# --- who may sign, by the ledger ---


def test_records_leave_the_rights_with_the_key_that_created_the_fork() -> None:
    told = rights_at_head(ORIGIN, FORK.fork_id, entries(*[entry.USER_TRAINING_RECORD] * 3))
    assert told == RIGHTS


def test_a_fork_that_is_not_in_the_ledger_has_no_rights() -> None:
    with pytest.raises(NotFound, match="not in this ledger"):
        rights_at_head(ORIGIN, FORK.fork_id, ())


@pytest.mark.parametrize("topic", [*sorted(entry.RESERVED_TOPICS), "made-up/v1"])
def test_an_entry_that_may_change_rights_is_not_guessed_at(topic: str) -> None:
    with pytest.raises(Refused, match=rf"version 3: this version does not know what .*{topic}"):
        rights_at_head(ORIGIN, FORK.fork_id, entries(entry.USER_TRAINING_RECORD, topic))


def test_another_forks_entries_give_no_rights() -> None:
    with pytest.raises(Refused, match="expected fork-created/v1 of this fork at version 1"):
        rights_at_head(ORIGIN, FORK.fork_id, entries(writer=OTHER))
    with pytest.raises(Refused, match="of this fork at version 1"):
        rights_at_head(ORIGIN, FORK.fork_id, list(entries(entry.USER_TRAINING_RECORD))[1:])
    with pytest.raises(BadSignature):
        rights_at_head(ORIGIN, FORK.fork_id, entries(owner_key=OTHER.key.public))


# --- reading ---


def test_what_the_forks_key_named_reads_as_registered() -> None:
    assert read_recorded(recorded(), RIGHTS)[0] is Reading.REGISTERED


@given(st.integers(1, 2**64 - 1), st.binary(min_size=20, max_size=20))
def test_a_transfer_is_pending_until_the_ledger_has_it(transfers: int, owner: bytes) -> None:
    """Also one back to the first owner."""
    for now in (owner, NAMING.owner):
        assert read_recorded(recorded(owner=now, transfers=transfers), RIGHTS)[0] is Reading.PENDING


@pytest.mark.parametrize("transfers", [0, 1])
def test_what_the_forks_key_never_named_is_false(transfers: int) -> None:
    forged = recorded(ledger_signature=bytes(64), transfers=transfers)
    assert read_recorded(forged, RIGHTS)[0] is Reading.FALSE
    misnamed = recorded(naming=replace(NAMING, owner=b"\x09" * 20), transfers=transfers)
    assert read_recorded(misnamed, RIGHTS)[0] is Reading.FALSE


def test_a_key_that_never_was_the_forks_makes_it_false() -> None:
    """However well it signed."""
    by_other = sign_naming(NAMING, OTHER.key, 5)
    told = recorded(ledger_key=by_other.ledger_key, ledger_signature=by_other.ledger_signature)
    assert read_recorded(told, RIGHTS) == (Reading.FALSE, "the recorded key never was the fork's")


def test_a_fork_id_is_hashed_as_its_36_characters() -> None:
    assert (
        fork_id_hash("0dfbc8d0-3b53-4f3c-9d5e-5d0a6b7c8e9f") == sha256(b"0dfbc8d0-3b53-4f3c-9d5e-5d0a6b7c8e9f").digest()
    )


# --- what wallets sign ---


@given(namings, st.integers(0, 2**53))
def test_a_consent_and_an_attestation_never_are_the_same(naming: Naming, deadline: int) -> None:
    made = sign_naming(naming, FORK.key, deadline)
    consent, attestation = (encode_typed_data(full_message=typed(each, made)) for each in (CONSENT, ATTESTATION))
    assert consent.header == attestation.header  # the domain
    assert consent.body != attestation.body
