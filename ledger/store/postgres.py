"""The store on PostgreSQL: many processes, one log. What it promises stands in `ledger.store`.

An append holds the one row of `head` from its first statement to its commit, so that leaf indices are given out in
commit order. What it adds waits in memory until the block is left, or until it reads: rows, heads and commit then go
to the server together, and an append of a few entries waits for it twice in all, besides its own reads.

A node hash stands in the row of the leaf that completes the node, so that an append writes no rows for them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from ledger import merkle
from ledger.errors import Fenced, LedgerError, Malformed, NotFound
from ledger.store import Epoch, Head, NewEntry, StoredEntry
from ledger.store.postgres_growth import Growth
from ledger.store.postgres_outbox import PostgresOutbox
from ledger.store.postgres_recorder import (
    Connection,
    Datastore,
    EntryRow,
    Recorder,
    connect,
    connect_reader,
    conninfo,
    copy,
    copy_entries,
    entry_rows,
    few,
    head_row,
    insert,
    insert_entries,
    ledger_errors,
    move_head,
    name_of,
    read_hashes,
)
from ledger.store.postgres_schema import KINDS, SCHEMA, STEPS
from ledger.store.postgres_snapshot import PostgresSnapshot

_MOST_FIRST_ENTRIES = 10_000  # kept in memory, of some 300 bytes each
_WITHOUT_OUTBOX = 2  # the schema
_SCHEMA_LOCK = 0x666F726B  # any number: two that make a ledger of one database at once wait for each other

_ENTRY = "e.notification_id, e.originator_id::text, e.originator_version, e.topic, e.state, e.record_id, e.accepted_at"
_PUT_HEADS = (
    "ON CONFLICT (fork_id) DO UPDATE SET version = excluded.version, head = excluded.head, "
    "interactions = excluded.interactions"
)
_PAYLOAD_TYPES = ("bigint", "bytea", "bytea", "bytea", "bytea")
_NO_PAYLOADS = (None,) * len(KINDS)
_HEAD_TYPES = ("uuid", "bigint", "bytea", "bigint")

_Cursor = psycopg.Cursor[Any]


class PostgresWrite:
    """A `ledger.store.Write`. What was added is sent when the transaction reads or ends."""

    def __init__(
        self, connection: Connection, name: str, size: int, root: bytes, known: merkle.Frontier | None
    ) -> None:
        self._connection = connection
        self._name = name
        self._cursor = connection.cursor(row_factory=tuple_row)
        self._size, self._root = size, root
        # A log of one size and root has one frontier.
        same = known is not None and (known.size, known.root()) == (size, root)
        self.frontier = known if same else None  # read when something is added
        self._entries: list[EntryRow] = []
        self._payloads: list[tuple[int | bytes | None, ...]] = []
        self._heads: dict[str, Head] = {}
        self._failure: LedgerError | None = None  # of a statement: with it the transaction has come to nothing

    @contextmanager
    def _asked(self) -> Iterator[_Cursor]:
        try:
            with ledger_errors("append", self._name):
                self._send()
                yield self._cursor
        except LedgerError as error:
            if self._connection.info.transaction_status != TransactionStatus.INTRANS:
                self._failure = error
            raise

    def heads(self, fork_ids: Collection[str]) -> dict[str, Head]:
        with self._asked() as cursor:
            return _heads(cursor, fork_ids)

    def records(self, keys: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], StoredEntry]:
        with self._asked() as cursor:
            return _records(cursor, keys)

    def entries(self, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], StoredEntry]:
        with self._asked() as cursor:
            return _places(cursor, places)

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        with self._asked() as cursor:
            return read_hashes(cursor, indices)

    def add(self, new: Sequence[NewEntry]) -> int:
        payloads = [_by_column(one) for one in new]
        if self.frontier is None:
            frontier = merkle.Frontier.at(self._size, self.hashes)
            if frontier.root() != self._root:
                raise Malformed(f"head: expected the root of {self._size} leaves, another one stands there")
            self.frontier = frontier
        first = self.frontier.size
        self._entries += entry_rows(
            self.frontier,
            [(n.fork_id, n.version, n.topic, n.data, n.entry_hash, n.record_id, n.accepted_at) for n in new],
        )
        self._payloads += [(leaf, *columns) for leaf, columns in enumerate(payloads, first) if columns != _NO_PAYLOADS]
        for one in new:
            self._heads[one.fork_id] = Head(one.version, one.entry_hash, one.interactions)
        return first

    def commit(self) -> int:
        """Send what is left, and commit. Returns the log's new size."""
        if self._failure is not None:
            raise self._failure
        if self.frontier is None or self.frontier.size == self._size:
            self._connection.rollback()  # nothing was added
            return self._size
        self._send_many()
        with self._connection.pipeline():
            self._send_few()
            self._send_heads()
            move_head(self._cursor, self.frontier)
            self._cursor.execute("COMMIT", prepare=False)
        return self.frontier.size

    def _send(self) -> None:
        if self._heads:
            self._send_many()
            with self._connection.pipeline():
                self._send_few()
                self._send_heads()

    def _send_many(self) -> None:
        if not few(self._entries):
            copy_entries(self._cursor, self._entries)
            self._entries = []
        if not few(self._payloads):
            copy(self._cursor, "payloads", _PAYLOAD_TYPES, self._payloads)
            self._payloads = []

    def _send_few(self) -> None:
        if self._entries:
            insert_entries(self._cursor, self._entries)
            self._entries = []
        if self._payloads:
            insert(self._cursor, "payloads", _PAYLOAD_TYPES, self._payloads)
            self._payloads = []

    def _send_heads(self) -> None:
        rows = [(fork_id, head.version, head.entry_hash, head.interactions) for fork_id, head in self._heads.items()]
        if rows:
            insert(self._cursor, "heads", _HEAD_TYPES, rows, _PUT_HEADS)
            self._heads = {}


