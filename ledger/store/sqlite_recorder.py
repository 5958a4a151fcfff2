"""eventsourcing's SQLite recorder with a table, a transaction and an insert of our own.

What differs from `eventsourcing.sqlite` and why (measured, docs/architecture.md "Store"):

* `notification_id INTEGER PRIMARY KEY` is explicit: VACUUM may renumber an implicit rowid.
* A writer begins with BEGIN IMMEDIATE: a deferred one that reads and then inserts fails in a second process in a
  way that no busy timeout cures.
* `synchronous=FULL` and `secure_delete` are set, not assumed.
* State is the exact entry bytes under a fixed topic: no JSON, no class paths.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from ledger import merkle
from ledger.errors import NotFound

_MOST_TRIES, _BETWEEN_TRIES = 200, 0.02  # to connect; seconds
_COLUMNS = "notification_id, originator_id, originator_version, topic, state, record_id, accepted_at"


def as_bytes(column: str) -> str:
    """SQL for a column's bytes, none where it holds no blob: SQLite would take any type, and no hash is of none."""
    return f"CASE typeof({column}) WHEN 'blob' THEN {column} ELSE x'' END"


def entry_tables(entries: str) -> list[str]:
    return [
        f"""CREATE TABLE IF NOT EXISTS {entries} (
                notification_id INTEGER PRIMARY KEY,
                originator_id TEXT NOT NULL,
                originator_version INTEGER NOT NULL,
                topic TEXT NOT NULL,
                state BLOB NOT NULL,
                record_id BLOB,
                accepted_at INTEGER NOT NULL,
                UNIQUE (originator_id, originator_version),
                UNIQUE (originator_id, record_id))""",
        "CREATE TABLE IF NOT EXISTS hashes (stored_index INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    ]


class _Connection(SQLiteConnection):
    def __init__(self, sqlite_conn: sqlite3.Connection, max_age: float | None) -> None:
        super().__init__(sqlite_conn, max_age)
        self._using = threading.RLock()

    def _close(self) -> None:
        # The pool closes connections that other threads still use, and SQLite does not survive that: let them end.
        with self._using:
            super()._close()

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with self._using, self._transaction(commit) as cursor:
            yield cursor

    @contextmanager
    def _transaction(self, commit: bool) -> Iterator[SQLiteCursor]:
        cursor = self.cursor()
        cursor.execute("BEGIN IMMEDIATE" if commit else "BEGIN")
        try:
            with cursor:
                yield cursor
        except BaseException as error:
            self.rollback()
            if isinstance(error, sqlite3.IntegrityError):
                raise IntegrityError(error) from error
            raise
        if commit:
            self._commit_or_roll_back()
        else:
            self.rollback()

    def _commit_or_roll_back(self) -> None:
        """Commit; when that fails (a full disk), leave no open transaction to the connection's next user."""
        try:
            self.commit()
        except BaseException:
            self.rollback()
            raise


class _Pool(SQLiteConnectionPool):
    def __init__(self, *, read_only: bool, **options: Any) -> None:
        super().__init__(**options)
        # Said to be in WAL mode already, so that nobody tries to change the mode of a file that is only read: a
        # copy made by VACUUM INTO is in another one.
        self.is_journal_mode_wal = read_only

    def _create_connection(self) -> SQLiteConnection:
        plain = self._connect()
        connection = plain.cursor().sqlite_cursor.connection
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA trusted_schema=OFF")  # a file from elsewhere may have views and triggers
        return _Connection(sqlite_conn=connection, max_age=self.max_age)

    def _connect(self) -> SQLiteConnection:
        # When several processes open a new file at once, one sets its journal mode and the others find it locked:
        # for this one statement SQLite does not wait as long as it was told to.
        for _ in range(_MOST_TRIES):
            try:
                return super()._create_connection()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            time.sleep(_BETWEEN_TRIES)
        return super()._create_connection()


class Datastore(SQLiteDatastore):
    """A pool whose connections commit durably and write one at a time, across threads and processes."""

    def __init__(self, database: str, *, read_only: bool = False) -> None:
        super().__init__(database)
        self.pool = _Pool(
            read_only=read_only, db_name=database, lock_timeout=30, pool_size=4, max_overflow=28, pool_timeout=30.0
        )


class Recorder(SQLiteApplicationRecorder):
    """eventsourcing's recorder over our table. Passes the library's own recorder tests."""

    def __init__(self, datastore: SQLiteDatastore, events_table_name: str = "entries") -> None:
        super().__init__(datastore, events_table_name)
        self.insert_events_statement = f"INSERT INTO {events_table_name} ({_COLUMNS}) VALUES (?,?,?,?,?,?,?)"
        self.select_max_notification_id_statement = f"SELECT MAX(notification_id) FROM {events_table_name}"

    def construct_create_table_statements(self) -> list[str]:
        return entry_tables(self.events_table_name)

    def frontier(self, c: SQLiteCursor, known: merkle.Frontier | None) -> merkle.Frontier:
        """The log's frontier: `known` if the log still has its size, since a log of one size has one frontier."""
        size = self._max_notification_id(c) or 0
        if known is not None and known.size == size:
            return known
        return merkle.Frontier.at(size, lambda indices: read_hashes(c, indices))

    def _insert_events(self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **extra: Any) -> Sequence[int]:
        """Insert events at the next notification ids, and the node hashes that their leaves complete.

        `record_ids` and `accepted_at`, one for each event, may come as keywords, and the log's `frontier`, which grows
        with the events.
        """
        frontier: merkle.Frontier = extra.get("frontier") or self.frontier(c, None)
        nothing = [None] * len(stored_events)
        record_ids: Sequence[bytes | None] = extra.get("record_ids") or nothing
        times: Sequence[int | None] = extra.get("accepted_at") or nothing
        ids = list(range(frontier.size + 1, frontier.size + len(stored_events) + 1))
        rows = [
            (
                number, _hex(event.originator_id), event.originator_version, event.topic, event.state,
                record_id, accepted_at or 0,
            )
            for number, event, record_id, accepted_at in zip(ids, stored_events, record_ids, times, strict=True)
        ]  # fmt: skip
        c.executemany(self.insert_events_statement, rows)
        hashes = [
            (merkle.stored_hash_index(0, number - 1) + level, node)
            for number, event in zip(ids, stored_events, strict=True)
            for level, node in enumerate(frontier.append(merkle.leaf_hash(event.state)))
        ]
        c.executemany("INSERT INTO hashes VALUES (?,?)", hashes)
        return ids

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        first = 0 if start is None else start if inclusive_of_start else start + 1
        statement = f"SELECT {_COLUMNS} FROM {self.events_table_name} WHERE notification_id >= ?"
        params: list[int | str] = [first]
        if stop is not None:
            statement += " AND notification_id <= ?"
            params.append(stop)
        if topics:
            statement += f" AND topic IN ({','.join('?' * len(topics))})"
            params.extend(topics)
        with self.datastore.transaction(commit=False) as c:
            c.execute(f"{statement} ORDER BY notification_id LIMIT ?", [*params, limit])
            return [
                Notification(
                    originator_id=self.convert_originator_id(row["originator_id"]),
                    originator_version=row["originator_version"],
                    topic=row["topic"],
                    state=row["state"],
                    id=row["notification_id"],
                )
                for row in c.fetchall()
            ]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        return super().select_events(originator_id, gt=gt, lte=lte, desc=desc, limit=limit)


def read_hashes(cursor: SQLiteCursor, indices: Sequence[int]) -> list[bytes]:
    """Node hashes by stored index, in the order asked for; raises NotFound when one is missing."""
    found: dict[int, bytes] = {}
    possible = [index for index in indices if index < 1 << 63]  # no larger one fits into a column
    for begin in range(0, len(possible), 500):
        some = possible[begin : begin + 500]
        marks = ",".join("?" * len(some))
        select = f"SELECT stored_index, {as_bytes('hash')} FROM hashes WHERE stored_index IN ({marks})"
        cursor.execute(select, list(some))
        found.update((row[0], row[1]) for row in cursor.fetchall())
    missing = [index for index in indices if index not in found]
    if missing:
        raise NotFound(f"hashes: no node hash at stored index {missing[0]}")
    return [found[index] for index in indices]


def _hex(originator_id: UUID | str) -> str:
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id
