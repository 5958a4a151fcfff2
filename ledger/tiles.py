"""The tree and the entries of a log as files (c2sp.org/tlog-tiles): what they are called and what is in them.

    tile/<level>/<index>            256 hashes of the tree's level 8 * level
    tile/entries/<index>            the 256 entries below a tile of level 0, each with a big-endian u16 length before it
    tile/…/<index>.p/<width>        the rightmost one of a tree, as long as it holds fewer

An index is written in groups of three digits, each but the last after an x: 1234067 is `x001/x234/067`. A hash of level
l + 1 is the root of a full tile of level l; a partial tile is hashed into none. The levels between are computed.

Nothing here does I/O: what reads a tile is handed in.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ledger.errors import BadProof, Malformed, NotFound
from ledger.merkle import (
    HASH_SIZE,
    HashReader,
    node_hash,
    split_stored_hash_index,
    stored_hash_index,
    tree_root,
)

HEIGHT = 8  # levels of the tree from one level of tiles to the next
FULL = 1 << HEIGHT  # the width of a full tile
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 2**16 - 1

_MAX_INDEX = 2**63 - 1
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile, not what is in it."""

    level: int | None  # None: an entry bundle, whose index and width are those of the tile of level 0 above it
    index: int
    width: int = FULL

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= MAX_LEVEL:
            raise Malformed(f"tile level: expected 0 to {MAX_LEVEL}, {self.level} came")
        if not 0 <= self.index <= _MAX_INDEX:
            raise Malformed(f"tile index: expected 0 to 2^63 - 1, {self.index} came")
        if not 1 <= self.width <= FULL:
            raise Malformed(f"tile width: expected 1 to {FULL}, {self.width} came")

    @property
    def path(self) -> str:
        """Its place below the log's URL or folder."""
        groups = f"{self.index:,}".split(",")
        groups = [f"x{group:0>3}" for group in groups[:-1]] + [f"{groups[-1]:0>3}"]
        partial = "" if self.width == FULL else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{'/'.join(groups)}{partial}"


ReadTile: TypeAlias = Callable[[Tile], bytes]
"""Returns the bytes of exactly this tile: who falls back on the full tile for a partial one cuts it to the width."""


# --- paths ---


def tile_path(level: int, index: int, width: int = FULL) -> str:
    return Tile(level, index, width).path


def entries_path(index: int, width: int = FULL) -> str:
    return Tile(None, index, width).path


def parse_tile_path(path: str) -> Tile:
    """The inverse of `Tile.path`: no other spelling is read as that tile. Raises Malformed."""
    found = _PATH.fullmatch(path)
    if not found:
        raise Malformed("tile path: expected tile/<level or entries>/<index in groups of three digits>[.p/<width>]")
    level, index, width = found.groups()
    tile = Tile(
        None if level == "entries" else int(level),
        int(index.replace("x", "").replace("/", "")),
        FULL if width is None else int(width),
    )
    if tile.path != path:  # zeros in front of a level, an index or a width; .p/256
        raise Malformed(f"tile path: expected {tile.path}, another spelling of it came")
    return tile


# --- which tiles a tree has ---


def tiles_between(old: int, new: int) -> Iterator[Tile]:
    """The tiles, of all levels, that a tree of size `new` has and one of size `old` had not.

    From `old` 0 these are all its tiles. A full tile takes the place of a partial one of `old`, which may go.
    """
    for level in range(MAX_LEVEL + 1):
        before, after = old >> HEIGHT * level, new >> HEIGHT * level  # hashes at this level
        if after == 0:
            return
        yield from _between(level, before, after)


def bundles_between(old: int, new: int) -> Iterator[Tile]:
    """The same for entry bundles."""
    yield from _between(None, old, new)


