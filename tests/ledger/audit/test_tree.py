"""The tree, built tile by tile, is that of RFC 6962 built leaf by leaf."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ledger.audit.tree import TileTree
from ledger.merkle import Frontier
from ledger.tiles import FULL, Tile, tile_hashes_indices, tiles_between

LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(FULL * FULL + 2 * FULL + 5)]


@pytest.mark.parametrize("size", [0, 1, FULL - 1, FULL, 3 * FULL + 7, FULL * FULL, len(LEAVES)])
def test_every_tile_above_the_leaves_is_told_and_the_root_is_the_log_s(size: int) -> None:
    frontier, stored = Frontier(), list[bytes]()
    for leaf in LEAVES[:size]:
        stored += frontier.append(leaf)
    told: dict[Tile, list[bytes]] = {}
    tree = TileTree(lambda tile, hashes: told.update({tile: list(hashes)}))
    for first in range(0, size // FULL * FULL, FULL):
        tree.add(LEAVES[first : first + FULL])
    assert tree.root(LEAVES[size // FULL * FULL : size]) == frontier.root()
    tree.finish()
    assert told == {
        tile: [stored[at] for at in tile_hashes_indices(tile)] for tile in tiles_between(0, size) if tile.level
    }


def test_a_tree_goes_on_from_its_levels() -> None:
    whole = TileTree(lambda tile, hashes: None)
    for first in range(0, 8 * FULL, FULL):
        whole.add(LEAVES[first : first + FULL])
        again = TileTree(lambda tile, hashes: None, whole.levels)
        assert (again.root(LEAVES[:3]), again.frontier().size) == (whole.root(LEAVES[:3]), first + FULL)
