"""The proofs of tests/vectors/chain_merkle.json, to which the contract's checker is held as well."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import BadProof
from ledger.merkle import (
    check_consistency,
    check_inclusion,
    node_hash,
    prove_consistency,
    prove_inclusion,
    split_stored_hash_index,
    tree_root,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "chain_merkle.json").read_text())


def unhex(hashes: list[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in hashes]


@pytest.mark.parametrize("growth", VECTORS["consistency"])
def test_growth_holds_where_the_definition_says_so(growth: dict[str, Any]) -> None:
    old, new = int(growth["old_size"]), int(growth["new_size"])
    given = old, new, bytes.fromhex(growth["old_root"]), bytes.fromhex(growth["new_root"]), unhex(growth["proof"])
    if growth["holds"]:
        check_consistency(*given)
    else:
        with pytest.raises(BadProof):
            check_consistency(*given)


@pytest.mark.parametrize("place", VECTORS["inclusion"])
def test_a_leaf_has_its_place_where_the_definition_says_so(place: dict[str, Any]) -> None:
    leaf, root = bytes.fromhex(place["leaf"]), bytes.fromhex(place["root"])
    given = int(place["index"]), int(place["size"]), leaf, unhex(place["proof"]), root
    if place["holds"]:
        check_inclusion(*given)
    else:
        with pytest.raises(BadProof):
            check_inclusion(*given)


def test_the_prover_makes_the_vectors_of_huge_trees() -> None:
    """Of equal leaves: a stored hash depends on its level alone, so that no tree has to be built."""
    (huge,) = (each for each in VECTORS["inclusion"] if each["holds"] and each["index"] == "5")
    levels = [bytes.fromhex(huge["leaf"])]
    while len(levels) < 64:
        levels.append(node_hash(levels[-1], levels[-1]))

    def read(places: Any) -> list[bytes]:
        return [levels[split_stored_hash_index(place)[0]] for place in places]

    assert prove_inclusion(5, 2**30, read) == unhex(huge["proof"])
    large = [each for each in VECTORS["consistency"] if each["holds"] and int(each["new_size"]) >= 2**20]
    assert len(large) == 5
    for each in large:
        old, new = int(each["old_size"]), int(each["new_size"])
        assert tree_root(new, read).hex() == each["new_root"]
        assert prove_consistency(old, new, read) == unhex(each["proof"])
