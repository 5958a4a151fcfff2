"""Vectors of Merkle proofs that both checkers are held to: ledger/merkle.py and contracts/src/MerkleLog.sol.

    python tests/vectors/make_chain_merkle.py

writes chain_merkle.json beside this file. Made from the recursive definitions of RFC 6962 (2.1 to 2.1.2), which neither
checker follows, and imports nothing of `ledger`. All leaves of a large tree are the same, so that a tree of 2^63 leaves
is as many hashes as it has levels.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LARGEST = 2**64 - 1  # a size is a uint64


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def k_below(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


class Tree:
    """Leaf i holds `i mod period` in decimal: period 1 makes all leaves equal, and then subtrees of one size are."""

    def __init__(self, period: int) -> None:
        self.period = period

    def leaf(self, i: int) -> bytes:
        return hashlib.sha256(b"\x00leaf %d" % (i % self.period)).digest()

    @cache  # noqa: B019  (two trees, for one run)
    def _mth(self, lo: int, hi: int) -> bytes:
        if lo == hi:
            return hashlib.sha256(b"").digest()
        if hi - lo == 1:
            return self.leaf(lo)
        k = k_below(hi - lo)
        return node(self.mth(lo, lo + k), self.mth(lo + k, hi))

    def mth(self, lo: int, hi: int) -> bytes:
        return self._mth(0, hi - lo) if self.period == 1 else self._mth(lo, hi)

    def path(self, m: int, lo: int, hi: int) -> list[bytes]:
        if hi - lo == 1:
            return []
        k = k_below(hi - lo)
        if m < k:
            return [*self.path(m, lo, lo + k), self.mth(lo + k, hi)]
        return [*self.path(m - k, lo + k, hi), self.mth(lo, lo + k)]

    def subproof(self, m: int, lo: int, hi: int, complete: bool) -> list[bytes]:
        if m == hi - lo:
            return [] if complete else [self.mth(lo, hi)]
        k = k_below(hi - lo)
        if m <= k:
            return [*self.subproof(m, lo, lo + k, complete), self.mth(lo + k, hi)]
        return [*self.subproof(m - k, lo + k, hi, False), self.mth(lo, lo + k)]


def hexes(hashes: list[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def growth(tree: Tree, old: int, new: int) -> dict[str, Any]:
    proof = tree.subproof(old, 0, new, True) if old else []
    return {
        "old_size": str(old),  # text: JSON's numbers end at 2^53 for some readers
        "old_root": tree.mth(0, old).hex(),
        "new_size": str(new),
        "new_root": tree.mth(0, new).hex(),
        "proof": hexes(proof),
        "holds": True,
    }


def place(tree: Tree, index: int, size: int) -> dict[str, Any]:
    return {
        "leaf": tree.leaf(index).hex(),
        "index": str(index),
        "size": str(size),
        "root": tree.mth(0, size).hex(),
        "proof": hexes(tree.path(index, 0, size)),
        "holds": True,
    }


def flipped(text: str) -> str:
    return f"{int(text[0], 16) ^ 1:x}{text[1:]}"


def broken(good: dict[str, Any], *roots: str) -> Iterator[dict[str, Any]]:
    """Each with one change. None of them may hold: the trees around them are such that no size fits twice."""
    proof = good["proof"]
    for name in roots:
        yield {**good, name: flipped(good[name]), "holds": False}
    for i, each in enumerate(proof):
        yield {**good, "proof": [*proof[:i], flipped(each), *proof[i + 1 :]], "holds": False}
        yield {**good, "proof": [*proof[:i], *proof[i + 1 :]], "holds": False}
        yield {**good, "proof": [*proof[:i], each, *proof[i:]], "holds": False}
    yield {**good, "proof": [*proof, "00" * 32], "holds": False}


SMALL, LARGE = Tree(1000), Tree(1)
SMALL_GROWTHS = [(0, 0), (0, 5), (1, 1), (1, 2), (2, 3), (3, 7), (4, 8), (6, 8), (7, 13)]
GROWTHS = [growth(SMALL, old, new) for old, new in SMALL_GROWTHS]
LARGE_GROWTHS = [
    (2**20 - 1, 2**20),
    (2**20 + 5, 2**20 + 77),
    (2**30, 2**30 + 1),
    (2**63, LARGEST),
    (LARGEST - 1, LARGEST),
]
GROWTHS += [growth(LARGE, old, new) for old, new in LARGE_GROWTHS]
PLACES = [place(SMALL, index, size) for index, size in [(0, 1), (0, 2), (1, 2), (2, 3), (4, 7), (6, 7), (12, 13)]]
PLACES += [place(LARGE, index, size) for index, size in [(2**20, 2**20 + 1), (5, 2**30), (LARGEST - 1, LARGEST)]]


def main() -> None:
    vectors = {
        "from": "tests/vectors/make_chain_merkle.py",
        "consistency": [
            *GROWTHS,
            *(bad for good in (GROWTHS[5], GROWTHS[7], GROWTHS[8]) for bad in broken(good, "old_root", "new_root")),
            {**GROWTHS[5], "old_size": "7", "new_size": "3", "holds": False},
            {**GROWTHS[1], "old_root": "00" * 32, "holds": False},
            {**GROWTHS[0], "new_root": "00" * 32, "holds": False},
            {**GROWTHS[2], "new_root": "00" * 32, "holds": False},
        ],
        "inclusion": [
            *PLACES,
            *(bad for good in (PLACES[4], PLACES[5]) for bad in broken(good, "leaf", "root")),
            {**PLACES[0], "index": "1", "holds": False},
            {**PLACES[0], "size": "0", "holds": False},
            {**PLACES[4], "index": "5", "holds": False},
            {**PLACES[4], "index": "7", "holds": False},
        ],
    }
    (HERE / "chain_merkle.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
