"""Trees for the contracts' tests: small ones of real entries, and huge ones that nobody has to build."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

from ledger.merkle import leaf_hash, node_hash, split_stored_hash_index, stored_hashes_for

Reader: TypeAlias = Callable[[Sequence[int]], list[bytes]]


def reader(entries: Sequence[bytes]) -> Reader:
    """Stored hashes of the tree over these entries."""
    hashes: list[bytes] = []

    def read(places: Sequence[int]) -> list[bytes]:
        return [hashes[place] for place in places]

    for index, entry in enumerate(entries):
        hashes += stored_hashes_for(index, leaf_hash(entry), read)
    return read


@cache
def level(n: int, entry: bytes = b"the same") -> bytes:
    """The root over 2^n leaves that all hold this entry."""
    return leaf_hash(entry) if n == 0 else node_hash(level(n - 1, entry), level(n - 1, entry))


def equal_leaves(entry: bytes) -> Reader:
    """Stored hashes of a tree of any size whose leaves all hold this entry: a hash depends on its level alone."""

    def read(places: Sequence[int]) -> list[bytes]:
        return [level(split_stored_hash_index(place)[0], entry) for place in places]

    return read


read_huge = equal_leaves(b"the same")
