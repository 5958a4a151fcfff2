"""The checker on chain says what RFC 9162 says: of every small tree, every small change to a proof, and huge trees."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compile import HERE, compile_all
from contracts.tests.chain import Chain
from contracts.tests.trees import Reader, level, read_huge, reader
from ledger.errors import BadProof
from ledger.merkle import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
)

LIMIT = 33
VECTORS = json.loads((HERE.parent / "tests" / "vectors" / "chain_merkle.json").read_text())
OTHER = sha256(b"some other hash").digest()
LARGEST = 2**64 - 1
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Growth:
    old: int
    old_root: bytes
    new: int
    new_root: bytes
    proof: tuple[bytes, ...]

    def holds(self) -> bool:
        try:
            check_consistency(self.old, self.new, self.old_root, self.new_root, self.proof)
        except BadProof:
            return False
        return True

    def words(self) -> tuple[bytes, ...]:
        return word(self.old), self.old_root, word(self.new), self.new_root


@dataclass(frozen=True, slots=True)
class Place:
    leaf: bytes
    index: int
    size: int
    root: bytes
    proof: tuple[bytes, ...]

    def holds(self) -> bool:
        try:
            check_inclusion(self.index, self.size, self.leaf, self.proof, self.root)
        except BadProof:
            return False
        return True

    def words(self) -> tuple[bytes, ...]:
        return self.leaf, word(self.index), word(self.size), self.root


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def encoded(claims: Sequence[Growth] | Sequence[Place]) -> bytes:
    """The ABI's encoding of an array of structs of four words and a bytes32[]. By hand: eth_abi takes minutes."""
    bodies = [b"".join((*c.words(), word(5 * 32), word(len(c.proof)), *c.proof)) for c in claims]
    starts = accumulate((len(body) for body in bodies[:-1]), initial=32 * len(bodies))
    return b"".join((word(32), word(len(bodies)), *map(word, starts), *bodies))


class Checker:
    """MerkleLog.sol, through the harness."""

    def __init__(self, chain: Chain, harness: Any) -> None:
        self.chain = chain
        self.harness = harness

    def growths(self, claims: Sequence[Growth]) -> list[bool]:
        return self._ask("growths", claims)

    def places(self, claims: Sequence[Place]) -> list[bool]:
        return self._ask("places", claims)

    def ask(self, verb: str, data: bytes, **more: Any) -> bytes:
        """The verdicts that come back, a byte each."""
        selector = self.harness.encode_abi(verb, [[]])[:10]
        asked = {"to": self.harness.address, "data": selector + data.hex(), **more}
        told = bytes.fromhex(self.chain.node.call("eth_call", asked, "latest")[2:])
        return told[64 : 64 + int.from_bytes(told[32:64], "big")]

    def _ask(self, verb: str, claims: Sequence[Growth] | Sequence[Place]) -> list[bool]:
        verdicts = b"".join(
            self.ask(verb, encoded(claims[start : start + AT_ONCE])) for start in range(0, len(claims), AT_ONCE)
        )
        assert len(verdicts) == len(claims)
        return [verdict == 1 for verdict in verdicts]


@pytest.fixture(scope="module")
def harness(chain: Chain) -> Any:
    return chain.deploy(compile_all(HERE / "tests" / "MerkleHarness.sol")["MerkleHarness"])


@pytest.fixture(scope="module")
def checker(chain: Chain, harness: Any) -> Checker:
    return Checker(chain, harness)


def growth(old: int, new: int, read: Reader) -> Growth:
    return Growth(old, tree_root(old, read), new, tree_root(new, read), tuple(prove_consistency(old, new, read)))


def place(index: int, size: int, leaf: bytes, read: Reader) -> Place:
    return Place(leaf, index, size, tree_root(size, read), tuple(prove_inclusion(index, size, read)))


ENTRIES = [b"entry %d" % i for i in range(LIMIT)]
SMALL = reader(ENTRIES)


