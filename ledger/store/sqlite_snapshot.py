"""A SQLite ledger as an audit reads it: streamed in order from one moment, no column's type trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.sqlite import SQLiteConnection

from ledger.store import Row


class SqliteSnapshot:
    """A `ledger.store.Snapshot`. `steps` are the statements that lead to each schema, from none on."""

    def __init__(self, connection: SQLiteConnection, steps: Sequence[Sequence[str]]) -> None:
        self._connection = connection
        self._steps = steps

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
        schema = self.setting("schema") or ""
        pattern = sqlite3.connect(":memory:")
        try:
            for step in self._steps[: int(schema) if schema.isdecimal() else None]:
                for statement in step:
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
