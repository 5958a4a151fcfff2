"""Where a log is read from: by its URL or a folder of its files (tlog-tiles), or in its database.

A public log is `checkpoint`, `tile/…` and `tile/entries/…` below one place. Nothing that comes from there is believed;
only lengths are bounded here. `read` gives the bytes of one path, raises NotFound where there is none, and Unavailable
where nobody can say.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import httpx

from ledger import tiles
from ledger.errors import LedgerError, Malformed, NotFound, Refused, Unavailable
from ledger.merkle import HASH_SIZE
from ledger.note import Ed25519Verifier
from ledger.store import Store
from ledger.store.sqlite import open_read_only
from ledger.tiles import FULL, Tile

T = TypeVar("T")

CHECKPOINT, KEYS = "checkpoint", "v1/log/keys"
LONGEST_NOTE = 1 << 20  # bytes; a hundred ML-DSA cosignatures are a third of it
LONGEST_BUNDLE = FULL * (2 + tiles.MAX_ENTRY_BYTES)
AHEAD = 16  # files asked for before they are needed, of a log that is far away

_TRIES = 4
_SCHEMES = ("http://", "https://")
_DATABASE_SCHEMES = ("postgresql://", "postgres://")
DATABASE_FILE = "ledger.db"


class PublicLog(Protocol):
    """The files of a log. `ahead` is how many of them to ask for before they are needed: none where they are near."""

    @property
    def name(self) -> str: ...

    @property
    def ahead(self) -> int: ...

    def read(self, path: str, longest: int) -> bytes:
        """The bytes of a file. Raises NotFound; Malformed where it is longer; Unavailable."""

    def close(self) -> None: ...


class Folder:
    """A log as a folder of files: what a service writes, or a copy of what it serves."""

    ahead = 0

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)

    def read(self, path: str, longest: int) -> bytes:
        try:
            with open(f"{self.name}/{path}", "rb", buffering=0) as file:
                # A read takes as much memory as it is told to: no more than there is.
                data = file.read(min(os.fstat(file.fileno()).st_size, longest) + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"{path}: missing") from None
        except OSError as error:
            raise Unavailable(f"{self.name}: {path} cannot be read ({error.strerror})") from None
        return _bounded(path, data, longest)

    def close(self) -> None:
        pass


class Website:
    """A log by its URL. What fails for a moment is asked for again before it is given up as Unavailable."""

    ahead = AHEAD
    pause = 0.5  # seconds after the first try; doubled each time
    most_seconds = 60.0  # of one file: a log that drips must not hold its auditor

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        # No content-encoding: what unpacks to more than it was would be in memory before its length is looked at.
        self._client = httpx.Client(timeout=30, headers={"accept-encoding": "identity"})

    def read(self, path: str, longest: int) -> bytes:
        for turn in range(_TRIES):
            try:
                return self._ask(path, longest)
            except Unavailable:
                if turn == _TRIES - 1:
                    raise
            time.sleep(self.pause * 2**turn)
        raise AssertionError("unreachable")

    def _ask(self, path: str, longest: int) -> bytes:
        try:
            with self._client.stream("GET", f"{self.name}/{path}") as answer:
                if answer.status_code in (404, 410):
                    raise NotFound(f"{path}: missing ({answer.status_code})")
                if answer.status_code != 200:
                    raise Unavailable(f"{self.name}: {path} was answered with {answer.status_code}")
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise Unavailable(f"{self.name}: {path} came in a content-encoding, which was not asked for")
                data, end = bytearray(), time.monotonic() + self.most_seconds
                for part in answer.iter_raw():
                    data += part
                    if time.monotonic() > end:
                        raise Unavailable(f"{self.name}: {path} took more than {self.most_seconds:.0f} seconds")
                    if len(data) > longest:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{self.name}: {path} could not be read ({type(error).__name__})") from None
        return _bounded(path, bytes(data), longest)

    def close(self) -> None:
        self._client.close()


Log: TypeAlias = Folder | Website | Store


def open_log(target: str) -> Log:
    """What `target` names: an http(s) or postgresql URL, a folder of tiles, a ledger file, or a folder that has one.

    Raises NotFound where there is nothing, Malformed where it is no ledger, Unavailable.
    """
    if target.startswith(_SCHEMES):
        return Website(target)
    if target.startswith(_DATABASE_SCHEMES):
        return open_database(target)
    path = Path(target)
    if (path / DATABASE_FILE).is_file():
        return open_read_only(path / DATABASE_FILE)
    if path.is_dir():
        if not (path / CHECKPOINT).is_file():
            raise NotFound(f"log: expected {CHECKPOINT} or {DATABASE_FILE} in the folder {path}")
        return Folder(path)
    return open_read_only(path)


def open_database(url: str) -> Store:
    """The ledger in a PostgreSQL database, without being able to change it. Needs the extra `postgres`.

    Raises NotFound where there is none, Malformed, Refused, Unavailable.
    """
    try:
        from ledger.store import postgres
    except ModuleNotFoundError:
        raise Refused("PostgreSQL: expected the extra `postgres`: pip install 'forkledger[postgres]'") from None
    return postgres.open_read_only(url)


def checkpoint_of(log: Log) -> bytes:
    """The newest signed checkpoint; of a public log with its cosignatures. Raises NotFound, Malformed, Unavailable."""
    if isinstance(log, Folder | Website):
        return log.read(CHECKPOINT, LONGEST_NOTE)
    signed = log.checkpoint()
    if signed is None:
        raise NotFound("checkpoint: none was signed yet")
    return signed


def stated_key(log: PublicLog) -> Ed25519Verifier | None:
    """The log's key by its own word: what it answers under /v1/log/keys. Raises Malformed."""
    try:
        stated = json.loads(log.read(KEYS, LONGEST_NOTE))["log"]
        return Ed25519Verifier.from_vkey(stated)
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Malformed(f'{KEYS}: expected JSON with the log\'s verifier key under "log"') from None