def flips(each: bytes) -> Iterator[bytes]:
    for bit in (0, 1, 100, 254, 255):
        yield (int.from_bytes(each, "big") ^ 1 << bit).to_bytes(32, "big")


def changed_proofs(proof: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """Each hash flipped in a bit, dropped, doubled, another put before it, taken for its neighbour; more at the end."""
    for i, each in enumerate(proof):
        before, after = proof[:i], proof[i + 1 :]
        yield from ((*before, flipped, *after) for flipped in flips(each))
        yield (*before, OTHER, *after)
        yield (*before, *after)
        yield (*before, each, each, *after)
        yield (*before, OTHER, each, *after)
    for i, (one, next_) in enumerate(pairwise(proof)):
        if one != next_:
            yield (*proof[:i], next_, one, *proof[i + 2 :])
    yield (*proof, OTHER)
    yield (*proof, bytes(32))
    if len(proof) > 1:
        yield proof[::-1]
        yield ()


def changed_growths(good: Growth) -> Iterator[Growth]:
    """One change each, the sizes left alone. From the empty tree the new root is not looked at."""
    yield from (replace(good, old_root=flipped) for flipped in flips(good.old_root))
    if good.old != 0:
        yield from (replace(good, new_root=flipped) for flipped in flips(good.new_root))
    if good.old_root != good.new_root:
        yield replace(good, old_root=good.new_root)
        if good.old != 0:
            yield replace(good, new_root=good.old_root)
    yield from (replace(good, proof=proof) for proof in changed_proofs(good.proof) if proof != good.proof)


def changed_places(good: Place) -> Iterator[Place]:
    yield from (replace(good, leaf=flipped) for flipped in flips(good.leaf))
    yield from (replace(good, root=flipped) for flipped in flips(good.root))
    yield from (replace(good, proof=proof) for proof in changed_proofs(good.proof) if proof != good.proof)
    yield from (replace(good, index=index) for index in range(good.size + 2) if index != good.index)
    yield replace(good, index=LARGEST)


# --- growth ---


def test_every_growth_of_a_small_tree_is_accepted(checker: Checker) -> None:
    good = [growth(m, n, SMALL) for n in range(LIMIT + 1) for m in range(n + 1)]
    assert len(good) == 34 * 35 // 2
    assert all(checker.growths(good))


def test_no_changed_proof_of_a_small_growth_is_accepted(checker: Checker) -> None:
    bad = [each for n in range(LIMIT + 1) for m in range(n + 1) for each in changed_growths(growth(m, n, SMALL))]
    assert len(bad) > 30_000
    assert not any(checker.growths(bad))


def test_no_growth_is_accepted_backwards(checker: Checker) -> None:
    forth = [growth(m, n, SMALL) for n in range(LIMIT + 1) for m in range(n)]
    assert not any(checker.growths([replace(g, old=g.new, new=g.old) for g in forth]))
    assert not any(checker.growths([Growth(g.new, g.new_root, g.old, g.old_root, g.proof) for g in forth]))


def test_under_other_sizes_a_proof_counts_only_where_rfc_9162_cannot_tell_them_apart(checker: Checker) -> None:
    """A proof of the same shape fits two sizes: sizes come from who is believed for them, here from the contract."""
    claims = [
        replace(growth(m, n, SMALL), old=old, new=new)
        for m, n in [(1, 2), (2, 3), (3, 7), (4, 8), (6, 8), (5, 12), (7, 13), (16, 33), (32, 33), (31, 32)]
        for old in range(LIMIT + 2)
        for new in range(LIMIT + 2)
        if (old, new) != (m, n)
    ]
    verdicts = checker.growths(claims)
    assert verdicts == [claim.holds() for claim in claims]
    assert sum(verdicts) < len(claims) / 20


def test_a_forked_tree_is_refused_from_every_size_after_the_fork(checker: Checker) -> None:
    for fork in (0, 1, 7, 15, 16, 31):
        other = reader([*ENTRIES[:fork], b"put in another's place", *ENTRIES[fork + 1 :]])
        honest = [growth(m, n, SMALL) for n in range(LIMIT + 1) for m in range(1, n + 1)]
        forged = [growth(m, n, other) for n in range(LIMIT + 1) for m in range(1, n + 1)]
        mixed = [
            (Growth(a.old, a.old_root, a.new, b.new_root, proof), a.old <= fork)
            for a, b in zip(honest, forged, strict=True)
            for proof in {a.proof, b.proof}
            if a.new > fork
        ]
        verdicts = checker.growths([claim for claim, _ in mixed])
        assert not any(held and not before for held, (_, before) in zip(verdicts, mixed, strict=True))
        # The same code takes the other tree for a growth of what came before the fork, which it is.
        assert all(checker.growths([b for b in forged if b.old <= fork]))


def test_an_entry_that_was_removed_or_inserted_is_no_growth(checker: Checker) -> None:
    for gone in (0, 5, 16):
        shorter = reader(ENTRIES[:gone] + ENTRIES[gone + 1 :])
        claims = [
            Growth(m, tree_root(m, SMALL), n, tree_root(n, shorter), tuple(prove_consistency(m, n, shorter)))
            for n in range(gone + 1, LIMIT - 1)
            for m in range(gone + 1, n + 1)
        ]
        assert not any(checker.growths(claims))


# --- inclusion ---


def test_every_leaf_of_a_small_tree_is_found(checker: Checker) -> None:
    good = [place(i, n, leaf_hash(ENTRIES[i]), SMALL) for n in range(LIMIT + 1) for i in range(n)]
    assert all(checker.places(good))


def test_no_changed_path_to_a_small_root_is_accepted(checker: Checker) -> None:
    bad = [
        each
        for n in range(LIMIT + 1)
        for i in range(n)
        for each in changed_places(place(i, n, leaf_hash(ENTRIES[i]), SMALL))
    ]
    assert len(bad) > 30_000
    assert not any(checker.places(bad))


def test_a_path_under_another_size_counts_only_where_rfc_9162_cannot_tell_them_apart(checker: Checker) -> None:
    claims = [
        replace(place(i, n, leaf_hash(ENTRIES[i]), SMALL), size=size)
        for n in (1, 2, 7, 8, 13, 32, 33)
        for i in range(n)
        for size in (*range(LIMIT + 2), LARGEST)
        if size != n
    ]
    assert checker.places(claims) == [claim.holds() for claim in claims]


def test_a_node_is_not_taken_for_a_leaf(checker: Checker) -> None:
    """Without the bytes 0x00 and 0x01, the two children of a node could be given out as an entry."""
    below = leaf_hash(ENTRIES[0]), leaf_hash(ENTRIES[1])
    assert checker.places([Place(node_hash(*below), 0, 1, tree_root(2, SMALL), ())]) == [True]  # as RFC 9162 has it
    assert leaf_hash(below[0] + below[1]) != tree_root(2, SMALL)


@settings(max_examples=20)
@given(entry=st.binary(max_size=5000))
def test_the_hash_of_a_leaf_is_that_of_its_bytes(entry: bytes, checker: Checker) -> None:
    assert checker.harness.functions.leafHash(entry).call() == leaf_hash(entry)


# --- beside the Python code ---

sizes = st.one_of(st.integers(0, 70), st.integers(0, LARGEST), st.integers(0, 63).map(lambda bit: 1 << bit))


@st.composite
def growths(draw: st.DrawFn) -> Growth:
    old, new = sorted((draw(sizes), draw(sizes)))
    return growth(old, new, read_huge)


@st.composite
def places(draw: st.DrawFn) -> Place:
    size = draw(sizes.filter(bool))
    return place(draw(st.integers(0, size - 1)), size, level(0), read_huge)


hashes = st.one_of(st.binary(min_size=32, max_size=32), st.integers(0, 63).map(level), st.just(EMPTY_ROOT))


@st.composite
def tampered(draw: st.DrawFn, proof: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """A few edits of any kind. In a tree of equal leaves many still hold, so the Python code is the judge."""
    edited = list(proof)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(edited)))
        match draw(st.sampled_from(["drop", "add", "put", "swap"])):
            case "drop":
                del edited[at : at + 1]
            case "add":
                edited.insert(at, draw(hashes))
            case "put" if at < len(edited):
                edited[at] = draw(hashes)
            case "swap" if at + 1 < len(edited):
                edited[at], edited[at + 1] = edited[at + 1], edited[at]
    return tuple(edited)