class PostgresStore:
    """A ledger in one PostgreSQL database. `open_store` and `open_read_only` make one."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.name = name_of(url)
        self._conninfo = conninfo(url)
        self._datastore = Datastore(url, read_only=read_only)
        self._pool = self._datastore.pool
        self._pool.open()
        self.recorder = Recorder(self._datastore)
        self.outbox = PostgresOutbox(self._datastore, self.name)
        self._frontier: merkle.Frontier | None = None
        self._first_entries: dict[str, StoredEntry] = {}
        self._growth = Growth(lambda: connect_reader(self._conninfo))

    def close(self) -> None:
        self._growth.close()
        self._datastore.close()

    def take_over(self, token: bytes) -> Epoch:
        with self._query("take over") as cursor:
            cursor.execute("UPDATE public.head SET epoch = epoch + 1, token = %b RETURNING epoch, token", [token])
            return Epoch(*_one(cursor))

    def epoch(self) -> Epoch:
        with self._query() as cursor:
            cursor.execute("SELECT epoch, token FROM public.head")
            return Epoch(*_one(cursor))

    @contextmanager
    def write(self, epoch: Epoch | None = None) -> Iterator[PostgresWrite]:
        with ledger_errors("append", self.name):
            with self._pool.connection() as connection:
                size, root, newest = _begin(connection)
                if epoch not in (None, newest):
                    raise Fenced(f"append: another process writes to this log now (epoch {newest}, ours is {epoch})")
                # Taken out while in use: it grows with what this transaction adds, which may yet come to nothing.
                frontier, self._frontier = self._frontier, None
                write = PostgresWrite(connection, self.name, size, root, frontier)
                yield write
                size = write.commit()
            self._frontier = write.frontier
        self._growth.seen(size)

    def wait_for_growth(self, size: int, timeout: float) -> bool:
        until = time.monotonic() + timeout
        return self.size() > size or self._growth.wait(size, until - time.monotonic())

    @contextmanager
    def _query(self, doing: str = "read") -> Iterator[_Cursor]:
        """A connection on which each statement is a transaction of its own."""
        with ledger_errors(doing, self.name), self._pool.connection() as connection:
            yield connection.cursor(row_factory=tuple_row)

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        # A connection of its own: an audit takes its time.
        with ledger_errors("audit", self.name), connect_reader(self._conninfo) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SELECT 1")  # with the first statement the snapshot is taken
            yield PostgresSnapshot(connection)
            connection.rollback()

    def size(self) -> int:
        with self._query() as cursor:
            cursor.execute("SELECT size FROM public.head")
            return int(_one(cursor)[0])

    def missing(self, size: int) -> int:
        with self._query() as cursor:
            cursor.execute("SELECT count(*) FROM public.entries WHERE notification_id BETWEEN 1 AND %s", [size])
            return size - int(_one(cursor)[0])

    def entries(self, first: int, limit: int) -> list[StoredEntry]:
        with self._query() as cursor:
            return _entries(cursor, "WHERE e.notification_id > %s ORDER BY e.notification_id LIMIT %s", [first, limit])

    def fork_entries(self, fork_id: str, after: int, limit: int) -> list[StoredEntry]:
        where = "WHERE e.originator_id = %s AND e.originator_version > %s ORDER BY e.originator_version LIMIT %s"
        with self._query() as cursor:
            return _entries(cursor, where, [fork_id, after, limit])

    def first_entries(self, fork_ids: Collection[str]) -> dict[str, StoredEntry]:
        known = {fork_id: one for fork_id in fork_ids if (one := self._first_entries.get(fork_id)) is not None}
        missing = [(fork_id, 1) for fork_id in fork_ids if fork_id not in known]
        if missing:
            with self._query() as cursor:
                found = {fork_id: entry for (fork_id, _), entry in _places(cursor, missing).items()}
            if len(self._first_entries) + len(found) > _MOST_FIRST_ENTRIES:
                self._first_entries.clear()
            self._first_entries.update(found)
            known.update(found)
        return known

    def record(self, fork_id: str, record_id: bytes) -> StoredEntry | None:
        with self._query() as cursor:
            return _records(cursor, [(fork_id, record_id)]).get((fork_id, record_id))

    def head(self, fork_id: str) -> Head | None:
        with self._query() as cursor:
            return _heads(cursor, [fork_id]).get(fork_id)

    def heads(self) -> dict[str, Head]:
        with self._query() as cursor:
            return _heads(cursor, None)

    def payloads(self, leaf_index: int) -> dict[int, bytes]:
        return self.payloads_of(leaf_index, leaf_index).get(leaf_index, {})

    def payloads_of(self, first: int, last: int, kind: int | None = None) -> dict[int, dict[int, bytes]]:
        kinds = list(KINDS) if kind is None else [kind] if kind in KINDS else []
        columns = "".join(f", {KINDS[each]}" for each in kinds)
        with self._query() as cursor:
            select = f"SELECT leaf_index{columns} FROM public.payloads WHERE leaf_index BETWEEN %s AND %s"
            cursor.execute(select.encode(), [first, last], binary=True)
            found = {
                leaf_index: {each: payload for each, payload in zip(kinds, row, strict=True) if payload is not None}
                for leaf_index, *row in cursor
            }
        return {leaf_index: payloads for leaf_index, payloads in found.items() if payloads}

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        with self._query() as cursor:
            return read_hashes(cursor, indices)

    def checkpoint(self) -> bytes | None:
        with self._query() as cursor:
            cursor.execute("SELECT note FROM public.checkpoints ORDER BY size DESC LIMIT 1", binary=True)
            row = cursor.fetchone()
            return bytes(row[0]) if row else None

    def checkpoint_of(self, size: int) -> bytes | None:
        with self._query() as cursor:
            cursor.execute("SELECT note FROM public.checkpoints WHERE size=%s", [size], binary=True)
            row = cursor.fetchone()
            return bytes(row[0]) if row else None

    def save_checkpoint(self, size: int, note: bytes, after: int | None) -> bool:
        with self._query("save a checkpoint") as cursor:
            # Locked, then looked at: of two who both found the same largest one, the second must see the first's.
            cursor.execute("BEGIN; LOCK TABLE public.checkpoints IN EXCLUSIVE MODE")
            cursor.execute(
                "INSERT INTO public.checkpoints SELECT %s, %s "
                "WHERE (SELECT max(size) FROM public.checkpoints) IS NOT DISTINCT FROM %s::bigint",
                [size, note, after],
            )
            kept = cursor.rowcount == 1
            cursor.execute("COMMIT")
            return kept

    def setting(self, name: str) -> str | None:
        with self._query() as cursor:
            return _setting(cursor, name)

    def keep_setting(self, name: str, value: str) -> str:
        with self._query("keep a setting") as cursor:
            cursor.execute("INSERT INTO public.settings VALUES (%s, %s) ON CONFLICT DO NOTHING", [name, value])
            return cast(str, _setting(cursor, name))


# --- opening ---


def open_store(url: str) -> PostgresStore:
    """Open a ledger in a database, making its tables when there are none.

    Raises Unavailable when the database cannot be reached, Malformed when a newer program made its tables.
    """
    info, name = conninfo(url), name_of(url)
    with ledger_errors("open", name), connect(info) as connection:
        if _schema(connection) != SCHEMA:
            _migrate(connection, name)
    return PostgresStore(url)


def open_read_only(url: str) -> PostgresStore:
    """Open a ledger without being able to change it. Raises NotFound or Malformed when there is none.

    One of the schema before is read too: the outbox that it lacks is an empty one.
    """
    info, name = conninfo(url), name_of(url)
    with ledger_errors("open", name), connect(info) as connection:
        found = _schema(connection)
    if found == 0:
        raise NotFound(f"ledger: none in {name}")
    if found != _WITHOUT_OUTBOX:
        _expect_schema(found, name)
    return PostgresStore(url, read_only=True)


def _migrate(connection: Connection, name: str) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])
        found = _schema(connection)  # again: another process may have done it meanwhile
        if found > SCHEMA:
            _expect_schema(found, name)
        for step in STEPS[found:]:
            for statement in step:
                connection.execute(statement.encode())
        connection.execute(
            "INSERT INTO public.settings VALUES ('schema', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [str(SCHEMA)],
        )


def _schema(connection: Connection) -> int:
    """The schema that a database's tables have; 0 where there are none."""
    # Asked of the rows: `to_regclass` answers from a cache that may be older than a lock which was waited for.
    tables = "SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'public' AND tablename = 'settings'"
    if connection.execute(tables).fetchone() is None:
        return 0
    found = _setting(connection.cursor(), "schema") or ""
    if not found.isdecimal():
        raise Malformed(f"ledger: expected schema {SCHEMA}, found a table `settings` that names none")
    return int(found)


