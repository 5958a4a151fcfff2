"""Saved forks, so that one need not be replayed from its first record: a cache, never the truth.

A snapshot holds a fork's state and what its rehearsal memory is made of: the records that taught, opened. All of it is
personal, so it is sealed under a key of its fork, and named by the digest of what lies on the disk. One that is
damaged, foreign, or does not belong to the entries of the ledger is passed over: replay then takes longer and comes to
the same state. So nothing here is synced, and what a crash tears is one more that is passed over.

    sealed plaintext:  u64le version || u64le records || u64le checked || head (32)
                       || u32le length || body of the fork-created || u64le length || state, little-endian int64
                       || of each record that taught, in order: record id (16) || u32le length || what it says, opened
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ledger
from ledger.errors import LedgerError
from modelfork.errors import ForkError
from modelfork.interaction import Interaction
from modelfork.recording import Particulars, keep_opened, read_opened
from modelfork.replay import Replayed, State

LARGEST = 64 << 20  # bytes of one snapshot: a fork that needs more is replayed
MOST_BYTES = 2 << 30  # of all of them together; what was not used for longest goes first

# The number goes up when the form changes, and when `Live` picks otherwise what it keeps of a fork.
_DOMAIN = b"forkledger/snapshot/v2\0"
_HEAD = struct.Struct("<QQQ32s")
_SHORT, _LONG = struct.Struct("<I"), struct.Struct("<Q")
_TAUGHT = struct.Struct("<16sI")


@dataclass(frozen=True, slots=True)
class Taught:
    """A record that the rehearsal memory may be made of."""

    record_id: bytes  # 16
    interaction: Interaction
    particulars: Particulars


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A fork up to the entry of `replayed.state.version`."""

    replayed: Replayed
    taught: tuple[Taught, ...]  # in the order of their records


