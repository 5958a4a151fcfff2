"""The sequencer's places, below the ledger's verbs: what races and repeated submissions come to."""

import threading
from pathlib import Path

import pytest

from ledger.entry import decode_entry
from ledger.errors import AlreadyRecorded, BadProof, StaleNumber
from ledger.sequencer import sequence_control, sequence_record
from ledger.store import StoredEntry
from ledger.store.sqlite import open_store
from tests.ledger.written import NOW, ORIGIN, Writer, open_ledger


def test_what_is_returned_is_what_is_stored(tmp_path: Path) -> None:
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    created = sequence_control(store, ORIGIN, writer.control(), NOW)
    recorded = sequence_record(store, ORIGIN, writer.next(), NOW + 1)
    assert store.entries(0, 10) == [created, recorded]
    assert (created.record_id, recorded.record_id) == (None, writer.record_id(1))
    assert (created.accepted_at, recorded.accepted_at) == (NOW, NOW + 1)
    assert sequence_record(store, ORIGIN, writer.record(1), NOW + 99) == recorded
    store.close()


def test_of_two_that_race_for_a_number_one_is_told_to_take_the_next(tmp_path: Path) -> None:
    """The loser takes the next number, with a fresh salt and signature under its record id (format.md, Retries)."""
    store, writer = open_store(tmp_path / "ledger.db"), Writer(1)
    sequence_control(store, ORIGIN, writer.control(), NOW)
    outcomes: list[StoredEntry | StaleNumber] = []
    start = threading.Barrier(2)

    def race(record_id: bytes) -> None:
        record = writer.record(1, record_id=record_id)
        start.wait()
        try:
            outcomes.append(sequence_record(store, ORIGIN, record, NOW))
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
    sequence_control(store, ORIGIN, writer.control(), NOW)
    record, found = writer.next(), list[StoredEntry]()
    threads = [
        threading.Thread(target=lambda: found.append(sequence_record(store, ORIGIN, record, NOW))) for _ in range(4)
    ]
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
    sequence_control(store, ORIGIN, writer.control(), NOW)
    sequence_record(store, ORIGIN, writer.next(), NOW)
    with pytest.raises(AlreadyRecorded) as caught:
        sequence_record(store, ORIGIN, writer.record(5, record_id=writer.record_id(1)), NOW)
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
    sequence_control(store, ORIGIN, writer.control(), NOW)
    for _ in range(2):
        sequence_record(store, ORIGIN, writer.next(), NOW)
    with store._datastore.transaction(commit=True) as cursor:
        cursor.execute(change)
    size = store.size()
    with pytest.raises(BadProof, match="run an audit"):
        sequence_record(store, ORIGIN, writer.next(), NOW)
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
    with ledger.store._datastore.transaction(commit=True) as cursor:
        cursor.execute(change)
    with pytest.raises(BadProof):
        ledger.receipt_of(ledger.entry_at(1))
    with pytest.raises(BadProof):
        ledger.append(record)
    ledger.store.close()
