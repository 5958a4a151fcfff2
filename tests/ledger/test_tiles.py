"""Tiles: against Go's sumdb/tlog, the standard's examples, and every changed byte under a signed root."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import BadProof, Malformed, NotFound
from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    stored_hash_count,
    tree_root,
)
from ledger.tiles import (
    Tile,
    bundles_between,
    checked_hash_reader,
    decode_bundle,
    decode_tile,
    encode_bundle,
    encode_tile,
    entries_path,
    hash_reader,
    parse_tile_path,
    tile_hashes_indices,
    tile_path,
    tiles_between,
)

LARGEST = 70000
EDGES = (1, 2, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 70000)


@cache
def stored() -> tuple[list[bytes], dict[int, bytes]]:
    """The stored hashes of the leaves `entry 0`, `entry 1`, … and the roots at some sizes."""
    frontier, hashes, roots = Frontier(), list[bytes](), {0: EMPTY_ROOT}
    for i in range(LARGEST):
        hashes += frontier.append(leaf_hash(b"entry %d" % i))
        if frontier.size < 2000 or frontier.size in EDGES:
            roots[frontier.size] = frontier.root()
    return hashes, roots


def root(size: int) -> bytes:
    return stored()[1][size]


def read_tile(tile: Tile) -> bytes:
    hashes, _ = stored()
    return encode_tile([hashes[place] for place in tile_hashes_indices(tile)])


# --- against Go ---

# github.com/thesm-os/core, tlog/testdata/vectors.txt, recorded with golang.org/x/mod/sumdb/tlog v0.40.0: SHA-256 over
# every tile of NewTiles(8, 0, size), in that order, as level (1 byte), index (8), width (2) and data; and the root.
GO = {
    1: (
        "cc1ab8e221fd66db172a01f9d246d5fed8c6ce4e45d9bd86a61be441f00f0470",
        "773885a613489e24ce2cf76199d6a423f042e4bbf12d7eecee912ef276c65701",
    ),
    2: (
        "ea33f06a1a3ec926c3ce896c10c64eddd2621cea25d206daa0a35e89dc5242eb",
        "5a47662fd8a317d96049a3f9f47c55dc67ca66051baa3683dbb19b2fe09a07b0",
    ),
    255: (
        "abd5a8fc1670e0dbffd97b61fd4a37365862d115554a2837dbf88ff0167b35e3",
        "cf66793e6329dff242eb3cee0a6f36ad3e3a196dcc573a1ec775e102be863f1c",
    ),
    256: (
        "5a3e455efe1e0d8ccde6324901ae9048a92378a633abc27f577576ffda063c16",
        "da6596d95369f5fef322ab8e4e0da3b0b50236aa9c8a3b1d246f7411c9e2e32e",
    ),
    257: (
        "64d83a25c2b43475e9601f7af642234e734dc5e8eb6afee47a730dd995ef8129",
        "5c1fdfe835358022f2392de478dbe053fc130cfe1d3a082879a90cf6bf14bf7e",
    ),
    511: (
        "f3054cac81afcbc4b0722ec0cc58e6cad445433b7f0e6a9fd25364cdab052eb1",
        "ba24c6b7ac0a5cfe33d63335afc1e768bb20ca931f2712f333e6086f2229e4a1",
    ),
    512: (
        "ff11d3150003a16cc7130f23df2bc9ee2f24eb25be45b2758703940305f5636e",
        "c6db949e76cfd5d61407c73a481921265ab024ea6131d02dc6b70defdfd4fada",
    ),
    513: (
        "f0591296c1bc4c33b94bc82a2ba895bb70224da2052ec0b4b72744dc9560982c",
        "78d674cc3de6985c25d64763bb968acf022d827ebc1158584a6629baebc4c31c",
    ),
    65535: (
        "7628522ac5a9689bcb109e8a5ef1ddb9451b86329fbbbbe673e0b5a998b946ab",
        "b8cd5046a19969bdc7e89289272390b40dd66ab18a7866c20b8920a6752668a5",
    ),
    65536: (
        "69aa3980650bf0c20a361ef0e1af5e7cb388354330e00ab67483ab03318226a3",
        "07b1a377960a4e12e3348d6e9329ae6316a95b02fb1c22e909231b3aa44861a7",
    ),
    65537: (
        "4070f022700dec4dcc83bd69b3a5c7de2bc9d953dbe5cb110f9d317602d932d1",
        "b99c570aaf13b96e026383e8e252e69c7142b3ad7e6e0264f3dc10dfd884d8c5",
    ),
    70000: (
        "35b25d8cc985c7a37d6111ea9ec6e7869887da066a1e56ecf45c8fbd4dfe9b08",
        "a3920fba7f239a071a9bd10721f1341addefbaededb41c7e24437a9d16bdf00a",
    ),
}


@pytest.mark.parametrize("size", GO)
def test_the_tiles_of_a_tree_are_those_that_go_makes(size: int) -> None:
    digest = sha256()
    for tile in tiles_between(0, size):
        assert tile.level is not None
        digest.update(tile.level.to_bytes(1, "big") + tile.index.to_bytes(8, "big") + tile.width.to_bytes(2, "big"))
        digest.update(read_tile(tile))
    assert (digest.hexdigest(), root(size).hex()) == GO[size]


# --- paths ---


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the standard's
        (Tile(0, 0), "tile/0/000"),
        (Tile(4, 1, 5), "tile/4/001.p/5"),
        (Tile(5, 123456078, 2), "tile/5/x123/x456/078.p/2"),  # golang.org/x/mod/sumdb/tlog, FuzzParseTilePath
        (Tile(0, 3057500), "tile/0/x003/x057/500"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
        (Tile(None, 0, 1), "tile/entries/000.p/1"),
        (Tile(None, 1000), "tile/entries/x001/000"),
        (Tile(0, 2**63 - 1), "tile/0/x009/x223/x372/x036/x854/x775/807"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_tile_path(path) == tile
    if tile.level is None:
        assert entries_path(tile.index, tile.width) == path
    else:
        assert tile_path(tile.level, tile.index, tile.width) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//0/000", "tiles/0/000", "tile/0/00",
        "tile/0/0000", "tile/00/000", "tile/01/000", "tile/64/000", "tile/99/000", "tile/100/000", "tile/-1/000",
        "tile/+1/000", "tile/0/x000/000", "tile/0/x000/x001/000", "tile/0/001/000", "tile/0/x001", "tile/0/x001/x002",
        "tile/0/X001/000", "tile/0/-01", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/00",
        "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/999", "tile/0/000.p/1000",
        "tile/0/000.p/-1", "tile/0/000.p/1/", "tile/0/000.P/1", "tile/0/000p/1", "tile/0/000.p/1\n", "tile/0/000\n",
        " tile/0/000", "tile/0/000 ", "tile/0/٠٠٠", "tile/٠/000", "tile/0/000.p/١", "tile/data/000", "tile/entries",
        "tile/Entries/000", "tile/entries/00", "tile/entries/000.p/0", "tile/8/0/000", "tile/0/../000",
        "tile/0/%30%30%30", "tile/0/x009/x223/x372/x036/x854/x775/808", "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/" + "x999/" * 3000 + "999", "checkpoint",
    ],
)  # fmt: skip
def test_any_other_spelling_is_malformed(path: str) -> None:
    with pytest.raises(Malformed):
        parse_tile_path(path)


@given(st.integers(-1, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_any_tile_comes_back_from_its_path(level: int, index: int, width: int) -> None:
    tile = Tile(None if level < 0 else level, index, width)
    assert parse_tile_path(tile.path) == tile


@given(st.text(alphabet="tile/entris0123456789x.p", max_size=40).map(lambda tail: "tile/" + tail) | st.text())
def test_any_path_is_read_as_the_tile_with_that_path_or_is_malformed(path: str) -> None:
    try:
        tile = parse_tile_path(path)
    except Malformed:
        return
    assert tile.path == path


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257)]
)
def test_a_tile_out_of_range_cannot_be_named(level: int, index: int, width: int) -> None:
    with pytest.raises(Malformed, match=r"expected .* came"):
        Tile(level, index, width)


# --- which tiles ---


def test_a_tree_of_70000_has_the_tiles_that_the_standard_counts() -> None:
    assert Counter((tile.level, tile.width) for tile in tiles_between(0, 70000)) == {
        (0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1,
    }  # fmt: skip
    assert list(tiles_between(0, 256)) == [Tile(0, 0), Tile(1, 0, 1)]


def all_tiles(size: int) -> set[Tile]:
    """The standard's definition, spelled out: full tiles of each level, and floor(s / 256^l) mod 256 hashes."""
    tiles, level = set[Tile](), 0
    while size // 256**level > 0:
        tiles |= {Tile(level, n) for n in range(size // 256 ** (level + 1))}
        if size // 256**level % 256:
            tiles.add(Tile(level, size // 256 ** (level + 1), size // 256**level % 256))
        level += 1
    return tiles


SIZES = st.integers(0, 2000) | st.sampled_from(EDGES) | st.integers(60000, 200000)


@given(SIZES, SIZES)
def test_between_two_sizes_are_the_tiles_of_the_new_one_that_the_old_one_had_not(one: int, two: int) -> None:
    old, new = sorted((one, two))
    tiles = list(tiles_between(old, new))
    assert len(tiles) == len(set(tiles))
    assert set(tiles) == all_tiles(new) - all_tiles(old)
    bundles = [Tile(None, each.index, each.width) for each in tiles if each.level == 0]
    assert list(bundles_between(old, new)) == bundles


def test_a_tree_beyond_all_memory_is_named_without_counting_up_to_it() -> None:
    size = 2**63 - 1
    assert len(list(tiles_between(size - 1, size))) == 1
    assert [tile.level for tile in tiles_between(size - 2**16, size)].count(1) == 2


# --- bundles ---


def test_a_bundle_is_each_entry_with_its_length_before_it() -> None:
    assert encode_bundle([b"", b"one", b"x" * 258]) == b"\x00\x00" + b"\x00\x03one" + b"\x01\x02" + b"x" * 258


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_any_entries_come_back_from_their_bundle(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for wrong in {len(entries) - 1, len(entries) + 1}:
        with pytest.raises(Malformed):
            decode_bundle(data, wrong)
    for cut in range(1, min(len(data), 20)):
        with pytest.raises(Malformed):
            decode_bundle(data[:-cut], len(entries))
    for more in (b"\x00", b"\x00\x00", b"\x00\x01x"):
        with pytest.raises(Malformed):
            decode_bundle(data + more, len(entries))


def test_an_entry_of_65535_bytes_is_the_longest() -> None:
    longest = bytes(65535)
    assert decode_bundle(encode_bundle([longest]), 1) == [longest]
    with pytest.raises(Malformed, match="at most 65535 bytes, 65536 came"):
        encode_bundle([longest + b"\x00"])


# --- reading the tree from tiles ---


@pytest.mark.parametrize("make", [hash_reader, lambda size, read: checked_hash_reader(size, root(size), read)])
@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 1999])
def test_every_stored_hash_is_read_from_tiles(
    make: Callable[..., Callable[[list[int]], list[bytes]]], size: int
) -> None:
    hashes, _ = stored()
    count = stored_hash_count(size)
    assert make(size, read_tile)(list(range(count))) == hashes[:count]
    with pytest.raises(NotFound):
        make(size, read_tile)([stored_hash_count(size + 1) - 1])


@pytest.mark.parametrize("size", EDGES)
def test_roots_and_proofs_come_from_tiles_alone(size: int) -> None:
    for read in (hash_reader(size, read_tile), checked_hash_reader(size, root(size), read_tile)):
        assert tree_root(size, read) == root(size)
        for index in {0, 1, size // 3, size // 2, size - 1} & set(range(size)):
            proof = prove_inclusion(index, size, read)
            check_inclusion(index, size, leaf_hash(b"entry %d" % index), proof, root(size))
        for old in [each for each in EDGES if each <= size]:
            check_consistency(old, size, root(old), root(size), prove_consistency(old, size, read))


def test_a_proof_reads_each_tile_once() -> None:
    reads = Counter[Tile]()

    def counting(tile: Tile) -> bytes:
        reads[tile] += 1
        return read_tile(tile)

    prove_inclusion(12345, 70000, checked_hash_reader(70000, root(70000), counting))
    assert set(reads) == {Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1), Tile(0, 48), Tile(1, 0)}
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("size", [1, 300, 513, 70000])
def test_no_changed_hash_of_a_tile_is_believed(size: int) -> None:
    # As TestTileHashReader of golang.org/x/mod does: whatever is read from a changed tile is refused.
    wanted_leaves = range(0, size, max(1, size // 40))
    for leaf in wanted_leaves:
        place = 2 * leaf - leaf.bit_count()

        def changed(tile: Tile, leaf: int = leaf) -> bytes:
            data = bytearray(read_tile(tile))
            if tile.level == 0 and tile.index == leaf // 256:
                data[leaf % 256 * 32 + leaf % 32] ^= 1
            return bytes(data)

        with pytest.raises(BadProof):
            checked_hash_reader(size, root(size), changed)([place])


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_no_changed_byte_of_any_tile_on_the_way_is_believed(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([257, 513, 1999, 65537, 70000]))
    index = data.draw(st.integers(0, size - 1))
    used: list[Tile] = []

    def noting(tile: Tile) -> bytes:
        used.append(tile)
        return read_tile(tile)

    prove_inclusion(index, size, checked_hash_reader(size, root(size), noting))
    target = data.draw(st.sampled_from(used))
    at = data.draw(st.integers(0, target.width * 32 - 1))

    def changed(tile: Tile) -> bytes:
        original = bytearray(read_tile(tile))
        if tile == target:
            original[at] ^= 1 << data.draw(st.integers(0, 7))
        return bytes(original)

    with pytest.raises(BadProof):
        prove_inclusion(index, size, checked_hash_reader(size, root(size), changed))


def test_a_tile_of_another_length_is_malformed() -> None:
    for wrong in (b"", read_tile(Tile(0, 0))[:-1], read_tile(Tile(0, 0)) + b"\x00"):
        with pytest.raises(Malformed, match="tile/0/000: expected 8192 bytes"):
            decode_tile(Tile(0, 0), wrong)
        with pytest.raises(Malformed):
            checked_hash_reader(256, root(256), lambda tile, wrong=wrong: wrong)  # type: ignore[misc]


def test_an_empty_tree_has_no_tiles_and_the_empty_root() -> None:
    def none(tile: Tile) -> bytes:
        raise AssertionError(tile)

    assert checked_hash_reader(0, EMPTY_ROOT, none)([]) == []
    with pytest.raises(BadProof):
        checked_hash_reader(0, node_hash(EMPTY_ROOT, EMPTY_ROOT), none)


def test_a_bundle_holds_no_hashes() -> None:
    with pytest.raises(Malformed, match="an entry bundle came"):
        tile_hashes_indices(Tile(None, 0))
