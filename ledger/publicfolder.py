"""The public log as files: `checkpoint` and C2SP tiles, as any web server can hand them out.

A tile is written once and never changes; each write is whole and durable before it is seen (write, fsync, rename, fsync
of the folder). All of it can be made again from the entries, save the witnesses' signatures on the checkpoint.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import BadProof
from ledger.tiles import FULL, Tile


class PublicFolder:
    """`folder` holds nothing else. Made at the first write."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def checkpoint(self) -> bytes | None:
        """The published checkpoint: the log's own signatures and those of its witnesses."""
        return self._read("checkpoint")

    def written_at(self) -> float | None:
        """When that was written, in seconds since 1970-01-01 UTC by the file system's clock."""
        try:
            return (self.path / "checkpoint").stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None

    def tile(self, tile: Tile) -> bytes | None:
        return self._read(tile.path)

    def put_tile(self, tile: Tile, content: bytes) -> None:
        """Keep a tile. The same again is nothing new; BadProof when the one that is there says something else."""
        kept = self.tile(tile)
        if kept is None:
            self._write(tile.path, content)
        elif kept != content:
            raise BadProof(f"{tile.path}: published before with other content; run an audit")

    def drop_partials(self, tile: Tile) -> None:
        """Remove what a full tile took the place of."""
        partials = self.path / f"{Tile(tile.level, tile.index, FULL).path}.p"
        if partials.is_dir():
            for partial in partials.iterdir():
                partial.unlink(missing_ok=True)
            partials.rmdir()

    def put_checkpoint(self, signed: bytes) -> None:
        """Publish: from now on this is the log. What it speaks of must be there already."""
        self._write("checkpoint", signed)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process of this machine publishes here meanwhile."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, name: str, content: bytes) -> None:
        place = self.path / name
        self._make(place.parent)
        draft = place.with_name(f".{place.name}.draft")  # of one name: who publishes is alone
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
        _sync(place.parent)

    def _make(self, folder: Path) -> None:
        """Make a folder durably, with those above it."""
        if not folder.is_dir():
            if folder != self.path:
                self._make(folder.parent)
            folder.mkdir(parents=folder == self.path, exist_ok=True)
            _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