def read_tile(log: PublicLog, tile: Tile) -> bytes:
    """The bytes of a tile of hashes, as long as it must be: the full tile does for a partial one, which a log may drop
    once it is full. Raises NotFound, Malformed and Unavailable."""
    try:
        data = log.read(tile.path, tile.width * HASH_SIZE)
    except NotFound:
        if tile.width == FULL:
            raise
        try:
            whole = log.read(Tile(tile.level, tile.index).path, FULL * HASH_SIZE)
        except NotFound:
            raise NotFound(f"{tile.path}: missing") from None
        data = _of_length(Tile(tile.level, tile.index), whole)[: tile.width * HASH_SIZE]
    return _of_length(tile, data)


def read_bundle(log: PublicLog, tile: Tile) -> tuple[list[bytes], LedgerError | None]:
    """The entries of a bundle as far as they go, and what is wrong with it where they are not all there."""
    try:
        try:
            data, width = log.read(tile.path, LONGEST_BUNDLE), tile.width
        except NotFound:
            if tile.width == FULL:
                raise
            data, width = log.read(Tile(None, tile.index).path, LONGEST_BUNDLE), FULL
    except (NotFound, Malformed) as error:
        return [], type(error)(str(error).replace(Tile(None, tile.index).path, tile.path))
    try:
        return tiles.decode_bundle(data, width)[: tile.width], None
    except Malformed as error:
        return _whole_entries(data)[: tile.width], Malformed(f"{tile.path}: {error}")


@dataclass(frozen=True, slots=True)
class Page:
    """A bundle and the tile of leaf hashes above it, as they came. `trouble` is what is wrong with either, if known."""

    tile: Tile  # level 0
    entries: list[bytes]
    trouble: LedgerError | None
    hashes: bytes  # as many as the tile has, or none
    hashes_trouble: LedgerError | None

    @property
    def first(self) -> int:
        return self.tile.index * FULL


def read_page(log: PublicLog, tile: Tile) -> Page:
    entries, trouble = read_bundle(log, Tile(None, tile.index, tile.width))
    try:
        return Page(tile, entries, trouble, read_tile(log, tile), None)
    except (NotFound, Malformed) as error:
        return Page(tile, entries, trouble, b"", error)


def read_pages(log: PublicLog, first: int, size: int) -> Generator[Page, None, None]:
    """The pages of a log of this size from the one that leaf `first` stands on. Raises Unavailable."""
    return _read_each(log, first, size, read_page)


def read_bundles(log: PublicLog, first: int, size: int) -> Generator[tuple[int, list[bytes]], None, None]:
    """The same without the hashes: the number of each bundle's first leaf, and its entries as far as they go."""

    def read(log: PublicLog, tile: Tile) -> tuple[int, list[bytes]]:
        return tile.index * FULL, read_bundle(log, Tile(None, tile.index, tile.width))[0]

    return _read_each(log, first, size, read)


def _read_each(log: PublicLog, first: int, size: int, read: Callable[[PublicLog, Tile], T]) -> Generator[T, None, None]:
    wanted = (Tile(0, index, min(FULL, size - index * FULL)) for index in range(first // FULL, -(-size // FULL)))
    if not log.ahead:
        yield from (read(log, tile) for tile in wanted)
        return
    coming: deque[Future[T]] = deque()
    with ThreadPoolExecutor(log.ahead, thread_name_prefix="read-ahead") as readers:
        try:
            for tile in wanted:
                coming.append(readers.submit(read, log, tile))
                if len(coming) > log.ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for page in coming:
                page.cancel()


def _whole_entries(data: bytes) -> list[bytes]:
    """What can be read of a bundle that is cut off or too long."""
    entries, at = [], 0
    while at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            break
        entries.append(data[at + 2 : end])
        at = end
    return entries


def _of_length(tile: Tile, data: bytes) -> bytes:
    if len(data) != tile.width * HASH_SIZE:
        raise Malformed(f"{tile.path}: expected {tile.width * HASH_SIZE} bytes, {len(data)} came")
    return data


def _bounded(path: str, data: bytes, longest: int) -> bytes:
    if len(data) > longest:
        raise Malformed(f"{path}: expected at most {longest} bytes, more came")
    return data