def _expect_schema(found: int, name: str) -> None:
    if found != SCHEMA:
        raise Malformed(f"ledger: expected schema {SCHEMA} in {name}, found {found}")


# --- statements ---


def _begin(connection: Connection) -> tuple[int, bytes, Epoch]:
    """Take the turn to append, in one round trip. Returns the log's size, root and newest epoch."""
    cursor = connection.cursor(row_factory=tuple_row)
    cursor.execute("BEGIN; SELECT size, root, epoch, token FROM public.head FOR UPDATE")
    cursor.nextset()
    return head_row(cursor)


def _heads(cursor: _Cursor, fork_ids: Collection[str] | None) -> dict[str, Head]:
    select = "SELECT fork_id::text, version, head, interactions FROM public.heads"
    if fork_ids is None:
        cursor.execute(select.encode(), binary=True)
    else:
        cursor.execute(f"{select} WHERE fork_id = ANY(%b::uuid[])".encode(), [list(fork_ids)], binary=True)
    return {fork_id: Head(version, head, interactions) for fork_id, version, head, interactions in cursor}


def _records(cursor: _Cursor, keys: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], StoredEntry]:
    join = "JOIN unnest(%b::uuid[], %b::bytea[]) AS k (fork, id) ON e.originator_id = k.fork AND e.record_id = k.id"
    return {(found.fork_id, cast(bytes, found.record_id)): found for found in _pairs(cursor, join, keys)}