@given(data=st.data())
def test_both_checkers_agree_on_any_claim_of_growth(data: st.DataObject, checker: Checker) -> None:
    claims = []
    for _ in range(10):
        good = data.draw(growths())
        claims.append(good)
        claims.append(replace(good, proof=data.draw(tampered(good.proof))))
        claims.append(replace(claims[-1], old=data.draw(sizes)))
        claims.append(replace(claims[-2], new=data.draw(sizes)))
        claims.append(replace(claims[-3], old_root=data.draw(hashes)))
        claims.append(replace(claims[-4], new_root=data.draw(hashes)))
    assert checker.growths(claims) == [claim.holds() for claim in claims]


@given(data=st.data())
def test_both_checkers_agree_on_any_claim_of_a_place(data: st.DataObject, checker: Checker) -> None:
    claims = []
    for _ in range(10):
        good = data.draw(places())
        claims.append(good)
        claims.append(replace(good, proof=data.draw(tampered(good.proof))))
        claims.append(replace(claims[-1], index=data.draw(sizes)))
        claims.append(replace(claims[-2], size=data.draw(sizes)))
        claims.append(replace(claims[-3], leaf=data.draw(hashes)))
        claims.append(replace(claims[-4], root=data.draw(hashes)))
    assert checker.places(claims) == [claim.holds() for claim in claims]


