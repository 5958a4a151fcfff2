"""What every outbox promises (ledger/store/__init__.py), over each implementation."""

import itertools
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import Conflict, Malformed, Unavailable
from ledger.store import Attempt, Outbox, Settled, Store, postgres, sqlite

CHAIN, OTHER = "evm:31337:0xabc:0xdef:0x123", "rfc3161:https://tsa.example/tsr"
ROOT = bytes(range(32))
MOST = (1 << 63) - 1
NUMBERS = itertools.count()


class Place:
    """One and the same database, for whoever opens it."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind, self.where = kind, where

    def open(self) -> Store:
        return postgres.open_store(self.where) if self.kind == "postgres" else sqlite.open_store(Path(self.where))

    def open_read_only(self) -> Store:
        if self.kind == "postgres":
            return postgres.open_read_only(self.where)
        return sqlite.open_read_only(Path(self.where))

    def run(self, *statements: str) -> None:
        """As the database's operator would, past the store."""
        if self.kind == "postgres":
            with psycopg.connect(self.where, autocommit=True) as server:
                for statement in statements:
                    server.execute(statement.encode())
            return
        with closing(sqlite3.connect(self.where)) as file:
            for statement in statements:
                file.execute(statement)
            file.commit()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    where = request.getfixturevalue("postgres_url") if request.param == "postgres" else str(tmp_path / "ledger.db")
    return Place(request.param, where)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as opened:
        yield opened


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return store.outbox


def attempt(nonce: int, number: int = 0, *, backend: str = CHAIN, size: int = 10, data: bytes = b"signed") -> Attempt:
    return Attempt(backend, nonce, number, size, ROOT, data, 17)


def settled(
    nonce: int, number: int = 0, *, backend: str = CHAIN, size: int = 10, anchored: bool = True, cost: int = 21
) -> Settled:
    return Settled(backend, nonce, number, size, ROOT, anchored, 5, b"\x0b" * 32, cost, 18)


# --- attempts ---


def test_an_attempt_comes_back_exactly(outbox: Outbox) -> None:
    kept = Attempt(CHAIN, 0, 0, 1, ROOT, bytes(range(256)) * 20, 1)
    assert outbox.attempt(CHAIN, 0, 0) is None
    assert outbox.keep(kept)
    assert outbox.attempt(CHAIN, 0, 0) == kept
    assert outbox.open(CHAIN) == [kept]


def test_the_largest_numbers_are_kept_and_larger_ones_refused_by_every_store(outbox: Outbox) -> None:
    largest = Attempt(CHAIN, MOST, MOST, MOST, ROOT, b"", MOST)
    assert outbox.keep(largest)
    outbox.settle(Settled(CHAIN, MOST, MOST, MOST, ROOT, True, MOST, b"", 10**60, MOST))
    assert outbox.attempt(CHAIN, MOST, MOST) == largest
    assert outbox.last_anchored(CHAIN) == Settled(CHAIN, MOST, MOST, MOST, ROOT, True, MOST, b"", 10**60, MOST)
    for wrong in ({"size": MOST + 1}, {"nonce": -1}, {"at": MOST + 1}, {"root": bytes(31)}, {"backend": "a\0b"}):
        with pytest.raises(Malformed, match="outbox: expected"):
            replace(largest, **wrong)
    with pytest.raises(Malformed, match="a cost from 0 on, -1 came"):
        settled(1, cost=-1)


def test_the_same_bytes_are_kept_again_and_others_in_their_place_are_not(outbox: Outbox) -> None:
    assert outbox.keep(attempt(3))
    assert outbox.keep(replace(attempt(3), at=99))
    assert not outbox.keep(attempt(3, data=b"other"))
    assert not outbox.keep(attempt(3, size=11))
    assert not outbox.keep(replace(attempt(3), root=bytes(32)))
    assert outbox.open(CHAIN) == [attempt(3)]
    assert outbox.keep(attempt(3, 1, data=b"other"))  # the next attempt is another place
    assert outbox.keep(attempt(3, backend=OTHER, data=b"other"))  # and so is another backend


