"""The outbox on SQLite. What it promises stands in `ledger.store`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.persistence import PersistenceError
from eventsourcing.sqlite import SQLiteCursor

from ledger.errors import Unavailable
from ledger.store import Attempt, Settled, readable
from ledger.store.sqlite_recorder import Datastore, as_bytes

# `settled` leads an index, so that the few open attempts are found among the many that are not. A cost is text: wei
# soon pass what SQLite's integers hold.
OUTBOX_TABLES = (
    "CREATE TABLE IF NOT EXISTS anchor_backends (backend TEXT PRIMARY KEY, cost TEXT NOT NULL, halted TEXT)",
    "CREATE TABLE IF NOT EXISTS anchor_attempts (backend TEXT NOT NULL, nonce INTEGER NOT NULL, "
    "attempt INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, data BLOB NOT NULL, at INTEGER NOT NULL, "
    "settled INTEGER NOT NULL, PRIMARY KEY (backend, nonce, attempt), UNIQUE (settled, backend, nonce, attempt))",
    "CREATE TABLE IF NOT EXISTS anchor_settled (backend TEXT NOT NULL, nonce INTEGER NOT NULL, "
    "attempt INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, anchored INTEGER NOT NULL, "
    "block INTEGER NOT NULL, block_hash BLOB NOT NULL, cost TEXT NOT NULL, at INTEGER NOT NULL, "
    "PRIMARY KEY (backend, nonce), UNIQUE (backend, anchored, size, nonce))",
)
_ATTEMPT = f"SELECT backend, nonce, attempt, size, {as_bytes('root')}, {as_bytes('data')}, at FROM anchor_attempts"
_SETTLED = (
    f"SELECT backend, nonce, attempt, size, {as_bytes('root')}, anchored, block, {as_bytes('block_hash')}, cost, at "
    "FROM anchor_settled"
)


class SqliteOutbox:
    """A `ledger.store.Outbox`."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self._there = False

    @contextmanager
    def _written(self) -> Iterator[SQLiteCursor]:
        try:
            with self._datastore.transaction(commit=True) as cursor:
                yield cursor
        except (sqlite3.OperationalError, PersistenceError) as error:
            raise Unavailable(f"outbox: SQLite could not write ({error})") from error

    @contextmanager
    def _read(self) -> Iterator[SQLiteCursor | None]:
        """One view of the outbox; None in a file that was made before there was one, and is only read."""
        try:
            with self._datastore.transaction(commit=False) as cursor:
                self._there = self._there or _first(cursor, _THERE) is not None
                yield cursor if self._there else None
        except (sqlite3.OperationalError, PersistenceError) as error:
            raise Unavailable(f"outbox: SQLite could not read ({error})") from error

    def backends(self) -> list[str]:
        with self._read() as cursor:
            return _backends(cursor) if cursor else []

    def keep(self, attempt: Attempt) -> bool:
        one = attempt
        with self._written() as cursor:
            _begin(cursor, one.backend)
            if _halted(cursor, one.backend) is not None:
                return False
            kept = _attempt(cursor, one.backend, one.nonce, one.attempt)
            if kept is not None:
                return (kept.size, kept.root, kept.data) == (one.size, one.root, one.data)
            if _settlement(cursor, one.backend, one.nonce) is not None:
                return False
            row = [one.backend, one.nonce, one.attempt, one.size, one.root, one.data, one.at]
            cursor.execute("INSERT INTO anchor_attempts VALUES (?,?,?,?,?,?,?,0)", row)
            return True

    def open(self, backend: str) -> list[Attempt]:
        with self._read() as cursor:
            return _open(cursor, backend) if cursor else []

    def attempt(self, backend: str, nonce: int, attempt: int) -> Attempt | None:
        with self._read() as cursor:
            return _attempt(cursor, backend, nonce, attempt) if cursor else None

    def settle(self, settled: Settled) -> None:
        one = settled
        with self._written() as cursor:
            kept = _settlement(cursor, one.backend, one.nonce)
            if kept is not None:
                kept.expect_same(one)
                return
            _begin(cursor, one.backend)
            row = [one.backend, one.nonce, one.attempt, one.size, one.root, one.anchored]
            row += [one.block, one.block_hash, str(one.cost), one.at]
            cursor.execute("INSERT INTO anchor_settled VALUES (?,?,?,?,?,?,?,?,?,?)", row)
            cursor.execute("UPDATE anchor_attempts SET settled=1 WHERE backend=? AND nonce=?", [one.backend, one.nonce])
            cost = str(_cost(cursor, one.backend) + one.cost)
            cursor.execute("UPDATE anchor_backends SET cost=? WHERE backend=?", [cost, one.backend])

    def settled(self, backend: str, after: int = -1, limit: int = 1000) -> list[Settled]:
        with self._read() as cursor:
            if cursor is None:
                return []
            cursor.execute(f"{_SETTLED} WHERE backend=? AND nonce>? ORDER BY nonce LIMIT ?", [backend, after, limit])
            return [_as_settled(row) for row in cursor.fetchall()]

    def last_anchored(self, backend: str) -> Settled | None:
        with self._read() as cursor:
            where = "WHERE backend=? AND anchored=1 ORDER BY size DESC, nonce DESC LIMIT 1"
            row = _first(cursor, f"{_SETTLED} {where}", backend) if cursor else None
            return _as_settled(row) if row else None

    def cost(self, backend: str) -> int:
        with self._read() as cursor:
            return _cost(cursor, backend) if cursor else 0

    def anchors(self, size: int) -> list[Attempt | Settled]:
        with self._read() as cursor:
            if cursor is None:
                return []
            return [one for backend in _backends(cursor) for one in _anchors(cursor, backend, size)]

    def halt(self, backend: str, reason: str) -> None:
        with self._written() as cursor:
            _begin(cursor, backend)
            halt = "UPDATE anchor_backends SET halted=IFNULL(halted, ?) WHERE backend=?"
            cursor.execute(halt, [readable(reason), backend])

    def halted(self, backend: str) -> str | None:
        with self._read() as cursor:
            return _halted(cursor, backend) if cursor else None

    def resume(self, backend: str) -> None:
        with self._written() as cursor:
            cursor.execute("UPDATE anchor_backends SET halted=NULL WHERE backend=?", [backend])


