"""RFC 6962 trees: against the RFC's own recursive definitions, published vectors, and every small change to a proof."""

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadProof, Malformed, NotFound, Refused
from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    split_stored_hash_index,
    stored_hash_count,
    stored_hash_index,
    stored_hashes_for,
    tree_root,
)

LIMIT = 64
ENTRIES = tuple(b"entry %d" % i for i in range(LIMIT))
OTHER = sha256(b"some other hash").digest()


class Store:
    """A store in memory. Counts what is read, and holds the code to its promise of increasing indexes."""

    def __init__(self, entries: Sequence[bytes] = ()) -> None:
        self.hashes: list[bytes] = []
        self.reads: list[int] = []
        for index, entry in enumerate(entries):
            assert len(self.hashes) == stored_hash_index(0, index)
            self.hashes += stored_hashes_for(index, leaf_hash(entry), self.read)
        self.reads.clear()

    def read(self, wanted: Sequence[int]) -> list[bytes]:
        assert list(wanted) == sorted(set(wanted))
        self.reads.append(len(wanted))
        return [self.hashes[place] for place in wanted]


STORE = Store(ENTRIES)


# --- the oracle: RFC 6962, 2.1 to 2.1.2, as its text has it; D[lo:hi] are ENTRIES ---


def k_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def mth(lo: int, hi: int) -> bytes:
    if lo == hi:
        return sha256(b"").digest()
    if hi - lo == 1:
        return sha256(b"\x00" + ENTRIES[lo]).digest()
    k = k_below(hi - lo)
    return sha256(b"\x01" + mth(lo, lo + k) + mth(lo + k, hi)).digest()


def path(m: int, lo: int, hi: int) -> list[bytes]:
    n = hi - lo
    if n == 1:
        return []
    k = k_below(n)
    if m < k:
        return [*path(m, lo, lo + k), mth(lo + k, hi)]
    return [*path(m - k, lo + k, hi), mth(lo, lo + k)]


def subproof(m: int, lo: int, hi: int, complete: bool) -> list[bytes]:
    n = hi - lo
    if m == n:
        return [] if complete else [mth(lo, hi)]
    k = k_below(n)
    if m <= k:
        return [*subproof(m, lo, lo + k, complete), mth(lo + k, hi)]
    return [*subproof(m - k, lo + k, hi, False), mth(lo, lo + k)]


def sides(m: int, n: int) -> str:
    """The shape of PATH(m, D[n]): which way each step from the root goes."""
    if n == 1:
        return ""
    k = k_below(n)
    return "L" + sides(m, k) if m < k else "R" + sides(m - k, n - k)


def growth(m: int, n: int, complete: bool = True) -> str:
    """The shape of PROOF(m, D[n]), and whether the old root begins it."""
    if m == n:
        return "old root" if complete else "a node"
    k = k_below(n)
    return "L" + growth(m, k, complete) if m <= k else "R" + growth(m - k, n - k, False)


def roots(size: int) -> bytes:
    return mth(0, size)


# --- hashes and where they are stored ---


def test_a_leaf_and_a_node_over_the_same_bytes_have_different_hashes() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT == sha256(b"").digest() == tree_root(0, Store().read) == Frontier().root()


def test_hashes_are_stored_in_the_order_of_go_tlog() -> None:
    # The numbering of golang.org/x/mod/sumdb/tlog, written out from its definition for the first eight leaves.
    order = [(0, 0), (0, 1), (1, 0), (0, 2), (0, 3), (1, 1), (2, 0), (0, 4), (0, 5), (1, 2), (0, 6), (0, 7)]
    order += [(1, 3), (2, 1), (3, 0)]
    assert [stored_hash_index(level, n) for level, n in order] == list(range(15))


def test_a_place_in_the_store_splits_back_into_level_and_number() -> None:
    for level in range(10):
        for n in range(100):
            assert split_stored_hash_index(stored_hash_index(level, n)) == (level, n)
    places = [split_stored_hash_index(place) for place in range(2000)]
    assert len(set(places)) == 2000
    far = stored_hash_index(40, 2**22 - 1)
    assert split_stored_hash_index(far) == (40, 2**22 - 1)