def test_the_shared_vectors_hold_and_fail_as_they_say(checker: Checker) -> None:
    def unhex(each: str) -> bytes:
        return bytes.fromhex(each)

    given_growths = VECTORS["consistency"]
    claims = [
        Growth(
            int(g["old_size"]),
            unhex(g["old_root"]),
            int(g["new_size"]),
            unhex(g["new_root"]),
            tuple(map(unhex, g["proof"])),
        )
        for g in given_growths
    ]
    assert checker.growths(claims) == [g["holds"] for g in given_growths]
    given_places = VECTORS["inclusion"]
    found = [
        Place(unhex(p["leaf"]), int(p["index"]), int(p["size"]), unhex(p["root"]), tuple(map(unhex, p["proof"])))
        for p in given_places
    ]
    assert checker.places(found) == [p["holds"] for p in given_places]


# --- what a call may bring ---


def test_a_size_beyond_64_bits_is_refused_and_not_cut_down(checker: Checker) -> None:
    data = encoded([growth(3, 7, SMALL)])
    assert checker.ask("growths", data) == b"\x01"
    for size in (3, 7):
        assert data.count(word(size)) == 1
        with pytest.raises(RuntimeError, match="revert"):
            checker.ask("growths", data.replace(word(size), word(1 << 64 | size)))


def test_gas_that_runs_out_in_a_hash_never_makes_a_proof_hold(checker: Checker) -> None:
    """A precompile that fails leaves an older hash in memory. With any gas, a bad proof ends in no or in nothing."""
    good = growth(1000, 2**20 + 17, read_huge)
    bad = replace(good, new_root=OTHER)

    def verdict(claim: Growth, gas: int) -> bytes | None:
        try:
            return checker.ask("growths", encoded([claim]), gas=hex(gas))
        except RuntimeError:
            return None

    for claim, expected in ((good, b"\x01"), (bad, b"\x00")):
        assert {verdict(claim, gas) for gas in range(30_000, 60_000, 100)} == {None, expected}
