"""Publishing: a log never signs two histories."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import checkpoint as checkpoints
from ledger.checkpoint import Checkpoint
from ledger.errors import BadProof, LedgerError
from ledger.ledger import Ledger
from ledger.merkle import Frontier, leaf_hash, tree_root
from ledger.publish import publish
from tests.ledger.written import LOG_KEY, ORIGIN, Writer, datastore, fill, open_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    yield opened
    opened.store.close()


def opened(signed: bytes) -> Checkpoint:
    return checkpoints.open_checkpoint(signed, ORIGIN, [LOG_KEY.verifier])


def change(ledger: Ledger, statement: str) -> None:
    with datastore(ledger).transaction(commit=True) as cursor:
        cursor.execute(statement)


def published(ledger: Ledger) -> list[tuple[int, bytes | None]]:
    with ledger.store.snapshot() as now:
        return list(now.checkpoints())


def test_a_checkpoint_covers_all_entries_with_their_root(ledger: Ledger) -> None:
    fill(ledger, forks=2, records=2)
    frontier = Frontier()
    for stored in ledger.store.entries(0, 100):
        frontier.append(leaf_hash(stored.data))
    assert opened(publish(ledger)) == Checkpoint(ORIGIN, 6, frontier.root())
    assert ledger.checkpoint() == ledger.store.checkpoint()


def test_nothing_new_is_not_signed_again(ledger: Ledger) -> None:
    fill(ledger, forks=1, records=1)
    assert publish(ledger) == publish(ledger)
    assert len(published(ledger)) == 1


def test_an_empty_log_has_a_checkpoint_too(ledger: Ledger) -> None:
    assert opened(publish(ledger)).size == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE notification_id=4",
        "UPDATE hashes SET hash=zeroblob(32) WHERE stored_index=2",
        "DELETE FROM hashes WHERE stored_index=6",
        "UPDATE hashes SET hash=x'00' WHERE stored_index=6",
    ],
    ids=["an entry lost", "a node changed", "a node lost", "a node cut short"],
)
def test_a_store_that_lost_or_changed_history_is_refused(ledger: Ledger, statement: str) -> None:
    fill(ledger, forks=1, records=3)
    publish(ledger)
    writer = Writer(0, written=3)
    if "entries" not in statement:
        if "stored_index=2" in statement:
            statement = statement.replace("=2", "=6")  # the root of the first four leaves
        ledger.append(writer.next())
    change(ledger, statement)
    before = published(ledger)
    with pytest.raises(BadProof):
        publish(ledger)
    assert published(ledger) == before


def test_a_last_checkpoint_that_was_damaged_stops_publishing(ledger: Ledger) -> None:
    fill(ledger, forks=1, records=1)
    publish(ledger)
    change(ledger, "UPDATE checkpoints SET note=CAST(replace(CAST(note AS TEXT), '2', '1') AS BLOB)")
    with pytest.raises(LedgerError):
        publish(ledger)


def test_publishers_at_once_agree_and_each_checkpoint_grows_from_the_one_before(ledger: Ledger) -> None:
    writer = fill(ledger, forks=1, records=0)[0]
    failed: list[Exception] = []

    def publish_often() -> None:
        try:
            for _ in range(5):
                publish(ledger)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=publish_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        ledger.append(writer.next())
    for thread in threads:
        thread.join()
    publish(ledger)
    assert not failed
    for size, signed in published(ledger):
        found = opened(signed or b"")
        assert (found.size, found.root) == (size, tree_root(size, ledger.store.hashes))


@pytest.mark.parametrize("leaf", [2, 5])
@pytest.mark.parametrize("value", ["zeroblob(200)", "'text'"])
def test_entries_that_are_not_those_that_were_hashed_are_not_signed(ledger: Ledger, leaf: int, value: str) -> None:
    writer = fill(ledger, forks=1, records=1)[0]
    publish(ledger)
    for _ in range(4):
        ledger.append(writer.next())
    before = published(ledger)
    change(ledger, f"UPDATE entries SET state={value} WHERE notification_id={leaf + 1}")
    with pytest.raises(BadProof, match="not those of the entries"):
        publish(ledger)
    assert published(ledger) == before


@pytest.mark.parametrize("statement", ["DELETE FROM entries WHERE notification_id=3", "DELETE FROM hashes"])
def test_what_is_missing_since_the_last_checkpoint_is_not_signed_over(ledger: Ledger, statement: str) -> None:
    fill(ledger, forks=1, records=4)
    change(ledger, statement)
    with pytest.raises(BadProof):
        publish(ledger)
    assert published(ledger) == []