def test_each_stored_hash_is_the_root_of_its_subtree() -> None:
    for place, stored in enumerate(STORE.hashes):
        level, n = split_stored_hash_index(place)
        assert stored == mth(n << level, (n + 1) << level)


def test_a_store_of_any_size_holds_as_many_hashes_as_promised() -> None:
    store = Store()
    assert stored_hash_count(0) == 0
    for index, entry in enumerate(ENTRIES):
        store.hashes += stored_hashes_for(index, leaf_hash(entry), store.read)
        assert len(store.hashes) == stored_hash_count(index + 1) == stored_hash_index(0, index + 1)


# --- the published vectors ---

# github.com/google/certificate-transparency, merkletree/merkle_tree_test.cc (kSHA256Roots, kPaths, kProofs), also in
# github.com/transparency-dev/merkle, testonly. Its leaf numbers there count from 1, here from 0.
CT_ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION: list[tuple[int, int, list[str]]] = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CT_CONSISTENCY: list[tuple[int, int, list[str]]] = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def unhex(hashes: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in hashes]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert tree_root(size, Store(CT_ENTRIES).read).hex() == CT_ROOTS[size]


@pytest.mark.parametrize(("index", "size", "proof"), CT_INCLUSION)
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int, proof: list[str]) -> None:
    assert prove_inclusion(index, size, Store(CT_ENTRIES).read) == unhex(proof)
    check_inclusion(index, size, leaf_hash(CT_ENTRIES[index]), unhex(proof), bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "proof"), CT_CONSISTENCY)
def test_consistency_proofs_are_those_of_certificate_transparency(old: int, new: int, proof: list[str]) -> None:
    assert prove_consistency(old, new, Store(CT_ENTRIES).read) == unhex(proof)
    check_consistency(old, new, bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[new]), unhex(proof))


# --- every tree of up to 64 leaves ---


def test_every_root_is_the_one_that_the_rfc_defines() -> None:
    frontier = Frontier()
    for size in range(LIMIT + 1):
        assert tree_root(size, STORE.read) == frontier.root() == roots(size)
        if size < LIMIT:
            frontier.append(leaf_hash(ENTRIES[size]))


def test_every_inclusion_proof_is_the_path_that_the_rfc_defines_and_is_accepted() -> None:
    for size in range(1, LIMIT + 1):
        for index in range(size):
            proof = prove_inclusion(index, size, STORE.read)
            assert proof == path(index, 0, size)
            check_inclusion(index, size, leaf_hash(ENTRIES[index]), proof, roots(size))


def test_every_consistency_proof_is_the_one_that_the_rfc_defines_and_is_accepted() -> None:
    for new in range(1, LIMIT + 1):
        for old in range(1, new + 1):
            proof = prove_consistency(old, new, STORE.read)
            assert proof == subproof(old, 0, new, True)
            check_consistency(old, new, roots(old), roots(new), proof)


def mutations(proof: list[bytes]) -> Iterator[list[bytes]]:
    """Every proof with one bit flipped in one hash, one hash dropped, added, doubled, cut short, or two swapped."""
    for i, each in enumerate(proof):
        before, after = proof[:i], proof[i + 1 :]
        bit = 1 << (i % 8)
        yield [*before, bytes([each[0] ^ bit]) + each[1:], *after]
        yield [*before, each[:-1] + bytes([each[-1] ^ bit]), *after]
        yield [*before, *after]
        yield [*before, each, each, *after]
        yield [*before, each[:-1], *after]
        yield [*before, each + b"\x00", *after]
        for j in range(i + 1, len(proof)):
            yield [*before, proof[j], *proof[i + 1 : j], each, *proof[j + 1 :]]
    for i in range(len(proof) + 1):
        yield [*proof[:i], OTHER, *proof[i:]]


