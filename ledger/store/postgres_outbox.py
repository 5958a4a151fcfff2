"""The outbox on PostgreSQL. What it promises stands in `ledger.store`.

Whoever writes holds the backend's row of `anchor_backends` until the commit: what it reads does not change under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from ledger.store import Attempt, Settled, readable
from ledger.store.postgres_recorder import Datastore, ledger_errors

_ATTEMPT = "SELECT backend, nonce, attempt, size, root, data, at FROM public.anchor_attempts"
_SETTLED = (
    "SELECT backend, nonce, attempt, size, root, anchored, block, block_hash, cost, at FROM public.anchor_settled"
)

_BACKENDS = 'SELECT backend FROM public.anchor_backends ORDER BY backend COLLATE "C"'

_Cursor = psycopg.Cursor[Any]


class PostgresOutbox:
    """A `ledger.store.Outbox`."""

    def __init__(self, datastore: Datastore, name: str) -> None:
        self._pool = datastore.pool
        self._name = name

    @contextmanager
    def _written(self, backend: str) -> Iterator[tuple[_Cursor, str | None]]:
        """A transaction that has its turn at the backend, and why that was halted."""
        with ledger_errors("outbox", self._name), self._pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=tuple_row)
            cursor.execute("INSERT INTO public.anchor_backends VALUES (%s, 0, NULL) ON CONFLICT DO NOTHING", [backend])
            cursor.execute("SELECT halted FROM public.anchor_backends WHERE backend = %s FOR UPDATE", [backend])
            row = cursor.fetchone()
            yield cursor, row[0] if row else None

    def _read(self, select: str, *values: Any) -> list[Any]:
        with ledger_errors("outbox", self._name), self._pool.connection() as connection:
            return _rows(connection.cursor(row_factory=tuple_row), select, *values)

    def backends(self) -> list[str]:
        return [str(backend) for (backend,) in self._read(_BACKENDS)]

    def keep(self, attempt: Attempt) -> bool:
        one = attempt
        with self._written(one.backend) as (cursor, halted):
            if halted is not None:
                return False
            for kept in _attempts(_rows(cursor, f"{_ATTEMPT} {_THIS_ONE}", one.backend, one.nonce, one.attempt)):
                return (kept.size, kept.root, kept.data) == (one.size, one.root, one.data)
            if _rows(cursor, f"{_SETTLED} {_THIS_NONCE}", one.backend, one.nonce):
                return False
            cursor.execute(
                "INSERT INTO public.anchor_attempts VALUES (%s, %s, %s, %s, %b, %b, %s, false)",
                [one.backend, one.nonce, one.attempt, one.size, one.root, one.data, one.at],
            )
            return True

    def open(self, backend: str) -> list[Attempt]:
        return _attempts(self._read(f"{_ATTEMPT} {_OPEN}", backend))

    def attempt(self, backend: str, nonce: int, attempt: int) -> Attempt | None:
        found = _attempts(self._read(f"{_ATTEMPT} {_THIS_ONE}", backend, nonce, attempt))
        return found[0] if found else None

    def settle(self, settled: Settled) -> None:
        one = settled
        with self._written(one.backend) as (cursor, _):
            for kept in _settlements(_rows(cursor, f"{_SETTLED} {_THIS_NONCE}", one.backend, one.nonce)):
                kept.expect_same(one)
                return
            cursor.execute(
                "INSERT INTO public.anchor_settled VALUES (%s, %s, %s, %s, %b, %s, %s, %b, %s, %s)",
                [
                    one.backend, one.nonce, one.attempt, one.size, one.root, one.anchored,
                    one.block, one.block_hash, one.cost, one.at,
                ],
            )  # fmt: skip
            nonce = [one.backend, one.nonce]
            cursor.execute("UPDATE public.anchor_attempts SET settled = true WHERE backend = %s AND nonce = %s", nonce)
            cost = [one.cost, one.backend]
            cursor.execute("UPDATE public.anchor_backends SET cost = cost + %s WHERE backend = %s", cost)

    def settled(self, backend: str, after: int = -1, limit: int = 1000) -> list[Settled]:
        where = "WHERE backend = %s AND nonce > %s ORDER BY nonce LIMIT %s"
        return _settlements(self._read(f"{_SETTLED} {where}", backend, after, limit))

    def last_anchored(self, backend: str) -> Settled | None:
        where = "WHERE backend = %s AND anchored ORDER BY size DESC, nonce DESC LIMIT 1"
        found = _settlements(self._read(f"{_SETTLED} {where}", backend))
        return found[0] if found else None

    def cost(self, backend: str) -> int:
        found = self._read("SELECT cost FROM public.anchor_backends WHERE backend = %s", backend)
        return int(found[0][0]) if found else 0

    def anchors(self, size: int) -> list[Attempt | Settled]:
        with ledger_errors("outbox", self._name), self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = [one for (backend,) in _rows(cursor, _BACKENDS) for one in _anchors(cursor, backend, size)]
            cursor.execute("ROLLBACK")
            return found

    def halt(self, backend: str, reason: str) -> None:
        with self._written(backend) as (cursor, halted):
            if halted is None:
                halt = "UPDATE public.anchor_backends SET halted = %s WHERE backend = %s"
                cursor.execute(halt, [readable(reason), backend])

    def halted(self, backend: str) -> str | None:
        found = self._read("SELECT halted FROM public.anchor_backends WHERE backend = %s", backend)
        return found[0][0] if found else None

    def resume(self, backend: str) -> None:
        with self._written(backend) as (cursor, _):
            cursor.execute("UPDATE public.anchor_backends SET halted = NULL WHERE backend = %s", [backend])


_OPEN = "WHERE NOT settled AND backend = %s ORDER BY nonce, attempt"
_THIS_ONE = "WHERE backend = %s AND nonce = %s AND attempt = %s"
_THIS_NONCE = "WHERE backend = %s AND nonce = %s"


def _rows(cursor: _Cursor, select: str, *values: Any) -> list[Any]:
    try:
        cursor.execute(select.encode(), values)
    except psycopg.errors.UndefinedTable:  # of a ledger made before there was an outbox, and only read
        return []
    return cursor.fetchall()


def _attempts(rows: list[Any]) -> list[Attempt]:
    return [Attempt(*row) for row in rows]


def _settlements(rows: list[Any]) -> list[Settled]:
    return [
        Settled(backend, nonce, attempt, size, root, anchored, block, block_hash, int(cost), at)
        for backend, nonce, attempt, size, root, anchored, block, block_hash, cost, at in rows
    ]


def _anchors(cursor: _Cursor, backend: str, size: int) -> list[Attempt | Settled]:
    where = "WHERE backend = %s AND anchored AND size >= %s ORDER BY size, nonce LIMIT 1"
    settled = _settlements(_rows(cursor, f"{_SETTLED} {where}", backend, size))
    if not settled:
        underway = [one for one in _attempts(_rows(cursor, f"{_ATTEMPT} {_OPEN}", backend)) if one.size >= size]
        return [one for one in underway if one.size == min(each.size for each in underway)]
    nonce = f"{_ATTEMPT} {_THIS_NONCE} ORDER BY attempt"
    return [*_attempts(_rows(cursor, nonce, backend, settled[0].nonce)), *settled]
