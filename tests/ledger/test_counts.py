"""What an append and a proof cost, counted where a clock would be noise: transactions, statements, steps, hashes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from eventsourcing.sqlite import SQLiteCursor

from ledger import merkle
from ledger.errors import BadSignature, StaleNumber
from ledger.ledger import Ledger
from ledger.publish import publish
from ledger.store import Epoch, sqlite_recorder
from tests.ledger.written import Writer, datastore, fill, open_ledger

RECORDS = 64


@dataclass(slots=True)
class Counted:
    """What SQLite was asked to do, and in how many steps of its own machine it did so."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0

    def of(self, beginning: str) -> int:
        return sum(statement.startswith(beginning) for statement in self.statements)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    yield opened
    opened.store.close()


@contextmanager
def counting(ledger: Ledger) -> Iterator[Counted]:
    counted = Counted()
    pool = datastore(ledger).pool
    assert pool.num_in_pool == 1, "one thread uses one connection"
    with datastore(ledger).get_connection(commit=True) as connection:
        plain = connection._sqlite_conn

    def step() -> int:
        counted.steps += 1
        return 0

    plain.set_trace_callback(counted.statements.append)
    plain.set_progress_handler(step, 1)
    try:
        yield counted
    finally:
        plain.set_trace_callback(None)
        plain.set_progress_handler(None, 0)


def test_an_append_is_one_write_transaction_and_no_read_transaction(ledger: Ledger) -> None:
    (writer,) = fill(ledger, forks=1, records=2)
    for _ in range(RECORDS):
        with counting(ledger) as counted:
            ledger.append(writer.next())
        assert (counted.of("BEGIN IMMEDIATE"), counted.of("COMMIT")) == (1, 1)
        assert counted.of("BEGIN") == 1


def test_the_first_append_to_a_fork_reads_its_first_entry_in_one_read_transaction(ledger: Ledger) -> None:
    writer = Writer(0)
    ledger.create_fork(writer.control())
    with counting(ledger) as counted:
        ledger.append(writer.next())
    assert (counted.of("BEGIN IMMEDIATE"), counted.of("COMMIT")) == (1, 1)
    assert counted.of("BEGIN") == 2


def test_an_append_is_seven_statements_and_one_for_each_payload_and_hash(ledger: Ledger) -> None:
    (writer,) = fill(ledger, forks=1, records=2)
    hashes = 0
    for _ in range(RECORDS):
        with counting(ledger) as counted:
            ledger.append(writer.next())
        written = counted.of("INSERT INTO hashes")
        hashes += written
        # begin; head, is it known, size; entry; head; commit
        assert len(counted.statements) == 7 + counted.of("INSERT INTO payloads") + written
        assert counted.of("INSERT INTO payloads") == 4
    assert hashes <= 2 * RECORDS


def test_an_append_takes_no_more_steps_in_a_long_fork(ledger: Ledger) -> None:
    (writer,) = fill(ledger, forks=1, records=8)

    def steps() -> float:
        """On average over as many appends as complete the same subtrees."""
        with counting(ledger) as counted:
            for _ in range(32):
                ledger.append(writer.next())
        return counted.steps / 32

    early = steps()
    for _ in range(400):
        ledger.append(writer.next())
    assert steps() < 1.1 * early


@pytest.mark.parametrize("after", [0, 5])
def test_a_page_of_a_fork_takes_as_many_steps_in_a_long_fork(ledger: Ledger, after: int) -> None:
    (writer,) = fill(ledger, forks=1, records=8)

    def steps() -> int:
        with counting(ledger) as counted:
            assert len(ledger.store.fork_entries(writer.fork_id, after, 3)) == 3
        return counted.steps

    early = steps()
    for _ in range(200):
        ledger.append(writer.next())
    assert steps() == early


