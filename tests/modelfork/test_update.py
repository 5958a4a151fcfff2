"""A packed update has one spelling and a size fixed by encoding and dimension."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfork.errors import Malformed
from modelfork.update import (
    EMPTY,
    ENCODINGS,
    INT4,
    INT8,
    SIGN_SUMS,
    SIGNS,
    SPARSE_SIGNS,
    STEP_LIMIT,
    Update,
    empty,
    pack,
    packed_size,
    sparse_count,
    unpack,
)
from tests.modelfork.written import drawn_update

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "update.json").read_text("utf-8"))[
    "updates"
]
dimensions = st.integers(1, 300) | st.just(8960)


@given(st.sampled_from(ENCODINGS), dimensions, st.integers(0, 2**32 - 1))
def test_an_update_is_read_back_as_it_was_packed(encoding: int, dimension: int, seed: int) -> None:
    update = drawn_update(np.random.default_rng(seed), encoding, dimension)
    packed = pack(update)
    assert len(packed) == packed_size(encoding, dimension)
    again = unpack(encoding, dimension, update.step, packed)
    assert (again.step, again.encoding) == (update.step, encoding)
    assert again.q.dtype == np.int8
    assert np.array_equal(again.q, update.q)


@given(st.sampled_from(ENCODINGS), dimensions, st.data())
def test_whatever_unpacks_is_what_packs_to_it(encoding: int, dimension: int, data: st.DataObject) -> None:
    size = packed_size(encoding, dimension)
    packed = data.draw(st.binary(min_size=size, max_size=size))
    try:
        update = unpack(encoding, dimension, 0, packed)
    except Malformed:
        return
    assert pack(update) == packed


@given(st.sampled_from(ENCODINGS), st.integers(1, 100), st.integers(0, 2**32 - 1), st.data())
def test_one_changed_bit_is_another_update_or_none(
    encoding: int, dimension: int, seed: int, data: st.DataObject
) -> None:
    update = drawn_update(np.random.default_rng(seed), encoding, dimension)
    packed = bytearray(pack(update))
    if not packed:
        return
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[bit // 8] ^= 1 << bit % 8
    try:
        other = unpack(encoding, dimension, update.step, bytes(packed))
    except Malformed:
        return
    assert not np.array_equal(other.q, update.q)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['encoding']}-{len(v['q'])}")
def test_an_update_packs_to_the_bytes_of_the_vector(vector: dict[str, Any]) -> None:
    update = Update(vector["step"], vector["encoding"], np.array(vector["q"], np.int8))
    assert pack(update).hex() == vector["packed"]
    again = unpack(vector["encoding"], len(vector["q"]), vector["step"], bytes.fromhex(vector["packed"]))
    assert again.q.tolist() == vector["q"]


def test_sizes_at_the_demo_bases_dimension() -> None:
    sizes = {encoding: packed_size(encoding, 8960) for encoding in ENCODINGS}
    assert sizes == {EMPTY: 0, SIGNS: 1120, SPARSE_SIGNS: 490, INT4: 4480, INT8: 8960, SIGN_SUMS: 2240}
    assert sparse_count(8960) == 560


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_wrong_length_is_refused(encoding: int) -> None:
    size = packed_size(encoding, 20)
    for length in {max(0, size - 1), size + 1} - {size}:
        with pytest.raises(Malformed, match=f"expected {size} bytes"):
            unpack(encoding, 20, 0, bytes(length))


@pytest.mark.parametrize(
    ("encoding", "dimension", "packed", "rule"),
    [
        (SIGNS, 9, "ff03", "padding"),
        (SIGNS, 9, "ff80", "padding"),
        (SIGN_SUMS, 5, "ff04", "padding"),
        (INT4, 3, "2112", "padding"),
        (INT4, 2, "18", "-7 to 7"),
        (INT4, 2, "81", "-7 to 7"),
        (INT8, 2, "8001", "-127 to 127"),
        # 33 numbers, of which 2 change: 4 upper bits, 2 x 4 low bits, 2 sign bits, 2 of padding.
        (SPARSE_SIGNS, 33, "2300", "ascend"),  # 2 then 0, both in the first sixteen
        (SPARSE_SIGNS, 33, "2302", "ascend"),  # 2 twice
        (SPARSE_SIGNS, 33, "0901", "below"),  # 0 and 33
        (SPARSE_SIGNS, 33, "0100", "exactly 2"),
        (SPARSE_SIGNS, 33, "0700", "exactly 2"),
        (SPARSE_SIGNS, 33, "0341", "padding"),
        (SPARSE_SIGNS, 33, "0381", "padding"),
    ],
)
def test_what_no_encoder_writes_is_refused(encoding: int, dimension: int, packed: str, rule: str) -> None:
    with pytest.raises(Malformed, match=rule):
        unpack(encoding, dimension, 1, bytes.fromhex(packed))


@pytest.mark.parametrize(
    ("encoding", "q"),
    [
        (EMPTY, [0, 1]),
        (SIGNS, [1, 0]),
        (SIGNS, [1, 2]),
        (SIGN_SUMS, [1, 2]),
        (SIGN_SUMS, [1, 5]),
        (SIGN_SUMS, [1, -5]),
        (INT4, [8, 0]),
        (INT4, [-8, 0]),
        (INT8, [-128, 0]),
        (SPARSE_SIGNS, [1, 1]),
        (SPARSE_SIGNS, [0, 0]),
        (SPARSE_SIGNS, [2, 0]),
    ],
)
def test_numbers_that_an_encoding_cannot_say_are_refused(encoding: int, q: list[int]) -> None:
    with pytest.raises(Malformed):
        pack(Update(0, encoding, np.array(q, np.int8)))


def test_what_is_no_update_is_refused() -> None:
    for step, encoding, q in [
        (-1, SIGNS, np.ones(3, np.int8)),
        (STEP_LIMIT, SIGNS, np.ones(3, np.int8)),
        (1, EMPTY, np.zeros(3, np.int8)),
        (1, 0, np.ones(3, np.int8)),
        (1, 99, np.ones(3, np.int8)),
        (1, SIGNS, np.ones((3, 1), np.int8)),
        (1, SIGNS, np.ones(0, np.int8)),
    ]:
        with pytest.raises(Malformed):
            Update(step, encoding, q)
    with pytest.raises(Malformed):
        Update(1, SIGNS, np.ones(3, np.int64))
    with pytest.raises(Malformed):
        packed_size(99, 8)
    assert not empty(7).q.any()


def test_every_small_sparse_update_has_bytes_of_its_own() -> None:
    for dimension in chain(range(1, 20), (33, 47)):
        seen = set()
        for first in range(dimension):
            for sign in (-1, 1):
                q = np.zeros(dimension, np.int8)
                q[first] = sign
                if sparse_count(dimension) == 2:
                    q[(first + 1) % dimension] = 1
                seen.add(pack(Update(1, SPARSE_SIGNS, q)))
        assert len(seen) == 2 * dimension