_THERE = "SELECT 1 FROM sqlite_schema WHERE type='table' AND name='anchor_settled'"


def _backends(cursor: SQLiteCursor) -> list[str]:
    cursor.execute("SELECT backend FROM anchor_backends ORDER BY backend")
    return [str(backend) for (backend,) in cursor.fetchall()]


def _begin(cursor: SQLiteCursor, backend: str) -> None:
    cursor.execute("INSERT OR IGNORE INTO anchor_backends VALUES (?, '0', NULL)", [backend])


def _first(cursor: SQLiteCursor, select: str, *values: Any) -> Sequence[Any] | None:
    cursor.execute(select, values)
    row: Sequence[Any] | None = cursor.fetchone()
    return row


def _open(cursor: SQLiteCursor, backend: str) -> list[Attempt]:
    cursor.execute(f"{_ATTEMPT} WHERE settled=0 AND backend=? ORDER BY nonce, attempt", [backend])
    return [Attempt(*row) for row in cursor.fetchall()]


def _attempt(cursor: SQLiteCursor, backend: str, nonce: int, attempt: int) -> Attempt | None:
    row = _first(cursor, f"{_ATTEMPT} WHERE backend=? AND nonce=? AND attempt=?", backend, nonce, attempt)
    return Attempt(*row) if row else None


def _settlement(cursor: SQLiteCursor, backend: str, nonce: int) -> Settled | None:
    row = _first(cursor, f"{_SETTLED} WHERE backend=? AND nonce=?", backend, nonce)
    return _as_settled(row) if row else None


def _anchors(cursor: SQLiteCursor, backend: str, size: int) -> list[Attempt | Settled]:
    where = "WHERE backend=? AND anchored=1 AND size>=? ORDER BY size, nonce LIMIT 1"
    row = _first(cursor, f"{_SETTLED} {where}", backend, size)
    if row is None:
        underway = [one for one in _open(cursor, backend) if one.size >= size]
        return [one for one in underway if one.size == min(each.size for each in underway)]
    settled = _as_settled(row)
    cursor.execute(f"{_ATTEMPT} WHERE backend=? AND nonce=? ORDER BY attempt", [backend, settled.nonce])
    return [*(Attempt(*each) for each in cursor.fetchall()), settled]


def _as_settled(row: Sequence[Any]) -> Settled:
    backend, nonce, attempt, size, root, anchored, block, block_hash, cost, at = row
    return Settled(backend, nonce, attempt, size, root, bool(anchored), block, block_hash, int(cost), at)


def _cost(cursor: SQLiteCursor, backend: str) -> int:
    row = _first(cursor, "SELECT cost FROM anchor_backends WHERE backend=?", backend)
    return int(row[0]) if row else 0


def _halted(cursor: SQLiteCursor, backend: str) -> str | None:
    row = _first(cursor, "SELECT halted FROM anchor_backends WHERE backend=?", backend)
    return row[0] if row else None
