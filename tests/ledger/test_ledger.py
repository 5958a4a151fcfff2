"""The ledger as a library: append, read, follow, prove; and what the door refuses, with nothing written."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import note
from ledger.entry import FORK_CREATED, RESERVED_TOPICS, SignedControl, encode_fork_created
from ledger.errors import (
    AlreadyRecorded,
    BadProof,
    BadSignature,
    Conflict,
    LedgerError,
    Malformed,
    NotFound,
    Refused,
    StaleNumber,
)
from ledger.ledger import Ledger, check_inclusion
from ledger.merkle import check_consistency, leaf_hash
from ledger.publish import publish
from ledger.record import INPUT, SignedRecord
from ledger.store.sqlite import open_store
from tests.ledger.written import (
    DIMENSION,
    LOG_KEY,
    NOW,
    ORIGIN,
    RECEIPT_KEY,
    Writer,
    clock,
    fill,
    open_ledger,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    yield opened
    opened.store.close()


@pytest.fixture
def owner(ledger: Ledger) -> Writer:
    """The owner of a fork with two records."""
    return fill(ledger, forks=1, records=2)[0]


# --- append and read ---


def test_a_record_gets_the_next_place_and_a_receipt_for_it(ledger: Ledger, owner: Writer) -> None:
    signed = ledger.append(owner.next())
    receipt = ledger.open_receipt(signed)
    assert (receipt.origin, receipt.fork_id, receipt.version, receipt.leaf_index) == (ORIGIN, owner.fork_id, 4, 3)
    assert receipt.entry_hash == leaf_hash(ledger.entry_at(3).data) == ledger.head(owner.fork_id).entry_hash
    assert receipt.accepted_at >= NOW
    assert receipt.due_by == receipt.accepted_at + 10_000_000


def test_a_fork_is_read_as_a_chain(ledger: Ledger, owner: Writer) -> None:
    fill(ledger, forks=1, records=0)  # the same fork again: nothing is added
    entries = list(ledger.read(owner.fork_id))
    assert [entry.version for _, entry in entries] == [1, 2, 3]
    assert [entry.previous for _, entry in entries[1:]] == [leaf_hash(stored.data) for stored, _ in entries[:-1]]
    assert entries[0][1].previous == bytes(32)
    assert {entry.authority for _, entry in entries} == {1}
    assert [entry.version for _, entry in ledger.read(owner.fork_id, after=2)] == [3]


def test_body_signature_and_payloads_are_stored_as_they_came(ledger: Ledger, owner: Writer) -> None:
    record = owner.next()
    leaf = ledger.open_receipt(ledger.append(record)).leaf_index
    _, entry = list(ledger.read(owner.fork_id))[-1]
    assert (entry.body, entry.signatures) == (record.body, record.signatures)
    assert ledger.payloads(leaf) == record.payloads


def test_following_gives_all_entries_in_log_order_and_then_those_that_come(ledger: Ledger, owner: Writer) -> None:
    waits = []

    def wait() -> bool:
        waits.append(ledger.size())
        if len(waits) == 1:
            ledger.append(owner.next())
        return len(waits) < 3

    assert [entry.leaf_index for entry in ledger.follow(1, wait, look_again=0.001)] == [1, 2, 3]
    assert waits == [3, 4, 4]


def test_what_is_not_there_is_not_found(ledger: Ledger, owner: Writer) -> None:
    assert ledger.record(owner.fork_id, bytes(16)) is None
    assert list(ledger.read(Writer(9).fork_id)) == []
    for call in (
        lambda: ledger.entry_at(3),
        lambda: ledger.entry_at(-1),
        lambda: ledger.head(Writer(9).fork_id),
        lambda: ledger.checkpoint(),
        lambda: ledger.prove(0),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_ledger_belongs_to_one_log_key(ledger: Ledger, tmp_path: Path) -> None:
    other = note.Ed25519Signer(ORIGIN, bytes(32))
    store = open_store(tmp_path / "ledger.db")
    with pytest.raises(Refused, match="another log key"):
        Ledger(store, other, RECEIPT_KEY, clock())
    with pytest.raises(Refused, match="receipt key"):
        Ledger(store, LOG_KEY, LOG_KEY, clock())
    store.close()


# --- retries ---


def test_the_same_bytes_again_give_the_same_receipt_and_add_nothing(ledger: Ledger, owner: Writer) -> None:
    record = owner.next()
    receipt = ledger.append(record)
    ledger.append(owner.next())
    size = ledger.size()
    assert ledger.append(record) == receipt
    assert ledger.size() == size


def test_a_fork_created_again_by_the_same_bytes_gives_the_same_receipt(ledger: Ledger) -> None:
    control = Writer(5).control()
    assert ledger.create_fork(control) == ledger.create_fork(control)
    assert ledger.size() == 1


def test_other_bytes_under_the_same_record_id_conflict_and_name_the_first(ledger: Ledger, owner: Writer) -> None:
    with pytest.raises(AlreadyRecorded) as caught:
        ledger.append(owner.record(2, said="something else"))
    assert caught.value.leaf_index == 2
    later = owner.record(3, record_id=owner.record_id(1))
    with pytest.raises(AlreadyRecorded) as caught:
        ledger.append(later)
    assert caught.value.leaf_index == 1


def test_a_fork_created_again_by_other_bytes_conflicts(ledger: Ledger, owner: Writer) -> None:
    other = owner.control(encode_fork_created(owner.creation(dimension=DIMENSION + 1)))
    with pytest.raises(Conflict, match="exists already"):
        ledger.create_fork(other)
    stranger = Writer(9)
    taken = stranger.control(encode_fork_created(stranger.creation(fork_id=owner.fork_id)))
    with pytest.raises(Conflict, match="exists already"):
        ledger.create_fork(taken)


@pytest.mark.parametrize("number", [1, 2, 4, 2**64 - 1])
def test_a_number_that_is_not_the_next_one_is_told_the_next(ledger: Ledger, owner: Writer, number: int) -> None:
    with pytest.raises(StaleNumber) as caught:
        ledger.append(owner.record(3, interaction_number=number))
    assert caught.value.expected == 3


# --- the door: each refused, and nothing written ---


def replayed_in_another_fork(owner: Writer) -> SignedRecord:
    other = Writer(7)
    return replace(other.record(1), signatures=owner.record(3).signatures)


def with_the_signature_of_another_record(owner: Writer) -> SignedRecord:
    return replace(owner.record(3), signatures=owner.record(2).signatures)


REFUSED: dict[str, tuple[Callable[[Writer], SignedRecord], type[LedgerError]]] = {
    "for another origin": (lambda owner: Writer(owner.number, origin="example.org/other").record(3), BadSignature),
    "signed by another fork's owner": (
        lambda owner: replace(Writer(8).signed(owner.record(3).body, {}), payloads=owner.record(3).payloads),
        BadSignature,
    ),
    "a replayed signature": (with_the_signature_of_another_record, BadSignature),
    "an unknown fork": (replayed_in_another_fork, NotFound),
    "no signature": (lambda owner: replace(owner.record(3), signatures=()), BadSignature),
    "two signatures": (lambda owner: replace(owner.record(3), signatures=owner.record(3).signatures * 2), BadSignature),
    "another layout": (lambda owner: owner.record(3, layout_digest=bytes(32)), Refused),
    "another recipe": (lambda owner: owner.record(3, recipe_digest=bytes(32)), Refused),
    "another dimension": (lambda owner: owner.record(3, update_dimension=DIMENSION * 2), Refused),
    "an unknown key scheme": (lambda owner: owner.record(3, key_scheme=2), Refused),
    "a payload missing": (lambda owner: replace(owner.record(3), payloads={}), Refused),
    "a changed payload": (
        lambda owner: replace(owner.record(3), payloads={**owner.record(3).payloads, INPUT: b"changed"}),
        Refused,
    ),
    "a broken body": (lambda owner: owner.signed(b"\xff\xff", {}), Malformed),
    "an empty body": (lambda owner: owner.signed(b"", {}), Malformed),
    "an unknown field": (
        lambda owner: owner.signed(owner.record(3).body + b"\xc0\x3e\x01", dict(owner.record(3).payloads)),
        Refused,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_record_is_refused_and_nothing_is_written(ledger: Ledger, owner: Writer, name: str) -> None:
    make, error = REFUSED[name]
    before = everything(ledger)
    with pytest.raises(error):
        ledger.append(make(owner))
    assert everything(ledger) == before
    ledger.append(owner.record(3))  # and the next one is taken


def everything(ledger: Ledger) -> object:
    with ledger.store.snapshot() as now:
        return list(now.rows()), list(now.hashes()), list(now.payloads()), list(now.heads())


@pytest.mark.parametrize("topic", [*sorted(RESERVED_TOPICS), "user-training-record/v1", "", "fork-created/v2"])
def test_no_other_control_event_is_taken_yet(ledger: Ledger, topic: str) -> None:
    with pytest.raises(Refused, match="topic"):
        ledger.create_fork(Writer(5).control(topic=topic))
    assert ledger.size() == 0


@pytest.mark.parametrize(
    "control",
    [
        replace(Writer(5).control(), signatures=()),
        replace(Writer(5).control(), signatures=Writer(6).control(Writer(5).control().body).signatures),
        Writer(5, origin="example.org/other").control(),
        SignedControl(FORK_CREATED, Writer(5).control().body + b"\xc0\x3e\x01", Writer(5).control().signatures),
        Writer(5).control(b"\xff"),
        Writer(5).control(encode_fork_created(Writer(5).creation(fork_id="no uuid"))),
    ],
    ids=["unsigned", "another's signature", "another origin", "unknown field", "broken", "no uuid"],
)
def test_a_fork_is_not_created(ledger: Ledger, control: SignedControl) -> None:
    with pytest.raises((Refused, Malformed, BadSignature)):
        ledger.create_fork(control)
    assert ledger.size() == 0


# --- proofs ---


def test_every_entry_is_proved_under_the_newest_checkpoint(ledger: Ledger) -> None:
    fill(ledger, forks=2, records=3)
    publish(ledger)
    for leaf in range(8):
        inclusion = ledger.prove(leaf)
        checkpoint = check_inclusion(inclusion, ORIGIN, LOG_KEY.verifier)
        assert checkpoint.size == 8
        assert inclusion.entry == ledger.entry_at(leaf).data
        with pytest.raises(BadProof):
            check_inclusion(replace(inclusion, entry=inclusion.entry + b"\0"), ORIGIN, LOG_KEY.verifier)
        with pytest.raises(BadProof):
            check_inclusion(replace(inclusion, leaf_index=(leaf + 1) % 8), ORIGIN, LOG_KEY.verifier)
        with pytest.raises(BadSignature):
            check_inclusion(inclusion, ORIGIN, RECEIPT_KEY.verifier)


def test_an_entry_is_proved_only_once_a_checkpoint_covers_it(ledger: Ledger, owner: Writer) -> None:
    publish(ledger)
    ledger.append(owner.next())
    with pytest.raises(NotFound, match="covers 3 entries"):
        ledger.prove(3)
    publish(ledger)
    assert ledger.prove(3).leaf_index == 3


def test_growth_is_proved_from_every_earlier_size(ledger: Ledger, owner: Writer) -> None:
    from ledger import checkpoint as checkpoints
    from ledger.merkle import tree_root

    for _ in range(4):
        ledger.append(owner.next())
    publish(ledger)
    newest = checkpoints.open_checkpoint(ledger.checkpoint(), ORIGIN, [LOG_KEY.verifier])
    for old in range(newest.size + 1):
        proof, signed = ledger.prove_growth(old)
        assert signed == ledger.checkpoint()
        check_consistency(old, newest.size, tree_root(old, ledger.store.hashes), newest.root, proof)
    for old in (-1, newest.size + 1):
        with pytest.raises(NotFound):
            ledger.prove_growth(old)
