"""What every store promises (ledger/store/__init__.py), over each implementation."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import merkle
from ledger.errors import Conflict, Fenced, NotFound
from ledger.store import Epoch, Head, NewEntry, Store, postgres, sqlite
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SqliteStore
from tests.ledger.written import Writer, drawn

FORK, OTHER = Writer(1).fork_id, Writer(2).fork_id


@pytest.fixture(params=["sqlite", "postgres"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens one and the same database, as another process would."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        return lambda: postgres.open_store(url)
    return lambda: sqlite.open_store(tmp_path / "ledger.db")


@pytest.fixture
def store(opener: Callable[[], Store]) -> Iterator[Store]:
    opened = opener()
    yield opened
    opened.close()


def new(
    fork_id: str, version: int, *, record_id: bytes | None = None, payloads: dict[int, bytes] | None = None
) -> NewEntry:
    data = drawn(100 + version, fork_id, version)
    return NewEntry(
        fork_id, version, "topic/v1", data, merkle.leaf_hash(data), version - 1, record_id, 17, payloads or {}
    )


def add(store: Store, *entries: NewEntry) -> list[int]:
    with store.write() as write:
        first = write.add(entries)
    return list(range(first, first + len(entries)))


def test_leaf_indices_are_dense_in_the_order_of_appends(store: Store) -> None:
    assert store.size() == 0
    assert add(store, new(FORK, 1), new(OTHER, 1)) == [0, 1]
    assert add(store, new(FORK, 2)) == [2]
    assert store.size() == 3
    assert [entry.leaf_index for entry in store.entries(0, 10)] == [0, 1, 2]
    assert [entry.leaf_index for entry in store.entries(1, 1)] == [1]


def test_bytes_come_back_exactly(store: Store) -> None:
    payloads = {1: b"", 2: bytes(range(256)), 4: b"\0" * 5000}
    entry = new(FORK, 1, record_id=bytes(16), payloads=payloads)
    add(store, entry)
    found = store.entries(0, 1)[0]
    assert (found.fork_id, found.version, found.topic, found.data) == (FORK, 1, "topic/v1", entry.data)
    assert (found.record_id, found.accepted_at) == (bytes(16), 17)
    assert store.payloads(0) == payloads
    assert store.payloads_of(0, 5) == {0: payloads}
    assert store.payloads(1) == {}


def test_a_fork_is_read_in_order_from_any_version(store: Store) -> None:
    add(store, *(new(fork_id, version) for version in (1, 2, 3) for fork_id in (FORK, OTHER)))
    assert [entry.version for entry in store.fork_entries(FORK, 0, 10)] == [1, 2, 3]
    assert [entry.version for entry in store.fork_entries(FORK, 1, 1)] == [2]
    assert store.fork_entries("99999999-9999-4999-8999-999999999999", 0, 10) == []


def test_a_record_is_found_by_fork_and_id(store: Store) -> None:
    add(store, new(FORK, 1, record_id=b"a" * 16), new(OTHER, 1, record_id=b"a" * 16))
    found = store.record(OTHER, b"a" * 16)
    assert found is not None
    assert (found.leaf_index, found.fork_id) == (1, OTHER)
    assert store.record(FORK, b"b" * 16) is None


def test_a_fork_s_head_follows_its_entries(store: Store) -> None:
    assert store.head(FORK) is None
    entries = [new(FORK, 1), new(FORK, 2)]
    for entry in entries:
        add(store, entry)
        assert store.head(FORK) == Head(entry.version, entry.entry_hash, entry.version - 1)
    assert store.heads() == {FORK: Head(2, entries[1].entry_hash, 1)}


def test_node_hashes_are_those_of_the_entries(store: Store) -> None:
    entries = [new(FORK, version) for version in range(1, 8)]
    add(store, *entries[:3])
    add(store, *entries[3:])
    frontier = merkle.Frontier()
    hashes = [node for entry in entries for node in frontier.append(entry.entry_hash)]
    assert store.hashes(range(len(hashes))) == hashes
    assert merkle.tree_root(7, store.hashes) == frontier.root()
    assert store.hashes([3, 0]) == [hashes[3], hashes[0]]
    with pytest.raises(NotFound, match="stored index 99"):
        store.hashes([0, 99])


@pytest.mark.parametrize("size", [6, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_tree_that_is_larger_than_the_log_is_not_found(store: Store, size: int) -> None:
    """Who stole an anchoring key can put any size on a chain, and it is looked up here."""
    add(store, *(new(FORK, version) for version in range(1, 6)))
    with pytest.raises(NotFound):
        merkle.tree_root(size, store.hashes)


@pytest.mark.parametrize("again", [new(FORK, 1), new(FORK, 2, record_id=b"r" * 16)], ids=["version", "record id"])
def test_what_is_taken_is_refused_and_nothing_of_it_is_kept(store: Store, again: NewEntry) -> None:
    add(store, new(FORK, 1, record_id=b"r" * 16))
    before = everything(store)
    with pytest.raises(Conflict):
        add(store, new(OTHER, 1, payloads={1: b"x"}), again)
    assert everything(store) == before


def test_an_append_that_fails_midway_leaves_nothing(store: Store) -> None:
    add(store, new(FORK, 1))
    before = everything(store)

    def fail() -> None:
        with store.write() as write:
            write.add([new(FORK, 2, payloads={1: b"x"})])
            assert write.heads([FORK]) == {FORK: Head(2, new(FORK, 2).entry_hash, 1)}  # it sees its own write
            assert write.entries([(FORK, 2)])[FORK, 2].leaf_index == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert everything(store) == before
    assert add(store, new(FORK, 2)) == [1]  # the connection is as good as before


def everything(store: Store) -> object:
    with store.snapshot() as now:
        return list(now.rows()), list(now.hashes()), list(now.payloads()), list(now.heads())


def test_a_reader_sees_no_append_before_it_is_whole(store: Store) -> None:
    add(store, new(FORK, 1))
    with store.write() as write:
        write.add([new(FORK, 2)])
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(store.size()))
        reader.start()
        reader.join()
        assert seen == [1]
    assert store.size() == 2


def test_a_snapshot_stays_as_it_was_while_others_write(store: Store) -> None:
    add(store, new(FORK, 1))
    with store.snapshot() as then:
        assert then.size() == 1
        writer = threading.Thread(target=add, args=(store, new(FORK, 2)))
        writer.start()
        writer.join()
        assert [row.version for row in then.rows()] == [1]
    assert store.size() == 2


def test_many_threads_append_and_nothing_is_lost_or_doubled(store: Store) -> None:
    def write(number: int) -> None:
        for version in range(1, 6):
            add(store, new(Writer(number).fork_id, version))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = store.entries(0, 100)
    assert [entry.leaf_index for entry in entries] == list(range(20))
    assert len({(entry.fork_id, entry.version) for entry in entries}) == 20


def test_a_checkpoint_is_kept_only_after_the_one_that_was_looked_at(store: Store) -> None:
    assert store.checkpoint() is None
    assert store.save_checkpoint(3, b"three", after=None)
    assert not store.save_checkpoint(4, b"four", after=None)
    assert not store.save_checkpoint(4, b"four", after=2)
    assert store.save_checkpoint(4, b"four", after=3)
    assert (store.checkpoint_of(3), store.checkpoint_of(4), store.checkpoint_of(5)) == (b"three", b"four", None)
    assert store.checkpoint() == b"four"


def test_of_several_that_save_a_checkpoint_after_the_same_one_one_does(opener: Callable[[], Store]) -> None:
    stores = [opener() for _ in range(4)]
    together = threading.Barrier(len(stores))
    kept: list[int] = []

    def save(number: int, store: Store) -> None:
        after = None
        for turn in range(20):
            together.wait()
            size = 10 * turn + number
            if store.save_checkpoint(size, str(size).encode(), after):
                kept.append(size)
            together.wait()
            after = int(store.checkpoint() or b"")

    threads = [threading.Thread(target=save, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [size // 10 for size in kept] == list(range(20))
    for store in stores:
        store.close()


def test_a_setting_is_set_once(store: Store) -> None:
    assert store.setting("name") is None
    assert store.keep_setting("name", "first") == "first"
    assert store.keep_setting("name", "second") == "first"
    assert store.setting("name") == "first"


def test_what_was_appended_is_there_when_the_store_is_opened_again(opener: Callable[[], Store]) -> None:
    first = opener()
    add(first, new(FORK, 1, payloads={1: b"x"}))
    before = everything(first)
    first.close()
    again = opener()
    assert everything(again) == before
    again.close()


def test_the_other_process_s_entries_are_seen_and_built_upon(opener: Callable[[], Store]) -> None:
    one, other = opener(), opener()
    for version in range(1, 9, 2):
        assert add(one, new(FORK, version)) == [version - 1]
        assert add(other, new(FORK, version + 1)) == [version]
    frontier = merkle.Frontier()
    for entry in one.entries(0, 100):
        frontier.append(merkle.leaf_hash(entry.data))
    assert merkle.tree_root(8, other.hashes) == frontier.root()
    one.close()
    other.close()


def test_who_takes_over_fences_those_before(opener: Callable[[], Store]) -> None:
    one, other = opener(), opener()
    assert one.epoch() == Epoch(0, b"")
    first = one.take_over(drawn(16, "first"))
    assert one.epoch() == other.epoch() == first == Epoch(1, drawn(16, "first"))
    with one.write(first) as write:
        write.add([new(FORK, 1)])
    second = other.take_over(drawn(16, "second"))
    assert one.epoch() == second == Epoch(2, drawn(16, "second"))
    with pytest.raises(Fenced), one.write(first) as write:
        write.add([new(FORK, 2)])
    with other.write(second) as write:
        assert write.add([new(FORK, 2)]) == 1
    add(one, new(FORK, 3))  # without an epoch it takes its turn
    assert other.size() == 3
    one.close()
    other.close()


def put_back(store: Store, epoch: Epoch) -> None:
    """What a restore from a backup does, or a failover to a standby that lagged."""
    assert isinstance(store, SqliteStore | PostgresStore)
    with store._datastore.transaction(commit=True) as cursor:
        if isinstance(store, SqliteStore):
            cursor.execute(f"UPDATE settings SET value='{epoch.number}' WHERE name='epoch'")
            cursor.execute(f"UPDATE settings SET value='{epoch.token.hex()}' WHERE name='epoch-token'")
        else:
            cursor.execute(f"UPDATE head SET epoch = {epoch.number}, token = '\\x{epoch.token.hex()}'")


def test_who_had_a_number_that_fell_back_and_was_given_again_stays_fenced(opener: Callable[[], Store]) -> None:
    one, other = opener(), opener()
    before = one.take_over(drawn(16, "before"))
    first = one.take_over(drawn(16, "first"))
    put_back(one, before)
    assert one.epoch() == before
    with pytest.raises(Fenced), one.write(first):
        pass
    second = other.take_over(drawn(16, "second"))
    assert second.number == first.number
    assert one.epoch() == second != first
    with pytest.raises(Fenced, match=f"epoch {second}, ours is {first}"), one.write(first) as write:
        write.add([new(FORK, 1)])
    with other.write(second) as write:
        assert write.add([new(FORK, 1)]) == 0
    one.close()
    other.close()


def test_growth_is_waited_for_and_told_at_once(opener: Callable[[], Store]) -> None:
    one, other = opener(), opener()
    assert not one.wait_for_growth(0, 0.01)
    add(one, new(FORK, 1))
    assert one.wait_for_growth(0, 0)
    later = threading.Timer(0.1, add, (other, new(FORK, 2)))
    later.start()
    assert one.wait_for_growth(1, 30)
    later.join()
    assert not one.wait_for_growth(2, 0)
    one.close()
    other.close()


def test_who_follows_misses_nothing_and_sees_it_in_order_while_many_write(opener: Callable[[], Store]) -> None:
    reader, writers = opener(), [opener() for _ in range(3)]
    seen: list[int] = []

    def follow() -> None:
        while len(seen) < 60:
            assert reader.wait_for_growth(len(seen), 30)
            seen.extend(entry.leaf_index for entry in reader.entries(len(seen), 7))

    def write(store: Store, number: int) -> None:
        for version in range(1, 21):
            add(store, new(Writer(number).fork_id, version))

    threads = [threading.Thread(target=follow)]
    threads += [threading.Thread(target=write, args=(store, number)) for number, store in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(60))
    for store in (reader, *writers):
        store.close()


def test_many_are_looked_up_at_once(store: Store) -> None:
    entries = [new(Writer(number).fork_id, 1, record_id=bytes([number % 256]) * 16) for number in range(900)]
    add(store, *entries)
    forks = [entry.fork_id for entry in entries]
    with store.write() as write:
        heads = write.heads([*forks, Writer(5000).fork_id])
        assert {fork_id: head.entry_hash for fork_id, head in heads.items()} == {
            entry.fork_id: entry.entry_hash for entry in entries
        }
        keys = [(entry.fork_id, entry.record_id or b"") for entry in entries]
        assert set(write.records([*keys, (forks[0], b"?" * 16)])) == set(keys)
        places = [(fork_id, 1) for fork_id in forks]
        assert set(write.entries([*places, (forks[0], 2)])) == set(places)
    firsts = store.first_entries([*forks, Writer(5000).fork_id])
    assert [firsts[fork_id].data for fork_id in forks] == [entry.data for entry in entries]
    assert len(firsts) == 900
