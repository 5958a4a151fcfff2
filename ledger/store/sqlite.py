"""The store on SQLite, on eventsourcing's recorder with a table, a mapper and a transaction of our own.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
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
from ledger.errors import Conflict, LedgerError, Malformed, NotFound
from ledger.store import Head, NewEntry, StoredEntry
from ledger.store.together import Together

T = TypeVar("T")

SCHEMA = 1
_MOST_FIRST_ENTRIES = 10_000  # kept in memory, of some 300 bytes each
_MOST_TRIES, _BETWEEN_TRIES = 200, 0.02  # to connect; seconds
_COLUMNS = "notification_id, originator_id, originator_version, topic, state, record_id, accepted_at"


def _bytes(column: str) -> str:
    """SQL for a column's bytes, none where it holds no blob: SQLite would take any type, and no hash is of none."""
    return f"CASE typeof({column}) WHEN 'blob' THEN {column} ELSE x'' END"


def _entry_tables(entries: str) -> list[str]:
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


_OTHER_TABLES = (
    "CREATE TABLE IF NOT EXISTS payloads (leaf_index INTEGER, kind INTEGER, bytes BLOB NOT NULL, "
    "PRIMARY KEY (leaf_index, kind)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS heads (fork_id TEXT PRIMARY KEY, version INTEGER NOT NULL, "
    "head BLOB NOT NULL, interactions INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


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
        return _entry_tables(self.events_table_name)

    def frontier(self, c: SQLiteCursor, known: merkle.Frontier | None) -> merkle.Frontier:
        """The log's frontier: `known` if the log still has its size, since a log of one size has one frontier."""
        size = self._max_notification_id(c) or 0
        if known is not None and known.size == size:
            return known
        return merkle.Frontier.at(size, lambda indices: read_hashes(c, indices))

    def _insert_events(self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **extra: Any) -> Sequence[int]:
        """Insert events at the next notification ids, and the node hashes that their leaves complete.

        `accepted_at` and `record_ids` (one for each event, or None) may come as keywords, and the log's `frontier`,
        which grows with the events.
        """
        frontier: merkle.Frontier = extra.get("frontier") or self.frontier(c, None)
        size = frontier.size
        record_ids: Sequence[bytes | None] = extra.get("record_ids") or [None] * len(stored_events)
        for event, record_id in zip(stored_events, record_ids, strict=True):
            leaf, size = size, size + 1
            row = (
                size, _hex(event.originator_id), event.originator_version, event.topic, event.state,
                record_id, extra.get("accepted_at", 0),
            )  # fmt: skip
            c.execute(self.insert_events_statement, row)
            first = merkle.stored_hash_index(0, leaf)
            hashes = frontier.append(merkle.leaf_hash(event.state))
            c.executemany("INSERT INTO hashes VALUES (?,?)", list(enumerate(hashes, first)))
        return list(range(size - len(stored_events) + 1, size + 1))

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


class Write:
    """One open append transaction: reads see what the transaction will commit on top of."""

    def __init__(self, recorder: Recorder, cursor: SQLiteCursor, frontier: merkle.Frontier | None = None) -> None:
        self._recorder = recorder
        self._cursor = cursor
        self.frontier = frontier  # of the log as this transaction sees it, once it has added; else of some size
        self._added = False

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is added in the block stays if the block ends well, and is undone if it raises."""
        self._cursor.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.frontier, self._added = None, False
            self._cursor.execute("ROLLBACK TO part")
            raise
        finally:
            self._cursor.execute("RELEASE part")

    def head(self, fork_id: str) -> Head | None:
        self._cursor.execute(f"SELECT version, {_bytes('head')}, interactions FROM heads WHERE fork_id=?", [fork_id])
        row = self._cursor.fetchone()
        return Head(row[0], row[1], row[2]) if row else None

    def entry(self, fork_id: str, version: int) -> StoredEntry:
        found = _entries(self._cursor, "originator_id=? AND originator_version=?", [UUID(fork_id).hex, version], 1)
        if not found:
            raise NotFound(f"fork {fork_id}: no entry of version {version}")
        return found[0]

    def record(self, fork_id: str, record_id: bytes) -> StoredEntry | None:
        found = _entries(self._cursor, "originator_id=? AND record_id=?", [UUID(fork_id).hex, record_id], 1)
        return found[0] if found else None

    def payloads(self, leaf_index: int) -> dict[int, bytes]:
        return _payloads(self._cursor, leaf_index)

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        """Node hashes by stored index: a `merkle.HashReader`."""
        return read_hashes(self._cursor, indices)

    def add(self, new: NewEntry) -> int:
        """Add an entry, its payloads and its fork's new head. Returns the leaf index."""
        if not self._added:  # from here on nobody else can make the log grow
            self.frontier, self._added = self._recorder.frontier(self._cursor, self.frontier), True
        event = StoredEvent(UUID(new.fork_id), new.version, new.topic, new.data)
        (notification_id,) = self._recorder._insert_events(
            self._cursor, [event], record_ids=[new.record_id], accepted_at=new.accepted_at, frontier=self.frontier
        )
        leaf = notification_id - 1
        rows = [(leaf, kind, payload) for kind, payload in sorted(new.payloads.items())]
        self._cursor.executemany("INSERT INTO payloads VALUES (?,?,?)", rows)
        self._cursor.execute(
            "INSERT INTO heads VALUES (?,?,?,?) ON CONFLICT (fork_id) DO UPDATE SET "
            "version=excluded.version, head=excluded.head, interactions=excluded.interactions",
            (new.fork_id, new.version, new.entry_hash, new.interactions),
        )
        return leaf


@dataclass(frozen=True, slots=True)
class Row:
    """An entry's row as an audit finds it. A column that does not hold what its type says is None."""

    leaf_index: int
    fork_id: str | None
    version: int | None
    topic: str | None
    data: bytes | None
    record_id: bytes | None
    accepted_at: int | None


class Snapshot:
    """The whole file as it was at one moment, streamed in order, for an audit. Trusts no column's type."""

    def __init__(self, connection: SQLiteConnection) -> None:
        self._connection = connection

    def _rows(self, statement: str) -> Iterator[Any]:
        # A cursor for each: an audit reads entries, payloads and hashes side by side.
        cursor = self._connection.cursor()
        cursor.execute(statement)
        with cursor as rows:
            yield from rows

    def problems(self) -> list[str]:
        """What SQLite itself finds wrong with its pages, indices and constraints. Empty when all is well."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def strangers(self) -> list[str]:
        """What the file's schema has besides a ledger's own tables, or lacks of them. Empty when they are the same.

        The constraints are part of it: with them there, SQLite's own check finds a record id that stands twice.
        """
        select = "SELECT CAST(type AS BLOB), CAST(name AS BLOB), CAST(tbl_name AS BLOB), CAST(sql AS BLOB) FROM "
        found = {tuple(map(_squeezed, row)) for row in self._rows(select + "sqlite_schema")}
        pattern = sqlite3.connect(":memory:")
        try:
            for statement in (*_entry_tables("entries"), *_OTHER_TABLES):
                pattern.execute(statement)
            own = {tuple(map(_squeezed, row)) for row in pattern.execute(select + "sqlite_schema")}
        finally:
            pattern.close()
        return [f"{kind} {name}: not as a ledger has it" for kind, name, *_ in sorted(found - own)] + [
            f"{kind} {name}: missing, or not as a ledger has it" for kind, name, *_ in sorted(own - found)
        ]

    def size(self) -> int:
        """How many entries there are, counted."""
        return int(next(self._rows("SELECT COUNT(*) FROM entries"))[0])

    def rows(self) -> Iterator[Row]:
        """All entries in log order."""
        for number, fork_id, version, topic, data, record_id, accepted_at in self._rows(
            f"SELECT notification_id, {_blob('originator_id')}, {_typed('originator_version', 'integer')}, "
            f"{_blob('topic')}, {_typed('state', 'blob')}, {_blob('record_id')}, {_typed('accepted_at', 'integer')} "
            "FROM entries ORDER BY notification_id"
        ):
            yield Row(number - 1, _uuid(fork_id), version, _ascii(topic), data, record_id, accepted_at)

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        """All node hashes by stored index."""
        return self._rows(f"SELECT stored_index, {_typed('hash', 'blob')} FROM hashes ORDER BY stored_index")

    def payloads(self) -> Iterator[tuple[int, int, bytes | None]]:
        """All payloads by leaf index and kind."""
        return self._rows(
            f"SELECT leaf_index, kind, {_typed('bytes', 'blob')} FROM payloads "
            "WHERE typeof(leaf_index)='integer' AND typeof(kind)='integer' ORDER BY leaf_index, kind"
        )

    def misplaced_payloads(self) -> int:
        """How many payloads stand under no leaf index or kind at all, and so not in `payloads`."""
        statement = "SELECT COUNT(*) FROM payloads WHERE typeof(leaf_index)<>'integer' OR typeof(kind)<>'integer'"
        return int(next(self._rows(statement))[0])

    def heads(self) -> Iterator[tuple[str | None, int | None, bytes | None, int | None]]:
        """Every cached head: fork id, version, entry hash, number of records."""
        for fork_id, version, head, interactions in self._rows(
            f"SELECT {_blob('fork_id')}, {_typed('version', 'integer')}, {_typed('head', 'blob')}, "
            f"{_typed('interactions', 'integer')} FROM heads"
        ):
            yield _ascii(fork_id), version, head, interactions

    def checkpoints(self) -> Iterator[tuple[int, bytes | None]]:
        """Every published checkpoint by size."""
        return self._rows(f"SELECT size, {_typed('note', 'blob')} FROM checkpoints ORDER BY size")

    def setting(self, name: str) -> str | None:
        found = next(self._rows(f"SELECT {_blob('value')} FROM settings WHERE name='{name}'"), None)
        return _ascii(found[0]) if found else None


class SqliteStore:
    """A ledger in one SQLite file. `open_store` and `open_read_only` make one."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self.recorder = Recorder(datastore)
        self._together = Together(self.write, (LedgerError, sqlite3.IntegrityError))
        self._frontier: merkle.Frontier | None = None
        self._first_entries: dict[str, StoredEntry] = {}

    def close(self) -> None:
        self._datastore.close()

    @contextmanager
    def write(self) -> Iterator[Write]:
        """One append transaction. Everything is durable when the block is left, or nothing happened.

        Raises Conflict when another writer took the same place.
        """
        try:
            with self._datastore.transaction(commit=True) as cursor:
                # Taken out while in use: it grows with what this transaction adds, which may yet come to nothing.
                frontier, self._frontier = self._frontier, None
                write = Write(self.recorder, cursor, frontier)
                yield write
            self._frontier = write.frontier
        except IntegrityError as error:
            raise Conflict("append: another writer took this place") from error

    def append(self, work: Callable[[Write], T]) -> T:
        """What `work` returns from an append transaction, once it is durable. Threads that wait share the next one.

        Raises what `work` raises, and then nothing of it was written; Conflict as `write` does.
        """
        try:
            return self._together.append(work)
        except sqlite3.IntegrityError as error:
            raise Conflict("append: another writer took this place") from error

    @contextmanager
    def _read(self) -> Iterator[SQLiteCursor]:
        with self._datastore.transaction(commit=False) as cursor:
            yield cursor

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Everything as it is now, while others go on writing. Raises sqlite3.DatabaseError on a broken file."""
        with self._datastore.get_connection(commit=False) as connection, connection.transaction(commit=False):
            yield Snapshot(connection)

    def size(self) -> int:
        """Entries in the log."""
        return self.recorder.max_notification_id() or 0

    def missing(self, size: int) -> int:
        """How many of the first `size` entries are not there, counted."""
        with self._read() as cursor:
            cursor.execute("SELECT COUNT(*) FROM entries WHERE notification_id BETWEEN 1 AND ?", [size])
            return size - int(cursor.fetchone()[0])

    def entries(self, first: int, limit: int) -> list[StoredEntry]:
        """Entries from leaf index `first` on, in log order."""
        with self._read() as cursor:
            return _entries(cursor, "notification_id>?", [first], limit)

    def fork_entries(self, fork_id: str, after: int, limit: int) -> list[StoredEntry]:
        """Entries of a fork with a version above `after`, in order."""
        with self._read() as cursor:
            where = "originator_id=? AND originator_version>?"
            return _entries(cursor, where, [UUID(fork_id).hex, after], limit, order="originator_version")

    def first_entry(self, fork_id: str) -> StoredEntry | None:
        """A fork's first entry. It never changes once it is there, and so is read once."""
        found = self._first_entries.get(fork_id)
        if found is None:
            found = next(iter(self.fork_entries(fork_id, after=0, limit=1)), None)
            if found is not None:
                if len(self._first_entries) >= _MOST_FIRST_ENTRIES:
                    self._first_entries.clear()
                self._first_entries[fork_id] = found
        return found

    def record(self, fork_id: str, record_id: bytes) -> StoredEntry | None:
        with self._read() as cursor:
            return Write(self.recorder, cursor).record(fork_id, record_id)

    def head(self, fork_id: str) -> Head | None:
        with self._read() as cursor:
            return Write(self.recorder, cursor).head(fork_id)

    def heads(self) -> dict[str, Head]:
        """Every fork's head as the store caches it; an audit compares it with the entries."""
        with self._read() as cursor:
            cursor.execute("SELECT fork_id, version, head, interactions FROM heads")
            return {row[0]: Head(row[1], row[2], row[3]) for row in cursor.fetchall()}

    def payloads(self, leaf_index: int) -> dict[int, bytes]:
        """The payloads beside an entry, by kind."""
        with self._read() as cursor:
            return _payloads(cursor, leaf_index)

    def payloads_of(self, first: int, last: int, kind: int | None = None) -> dict[int, dict[int, bytes]]:
        """Payloads by leaf index and kind, for leaf indices from `first` to `last`; of one kind only where asked."""
        with self._read() as cursor:
            cursor.execute(
                f"SELECT leaf_index, kind, {_bytes('bytes')} FROM payloads "
                "WHERE leaf_index BETWEEN ? AND ? AND kind=IFNULL(?, kind)",
                [first, last, kind],
            )
            found: dict[int, dict[int, bytes]] = {}
            for leaf_index, kind, payload in cursor.fetchall():
                found.setdefault(leaf_index, {})[kind] = payload
            return found

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        """Node hashes by stored index: a `merkle.HashReader`."""
        with self._read() as cursor:
            return read_hashes(cursor, indices)

    def checkpoint(self) -> bytes | None:
        """The signed note of the largest published checkpoint."""
        with self._read() as cursor:
            cursor.execute(f"SELECT {_bytes('note')} FROM checkpoints ORDER BY size DESC LIMIT 1")
            row = cursor.fetchone()
            return row[0] if row else None

    def save_checkpoint(self, size: int, note: bytes, after: int | None) -> bool:
        """Keep a checkpoint if the largest kept one still has size `after` (None: there is none)."""
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("SELECT MAX(size) FROM checkpoints")
            if cursor.fetchone()[0] != after:
                return False
            cursor.execute("INSERT INTO checkpoints VALUES (?,?)", [size, note])
            return True

    def setting(self, name: str) -> str | None:
        with self._read() as cursor:
            cursor.execute("SELECT value FROM settings WHERE name=?", [name])
            row = cursor.fetchone()
            return str(row[0]) if row else None

    def keep_setting(self, name: str, value: str) -> str:
        """Set `name` once; returns the value that stands, which is the first ever given."""
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("INSERT OR IGNORE INTO settings VALUES (?,?)", [name, value])
            cursor.execute("SELECT value FROM settings WHERE name=?", [name])
            return str(cursor.fetchone()[0])


def open_store(path: Path) -> SqliteStore:
    """Open a ledger file, creating it and its tables when there is none."""
    store = SqliteStore(Datastore(str(path)))
    store.recorder.create_table()
    with store._datastore.transaction(commit=True) as cursor:
        for statement in _OTHER_TABLES:
            cursor.execute(statement)
    _expect_schema(store.keep_setting("schema", str(SCHEMA)), path)
    return store


def open_read_only(path: Path) -> SqliteStore:
    """Open an existing ledger file without changing it. Raises NotFound or Malformed when it is not one."""
    if not path.is_file():
        raise NotFound(f"ledger: no file at {path}")
    # A stopped copy has no write-ahead log beside it; `immutable` then spares it the files that WAL would create.
    frozen = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    store = SqliteStore(Datastore(f"{path.resolve().as_uri()}?mode=ro{frozen}", read_only=True))
    try:
        found = store.setting("schema")
    except sqlite3.DatabaseError as error:
        raise Malformed(f"ledger: {path} is not a ledger file ({error})") from None
    _expect_schema(found, path)
    return store


def _expect_schema(found: str | None, path: Path) -> None:
    if found != str(SCHEMA):
        raise Malformed(f"ledger: expected schema {SCHEMA} in {path}, found {found}")


def _typed(column: str, kind: str) -> str:
    """SQL for a column's value, or null where it is of another type: SQLite itself would take any."""
    return f"CASE typeof({column}) WHEN '{kind}' THEN {column} END"


def _blob(column: str) -> str:
    """SQL for a text column's bytes: read as text, a byte that is not UTF-8 would end the whole query."""
    return f"CAST({column} AS BLOB)"


def _squeezed(value: bytes | None) -> str:
    """A part of a schema, however it is spaced."""
    return " ".join((value or b"").decode(errors="replace").split())


def _ascii(value: bytes | None) -> str | None:
    return value.decode("ascii") if value is not None and value.isascii() else None


def _uuid(value: bytes | None) -> str | None:
    """A fork id from the column's 32 hexadecimal digits, in their one spelling."""
    text = _ascii(value) or ""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return str(found) if found.hex == text else None


def _hex(originator_id: UUID | str) -> str:
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id


def read_hashes(cursor: SQLiteCursor, indices: Sequence[int]) -> list[bytes]:
    """Node hashes by stored index, in the order asked for; raises NotFound when one is missing."""
    found: dict[int, bytes] = {}
    for begin in range(0, len(indices), 500):
        some = indices[begin : begin + 500]
        marks = ",".join("?" * len(some))
        select = f"SELECT stored_index, {_bytes('hash')} FROM hashes WHERE stored_index IN ({marks})"
        cursor.execute(select, list(some))
        found.update((row[0], row[1]) for row in cursor.fetchall())
    missing = [index for index in indices if index not in found]
    if missing:
        raise NotFound(f"hashes: no node hash at stored index {missing[0]}")
    return [found[index] for index in indices]


def _entries(
    cursor: SQLiteCursor, where: str, params: list[Any], limit: int, order: str = "notification_id"
) -> list[StoredEntry]:
    # Ordered by another column than the index that finds them, SQLite would sort a whole fork for its first entry.
    columns = f"notification_id, originator_id, originator_version, topic, {_bytes('state')}, record_id, accepted_at"
    cursor.execute(f"SELECT {columns} FROM entries WHERE {where} ORDER BY {order} LIMIT ?", [*params, limit])
    return [
        StoredEntry(
            leaf_index=row[0] - 1,
            fork_id=_with_hyphens(row[1]),
            version=row[2],
            topic=row[3],
            data=row[4],
            record_id=row[5],
            accepted_at=row[6],
        )
        for row in cursor.fetchall()
    ]


def _with_hyphens(digits: str) -> str:
    """What str(UUID(digits)) is, at a fifth of its cost: a replay reads thousands."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _payloads(cursor: SQLiteCursor, leaf_index: int) -> dict[int, bytes]:
    cursor.execute(f"SELECT kind, {_bytes('bytes')} FROM payloads WHERE leaf_index=?", [leaf_index])
    return {row[0]: row[1] for row in cursor.fetchall()}