def included(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    try:
        check_inclusion(index, size, leaf, proof, root)
    except BadProof:
        return False
    return True


def grew(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    try:
        check_consistency(old, new, old_root, new_root, proof)
    except BadProof:
        return False
    return True


def test_no_changed_inclusion_proof_is_accepted() -> None:
    for size in range(1, LIMIT + 1):
        for index in range(size):
            leaf, root, proof = leaf_hash(ENTRIES[index]), roots(size), path(index, 0, size)
            for changed in mutations(proof):
                assert not included(index, size, leaf, changed, root), (index, size)
            assert not included(index, size, OTHER, proof, root)
            assert not included(index, size, leaf, proof, OTHER)


def test_no_changed_consistency_proof_is_accepted() -> None:
    for new in range(2, LIMIT + 1):
        for old in range(1, new):
            proof = subproof(old, 0, new, True)
            for changed in mutations(proof):
                assert not grew(old, new, roots(old), roots(new), changed), (old, new)
            assert not grew(old, new, OTHER, roots(new), proof)
            assert not grew(old, new, roots(old), OTHER, proof)


def test_a_leaf_is_not_accepted_at_another_place() -> None:
    for size in range(1, LIMIT + 1):
        for index in range(size):
            leaf, root, proof = leaf_hash(ENTRIES[index]), roots(size), path(index, 0, size)
            for other in range(-1, size + 2):
                if other != index:
                    assert not included(other, size, leaf, proof, root), (index, other, size)


def test_an_inclusion_proof_is_not_accepted_for_another_size_with_that_size_s_root() -> None:
    for size in range(1, 33):
        for index in range(size):
            leaf, proof = leaf_hash(ENTRIES[index]), path(index, 0, size)
            for other in range(34):
                if other != size:
                    assert not included(index, other, leaf, proof, roots(other))


def test_an_inclusion_proof_passes_under_a_wrong_size_only_where_the_path_has_the_same_shape() -> None:
    # RFC 6962 does not bind the size to the proof: the checkpoint binds it to the root. This pins down how far it goes.
    passed = 0
    for size in range(1, 33):
        for index in range(size):
            leaf, root, proof = leaf_hash(ENTRIES[index]), roots(size), path(index, 0, size)
            for other in range(34):
                same = index < other and sides(index, other) == sides(index, size)
                assert included(index, other, leaf, proof, root) == same
                passed += same and other != size
    assert passed > 0
    check_inclusion(0, 4, leaf_hash(ENTRIES[0]), path(0, 0, 3), roots(3))  # the smallest case


def test_a_consistency_proof_is_not_accepted_for_other_sizes_with_those_sizes_roots() -> None:
    for new in range(2, 25):
        for old in range(1, new):
            proof = subproof(old, 0, new, True)
            for other in range(1, 26):
                if other != old:
                    assert not grew(other, new, roots(other), roots(new), proof)
                if other != new:
                    assert not grew(old, other, roots(old), roots(other), proof)


def test_a_consistency_proof_passes_under_wrong_sizes_only_where_it_has_the_same_shape() -> None:
    for new in range(2, 25):
        for old in range(1, new):
            proof, shape = subproof(old, 0, new, True), growth(old, new)
            for other in range(1, 26):
                same = other < new and growth(other, new) == shape
                assert grew(other, new, roots(old), roots(new), proof) == same
                same = old < other and growth(old, other) == shape
                assert grew(old, other, roots(old), roots(new), proof) == same


# --- the edges ---


def test_an_empty_tree_grows_into_any_tree_without_proof() -> None:
    for new in range(LIMIT + 1):
        assert prove_consistency(0, new, STORE.read) == []
        check_consistency(0, new, EMPTY_ROOT, roots(new), [])


def test_an_empty_tree_has_no_root_but_the_empty_one() -> None:
    with pytest.raises(BadProof, match="empty tree's root"):
        check_consistency(0, 5, OTHER, roots(5), [])
    with pytest.raises(BadProof, match="same root"):
        check_consistency(0, 0, EMPTY_ROOT, OTHER, [])


def test_growth_from_an_empty_tree_takes_no_hashes() -> None:
    with pytest.raises(BadProof, match="expected no hashes, 1 came"):
        check_consistency(0, 5, EMPTY_ROOT, roots(5), [OTHER])


def test_two_roots_at_the_same_size_are_never_consistent() -> None:
    for size in range(LIMIT + 1):
        assert not grew(size, size, roots(size), OTHER, [])
        assert not grew(size, size, roots(size), roots(size), [OTHER])


def test_a_tree_that_shrank_is_refused_even_with_the_proof_of_its_growth() -> None:
    with pytest.raises(BadProof, match="not below the old"):
        check_consistency(8, 6, roots(8), roots(6), subproof(6, 0, 8, True))
    with pytest.raises(BadProof, match="not below the old"):
        check_consistency(-1, 6, roots(1), roots(6), subproof(1, 0, 6, True))


def test_a_proof_of_growth_may_not_be_empty() -> None:
    with pytest.raises(BadProof, match="expected hashes, none came"):
        check_consistency(4, 8, roots(4), roots(8), [])


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_leaves_and_roots_of_another_length_than_a_hash_are_refused(length: int) -> None:
    wrong = bytes(length)
    with pytest.raises(BadProof, match="hashes of 32 bytes"):
        check_inclusion(0, 1, wrong, [], wrong)
    with pytest.raises(BadProof, match="hashes of 32 bytes"):
        check_consistency(4, 4, wrong, wrong, [])


def test_bytes_moved_between_neighbouring_hashes_are_refused() -> None:
    # Node hashes are over left || right: without the check of lengths another split of the same bytes would pass.
    leaf, sibling = leaf_hash(ENTRIES[0]), leaf_hash(ENTRIES[1])
    with pytest.raises(BadProof, match="hashes of 32 bytes"):
        check_inclusion(0, 2, leaf + sibling[:1], [sibling[1:]], roots(2))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_there_is_no_proof_for_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(NotFound, match=f"leaf {index} came"):
        prove_inclusion(index, size, STORE.read)
    with pytest.raises(BadProof, match="below the size"):
        check_inclusion(index, size, OTHER, [], OTHER)


@pytest.mark.parametrize(("old", "new"), [(6, 5), (-1, 5), (1, 0)])
def test_there_is_no_proof_of_growth_to_a_smaller_tree(old: int, new: int) -> None:
    with pytest.raises(Refused, match=f"{old} came"):
        prove_consistency(old, new, STORE.read)


def test_a_reader_that_returns_too_few_hashes_is_caught() -> None:
    with pytest.raises(Malformed, match="expected 3, 2 came"):
        tree_root(7, lambda wanted: STORE.read(wanted)[1:])


def test_a_reader_that_returns_something_else_than_hashes_is_caught() -> None:
    with pytest.raises(Malformed, match="stored hash 6: expected 32 bytes, 20 came"):
        tree_root(7, lambda wanted: [each[:20] for each in STORE.read(wanted)])


# --- the frontier ---


def test_a_frontier_returns_what_a_store_appends() -> None:
    frontier, hashes = Frontier(), []
    for entry in ENTRIES:
        hashes += frontier.append(leaf_hash(entry))
    assert hashes == STORE.hashes
    assert frontier.size == LIMIT


def test_a_frontier_read_from_a_store_goes_on_as_the_one_that_streamed_it() -> None:
    for start in range(LIMIT):
        frontier = Frontier.at(start, STORE.read)
        for entry in ENTRIES[start:]:
            frontier.append(leaf_hash(entry))
        assert (frontier.size, frontier.root()) == (LIMIT, roots(LIMIT))


def test_a_copy_of_a_frontier_grows_by_itself() -> None:
    frontier = Frontier.at(21, STORE.read)
    copy = Frontier(frontier.size, frontier.roots)
    copy.append(OTHER)
    assert frontier.root() == roots(21)
    assert (copy.size, frontier.size) == (22, 21)


@pytest.mark.parametrize(("size", "count", "length"), [(3, 1, 32), (3, 3, 32), (0, 1, 32), (3, 2, 31), (-3, 2, 32)])
def test_a_frontier_whose_roots_do_not_fit_its_size_is_refused(size: int, count: int, length: int) -> None:
    with pytest.raises(Malformed):
        Frontier(size, [bytes(length)] * count)


# --- large trees: with all leaves alike, the root of a subtree depends on its height alone, so none need be built ---


def heights(limit: int) -> list[bytes]:
    by_height = [leaf_hash(b"the same leaf")]
    for _ in range(limit):
        by_height.append(node_hash(by_height[-1], by_height[-1]))
    return by_height


SAME = heights(63)


class LargeStore:
    def __init__(self, size: int) -> None:
        self.limit = stored_hash_count(size)
        self.reads: list[int] = []

    def read(self, wanted: Sequence[int]) -> list[bytes]:
        assert list(wanted) == sorted(set(wanted))
        assert not wanted or wanted[-1] < self.limit
        self.reads.append(len(wanted))
        return [SAME[split_stored_hash_index(place)[0]] for place in wanted]


@pytest.mark.parametrize("size", [2**20, 2**20 - 1, 2**20 + 1, 1_000_003, 699_051, 2**40 + 2**20 - 1])
def test_a_root_or_proof_over_a_large_tree_is_one_read_of_few_hashes(size: int) -> None:
    store, most = LargeStore(size), 2 * size.bit_length()
    root = tree_root(size, store.read)
    for index in (0, 1, size // 3, size // 2, 2**19, size - 2, size - 1):
        check_inclusion(index, size, SAME[0], prove_inclusion(index, size, store.read), root)
    for old in (1, 2, size // 3, size // 2, 2**19, 2**19 + 1, size - 1):
        old_root = tree_root(old, store.read)
        check_consistency(old, size, old_root, root, prove_consistency(old, size, store.read))
    assert max(store.reads) <= most
    assert len(store.reads) == 1 + 7 + 7 * 2


def test_a_proof_over_a_million_leaves_reads_at_most_forty_hashes() -> None:
    for size in (2**20, 2**20 - 1, 1_000_003, 699_051):
        store = LargeStore(size)
        for index in range(0, size, size // 200):
            prove_inclusion(index, size, store.read)
            prove_consistency(max(index, 1), size, store.read)
        assert max(store.reads) <= 40


def test_a_leaf_that_completes_a_subtree_reads_one_hash_for_each_level() -> None:
    store = LargeStore(2**20)
    assert stored_hashes_for(2**20 - 1, SAME[0], store.read) == SAME[:21]
    assert store.reads == [20]
    assert stored_hashes_for(2**20 - 2, SAME[0], store.read) == SAME[:1]
    assert store.reads == [20]


def test_a_frontier_of_many_leaves_keeps_one_root_for_each_power_of_two() -> None:
    frontier = Frontier()
    for _ in range(2**16):
        frontier.append(SAME[0])
    assert frontier.roots == (SAME[16],)
    assert frontier.root() == SAME[16]


# --- any tree ---


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=80), st.data())
def test_whatever_the_leaves_proofs_of_them_are_accepted(entries: list[bytes], data: st.DataObject) -> None:
    store, size = Store(entries), len(entries)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    root = tree_root(size, store.read)
    check_inclusion(index, size, leaf_hash(entries[index]), prove_inclusion(index, size, store.read), root)
    old_root = tree_root(old, Store(entries[:old]).read)
    check_consistency(old, size, old_root, root, prove_consistency(old, size, store.read))


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=80), st.data())
def test_a_changed_old_leaf_is_not_consistent_with_what_was_signed(entries: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(entries)))
    changed = list(entries)
    changed[data.draw(st.integers(0, old - 1))] += b"!"
    forged = Store(changed)
    old_root = tree_root(old, Store(entries[:old]).read)
    new_root = tree_root(len(entries), forged.read)
    with pytest.raises(BadProof):
        check_consistency(old, len(entries), old_root, new_root, prove_consistency(old, len(entries), forged.read))


@given(st.integers(-2, 2**64), st.integers(-2, 2**64), st.lists(st.binary(min_size=31, max_size=33), max_size=70))
def test_an_invented_proof_is_refused_and_nothing_else_happens(one: int, two: int, proof: list[bytes]) -> None:
    with pytest.raises(BadProof):
        check_inclusion(one, two, OTHER, proof, SAME[1])
    with pytest.raises(BadProof):
        check_consistency(one, two, OTHER, SAME[1], proof)
