"""What holds of the SQLite store alone."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import Malformed, NotFound, Unavailable
from ledger.store import Epoch
from ledger.store.sqlite import SqliteStore, open_read_only, open_store
from tests.ledger.store.test_store import FORK, add, new


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = open_store(tmp_path / "ledger.db")
    yield opened
    opened.close()


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
    with pytest.raises(Unavailable, match="readonly"):
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


def test_a_file_whose_epoch_has_no_token_yet_is_opened_and_taken_over(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ledger.db")
    store.take_over(bytes(16))
    with store._datastore.transaction(commit=True) as cursor:
        cursor.execute("DELETE FROM settings WHERE name='epoch-token'")  # as an earlier program left it
    store.close()
    store = open_store(tmp_path / "ledger.db")
    assert store.epoch() == Epoch(1, b"")
    assert store.take_over(b"a" * 16) == store.epoch() == Epoch(2, b"a" * 16)
    store.close()


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
        cursor.execute("UPDATE settings SET value='3' WHERE name='schema'")
    other.close()
    for opener in (open_store, open_read_only):
        with pytest.raises(Malformed, match="expected schema 2"):
            opener(tmp_path / "other.db")
