"""The Merkle tree of RFC 6962 (section 2.1) and RFC 9162, over a reader of stored hashes.

A store keeps, for each leaf in order, the leaf's hash and then the hashes of the subtrees which that leaf
completed: under two hashes a leaf, written once and never changed. This is the order of Crosby and Wallach,
"Efficient Data Structures for Tamper-Evident Logging", section 3.3, as Go's golang.org/x/mod/sumdb/tlog
numbers it (`StoredHashIndex`):

    level 2               6                     a leaf's hashes are written together:
    level 1       2               5        9    leaf 0: 0    leaf 1: 1 2    leaf 2: 3    leaf 3: 4 5 6
    level 0     0   1           3   4    7   8

From such a store any root or proof is one read of O(log size) hashes. Nothing here does I/O: what reads is
handed in.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TypeAlias

from ledger.errors import BadProof, Malformed, NotFound, Refused

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

HashReader: TypeAlias = Callable[[Sequence[int]], Sequence[bytes]]
"""Given stored hash indexes, strictly increasing, returns their hashes in the same order."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds these bytes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two nodes."""
    return sha256(b"\x01" + left + right).digest()


# --- where hashes are stored ---


def stored_hash_index(level: int, n: int) -> int:
    """The place in the store of the n-th node of a level (0 = leaves), both counted from 0."""
    # A node is written with the last leaf under it, after that leaf and the nodes between: level places on.
    # Before leaf n stand n leaves, n//2 nodes of level 1, n//4 of level 2, …: 2n less the one bits of n.
    last_leaf = ((n + 1) << level) - 1
    return 2 * last_leaf - last_leaf.bit_count() + level


def split_stored_hash_index(index: int) -> tuple[int, int]:
    """The level and number of the node at a place in the store: the inverse of `stored_hash_index`."""
    leaf = index // 2  # the leaf written last at or before index lies at most log2(index) leaves further on
    while stored_hash_index(0, leaf + 1) <= index:
        leaf += 1
    level = index - stored_hash_index(0, leaf)
    return level, leaf >> level


def stored_hash_count(size: int) -> int:
    """How many hashes a store holds for a tree of this size."""
    return 2 * size - size.bit_count()


def stored_hashes_for(index: int, leaf: bytes, read: HashReader) -> list[bytes]:
    """What the store appends for leaf number `index` with this leaf hash: it and the nodes that it completes.

    The hashes belong at `stored_hash_index(0, index)` onwards. For many leaves at once, `Frontier` reads once.
    """
    # Each trailing one bit of the index is a complete subtree on the left, of 1, 2, 4, … leaves.
    completed = (~index & (index + 1)).bit_length() - 1
    siblings = _read([stored_hash_index(lv, (index >> lv) - 1) for lv in reversed(range(completed))], read)
    hashes = [leaf]
    for left in reversed(siblings):
        hashes.append(node_hash(left, hashes[-1]))
    return hashes


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first. O(log size) bytes.

    An auditor streams leaf hashes through it and compares roots; a sequencer appends a batch and stores what
    `append` returns. `Frontier(f.size, f.roots)` copies one, or takes one up again where it was left.
    """

    __slots__ = ("_roots", "_size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self._size = size
        self._roots = list(roots)
        expected = size.bit_count()  # one complete subtree for each power of two in the size
        if size < 0 or len(self._roots) != expected:
            raise Malformed(f"frontier of size {size}: expected {expected} roots, {len(self._roots)} came")
        for root in self._roots:
            if len(root) != HASH_SIZE:
                raise Malformed(f"frontier of size {size}: expected {HASH_SIZE} bytes a root, {len(root)} came")

    @classmethod
    def at(cls, size: int, read: HashReader) -> "Frontier":
        """The frontier of a stored tree, with one read of at most log2(size) + 1 hashes."""
        return cls(size, _read(_cover(0, size), read))

    @property
    def size(self) -> int:
        return self._size

    @property
    def roots(self) -> tuple[bytes, ...]:
        return tuple(self._roots)

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf by its hash. Returns what a store appends for it, as `stored_hashes_for` does."""
        hashes = [leaf]
        size = self._size
        while size & 1:
            leaf = node_hash(self._roots.pop(), leaf)
            hashes.append(leaf)
            size >>= 1
        self._roots.append(leaf)
        self._size += 1
        return hashes

    def root(self) -> bytes:
        """The root of the whole tree, as RFC 6962 defines it for any size."""
        return _fold(self._roots) if self._roots else EMPTY_ROOT


