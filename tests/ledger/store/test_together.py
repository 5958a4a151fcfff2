"""Appends that share a transaction: one sync for all, one refusal for one, and never an answer before it is durable."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger import merkle
from ledger.errors import Conflict, LedgerError, Refused
from ledger.store import NewEntry
from ledger.store.sqlite import SqliteStore, Write, open_store
from tests.ledger.written import Writer, drawn


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = open_store(tmp_path / "ledger.db")
    yield opened
    opened.close()


def new(number: int, version: int = 1) -> NewEntry:
    fork_id, data = Writer(number).fork_id, drawn(80, number, version)
    return NewEntry(fork_id, version, "topic/v1", data, merkle.leaf_hash(data), 0, None, 0, {1: data})


def adds(number: int) -> Callable[[Write], int]:
    return lambda write: write.add(new(number))


def refuses(write: Write) -> int:
    write.add(new(77))
    raise Refused("after something was written")


def all_at_once(store: SqliteStore, works: list[Callable[[Write], int]]) -> list[int | Exception]:
    """What comes of works that all arrive while another append is under way."""
    outcomes: dict[int, int | Exception] = {}
    at_work, go_on = threading.Event(), threading.Event()

    def first(write: Write) -> int:
        at_work.set()
        assert go_on.wait(10)
        return write.add(new(1000))

    def run(index: int, work: Callable[[Write], int]) -> None:
        try:
            leaf = store.append(work)
            # Nobody is answered before the commit: what was answered can be read over another connection.
            outcomes[index] = leaf if store.size() > leaf else AssertionError("answered too early")
        except LedgerError as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(-1, first))]
    threads[0].start()
    assert at_work.wait(10)
    threads += [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads[1:]:
        thread.start()
    while len(store._together._waiting) < len(works):
        pass
    go_on.set()
    for thread in threads:
        thread.join()
    return [outcomes[index] for index in range(len(works))]


def expect_whole(store: SqliteStore) -> None:
    """The stored hashes are those of the stored entries, whatever was undone meanwhile."""
    frontier = merkle.Frontier()
    hashes = [node for entry in store.entries(0, 100) for node in frontier.append(merkle.leaf_hash(entry.data))]
    with store.snapshot() as now:
        assert [node for _, node in now.hashes()] == hashes
        assert len(list(now.payloads())) == len(list(now.heads())) == store.size() == frontier.size


@pytest.fixture
def begun(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What became of each transaction, in order."""
    ended: list[str] = []
    begin = store._together._begin

    @contextmanager
    def watched() -> Iterator[Write]:
        try:
            with begin() as write:
                yield write
        except BaseException:
            ended.append("undone")
            raise
        ended.append("durable")

    monkeypatch.setattr(store._together, "_begin", watched)
    return ended


def test_an_append_that_comes_alone_has_a_transaction_of_its_own(store: SqliteStore, begun: list[str]) -> None:
    assert [store.append(adds(number)) for number in range(3)] == [0, 1, 2]
    assert begun == ["durable"] * 3
    expect_whole(store)


def test_appends_that_wait_share_the_next_transaction(store: SqliteStore, begun: list[str]) -> None:
    found = all_at_once(store, [adds(number) for number in range(5)])
    assert sorted(leaf for leaf in found if isinstance(leaf, int)) == [1, 2, 3, 4, 5]
    assert begun == ["durable", "durable"]  # the one under way, and one for the five
    expect_whole(store)


def test_what_one_is_refused_is_undone_and_the_others_stay(store: SqliteStore, begun: list[str]) -> None:
    found = all_at_once(store, [adds(0), refuses, adds(1), refuses, adds(2)])
    assert [isinstance(each, Refused) for each in found] == [False, True, False, True, False]
    assert sorted(leaf for leaf in found if isinstance(leaf, int)) == [1, 2, 3]
    assert store.head(Writer(77).fork_id) is None
    assert begun == ["durable", "durable"]
    expect_whole(store)


def test_of_two_that_take_the_same_place_one_conflicts(store: SqliteStore) -> None:
    found = all_at_once(store, [adds(0), adds(0), adds(1)])
    assert [isinstance(each, Conflict) for each in found].count(True) == 1
    assert store.size() == 3
    expect_whole(store)


def test_a_shared_transaction_that_fails_is_nobody_s_and_each_goes_alone(store: SqliteStore, begun: list[str]) -> None:
    tries: list[int] = []

    def breaks_the_first_time(write: Write) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("disk full")
        return write.add(new(50))

    found = all_at_once(store, [adds(0), breaks_the_first_time, adds(1)])
    assert sorted(leaf for leaf in found if isinstance(leaf, int)) == [1, 2, 3]
    assert begun == ["durable", "undone", "durable", "durable", "durable"]
    expect_whole(store)


def test_an_error_of_one_s_own_reaches_that_one_alone(store: SqliteStore) -> None:
    def always_breaks(write: Write) -> int:
        write.add(new(60))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.append(always_breaks)
    assert store.append(adds(1)) == 0
    expect_whole(store)


def test_two_stores_on_one_file_each_know_when_the_other_made_it_grow(store: SqliteStore, tmp_path: Path) -> None:
    other = open_store(tmp_path / "ledger.db")
    for number in range(0, 8, 2):
        store.append(adds(number))
        other.append(adds(number + 1))
    other.close()
    assert store.size() == 8
    expect_whole(store)
