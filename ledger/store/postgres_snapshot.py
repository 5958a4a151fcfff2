"""A PostgreSQL ledger as an audit reads it: streamed in order from one moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg

from ledger import merkle
from ledger.errors import Malformed
from ledger.store import Row
from ledger.store.postgres_schema import CATALOGUE, KINDS, own_catalogue

_AT_ONCE = 256  # rows a round trip; more is slower
_PAYLOADS_AT_ONCE = 20  # a payload may have a megabyte


class PostgresSnapshot:
    """A `ledger.store.Snapshot`, over a connection with an open transaction that only reads."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._numbers = itertools.count()

    def _rows(self, select: str, types: str, at_once: int = _AT_ONCE) -> Iterator[Any]:
        """What a query finds, streamed. PostgreSQL keeps a column to its type: that it has this one is all to check."""
        # A cursor for each, at the server: an audit reads entries, payloads and hashes side by side.
        with self._connection.cursor(f"audit_{next(self._numbers)}") as cursor:
            cursor.itersize = at_once
            cursor.execute(select.encode(), binary=True)
            found = [column.type_display for column in cursor.description or ()]
            if found != types.split():
                raise Malformed(f"ledger: expected columns of {types}, found {' '.join(found)} ({select})")
            yield from cursor

    def _one(self, select: str) -> Any:
        row = self._connection.execute(select.encode()).fetchone()
        return row[0] if row else None

    def problems(self) -> list[str]:
        """What the catalogue and the server's own counters say, and a head that its entries do not bear out."""
        found = []
        heads = self._connection.execute("SELECT size FROM public.head").fetchall()
        if len(heads) != 1:
            found.append(f"head: expected one row, {len(heads)} are there")
        last = self._one("SELECT max(notification_id) FROM public.entries") or 0
        if heads and heads[0][0] != last:
            found.append(f"head: expected the size {last} of its entries, {heads[0][0]} stands there")
        found += [
            f"index {name}: not valid"
            for (name,) in self._connection.execute(
                "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
                "WHERE relnamespace = 'public'::regnamespace AND NOT (indisvalid AND indisready AND indislive)"
            )
        ]
        failures = self._one("SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()")
        if failures:
            found.append(f"pages: {failures} failed their checksum")
        return found

    def strangers(self) -> list[str]:
        """What the public schema has besides a ledger's tables, columns and constraints, or lacks of them.

        The constraints are part of it: with them there, no record id stands twice.
        """
        rows = self._connection.execute(CATALOGUE).fetchall()
        found = {(str(kind), str(name), str(what)) for kind, name, what in rows}
        schema = self.setting("schema") or ""
        own = own_catalogue(int(schema)) if schema.isdecimal() else own_catalogue()
        return [f"{kind} {name}: not as a ledger has it" for kind, name, _ in sorted(found - own)] + [
            f"{kind} {name}: missing, or not as a ledger has it" for kind, name, _ in sorted(own - found)
        ]

    def size(self) -> int:
        """How many entries there are, counted."""
        return int(self._one("SELECT count(*) FROM public.entries"))

    def rows(self) -> Iterator[Row]:
        """All entries in log order."""
        for number, fork_id, version, topic, data, record_id, accepted_at in self._rows(
            "SELECT notification_id, originator_id::text, originator_version, topic, state, record_id, accepted_at "
            "FROM public.entries ORDER BY notification_id",
            "int8 text int8 text bytea bytea int8",
        ):
            yield Row(number - 1, fork_id, version, _ascii(topic), data, record_id, accepted_at)

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        """All node hashes by stored index. None where a leaf's do not have the length of those that it completes."""
        select = "SELECT notification_id, hashes FROM public.entries ORDER BY notification_id"
        for number, hashes in self._rows(select, "int8 bytea"):
            first = merkle.stored_hash_index(0, number - 1)
            count = merkle.stored_hash_count(number) - merkle.stored_hash_count(number - 1)
            whole = hashes is not None and len(hashes) == count * merkle.HASH_SIZE
            for place in range(count):
                begin = place * merkle.HASH_SIZE
                yield first + place, hashes[begin : begin + merkle.HASH_SIZE] if whole else None

    def payloads(self) -> Iterator[tuple[int, int, bytes | None]]:
        """All payloads by leaf index and kind."""
        columns = ", ".join(KINDS.values())
        select = f"SELECT leaf_index, {columns} FROM public.payloads ORDER BY leaf_index"
        for leaf_index, *payloads in self._rows(select, "int8 bytea bytea bytea bytea", _PAYLOADS_AT_ONCE):
            for kind, payload in zip(KINDS, payloads, strict=True):
                if payload is not None:
                    yield leaf_index, kind, payload

    def misplaced_payloads(self) -> int:
        """None: a row of payloads has a leaf index, and its columns are the kinds."""
        return 0

    def heads(self) -> Iterator[tuple[str | None, int | None, bytes | None, int | None]]:
        """Every cached head: fork id, version, entry hash, number of records."""
        return self._rows("SELECT fork_id::text, version, head, interactions FROM public.heads", "text int8 bytea int8")

    def checkpoints(self) -> Iterator[tuple[int, bytes | None]]:
        """Every signed checkpoint by size."""
        return self._rows("SELECT size, note FROM public.checkpoints ORDER BY size", "int8 bytea")

    def setting(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM public.settings WHERE name = %s", [name]).fetchone()
        return str(row[0]) if row else None


def _ascii(value: str | None) -> str | None:
    return value if value is not None and value.isascii() else None
