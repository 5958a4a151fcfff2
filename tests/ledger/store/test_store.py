"""What every store promises (ledger/store/__init__.py), over each implementation."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import merkle
from ledger.errors import Conflict, Malformed, NotFound
from ledger.store import Head, NewEntry
from ledger.store.sqlite import SqliteStore, open_read_only, open_store
from tests.ledger.written import Writer, drawn

FORK, OTHER = Writer(1).fork_id, Writer(2).fork_id


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    assert request.param == "sqlite"
    opened = open_store(tmp_path / "ledger.db")
    yield opened
    opened.close()


def new(
    fork_id: str, version: int, *, record_id: bytes | None = None, payloads: dict[int, bytes] | None = None
) -> NewEntry:
    data = drawn(100 + version, fork_id, version)
    return NewEntry(
        fork_id, version, "topic/v1", data, merkle.leaf_hash(data), version - 1, record_id, 17, payloads or {}
    )


def add(store: SqliteStore, *entries: NewEntry) -> list[int]:
    with store.write() as write:
        return [write.add(entry) for entry in entries]


def test_leaf_indices_are_dense_in_the_order_of_appends(store: SqliteStore) -> None:
    assert store.size() == 0
    assert add(store, new(FORK, 1), new(OTHER, 1)) == [0, 1]
    assert add(store, new(FORK, 2)) == [2]
    assert store.size() == 3
    assert [entry.leaf_index for entry in store.entries(0, 10)] == [0, 1, 2]
    assert [entry.leaf_index for entry in store.entries(1, 1)] == [1]


def test_bytes_come_back_exactly(store: SqliteStore) -> None:
    payloads = {1: b"", 2: bytes(range(256)), 4: b"\0" * 5000}
    entry = new(FORK, 1, record_id=bytes(16), payloads=payloads)
    add(store, entry)
    found = store.entries(0, 1)[0]
    assert (found.fork_id, found.version, found.topic, found.data) == (FORK, 1, "topic/v1", entry.data)
    assert (found.record_id, found.accepted_at) == (bytes(16), 17)
    assert store.payloads(0) == payloads
    assert store.payloads_of(0, 5) == {0: payloads}
    assert store.payloads(1) == {}


def test_a_fork_is_read_in_order_from_any_version(store: SqliteStore) -> None:
    add(store, *(new(fork_id, version) for version in (1, 2, 3) for fork_id in (FORK, OTHER)))
    assert [entry.version for entry in store.fork_entries(FORK, 0, 10)] == [1, 2, 3]
    assert [entry.version for entry in store.fork_entries(FORK, 1, 1)] == [2]
    assert store.fork_entries("99999999-9999-4999-8999-999999999999", 0, 10) == []


def test_a_record_is_found_by_fork_and_id(store: SqliteStore) -> None:
    add(store, new(FORK, 1, record_id=b"a" * 16), new(OTHER, 1, record_id=b"a" * 16))
    found = store.record(OTHER, b"a" * 16)
    assert found is not None
    assert (found.leaf_index, found.fork_id) == (1, OTHER)
    assert store.record(FORK, b"b" * 16) is None


def test_a_fork_s_head_follows_its_entries(store: SqliteStore) -> None:
    assert store.head(FORK) is None
    entries = [new(FORK, 1), new(FORK, 2)]
    for entry in entries:
        add(store, entry)
        assert store.head(FORK) == Head(entry.version, entry.entry_hash, entry.version - 1)
    assert store.heads() == {FORK: Head(2, entries[1].entry_hash, 1)}


def test_node_hashes_are_those_of_the_entries(store: SqliteStore) -> None:
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


@pytest.mark.parametrize("again", [new(FORK, 1), new(FORK, 2, record_id=b"r" * 16)], ids=["version", "record id"])
def test_what_is_taken_is_refused_and_nothing_of_it_is_kept(store: SqliteStore, again: NewEntry) -> None:
    add(store, new(FORK, 1, record_id=b"r" * 16))
    before = everything(store)
    with pytest.raises(Conflict):
        add(store, new(OTHER, 1, payloads={1: b"x"}), again)
    assert everything(store) == before


def test_an_append_that_fails_midway_leaves_nothing(store: SqliteStore) -> None:
    add(store, new(FORK, 1))
    before = everything(store)

    def fail() -> None:
        with store.write() as write:
            write.add(new(FORK, 2, payloads={1: b"x"}))
            assert write.head(FORK) == Head(2, new(FORK, 2).entry_hash, 1)  # it sees its own write
            assert write.entry(FORK, 2).leaf_index == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert everything(store) == before
    assert add(store, new(FORK, 2)) == [1]  # the connection is as good as before


def everything(store: SqliteStore) -> object:
    with store.snapshot() as now:
        return list(now.rows()), list(now.hashes()), list(now.payloads()), list(now.heads())


def test_a_reader_sees_no_append_before_it_is_whole(store: SqliteStore) -> None:
    add(store, new(FORK, 1))
    with store.write() as write:
        write.add(new(FORK, 2))
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(store.size()))
        reader.start()
        reader.join()
        assert seen == [1]
    assert store.size() == 2


def test_a_snapshot_stays_as_it_was_while_others_write(store: SqliteStore) -> None:
    add(store, new(FORK, 1))
    with store.snapshot() as then:
        assert then.size() == 1
        writer = threading.Thread(target=add, args=(store, new(FORK, 2)))
        writer.start()
        writer.join()
        assert [row.version for row in then.rows()] == [1]
    assert store.size() == 2


def test_many_threads_append_and_nothing_is_lost_or_doubled(store: SqliteStore) -> None:
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


def test_a_checkpoint_is_kept_only_after_the_one_that_was_looked_at(store: SqliteStore) -> None:
    assert store.checkpoint() is None
    assert store.save_checkpoint(3, b"three", after=None)
    assert not store.save_checkpoint(4, b"four", after=None)
    assert not store.save_checkpoint(4, b"four", after=2)
    assert store.save_checkpoint(4, b"four", after=3)
    assert store.checkpoint() == b"four"


def test_a_setting_is_set_once(store: SqliteStore) -> None:
    assert store.setting("name") is None
    assert store.keep_setting("name", "first") == "first"
    assert store.keep_setting("name", "second") == "first"
    assert store.setting("name") == "first"


def test_what_was_appended_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    first = open_store(tmp_path / "ledger.db")
    add(first, new(FORK, 1, payloads={1: b"x"}))
    before = everything(first)
    first.close()
    again = open_store(tmp_path / "ledger.db")
    assert everything(again) == before
    again.close()


# --- SQLite alone ---


def test_every_connection_syncs_fully_and_overwrites_what_it_deletes(store: SqliteStore) -> None:
    for commit in (True, False):
        with store._datastore.transaction(commit=commit) as cursor:
            found = []
            for pragma in ("synchronous", "secure_delete", "journal_mode"):
                cursor.execute(f"PRAGMA {pragma}")
                found.append(cursor.fetchone()[0])
        assert found == [2, 1, "wal"]


def test_a_commit_that_fails_leaves_the_connection_usable(store: SqliteStore) -> None:
    with store._datastore.get_connection(commit=True) as connection:

        def fail() -> None:
            raise sqlite3.OperationalError("disk I/O error")

        real, connection.commit = connection.commit, fail  # type: ignore[method-assign]
        with pytest.raises(sqlite3.OperationalError), connection.transaction(commit=True):
            pass
        connection.commit = real  # type: ignore[method-assign]
    assert add(store, new(FORK, 1)) == [0]


def test_a_file_that_is_only_read_is_not_changed_and_cannot_be(tmp_path: Path) -> None:
    written = open_store(tmp_path / "ledger.db")
    add(written, new(FORK, 1))
    written.close()
    before = (tmp_path / "ledger.db").read_bytes()
    reader = open_read_only(tmp_path / "ledger.db")
    assert reader.size() == 1
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        add(reader, new(FORK, 2))
    reader.close()
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_a_copy_that_is_not_in_wal_mode_is_read_too(tmp_path: Path) -> None:
    written = open_store(tmp_path / "ledger.db")
    add(written, new(FORK, 1))
    with written._datastore.get_connection(commit=True) as connection:
        connection.cursor().execute(f"VACUUM INTO '{tmp_path / 'copy.db'}'")
    written.close()
    reader = open_read_only(tmp_path / "copy.db")
    assert reader.size() == 1
    reader.close()


def test_only_a_ledger_file_of_this_schema_is_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_read_only(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("this is no database, but long enough to be looked at as one\n" * 50)
    with pytest.raises(Malformed, match="not a ledger file"):
        open_read_only(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(Malformed, match="not a ledger file"):
        open_read_only(tmp_path / "empty.db")
    other = open_store(tmp_path / "other.db")
    with other._datastore.transaction(commit=True) as cursor:
        cursor.execute("UPDATE settings SET value='2' WHERE name='schema'")
    other.close()
    for opener in (open_store, open_read_only):
        with pytest.raises(Malformed, match="expected schema 1"):
            opener(tmp_path / "other.db")