def _between(level: int | None, before: int, after: int) -> Iterator[Tile]:
    for index in range(before // FULL, after // FULL):
        yield Tile(level, index)
    if after % FULL and after != before:
        yield Tile(level, after // FULL, after % FULL)


def tile_hashes_indices(tile: Tile) -> list[int]:
    """Where in a store of hashes (`merkle.stored_hash_index`) those stand that the tile consists of."""
    level, first = HEIGHT * _level(tile), tile.index * FULL
    return [stored_hash_index(level, first + place) for place in range(tile.width)]


def _level(tile: Tile) -> int:
    if tile.level is None:
        raise Malformed(f"{tile.path}: expected a tile of hashes, an entry bundle came")
    return tile.level


# --- what is in them ---


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    return b"".join(hashes)


def decode_tile(tile: Tile, data: bytes) -> list[bytes]:
    """The hashes in a tile's bytes. Raises Malformed."""
    if len(data) != tile.width * HASH_SIZE:
        raise Malformed(f"{tile.path}: expected {tile.width * HASH_SIZE} bytes, {len(data)} came")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of an entry bundle. Raises Malformed for an entry too long for its length field."""
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise Malformed(f"entry bundle: expected entries of at most {MAX_ENTRY_BYTES} bytes, {len(entry)} came")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries in a bundle's bytes: `width` of them and nothing after. Raises Malformed."""
    entries: list[bytes] = []
    at = 0
    try:
        while at < len(data):
            start = at + 2
            at = start + (data[at] << 8 | data[at + 1])  # an audit reads millions: half the cost of int.from_bytes
            entries.append(data[start:at])
        cut_off = len(entries) - 1 if at > len(data) else None
    except IndexError:
        cut_off = len(entries)
    if cut_off is not None:
        raise Malformed(f"entry bundle: expected entry {cut_off} to end within it, it is cut off")
    if len(entries) != width:
        raise Malformed(f"entry bundle: expected {width} entries, {len(entries)} came")
    return entries


# --- reading the tree from tiles ---


def hash_reader(size: int, read_tile: ReadTile) -> HashReader:
    """Reads any stored hash of the tree of this size from its tiles, as they are: for one's own, or to check later."""

    def read(wanted: Sequence[int]) -> list[bytes]:
        known: dict[Tile, list[bytes]] = {}

        def load(tile: Tile) -> list[bytes]:
            if tile not in known:
                known[tile] = decode_tile(tile, read_tile(tile))
            return known[tile]

        return [_stored_hash(place, size, load) for place in wanted]

    return read


def checked_hash_reader(size: int, root: bytes, read_tile: ReadTile) -> HashReader:
    """The same for tiles that nobody vouches for: each is used only after it was tied to the root of a checkpoint.

    The partial tiles of a tree hold all that its root is computed from, and a full tile's root stands in a tile above
    it. Raises BadProof where a tile does not lead to the root, at once for the partial ones.
    """
    # 1. The right edge leads to the root.
    edge = {tile: decode_tile(tile, read_tile(tile)) for tile in _partial_tiles(size)}
    reached = tree_root(size, lambda wanted: [_stored_hash(place, size, edge.__getitem__) for place in wanted])
    if reached != root:
        raise BadProof(
            f"tiles of a tree of {size}: expected root {root.hex()}, the partial ones lead to {reached.hex()}"
        )

    # 2. A full tile leads to its hash in the tile above, which was tied to the root before.
    def read(wanted: Sequence[int]) -> list[bytes]:
        known = dict(edge)

        def load(tile: Tile) -> list[bytes]:
            if tile not in known:
                above = _holding(_level(tile) + 1, tile.index, size)
                expected = load(above)[tile.index % FULL]
                hashes = decode_tile(tile, read_tile(tile))
                if (found := _subtree_root(hashes)) != expected:
                    raise BadProof(f"{tile.path}: expected hashes under {expected.hex()}, they lead to {found.hex()}")
                known[tile] = hashes
            return known[tile]

        return [_stored_hash(place, size, load) for place in wanted]

    return read


def _partial_tiles(size: int) -> Iterator[Tile]:
    for level in range(MAX_LEVEL + 1):
        count = size >> HEIGHT * level
        if count % FULL:
            yield Tile(level, count // FULL, count % FULL)


def _holding(level: int, n: int, size: int) -> Tile:
    """The tile that holds hash number `n` of a level of tiles, in the tree of this size."""
    index, count = n // FULL, size >> HEIGHT * level
    return Tile(level, index, min(FULL, count - index * FULL))


def _stored_hash(place: int, size: int, load: Callable[[Tile], list[bytes]]) -> bytes:
    tree_level, n = split_stored_hash_index(place)
    if (n + 1) << tree_level > size:
        raise NotFound(f"stored hash {place}: expected one of the tree of {size} leaves")
    level, above = divmod(tree_level, HEIGHT)  # a tile's hashes, and how far above them
    first = n << above
    hashes = load(_holding(level, first, size))
    return _subtree_root(hashes[first % FULL : first % FULL + (1 << above)])


def _subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root above a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]
