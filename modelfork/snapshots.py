"""Saved states, so that a fork need not be replayed from its first record: a cache, never the truth.

A state is personal, so a snapshot is sealed under a key of its fork and named by the digest of what lies on the disk.
One that is damaged, foreign, or does not belong to the entries of the ledger is passed over: replay then takes longer
and comes to the same state.

    sealed plaintext:  u64le version || u64le records || u64le checked || head (32)
                       || u32le length || body of the fork-created || state, little-endian int64
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

import ledger
from ledger.errors import LedgerError
from modelfork.errors import ForkError
from modelfork.replay import Replayed, State

_DOMAIN = b"forkledger/snapshot/v1\0"
_HEAD = struct.Struct("<QQQ32sI")


def save(folder: Path, key: bytes, replayed: Replayed, nonce: bytes) -> Path:
    """Seal a replayed fork under `key` (32 bytes) and write it, whole or not at all. `nonce` is 24 fresh bytes.

    Older snapshots of the fork are removed. Returns the file.
    """
    place, fork_id = _folder_of(folder, replayed.fork.fork_id), replayed.fork.fork_id
    created = ledger.entry.encode_fork_created(replayed.fork)
    state = replayed.state
    head = _HEAD.pack(state.version, replayed.records, replayed.checked, replayed.head, len(created))
    plain = head + created + np.ascontiguousarray(state.vector, "<i8").tobytes()
    sealed = ledger.vault.ServiceKey(key).seal(plain, _about(replayed.origin, fork_id), nonce)
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{state.version:020d}-{hashlib.sha256(sealed).hexdigest()}.state"
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync(place)
    for other in place.iterdir():
        if other.name < path.name or other.suffix == ".unfinished":
            other.unlink(missing_ok=True)
    return path


def load(
    folder: Path, key: bytes, origin: str, fork_id: str, head_at: Callable[[int], bytes | None]
) -> Replayed | None:
    """The newest snapshot of a fork that holds, to start a replay from; None when there is none.

    `head_at` gives the leaf hash of the fork's entry of a version as the ledger has it now, or None: a snapshot of
    entries that the ledger does not hold, or holds otherwise, is not one of this fork.
    """
    place = _folder_of(folder, fork_id)
    for path in sorted(place.glob("*.state"), reverse=True) if place.is_dir() else ():
        try:
            replayed = _open(path, key, origin, fork_id)
        except (OSError, ValueError, struct.error, LedgerError, ForkError):
            continue
        if replayed is not None and head_at(replayed.state.version) == replayed.head:
            return replayed
    return None


def drop(folder: Path, fork_id: str) -> None:
    """Remove every snapshot of a fork."""
    place = _folder_of(folder, fork_id)
    for path in place.iterdir() if place.is_dir() else ():
        path.unlink(missing_ok=True)


def _open(path: Path, key: bytes, origin: str, fork_id: str) -> Replayed | None:
    sealed = path.read_bytes()
    # 1. The file is the one that its name says.
    if not path.stem.endswith(hashlib.sha256(sealed).hexdigest()):
        return None
    # 2. It opens under this fork's key, at this fork's place.
    plain = ledger.vault.ServiceKey(key).open(sealed, _about(origin, fork_id))
    version, records, checked, head, length = _HEAD.unpack_from(plain)
    # 3. It holds a state of this fork, of the fork's dimension.
    begin = _HEAD.size
    created = ledger.entry.decode_fork_created(plain[begin : begin + length])
    vector = np.frombuffer(plain, "<i8", offset=begin + length).astype(np.int64)
    if created.fork_id != fork_id or vector.size != created.dimension:
        return None
    return Replayed(origin, created, State(created.layout_digest, vector, version), head, records, checked)


def _folder_of(folder: Path, fork_id: str) -> Path:
    return folder / ledger.keys.check_fork_id(fork_id)  # a path of ours, whatever came


def _about(origin: str, fork_id: str) -> bytes:
    return _DOMAIN + origin.encode("ascii") + b"\0" + fork_id.encode("ascii")


def _sync(folder: Path) -> None:
    """Make a rename durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
