"""Where entries, payloads, node hashes and checkpoints are kept. One implementation so far: SQLite.

What every store promises, and tests/ledger/store/ holds it to:

* An append is entry, payloads, node hashes and the fork's head in one transaction, or nothing. Returned means durable.
  Appends that wait at the same time may share a transaction; one that is refused takes none of the others with it.
* Leaf indices are dense from 0 in commit order and never change; notification id = leaf index + 1.
* Bytes come back exactly as they were handed in.
* A fork's versions are dense from 1; (fork, version) and (fork, record id) are unique.
* Readers never see an entry before its predecessors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