class Snapshots:
    """Those of all forks, in one folder: a folder for each fork. `random(n)` gives n unpredictable bytes.

    Safe to use from several threads and processes; of one fork, a process saves one at a time.
    """

    def __init__(self, folder: Path, random: Callable[[int], bytes], most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._random = random
        self._most_bytes = most_bytes
        self._held: int | None = None  # bytes in the folder, as far as this process knows
        self._lock = threading.Lock()  # around _held

    def save(self, key: ledger.vault.ServiceKey, replayed: Replayed, taught: Iterable[Taught], after: int) -> bool:
        """Write a snapshot and remove the fork's older ones.

        `taught` is of the records above version `after`; what is of those up to there is taken over from the snapshot
        of that version, unless it is 0. False where that one is not there any more, or this one would be too large.
        """
        fork_id, place = replayed.fork.fork_id, self._folder_of(replayed.fork.fork_id)
        before = b""
        if after:
            kept = next(
                (_unseal(path, key, replayed.origin, fork_id) for path in place.glob(f"{after:020d}-*.state")), None
            )
            if kept is None:
                return False
            before = kept[_taught_at(kept) :]
        plain = b"".join([_encode_replayed(replayed), before, *map(_encode_taught, taught)])
        if len(plain) > LARGEST:
            return False
        sealed = key.seal(plain, _about(replayed.origin, fork_id), self._random(24))
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = place / f"{replayed.state.version:020d}-{hashlib.sha256(sealed).hexdigest()}.state"
        unfinished = path.with_suffix(".unfinished")
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(sealed)
        unfinished.replace(path)
        others = [other for other in place.iterdir() if other != path]
        older = [other for other in others if other.name[:20] <= path.name[:20] or other.suffix == ".unfinished"]
        self._count(len(sealed) - sum(map(_remove, older)))
        return True

    def load(
        self, key: ledger.vault.ServiceKey, origin: str, fork_id: str, holds: Callable[[Replayed], bool]
    ) -> Snapshot | None:
        """The newest snapshot of a fork that `holds`, to go on from; None when there is none.

        `holds` compares it with the ledger as it is now: a snapshot of entries that the ledger does not hold, or holds
        otherwise, is not one of this fork.
        """
        place = self._folder_of(fork_id)
        for path in sorted(place.glob("*.state"), reverse=True) if place.is_dir() else ():
            try:
                plain = _unseal(path, key, origin, fork_id)
                snapshot = plain and _decode(plain, origin)
                if snapshot and holds(snapshot.replayed):
                    os.utime(path)
                    return snapshot
            except (OSError, ValueError, struct.error, LedgerError, ForkError):
                continue
        return None

    def drop(self, fork_id: str) -> None:
        """Remove every snapshot of a fork."""
        place = self._folder_of(fork_id)
        self._count(-sum([_remove(path) for path in place.iterdir()] if place.is_dir() else ()))

    def _folder_of(self, fork_id: str) -> Path:
        return self._folder / ledger.keys.check_fork_id(fork_id)  # a path of ours, whatever came

    def _count(self, more: int) -> None:
        """Take note of what was written, and make room where all of it together is too much."""
        with self._lock:
            self._held = self._held + more if self._held is not None else sum(size for _, size, _ in self._files())
            if self._held <= self._most_bytes:
                return
            files = sorted(self._files())
            self._held = sum(size for _, size, _ in files)
            for _, size, path in files:
                if self._held <= self._most_bytes * 3 // 4:
                    return
                _remove(path)
                self._held -= size
                with suppress(OSError):  # not empty
                    path.parent.rmdir()

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When it was used last, its size and its path, of every file in the folder."""
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):  # another process made room
                found = path.stat()
                yield found.st_mtime_ns, found.st_size, path


def _remove(path: Path) -> int:
    """Returns the bytes that it had."""
    with suppress(FileNotFoundError):
        size = path.stat().st_size
        path.unlink()
        return size
    return 0


def _encode_replayed(replayed: Replayed) -> bytes:
    created = ledger.entry.encode_fork_created(replayed.fork)
    state = np.ascontiguousarray(replayed.state.vector, "<i8").tobytes()
    head = _HEAD.pack(replayed.state.version, replayed.records, replayed.checked, replayed.head)
    return b"".join((head, _SHORT.pack(len(created)), created, _LONG.pack(len(state)), state))


def _taught_at(plain: bytes) -> int:
    """Where the records that taught begin."""
    at = _HEAD.size
    at += _SHORT.size + _SHORT.unpack_from(plain, at)[0]
    return int(at + _LONG.size + _LONG.unpack_from(plain, at)[0])


def _encode_taught(taught: Taught) -> bytes:
    kept = keep_opened(taught.interaction, taught.particulars)
    return _TAUGHT.pack(taught.record_id, len(kept)) + kept


def _decode(plain: bytes, origin: str) -> Snapshot | None:
    version, records, checked, head = _HEAD.unpack_from(plain)
    begin = _HEAD.size + _SHORT.size
    end = begin + _SHORT.unpack_from(plain, _HEAD.size)[0]
    created = ledger.entry.decode_fork_created(plain[begin:end])
    at = _taught_at(plain)
    vector = np.frombuffer(plain[end + _LONG.size : at], "<i8").astype(np.int64)
    if vector.size != created.dimension:
        return None
    state = State(created.layout_digest, vector, version)
    return Snapshot(Replayed(origin, created, state, head, records, checked), tuple(_decode_taught(plain, at)))


def _decode_taught(plain: bytes, at: int) -> Iterator[Taught]:
    while at < len(plain):
        record_id, length = _TAUGHT.unpack_from(plain, at)
        begin, at = at + _TAUGHT.size, at + _TAUGHT.size + length
        yield Taught(record_id, *read_opened(plain[begin:at]))


def _unseal(path: Path, key: ledger.vault.ServiceKey, origin: str, fork_id: str) -> bytes | None:
    sealed = path.read_bytes()
    # 1. The file is the one that its name says.
    if not path.stem.endswith(hashlib.sha256(sealed).hexdigest()):
        return None
    # 2. It opens under this fork's key, at this fork's place.
    return key.open(sealed, _about(origin, fork_id))


def _about(origin: str, fork_id: str) -> bytes:
    return _DOMAIN + origin.encode("ascii") + b"\0" + fork_id.encode("ascii")