def test_nothing_new_is_kept_at_a_nonce_that_is_settled(outbox: Outbox) -> None:
    outbox.keep(attempt(3))
    outbox.settle(settled(3))
    assert not outbox.keep(attempt(3, 1, data=b"dearer"))
    assert outbox.keep(attempt(3))  # as it was kept before
    assert outbox.open(CHAIN) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    places=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), unique=True, max_size=12),
    done=st.sets(st.integers(0, 6), max_size=4),
)
def test_what_is_open_comes_by_nonce_and_then_by_attempt(
    outbox: Outbox, places: list[tuple[int, int]], done: set[int]
) -> None:
    backend = f"evm:{next(NUMBERS)}"  # the database is the same for all examples
    for nonce, each in places:
        assert outbox.keep(attempt(nonce, each, backend=backend))
    for nonce in done:
        outbox.settle(settled(nonce, backend=backend))
    found = outbox.open(backend)
    assert [(one.nonce, one.attempt) for one in found] == sorted(one for one in places if one[0] not in done)
    assert [one.nonce for one in outbox.settled(backend)] == sorted(done)


# --- what became of them ---


def test_a_nonce_is_settled_once(outbox: Outbox) -> None:
    outbox.keep(attempt(1))
    outbox.keep(attempt(1, 1))
    outbox.keep(attempt(2))
    outbox.settle(settled(1, 1))
    outbox.settle(replace(settled(1, 1), at=99))  # the same, found out by another worker
    for other in (settled(1, 0), settled(1, 1, anchored=False), settled(1, 1, cost=22), settled(1, 1, size=11)):
        with pytest.raises(Conflict, match=f"nonce 1 of {CHAIN} is settled already"):
            outbox.settle(other)
    assert outbox.settled(CHAIN) == [settled(1, 1)]
    assert outbox.cost(CHAIN) == 21
    assert outbox.open(CHAIN) == [attempt(2)]


def test_the_settled_are_read_by_nonce_in_parts(outbox: Outbox) -> None:
    for nonce in (4, 0, 2, 1, 3):
        outbox.settle(settled(nonce))
    assert [one.nonce for one in outbox.settled(CHAIN)] == [0, 1, 2, 3, 4]
    assert [one.nonce for one in outbox.settled(CHAIN, after=1, limit=2)] == [2, 3]
    assert outbox.settled(OTHER) == []


def test_costs_of_any_size_come_back_exactly_and_add_up(outbox: Outbox) -> None:
    costs = [10**40 + 7, 0, (1 << 256) - 1, 21_000 * 10**9]
    for nonce, cost in enumerate(costs):
        outbox.settle(settled(nonce, cost=cost))
    outbox.settle(settled(0, backend=OTHER, cost=5))
    assert [one.cost for one in outbox.settled(CHAIN)] == costs
    assert outbox.cost(CHAIN) == sum(costs)
    assert outbox.cost("nobody") == 0


def test_the_last_anchored_is_that_of_the_largest_size_and_never_a_dropped_one(outbox: Outbox) -> None:
    assert outbox.last_anchored(CHAIN) is None
    outbox.settle(settled(0, size=40))
    outbox.settle(settled(1, size=20))
    outbox.settle(settled(2, size=50, anchored=False))
    outbox.settle(settled(3, size=60, backend=OTHER))
    assert outbox.last_anchored(CHAIN) == settled(0, size=40)
    outbox.settle(settled(4, size=40))
    assert outbox.last_anchored(CHAIN) == settled(4, size=40)


def test_the_anchors_of_a_checkpoint_are_those_of_the_smallest_anchored_size_that_has_it(outbox: Outbox) -> None:
    for nonce, size in ((0, 10), (1, 20), (2, 30)):
        outbox.keep(attempt(nonce, size=size))
        outbox.keep(attempt(nonce, 1, size=size, data=b"dearer"))
    outbox.settle(settled(0, size=10, anchored=False))
    outbox.settle(settled(1, 1, size=20))
    outbox.settle(settled(7, backend=OTHER, size=15))
    second = [attempt(1, size=20), attempt(1, 1, size=20, data=b"dearer"), settled(1, 1, size=20)]
    assert outbox.anchors(1) == [*second, settled(7, backend=OTHER, size=15)]
    assert outbox.anchors(15) == [*second, settled(7, backend=OTHER, size=15)]
    assert outbox.anchors(20) == second
    assert outbox.anchors(21) == [attempt(2, size=30), attempt(2, 1, size=30, data=b"dearer")]  # on its way
    assert outbox.anchors(31) == []