def test_an_append_reads_log_many_hashes_once_and_then_none(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (writer,) = fill(ledger, forks=1, records=100)
    read: list[int] = []
    here, real = threading.get_ident(), sqlite_recorder.read_hashes

    def counted(cursor: SQLiteCursor, indices: list[int]) -> list[bytes]:
        if threading.get_ident() == here:  # a server of another test may be publishing its own log
            read.append(len(indices))
        return real(cursor, indices)

    monkeypatch.setattr(sqlite_recorder, "read_hashes", counted)
    for _ in range(RECORDS):
        ledger.append(writer.next())
    assert read == []

    other = open_ledger(tmp_path / "ledger.db")  # another process, as far as the file can tell
    for one in (other, ledger) * 4:
        size = one.size()
        one.append(writer.next())
        assert read.pop() <= size.bit_length()
        assert read == []
    other.store.close()


@pytest.mark.parametrize("power", [0, 1, 4, 7])
def test_a_proof_reads_one_hash_for_each_doubling(ledger: Ledger, power: int) -> None:
    size = 1 << power
    writer = Writer(0)
    ledger.create_fork(writer.control())
    while ledger.size() < size:
        ledger.append(writer.next())
    publish(ledger)
    read: list[int] = []

    def counted(indices: list[int]) -> list[bytes]:
        read.append(len(indices))
        return ledger.store.hashes(indices)

    for leaf in {0, size // 2, size - 1}:
        merkle.prove_inclusion(leaf, size, counted)  # type: ignore[arg-type]
        assert sum(read) == power
        assert len(read) <= 1
        read.clear()
    for old in {1, size // 2 or 1, size - 1 or 1}:
        merkle.prove_consistency(old, size, counted)  # type: ignore[arg-type]
        assert sum(read) <= 2 * power
        assert len(read) <= 1
        read.clear()
    with counting(ledger) as asked:
        ledger.prove(size - 1)
    assert asked.of("SELECT") <= 3  # checkpoint, hashes, entry
    assert asked.of("BEGIN IMMEDIATE") == 0


def test_what_the_door_or_the_signature_refuses_never_asks_for_the_write_lock(ledger: Ledger) -> None:
    (writer,) = fill(ledger, forks=1, records=2)
    good = writer.next()
    signature = replace(good.signatures[0], raw=bytes(64))
    with counting(ledger) as counted, pytest.raises(BadSignature):
        ledger.append(replace(good, signatures=(signature,)))
    assert counted.statements == []


def test_appends_that_wait_share_one_transaction(ledger: Ledger) -> None:
    writers = fill(ledger, forks=9, records=1)
    size = ledger.size()
    refused: list[StaleNumber] = []

    def append(work: Callable[[], object]) -> None:
        try:
            work()
        except StaleNumber as error:
            refused.append(error)

    records = [writer.next() for writer in writers]
    records[-1] = writers[-1].next()  # one number too far
    threads = [threading.Thread(target=append, args=(lambda one=one: ledger.append(one),)) for one in records]
    begun: list[Epoch | None] = []
    real = ledger.store.write

    def counted(epoch: Epoch | None = None) -> object:
        begun.append(epoch)
        return real(epoch)

    with real():  # hold the write lock until all are there
        ledger.store.write = counted  # type: ignore[assignment, method-assign]
        threads[0].start()
        until(lambda: len(begun) == 1)
        for thread in threads[1:]:
            thread.start()
        until(lambda: ledger.waiting == 9)
    for thread in threads:
        thread.join()
    assert len(begun) == 2
    assert ledger.size() == size + 8
    assert [error.expected for error in refused] == [2]


@pytest.mark.parametrize("many", [1, 50])
def test_a_batch_is_one_transaction_whatever_its_size(ledger: Ledger, many: int) -> None:
    (writer,) = fill(ledger, forks=1, records=2)
    with counting(ledger) as counted:
        ledger.append_all([writer.next() for _ in range(many)])
    assert (counted.of("BEGIN IMMEDIATE"), counted.of("COMMIT")) == (1, 1)
    assert counted.of("SELECT") + counted.of("WITH") == 3  # heads, known records, size


def test_what_is_known_already_is_compared_with_its_hashes_by_one_query(ledger: Ledger) -> None:
    writers = fill(ledger, forks=3, records=5)
    records = [writer.record(number, learns=number % 3 != 0) for writer in writers for number in range(1, 6)]
    with counting(ledger) as counted:
        assert all(isinstance(each, bytes) for each in ledger.append_all(records))
    assert counted.of("SELECT stored_index") == 1
    assert counted.of("SELECT") + counted.of("WITH") == 3  # heads, known records, their hashes


def until(so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if so():
            return
        time.sleep(0.005)
    raise AssertionError("waited 10 seconds")
