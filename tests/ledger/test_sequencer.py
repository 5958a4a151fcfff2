"""The sequencer's places, below the ledger's verbs: what races and repeated submissions come to."""

import threading
from pathlib import Path

import pytest

from ledger import door
from ledger.entry import SignedControl, decode_entry
from ledger.errors import AlreadyRecorded, BadProof, StaleNumber
from ledger.record import SignedRecord
from ledger.sequencer import Sequencer
from ledger.store import Store, StoredEntry
from ledger.store.sqlite import open_store
from tests.ledger.written import NOW, ORIGIN, Writer, datastore, open_ledger


def sequenced(store: Store, what: SignedControl | SignedRecord, now: int = NOW) -> StoredEntry:
    """What a process that knows nothing of what was before makes of it."""
    if isinstance(what, SignedControl):
        admitted = door.admit_control(ORIGIN, what)
    else:
        (passed,) = door.admit_records(store, ORIGIN, [what])
        assert isinstance(passed, door.Submission)
        admitted = passed
    sequencer = Sequencer(store, ORIGIN, lambda: now)
    (outcome,) = sequencer.append([admitted])
    sequencer.close()
    if not isinstance(outcome, StoredEntry):
        raise outcome
    return outcome


def test_what_is_returned_is_what_is_stored(tmp_path: Path) -> None:
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    created = sequenced(store, writer.control())
    recorded = sequenced(store, writer.next(), NOW + 1)
    assert store.entries(0, 10) == [created, recorded]
    assert (created.record_id, recorded.record_id) == (None, writer.record_id(1))
    assert (created.accepted_at, recorded.accepted_at) == (NOW, NOW + 1)
    assert sequenced(store, writer.record(1), NOW + 99) == recorded
    store.close()


def test_of_two_that_race_for_a_number_one_is_told_to_take_the_next(tmp_path: Path) -> None:
    """The loser takes the next number, with a fresh salt and signature under its record id (format.md, Retries)."""
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    sequenced(store, writer.control())
    outcomes: list[StoredEntry | StaleNumber] = []
    start = threading.Barrier(2)

    def race(record_id: bytes) -> None:
        record = writer.record(1, record_id=record_id)
        start.wait()
        try:
            outcomes.append(sequenced(store, record))
        except StaleNumber as stale:
            outcomes.append(stale)

    threads = [threading.Thread(target=race, args=(bytes([n]) * 16,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [outcome for outcome in outcomes if isinstance(outcome, StoredEntry)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, StaleNumber)]
    assert (len(won), [stale.expected for stale in lost]) == (1, [2])
    assert store.size() == 2
    store.close()


def test_the_same_record_sent_many_times_at_once_is_recorded_once(tmp_path: Path) -> None:
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    sequenced(store, writer.control())
    record, found = writer.next(), list[StoredEntry]()
    threads = [threading.Thread(target=lambda: found.append(sequenced(store, record))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({entry.leaf_index for entry in found}) == 1
    assert store.size() == 2
    store.close()


def test_a_known_record_id_answers_before_the_number_is_looked_at(tmp_path: Path) -> None:
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    sequenced(store, writer.control())
    sequenced(store, writer.next())
    with pytest.raises(AlreadyRecorded) as caught:
        sequenced(store, writer.record(5, record_id=writer.record_id(1)))
    assert caught.value.leaf_index == 1
    assert decode_entry(store.entries(1, 1)[0].data).version == 2
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE heads SET head=zeroblob(32)",
        "UPDATE heads SET head='text'",
        "UPDATE heads SET version=2",
        "UPDATE heads SET version=7",
        "UPDATE heads SET interactions=5",
        "UPDATE entries SET state=zeroblob(100) WHERE notification_id=3",
        "DELETE FROM entries WHERE notification_id=3",
    ],
)
def test_nothing_is_chained_onto_a_head_that_is_not_the_fork_s_last_entry(tmp_path: Path, change: str) -> None:
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    sequenced(store, writer.control())
    for _ in range(2):
        sequenced(store, writer.next())
    with store._datastore.transaction(commit=True) as cursor:
        cursor.execute(change)
    size = store.size()
    with pytest.raises(BadProof, match="run an audit"):
        sequenced(store, writer.next())
    assert store.size() == size
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET state=zeroblob(100)",
        "UPDATE entries SET state='text'",
        "UPDATE hashes SET hash=zeroblob(32)",
        "DELETE FROM hashes",
        "UPDATE entries SET originator_version=originator_version+8",
    ],
)
def test_no_receipt_is_signed_for_an_entry_that_is_not_the_one_logged(tmp_path: Path, change: str) -> None:
    ledger, writer = open_ledger(tmp_path / "ledger.db"), Writer(1)
    ledger.create_fork(writer.control())
    record = writer.next()
    receipt = ledger.append(record)
    assert ledger.receipt_of(ledger.entry_at(1)) == ledger.append(record) == receipt
    with datastore(ledger).transaction(commit=True) as cursor:
        cursor.execute(change)
    with pytest.raises(BadProof):
        ledger.receipt_of(ledger.entry_at(1))
    with pytest.raises(BadProof):
        ledger.append(record)
    ledger.store.close()


@pytest.mark.parametrize(
    "change", ["DELETE FROM hashes WHERE stored_index=4", "UPDATE hashes SET hash=zeroblob(32) WHERE stored_index=4"]
)
def test_a_damaged_hash_is_the_trouble_of_its_own_entry_alone(tmp_path: Path, change: str) -> None:
    ledger, writer = open_ledger(tmp_path / "ledger.db"), Writer(1)
    ledger.create_fork(writer.control())
    records = [writer.next() for _ in range(4)]
    receipts = ledger.append_all(records)
    with datastore(ledger).transaction(commit=True) as cursor:
        cursor.execute(change)  # leaf 3's
    again = ledger.append_all(records)
    assert isinstance(again[2], BadProof)
    assert [*again[:2], *again[3:]] == [*receipts[:2], *receipts[3:]]
    ledger.store.close()