def _places(cursor: _Cursor, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], StoredEntry]:
    join = (
        "JOIN unnest(%b::uuid[], %b::bigint[]) AS k (fork, version) "
        "ON e.originator_id = k.fork AND e.originator_version = k.version"
    )
    return {(found.fork_id, found.version): found for found in _pairs(cursor, join, places)}


def _pairs(cursor: _Cursor, join: str, pairs: Collection[tuple[str, Any]]) -> list[StoredEntry]:
    return _entries(cursor, join, [list(column) for column in zip(*pairs, strict=True)]) if pairs else []


def _entries(cursor: _Cursor, rest: str, params: Sequence[Any]) -> list[StoredEntry]:
    cursor.execute(f"SELECT {_ENTRY} FROM public.entries e {rest}".encode(), params, binary=True)
    return [StoredEntry(number - 1, *row) for number, *row in cursor]


def _by_column(new: NewEntry) -> tuple[bytes | None, ...]:
    unknown = new.payloads.keys() - KINDS.keys()
    if unknown:
        raise Malformed(f"payload kind: expected one of {sorted(KINDS)}, {min(unknown)} came")
    return tuple(new.payloads.get(kind) for kind in KINDS)


def _setting(cursor: _Cursor, name: str) -> str | None:
    cursor.execute("SELECT value FROM public.settings WHERE name = %s", [name])
    row = cursor.fetchone()
    return str(row[0]) if row else None


def _one(cursor: _Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise Malformed("head: expected one row, none is there")
    return cast(tuple[Any, ...], row)
