"""Where entries, payloads, node hashes and checkpoints are kept: the port, in front of SQLite and PostgreSQL.

What every store promises, and tests/ledger/store/ holds it to:

* An append is entries, payloads, node hashes and the forks' heads in one transaction, or nothing. Left without an
  error means durable.
* Leaf indices are dense from 0 in commit order and never change; notification id = leaf index + 1.
* Bytes come back exactly as they were handed in.
* A fork's versions are dense from 1; (fork, version) and (fork, record id) are unique.
* Readers never see an entry before its predecessors, and nothing of a transaction before all of it.
* One transaction appends at a time, over threads and processes: what it reads does not change under it.
* A process that took over (`take_over`) fences those before it: their next transaction raises Fenced, also where the
  database fell back meanwhile and their number was given again.
* What the outbox keeps is durable when it returns, and no two processes keep different bytes in one place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from ledger.errors import Conflict, Malformed

TOKEN_BYTES = 16  # of an epoch's token


@dataclass(frozen=True, slots=True)
class Epoch:
    """Whose turn it is to write. A number falls back with its database (a restore, a failover to a standby that lagged)
    and may then be given again; the random token beside it is never drawn twice."""

    number: int
    token: bytes  # 16; none before the first epoch, nor where an earlier program began it

    def __str__(self) -> str:
        return f"{self.number}-{self.token.hex()[:8]}"


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


_MOST = (1 << 63) - 1  # what both databases' integers hold


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction that anchors a checkpoint, or a timestamp's token: kept before it is sent."""

    backend: str  # "evm:<chain id>:<contract>:<log id>:<sender>" or "rfc3161:<url>"
    nonce: int
    attempt: int  # 0, 1, … of one nonce: the same checkpoint for a higher fee
    size: int  # of the checkpoint
    root: bytes  # 32
    data: bytes  # the signed bytes
    at: int  # microseconds, Unix

    def __post_init__(self) -> None:
        _expect_columns(self.backend, self.root, (self.nonce, self.attempt, self.size, self.at))


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a nonce, for good: its checkpoint is anchored in a block that stays, or never will be by it."""

    backend: str
    nonce: int
    attempt: int  # the one that came through; of a dropped nonce its last
    size: int
    root: bytes  # 32
    anchored: bool  # False: dropped, for another transaction took the nonce, or the chain reverted it
    block: int
    block_hash: bytes
    cost: int  # wei, of any size
    at: int  # microseconds, Unix

    def __post_init__(self) -> None:
        _expect_columns(self.backend, self.root, (self.nonce, self.attempt, self.size, self.block, self.at))
        if self.cost < 0:
            raise Malformed(f"outbox: expected a cost from 0 on, {self.cost} came")

    def expect_same(self, other: Settled) -> None:
        """That `other` says the same of the nonce, whenever it was found out. Raises Conflict."""
        if replace(self, at=0) != replace(other, at=0):
            raise Conflict(f"outbox: nonce {self.nonce} of {self.backend} is settled already, in another way")


def _expect_columns(backend: str, root: bytes, numbers: tuple[int, ...]) -> None:
    """What either database can keep: refused here, and not by one of them only."""
    if not (backend.isascii() and backend.isprintable() and backend):
        raise Malformed(f"outbox: expected a backend's name in printable ASCII, {backend!r} came")
    if len(root) != 32:
        raise Malformed(f"outbox: expected a root of 32 bytes, {len(root)} came")
    for number in numbers:
        if not 0 <= number <= _MOST:
            raise Malformed(f"outbox: expected a number from 0 to {_MOST}, {number} came")


def readable(reason: str) -> str:
    """A reason as any database and any terminal takes it: it may quote what a node said."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in reason)


class Outbox(Protocol):
    """What goes out to the anchors, and what became of it. That a checkpoint is to be anchored needs no row here: the
    checkpoint itself, kept in the transaction that signed it, is the wish.

    Every call is a transaction of its own, durable when it returns. Raises Unavailable when the database was lost:
    then the same call may be made again.
    """

    def backends(self) -> list[str]:
        """All of which it holds anything, also those that nobody asks any more, by name."""

    def keep(self, attempt: Attempt) -> bool:
        """Keep these bytes before they are sent: True, and for the same again too. False when others are kept in
        their place, the nonce is settled or the backend halted: two workers of one key meet here, before anything is
        sent."""

    def open(self, backend: str) -> list[Attempt]:
        """The attempts at nonces that are not settled, by nonce, then attempt."""

    def attempt(self, backend: str, nonce: int, attempt: int) -> Attempt | None: ...

    def settle(self, settled: Settled) -> None:
        """Once per (backend, nonce). The same again is nothing, whenever it came; another raises Conflict."""

    def settled(self, backend: str, after: int = -1, limit: int = 1000) -> list[Settled]:
        """Those with a nonce above `after`, by nonce."""

    def last_anchored(self, backend: str) -> Settled | None:
        """The anchored one of the largest size, and of two of one size the one with the larger nonce."""

    def cost(self, backend: str) -> int:
        """What all settled ones cost together, in wei."""

    def anchors(self, size: int) -> list[Attempt | Settled]:
        """What anchors the first `size` entries, by backend: of the smallest anchored size that has them, all attempts
        at its nonce and then what became of it; where none is anchored yet, all open attempts at the smallest size."""

    def halt(self, backend: str, reason: str) -> None:
        """Stop a backend until `resume`. The first reason stands."""

    def halted(self, backend: str) -> str | None:
        """Why a backend was stopped; None when it was not."""

    def resume(self, backend: str) -> None: ...


class Store(Protocol):
    """A ledger's database. Raises Unavailable when it cannot be reached; Malformed when it is not a ledger's."""

    @property
    def name(self) -> str:
        """What a person calls it: the path or URL, without a password."""

    @property
    def outbox(self) -> Outbox: ...

    def close(self) -> None: ...

    def take_over(self, token: bytes) -> Epoch:
        """Begin a new epoch of writing, under a fresh random token, and return it. Whoever writes under another one is
        fenced from now on."""

    def epoch(self) -> Epoch:
        """The newest epoch of writing; of number 0 before the first."""

    def write(self, epoch: Epoch | None = None) -> AbstractContextManager[Write]:
        """One append transaction, durable when the block is left, or nothing happened.

        Under an `epoch` only if its number and its token are the newest's: Fenced otherwise. Without one the writer
        just takes its turn. Raises Conflict when a place was taken, Unavailable when the database was lost; then, and
        only then, nobody can say whether it was committed, and the next transaction can look.
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

    def checkpoint_of(self, size: int) -> bytes | None:
        """The signed note of the checkpoint of exactly this size; None where none was signed."""

    def save_checkpoint(self, size: int, note: bytes, after: int | None) -> bool:
        """Keep a checkpoint if the largest kept one still has size `after` (None: there is none)."""

    def setting(self, name: str) -> str | None: ...

    def keep_setting(self, name: str, value: str) -> str:
        """Set `name` once; returns the value that stands, which is the first ever given."""