def tree_root(size: int, read: HashReader) -> bytes:
    """The root of the tree over the first `size` leaves, with one read of at most log2(size) + 1 hashes."""
    return Frontier.at(size, read).root()


# --- inclusion: RFC 9162, 2.1.3 ---


def prove_inclusion(index: int, size: int, read: HashReader) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, the leaf's sibling first. One read.

    Raises NotFound when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise NotFound(f"inclusion proof: expected a leaf below the tree's size {size}, leaf {index} came")
    path: list[tuple[int, int]] = []  # from the root down: the leaves [lo, hi) under the branch not taken
    lo, hi = 0, size
    while hi - lo > 1:
        middle = lo + _split(hi - lo)
        if index < middle:
            path.append((middle, hi))
            hi = middle
        else:
            path.append((lo, middle))
            lo = middle
    return _subtree_roots(path[::-1], read)


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that leaf `index`, with this leaf hash, stands in the tree of `size` leaves with this root.

    Size and root belong together and come from a checkpoint: a path alone does not tell the size, since a
    leaf can have paths of the same shape in trees of two sizes. Raises BadProof.
    """
    where = f"inclusion of leaf {index} in a tree of {size}"
    # 1. The leaf lies in the tree.
    if not 0 <= index < size:
        raise BadProof(f"{where}: expected a leaf below the size")
    # 2. Every hash has the length of a hash: no other split of the same bytes can pass.
    _expect_hashes(where, (leaf, *proof, root))
    # 3. The path is as long as this leaf's path; walk it up from the leaf.
    node, last = index, size - 1  # RFC 9162, 2.1.3.2: fn and sn
    reached = leaf
    for sibling in proof:
        if last == 0:
            raise BadProof(f"{where}: expected fewer than {len(proof)} hashes")
        if node & 1 or node == last:
            reached = node_hash(sibling, reached)
            while not node & 1 and node:  # a last node without a sibling rises to where it has one
                node >>= 1
                last >>= 1
        else:
            reached = node_hash(reached, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"{where}: expected more than {len(proof)} hashes")
    # 4. It leads to the root.
    if reached != root:
        raise BadProof(f"{where}: expected root {root.hex()}, the proof leads to {reached.hex()}")


# --- consistency: RFC 9162, 2.1.4 ---


def prove_consistency(old: int, new: int, read: HashReader) -> list[bytes]:
    """The proof that the tree of `new` leaves only added to the tree of `old` leaves. One read.

    Empty where nothing needs proof: from an empty tree, and to the same size. Refused when `new` is smaller.
    """
    if not 0 <= old <= new:
        raise Refused(f"consistency proof: expected an old size from 0 to the new size {new}, {old} came")
    if old == 0:
        return []
    path: list[tuple[int, int]] = []  # from the root down to the subtree that ends where the old tree ended
    lo, hi = 0, new
    while hi != old:
        middle = lo + _split(hi - lo)
        if old <= middle:
            path.append((middle, hi))
            hi = middle
        else:
            path.append((lo, middle))
            lo = middle
    if lo != 0:  # else that subtree is the old tree itself, whose root the checker has
        path.append((lo, hi))
    return _subtree_roots(path[::-1], read)


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves with `new_root` only added to that of `old` leaves with `old_root`.

    Sizes and roots belong together and come from two checkpoints. Every tree has grown from the empty tree,
    so there the new root is not looked at. Raises BadProof.
    """
    where = f"growth from size {old} to size {new}"
    # 1. The tree did not shrink.
    if not 0 <= old <= new:
        raise BadProof(f"{where}: expected a new size not below the old")
    # 2. Every hash has the length of a hash.
    _expect_hashes(where, (old_root, new_root, *proof))
    # 3. An empty tree has one root only.
    if old == 0 and old_root != EMPTY_ROOT:
        raise BadProof(f"{where}: expected the empty tree's root {EMPTY_ROOT.hex()}, {old_root.hex()} came")
    # 4. From an empty tree, and to the same size, there is nothing to prove; the same size has the same root.
    if old in (0, new):
        if proof:
            raise BadProof(f"{where}: expected no hashes, {len(proof)} came")
        if old == new and old_root != new_root:
            raise BadProof(f"{where}: expected the same root {old_root.hex()}, {new_root.hex()} came")
        return
    # 5. The path is as long as this growth's path; walk it up from where the old tree ended, to both roots.
    if not proof:
        raise BadProof(f"{where}: expected hashes, none came")
    node, last = old - 1, new - 1  # RFC 9162, 2.1.4.2: fn and sn
    while node & 1:
        node >>= 1
        last >>= 1
    start, path = (old_root, proof) if old & (old - 1) == 0 else (proof[0], proof[1:])
    reached_old = reached_new = start
    for sibling in path:
        if last == 0:
            raise BadProof(f"{where}: expected fewer than {len(proof)} hashes")
        if node & 1 or node == last:
            reached_old = node_hash(sibling, reached_old)
            reached_new = node_hash(sibling, reached_new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            reached_new = node_hash(reached_new, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"{where}: expected more than {len(proof)} hashes")
    # 6. It leads to both roots.
    if reached_old != old_root:
        raise BadProof(f"{where}: expected old root {old_root.hex()}, the proof leads to {reached_old.hex()}")
    if reached_new != new_root:
        raise BadProof(f"{where}: expected new root {new_root.hex()}, the proof leads to {reached_new.hex()}")


# --- subtrees ---


def _split(size: int) -> int:
    """The largest power of two below the size: how many leaves stand left of the root (RFC 6962, 2.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _cover(lo: int, hi: int) -> list[int]:
    """Where the complete subtrees are stored that make up one subtree's leaves [lo, hi), largest first."""
    places = []
    while lo < hi:
        level = (hi - lo).bit_length() - 1
        places.append(stored_hash_index(level, lo >> level))
        lo += 1 << level
    return places


def _fold(roots: Sequence[bytes]) -> bytes:
    """The root above complete subtrees, largest first, at least one."""
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def _subtree_roots(ranges: Sequence[tuple[int, int]], read: HashReader) -> list[bytes]:
    """The root of each subtree, given as leaves [lo, hi) that do not overlap, with one read for all."""
    covers = [_cover(lo, hi) for lo, hi in ranges]
    wanted = sorted(place for cover in covers for place in cover)
    stored = dict(zip(wanted, _read(wanted, read), strict=True))
    return [_fold([stored[place] for place in cover]) for cover in covers]


def _read(wanted: Sequence[int], read: HashReader) -> Sequence[bytes]:
    hashes = read(wanted) if wanted else ()
    if len(hashes) != len(wanted):
        raise Malformed(f"stored hashes: expected {len(wanted)}, {len(hashes)} came")
    for place, stored in zip(wanted, hashes, strict=True):
        if len(stored) != HASH_SIZE:
            raise Malformed(f"stored hash {place}: expected {HASH_SIZE} bytes, {len(stored)} came")
    return hashes


def _expect_hashes(where: str, hashes: Iterable[bytes]) -> None:
    for each in hashes:
        if len(each) != HASH_SIZE:
            raise BadProof(f"{where}: expected hashes of {HASH_SIZE} bytes, one of {len(each)} came")
