"""Where entries, payloads, node hashes and checkpoints are kept: the port, in front of SQLite and PostgreSQL.

What every store promises, and tests/ledger/store/ holds it to:

* An append is entries, payloads, node hashes and the forks' heads in one transaction, or nothing. Left without an
  error means durable.
* Leaf indices are dense from 0 in commit order and never change; notification id = leaf index + 1.
* Bytes come back exactly as they were handed in.
* A fork's versions are dense from 1; (fork, version) and (fork, record id) are unique.
* Readers never see an entry before its predecessors, and nothing of a transaction before all of it.
* One transaction appends at a time, over threads and processes: what it reads does not change under it.
* A process that took over (`take_over`) fences those before it: their next transaction raises Fenced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a fork: its version and leaf hash, and how many records the fork has."""

    version: int
    entry_hash: bytes  # 32
    interactions: int


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as stored. `accepted_at` (microseconds, Unix) is the log's own note, for receipts; nobody signed it."""

    leaf_index: int
    fork_id: str
    version: int
    topic: str
    data: bytes
    record_id: bytes | None
    accepted_at: int


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What an append hands to the store, serialised and hashed already."""

    fork_id: str
    version: int
    topic: str
    data: bytes
    entry_hash: bytes
    interactions: int
    record_id: bytes | None
    accepted_at: int
    payloads: Mapping[int, bytes]


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


class Write(Protocol):
    """An open append transaction: reads see what it will commit on top of, its own additions included."""

    def heads(self, fork_ids: Collection[str]) -> dict[str, Head]:
        """The heads of those of these forks that exist. One query."""

    def records(self, keys: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], StoredEntry]:
        """The entries of those of these (fork id, record id) that are there. One query."""

    def entries(self, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], StoredEntry]:
        """The entries of those of these (fork id, version) that are there. One query."""

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        """Node hashes by stored index: a `merkle.HashReader`. Raises NotFound."""

    def add(self, new: Sequence[NewEntry]) -> int:
        """Add entries in this order, their payloads, node hashes, and their forks' new heads. Returns the leaf
        index of the first. Raises Conflict when a place is taken: then the whole transaction comes to nothing."""


class Snapshot(Protocol):
    """The whole store as it was at one moment, streamed in order, for an audit. Trusts no column's type."""

    def problems(self) -> list[str]:
        """What the database itself finds wrong with its pages, indices and constraints. Empty when all is well."""

    def strangers(self) -> list[str]:
        """What else the database holds in the ledger's place, or lacks of it. Empty when nothing."""

    def size(self) -> int:
        """How many entries there are, counted."""

    def rows(self) -> Iterator[Row]:
        """All entries in log order."""

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        """All node hashes by stored index."""

    def payloads(self) -> Iterator[tuple[int, int, bytes | None]]:
        """All payloads by leaf index and kind."""

    def misplaced_payloads(self) -> int:
        """How many payloads stand under no leaf index or kind at all, and so not in `payloads`."""

    def heads(self) -> Iterator[tuple[str | None, int | None, bytes | None, int | None]]:
        """Every cached head: fork id, version, entry hash, number of records."""

    def checkpoints(self) -> Iterator[tuple[int, bytes | None]]:
        """Every signed checkpoint by size."""

    def setting(self, name: str) -> str | None: ...


class Store(Protocol):
    """A ledger's database. Raises Unavailable when it cannot be reached; Malformed when it is not a ledger's."""

    @property
    def name(self) -> str:
        """What a person calls it: the path or URL, without a password."""

    def close(self) -> None: ...

    def take_over(self) -> int:
        """Begin a new epoch of writing and return it. Whoever writes under an older one is fenced from now on."""

    def epoch(self) -> int:
        """The newest epoch of writing; 0 before the first."""

    def write(self, epoch: int | None = None) -> AbstractContextManager[Write]:
        """One append transaction, durable when the block is left, or nothing happened.

        Under an `epoch` only if it is still the newest: Fenced otherwise. Without one the writer just takes its turn.
        Raises Conflict when a place was taken, Unavailable when the database was lost; then, and only then, nobody
        can say whether it was committed, and the next transaction can look.
        """

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Everything as it is now, while others go on writing."""

    def size(self) -> int:
        """Entries in the log."""

    def wait_for_growth(self, size: int, timeout: float) -> bool:
        """Wait until the log has more than `size` entries, at most `timeout` seconds. Whether it has."""

    def entries(self, first: int, limit: int) -> list[StoredEntry]:
        """Entries from leaf index `first` on, in log order."""

    def fork_entries(self, fork_id: str, after: int, limit: int) -> list[StoredEntry]:
        """Entries of a fork with a version above `after`, in order."""

    def first_entries(self, fork_ids: Collection[str]) -> dict[str, StoredEntry]:
        """The first entries of those of these forks that exist. They never change, and so are read once."""

    def record(self, fork_id: str, record_id: bytes) -> StoredEntry | None: ...

    def head(self, fork_id: str) -> Head | None: ...

    def heads(self) -> dict[str, Head]:
        """Every fork's head as the store caches it; an audit compares it with the entries."""

    def missing(self, size: int) -> int:
        """How many of the first `size` entries are not there, counted."""

    def payloads(self, leaf_index: int) -> dict[int, bytes]:
        """The payloads beside an entry, by kind."""

    def payloads_of(self, first: int, last: int, kind: int | None = None) -> dict[int, dict[int, bytes]]:
        """Payloads by leaf index and kind, for leaf indices from `first` to `last`; of one kind only where asked."""

    def hashes(self, indices: Sequence[int]) -> list[bytes]:
        """Node hashes by stored index: a `merkle.HashReader`. Raises NotFound."""

    def checkpoint(self) -> bytes | None:
        """The signed note of the largest checkpoint that was ever signed: what no later one may contradict."""

    def save_checkpoint(self, size: int, note: bytes, after: int | None) -> bool:
        """Keep a checkpoint if the largest kept one still has size `after` (None: there is none)."""

    def setting(self, name: str) -> str | None: ...

    def keep_setting(self, name: str, value: str) -> str:
        """Set `name` once; returns the value that stands, which is the first ever given."""
