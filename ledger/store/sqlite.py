"""The store on SQLite: one file, for the embedded default. What it promises stands in `ledger.store`."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent
from eventsourcing.sqlite import SQLiteCursor

from ledger import merkle
from ledger.errors import Conflict, Fenced, Malformed, NotFound, Unavailable
from ledger.store import Epoch, Head, NewEntry, StoredEntry
from ledger.store.sqlite_outbox import OUTBOX_TABLES, SqliteOutbox
from ledger.store.sqlite_recorder import Datastore, Recorder, as_bytes, entry_tables, read_hashes
from ledger.store.sqlite_snapshot import SqliteSnapshot

_T = TypeVar("_T")

SCHEMA = 2
_MOST_FIRST_ENTRIES = 10_000  # kept in memory, of some 300 bytes each
_LOOK_AGAIN = 0.05  # seconds: SQLite tells nobody that another process has written
_MOST_IN_A_QUERY = 400  # pairs of values, far below SQLite's limit of 32,766 values
_COLUMNS = f"notification_id, originator_id, originator_version, topic, {as_bytes('state')}, record_id, accepted_at"

_TABLES = (
    *entry_tables("entries"),
    "CREATE TABLE IF NOT EXISTS payloads (leaf_index INTEGER, kind INTEGER, bytes BLOB NOT NULL, "
    "PRIMARY KEY (leaf_index, kind)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS heads (fork_id TEXT PRIMARY KEY, version INTEGER NOT NULL, "
    "head BLOB NOT NULL, interactions INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_STEPS = (_TABLES, OUTBOX_TABLES)  # what leads from each schema to the next, from none on


class SqliteWrite:
    """A `ledger.store.Write`."""

    def __init__(self, recorder: Recorder, cursor: SQLiteCursor, frontier: merkle.Frontier | None) -> None:
        self._recorder = recorder
        self._cursor = cursor
        self.frontier = frontier  # of the log as this transaction sees it, once it has added; else of some size
        self._added = False

    def heads(self, fork_ids: Collection[str]) -> dict[str, Head]:
        found: dict[str, Head] = {}
        for some in _parts(fork_ids):
            marks = ",".join("?" * len(some))
            select = f"SELECT fork_id, version, {as_bytes('head')}, interactions FROM heads WHERE fork_id IN ({marks})"
            self._cursor.execute(select, list(some))
            found.update((row[0], Head(row[1], row[2], row[3])) for row in self._cursor.fetchall())
        return found

    def records(self, keys: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], StoredEntry]:
        found = self._pairs("record_id", keys)
        return {(entry.fork_id, entry.record_id or b""): entry for entry in found}

    def entries(self, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], StoredEntry]:
        found = self._pairs("originator_version", places)
        return {(entry.fork_id, entry.version): entry for entry in found}

    def _pairs(self, column: str, pairs: Collection[tuple[str, Any]]) -> list[StoredEntry]:
        found: list[StoredEntry] = []
        for some in _parts(pairs):
            # A join, for of `(a, b) IN (VALUES …)` SQLite looks up only `a`, and then reads the whole fork.
            wanted = f"WITH wanted(fork, other) AS (VALUES {','.join(['(?,?)'] * len(some))})"
            source = f"wanted CROSS JOIN entries ON originator_id=fork AND {column}=other"
            values = [value for fork_id, other in some for value in (UUID(fork_id).hex, other)]
            self._cursor.execute(f"{wanted} SELECT {_COLUMNS} FROM {source}", values)
            found += map(_entry, self._cursor.fetchall())
        return found

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        return read_hashes(self._cursor, indices)

    def add(self, new: Sequence[NewEntry]) -> int:
        if not self._added:  # from here on nobody else can make the log grow
            self.frontier, self._added = self._recorder.frontier(self._cursor, self.frontier), True
        ids = self._recorder._insert_events(
            self._cursor,
            [StoredEvent(UUID(one.fork_id), one.version, one.topic, one.data) for one in new],
            record_ids=[one.record_id for one in new],
            accepted_at=[one.accepted_at for one in new],
            frontier=self.frontier,
        )
        payloads = [
            (notification_id - 1, kind, payload)
            for notification_id, one in zip(ids, new, strict=True)
            for kind, payload in sorted(one.payloads.items())
        ]
        if payloads:
            self._cursor.executemany("INSERT INTO payloads VALUES (?,?,?)", payloads)
        last = {one.fork_id: one for one in new}  # of a fork's entries in this batch, its head is the last
        self._cursor.executemany(
            "INSERT INTO heads VALUES (?,?,?,?) ON CONFLICT (fork_id) DO UPDATE SET "
            "version=excluded.version, head=excluded.head, interactions=excluded.interactions",
            [(one.fork_id, one.version, one.entry_hash, one.interactions) for one in last.values()],
        )
        return ids[0] - 1


class SqliteStore:
    """A ledger in one SQLite file. `open_store` and `open_read_only` make one."""

    def __init__(self, datastore: Datastore, name: str) -> None:
        self._datastore = datastore
        self.name = name
        self.recorder = Recorder(datastore)
        self.outbox = SqliteOutbox(datastore)
        self._frontier: merkle.Frontier | None = None
        self._first_entries: dict[str, StoredEntry] = {}
        self._grown = threading.Condition()

    def close(self) -> None:
        self._datastore.close()

    def take_over(self, token: bytes) -> Epoch:
        with self._datastore.transaction(commit=True) as cursor:
            epoch = Epoch(_epoch(cursor).number + 1, token)
            values = [str(epoch.number), token.hex()]
            cursor.execute("INSERT OR REPLACE INTO settings VALUES ('epoch', ?), ('epoch-token', ?)", values)
            return epoch

    def epoch(self) -> Epoch:
        with self._read() as cursor:
            return _epoch(cursor)

    @contextmanager
    def write(self, epoch: Epoch | None = None) -> Iterator[SqliteWrite]:
        try:
            with self._datastore.transaction(commit=True) as cursor:
                if epoch is not None and (newest := _epoch(cursor)) != epoch:
                    raise Fenced(f"append: another process writes to this log now (epoch {newest}, ours is {epoch})")
                # Taken out while in use: it grows with what this transaction adds, which may yet come to nothing.
                frontier, self._frontier = self._frontier, None
                write = SqliteWrite(self.recorder, cursor, frontier)
                yield write
            self._frontier = write.frontier
        except IntegrityError as error:
            raise Conflict("append: another writer took this place") from error
        except (sqlite3.OperationalError, PersistenceError) as error:
            raise Unavailable(f"append: SQLite could not write ({error})") from error
        with self._grown:
            self._grown.notify_all()

    def wait_for_growth(self, size: int, timeout: float) -> bool:
        until = time.monotonic() + timeout
        while self.size() <= size:
            left = until - time.monotonic()
            if left <= 0:
                return False
            with self._grown:
                self._grown.wait(min(_LOOK_AGAIN, left))
        return True

    @contextmanager
    def _read(self) -> Iterator[SQLiteCursor]:
        with self._datastore.transaction(commit=False) as cursor:
            yield cursor

    @contextmanager
    def snapshot(self) -> Iterator[SqliteSnapshot]:
        """Everything as it is now, while others go on writing. Raises sqlite3.DatabaseError on a broken file."""
        with self._datastore.get_connection(commit=False) as connection, connection.transaction(commit=False):
            yield SqliteSnapshot(connection, _STEPS)

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

    def first_entries(self, fork_ids: Collection[str]) -> dict[str, StoredEntry]:
        # Looked up once and kept here: another thread may clear the memory meanwhile.
        kept = ((fork_id, self._first_entries.get(fork_id)) for fork_id in fork_ids)
        found = {fork_id: entry for fork_id, entry in kept if entry is not None}
        if missing := {(fork_id, 1) for fork_id in fork_ids if fork_id not in found}:
            with self._read() as cursor:
                read = SqliteWrite(self.recorder, cursor, None).entries(missing)
            new = {fork_id: entry for (fork_id, _), entry in read.items()}
            if len(self._first_entries) + len(new) > _MOST_FIRST_ENTRIES:
                self._first_entries.clear()
            self._first_entries.update(new)
            found |= new
        return found

    def record(self, fork_id: str, record_id: bytes) -> StoredEntry | None:
        with self._read() as cursor:
            return SqliteWrite(self.recorder, cursor, None).records([(fork_id, record_id)]).get((fork_id, record_id))

    def head(self, fork_id: str) -> Head | None:
        with self._read() as cursor:
            return SqliteWrite(self.recorder, cursor, None).heads([fork_id]).get(fork_id)

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
                f"SELECT leaf_index, kind, {as_bytes('bytes')} FROM payloads "
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
            cursor.execute(f"SELECT {as_bytes('note')} FROM checkpoints ORDER BY size DESC LIMIT 1")
            row = cursor.fetchone()
            return row[0] if row else None

    def checkpoint_of(self, size: int) -> bytes | None:
        with self._read() as cursor:
            cursor.execute(f"SELECT {as_bytes('note')} FROM checkpoints WHERE size=?", [size])
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
            return _setting(cursor, name)

    def keep_setting(self, name: str, value: str) -> str:
        """Set `name` once; returns the value that stands, which is the first ever given."""
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("INSERT OR IGNORE INTO settings VALUES (?,?)", [name, value])
            cursor.execute("SELECT value FROM settings WHERE name=?", [name])
            return str(cursor.fetchone()[0])


def open_store(path: Path) -> SqliteStore:
    """Open a ledger file, creating it and its tables when there is none."""
    store = SqliteStore(Datastore(str(path)), str(path))
    with store._datastore.transaction(commit=True) as cursor:
        _migrate(cursor, path)
    return store


def _migrate(cursor: SQLiteCursor, path: Path) -> None:
    cursor.execute("SELECT 1 FROM sqlite_schema WHERE type='table' AND name='settings'")
    found = _setting(cursor, "schema") if cursor.fetchone() else None
    if found is not None:
        _expect_schema(found, path)
    for step in _STEPS:  # whole, since they make only what is not there
        for statement in step:
            cursor.execute(statement)
    if found != str(SCHEMA):
        cursor.execute("INSERT OR REPLACE INTO settings VALUES ('schema', ?)", [str(SCHEMA)])


def open_read_only(path: Path) -> SqliteStore:
    """Open an existing ledger file without changing it. Raises NotFound or Malformed when it is not one."""
    if not path.is_file():
        raise NotFound(f"ledger: no file at {path}")
    # A stopped copy has no write-ahead log beside it; `immutable` then spares it the files that WAL would create.
    frozen = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    store = SqliteStore(Datastore(f"{path.resolve().as_uri()}?mode=ro{frozen}", read_only=True), str(path))
    try:
        found = store.setting("schema")
    except sqlite3.DatabaseError as error:
        raise Malformed(f"ledger: {path} is not a ledger file ({error})") from None
    _expect_schema(found, path)
    return store


def _expect_schema(found: str | None, path: Path) -> None:
    """One that can be read as it is: what each step adds, a file that is only read can do without."""
    if found not in [str(schema) for schema in range(1, SCHEMA + 1)]:
        raise Malformed(f"ledger: expected schema {SCHEMA} in {path}, found {found}")


def _setting(cursor: SQLiteCursor, name: str) -> str | None:
    cursor.execute("SELECT value FROM settings WHERE name=?", [name])
    row = cursor.fetchone()
    return str(row[0]) if row else None


def _epoch(cursor: SQLiteCursor) -> Epoch:
    cursor.execute("SELECT name, value FROM settings WHERE name IN ('epoch', 'epoch-token')")
    found = {row[0]: row[1] for row in cursor.fetchall()}
    return Epoch(int(found.get("epoch", "0")), bytes.fromhex(found.get("epoch-token", "")))


def _parts(values: Collection[_T]) -> Iterator[Sequence[_T]]:
    listed = list(values)
    return (listed[begin : begin + _MOST_IN_A_QUERY] for begin in range(0, len(listed), _MOST_IN_A_QUERY))


def _entries(
    cursor: SQLiteCursor, where: str, params: list[Any], limit: int, order: str = "notification_id"
) -> list[StoredEntry]:
    # Ordered by another column than the index that finds them, SQLite would sort a whole fork for its first entry.
    cursor.execute(f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY {order} LIMIT ?", [*params, limit])
    return [_entry(row) for row in cursor.fetchall()]


def _entry(row: Sequence[Any]) -> StoredEntry:
    return StoredEntry(
        leaf_index=row[0] - 1,
        fork_id=_with_hyphens(row[1]),
        version=row[2],
        topic=row[3],
        data=row[4],
        record_id=row[5],
        accepted_at=row[6],
    )


def _with_hyphens(digits: str) -> str:
    """What str(UUID(digits)) is, at a fifth of its cost: a replay reads thousands."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _payloads(cursor: SQLiteCursor, leaf_index: int) -> dict[int, bytes]:
    cursor.execute(f"SELECT kind, {as_bytes('bytes')} FROM payloads WHERE leaf_index=?", [leaf_index])
    return {row[0]: row[1] for row in cursor.fetchall()}