# --- halts ---


def test_every_backend_is_named_that_kept_sent_or_halted_anything(outbox: Outbox) -> None:
    assert outbox.backends() == []
    outbox.halt(OTHER, "looked at before anything was sent")
    outbox.keep(attempt(0))
    outbox.settle(settled(0))
    assert outbox.backends() == sorted([CHAIN, OTHER])


def test_a_backend_stays_halted_for_its_first_reason_until_it_is_resumed(outbox: Outbox) -> None:
    assert outbox.halted(CHAIN) is None
    outbox.halt(CHAIN, "another root at size 10")
    outbox.halt(CHAIN, "and then another code hash")
    assert outbox.halted(CHAIN) == "another root at size 10"
    assert outbox.halted(OTHER) is None
    outbox.resume(CHAIN)
    assert outbox.halted(CHAIN) is None
    outbox.resume("nobody")


def test_nothing_is_kept_to_be_sent_while_a_backend_is_halted(outbox: Outbox) -> None:
    outbox.keep(attempt(0))
    outbox.halt(CHAIN, "wrong chain")
    assert not outbox.keep(attempt(0))
    assert not outbox.keep(attempt(1))
    assert outbox.keep(attempt(1, backend=OTHER))
    outbox.resume(CHAIN)
    assert outbox.keep(attempt(1))


def test_a_reason_that_quotes_a_node_is_kept_as_any_terminal_takes_it(outbox: Outbox) -> None:
    outbox.halt(CHAIN, "node said: \x1b[2J\0\ud800é")
    assert outbox.halted(CHAIN) == "node said: �[2J��é"


# --- several at once, and what is lost ---


def test_of_those_who_want_one_place_at_once_exactly_one_has_it(place: Place) -> None:
    workers = 6
    stores = [place.open() for _ in range(workers)]
    kept: list[tuple[int, int]] = []
    together = threading.Barrier(workers)

    def work(number: int) -> None:
        for nonce in range(20):
            together.wait()
            if stores[number].outbox.keep(attempt(nonce, data=f"by {number}".encode())):
                kept.append((nonce, number))

    threads = [threading.Thread(target=work, args=[number]) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(nonce for nonce, _ in kept) == list(range(20))
    assert {(one.nonce, one.data) for one in stores[0].outbox.open(CHAIN)} == {
        (nonce, f"by {number}".encode()) for nonce, number in kept
    }
    for store in stores:
        store.close()


def test_an_attempt_kept_while_its_nonce_is_settled_is_never_open_after(place: Place) -> None:
    stores = [place.open() for _ in range(2)]
    together = threading.Barrier(2)

    def settle() -> None:
        for nonce in range(40):
            together.wait()
            stores[0].outbox.settle(settled(nonce))

    thread = threading.Thread(target=settle)
    thread.start()
    for nonce in range(40):
        together.wait()
        stores[1].outbox.keep(attempt(nonce))
    thread.join()
    assert stores[0].outbox.open(CHAIN) == []
    for store in stores:
        store.close()


KEEP = """
import sys, time
from pathlib import Path
from ledger.store import postgres, sqlite
from tests.ledger.store.test_outbox import attempt

kind, where, data = sys.argv[1:]
store = postgres.open_store(where) if kind == "postgres" else sqlite.open_store(Path(where))
for nonce in range(1000):
    print(int(store.outbox.keep(attempt(nonce, data=data.encode()))), flush=True)
    if nonce == 4 and data == "killed":
        time.sleep(600)
"""


def keeper(place: Place, data: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KEEP, place.kind, place.where, data], stdout=subprocess.PIPE, text=True
    )


def test_what_was_kept_outlives_the_process_that_kept_it(place: Place) -> None:
    process = keeper(place, "killed")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(5)] == ["1\n"] * 5
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    with closing(place.open()) as after:
        assert after.outbox.open(CHAIN) == [attempt(nonce, data=b"killed") for nonce in range(5)]


def test_of_two_processes_with_one_key_exactly_one_has_each_place(place: Place) -> None:
    place.open().close()
    processes = [keeper(place, data) for data in ("first", "second")]
    said = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all({one, other} == {"0", "1"} for one, other in zip(*said, strict=True))
    assert len(said[0]) == 1000
    with closing(place.open()) as after:
        names = [b"first" if one == "1" else b"second" for one in said[0]]
        assert [one.data for one in after.outbox.open(CHAIN)] == names


def test_it_is_durable_when_keep_returns(place: Place, store: Store) -> None:
    """No test can pull the plug; both databases are asked what they do."""
    if isinstance(store, sqlite.SqliteStore):
        with store._datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone()[0] == 2  # FULL
    else:
        assert isinstance(store, postgres.PostgresStore)
        place.run("ALTER DATABASE " + store._conninfo.split("dbname=")[1].split()[0] + " SET synchronous_commit = off")
        with closing(place.open()) as again:
            assert isinstance(again, postgres.PostgresStore)
            with again._pool.connection() as connection:
                row = connection.execute("SELECT current_setting('synchronous_commit') AS now").fetchone()
                assert row is not None
                assert row["now"] == "on"


# --- databases from before ---


TABLES = ("anchor_backends", "anchor_attempts", "anchor_settled")


@pytest.fixture
def old(place: Place) -> Place:
    """A database as it was made before there was an outbox."""
    place.open().close()
    schema = 1 if place.kind == "sqlite" else 2
    dropped = [f"DROP TABLE {table}" for table in TABLES]
    place.run(*dropped, f"UPDATE settings SET value = '{schema}' WHERE name = 'schema'")
    return place


def strangers(store: Store) -> list[str]:
    with store.snapshot() as now:
        return now.strangers()


def test_a_database_from_before_is_read_with_an_empty_outbox_and_an_audit_misses_nothing(old: Place) -> None:
    with closing(old.open_read_only()) as reader:
        assert strangers(reader) == []
        assert reader.outbox.backends() == []
        assert reader.outbox.open(CHAIN) == []
        assert reader.outbox.settled(CHAIN) == []
        assert reader.outbox.anchors(1) == []
        assert reader.outbox.attempt(CHAIN, 0, 0) is None
        assert reader.outbox.last_anchored(CHAIN) is None
        assert reader.outbox.halted(CHAIN) is None
        assert reader.outbox.cost(CHAIN) == 0
        with pytest.raises((Unavailable, Malformed), match="outbox: "):
            reader.outbox.keep(attempt(0))
        # Whoever writes brings it up to date, and who reads already sees what is then kept.
        with closing(old.open()) as writer:
            assert writer.outbox.keep(attempt(0))
        if old.kind == "postgres":  # a SQLite file that nobody wrote when it was opened is taken to stay so
            assert reader.outbox.open(CHAIN) == [attempt(0)]


def test_a_database_from_before_is_brought_up_to_date_by_whoever_opens_it_to_write(old: Place) -> None:
    for _ in range(2):
        with closing(old.open()) as writer:
            assert writer.outbox.keep(attempt(0))
            assert strangers(writer) == []
    with closing(old.open_read_only()) as reader:
        assert reader.outbox.open(CHAIN) == [attempt(0)]
        assert strangers(reader) == []


def test_tables_of_the_outbox_are_strangers_where_the_schema_has_none_and_missed_where_it_has(place: Place) -> None:
    with closing(place.open()) as store:
        assert strangers(store) == []
        place.run("DROP TABLE anchor_settled")
        assert any(one.startswith("table anchor_settled: missing") for one in strangers(store))
        schema = 1 if place.kind == "sqlite" else 2
        place.run(f"UPDATE settings SET value = '{schema}' WHERE name = 'schema'")
        assert any(one.startswith("table anchor_attempts: not as a ledger has it") for one in strangers(store))


def test_what_is_opened_to_be_read_shows_the_outbox_and_cannot_change_it(place: Place, outbox: Outbox) -> None:
    outbox.keep(attempt(0))
    outbox.settle(settled(0))
    with closing(place.open_read_only()) as reader:
        assert reader.outbox.anchors(1) == [attempt(0), settled(0)]
        writes: list[Callable[[], object]] = [
            lambda: reader.outbox.keep(attempt(1)),
            lambda: reader.outbox.settle(settled(1)),
            lambda: reader.outbox.halt(CHAIN, "no"),
            lambda: reader.outbox.resume(CHAIN),
        ]
        for write in writes:
            with pytest.raises(Unavailable, match=r"read-?only"):
                write()
    assert outbox.open(CHAIN) == []
