"""A layout has one spelling, grows at its end only, and gives every machine the same cores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfork.errors import Malformed, Unsuited
from modelfork.layout import (
    LARGEST_SCALE,
    Layout,
    Segment,
    cores_of,
    decode_layout,
    encode_layout,
    is_growth_of,
    layout_digest,
)
from modelfork.wire.v1 import fork_pb2

BASE, BASIS = b"b" * 32, b"a" * 32
TWO = Layout(BASE, BASIS, (Segment("layers.0.q", 2, 3, -4), Segment("layers.0.up", 2, 2, 0)))

segments = st.builds(
    Segment,
    name=st.text(min_size=1, max_size=20),
    rows=st.integers(1, 64),
    columns=st.integers(1, 64),
    scale=st.integers(-LARGEST_SCALE, LARGEST_SCALE),
)
layouts = st.builds(
    lambda some: Layout(BASE, BASIS, tuple(some)),
    st.lists(segments, min_size=1, max_size=8, unique_by=lambda segment: segment.name),
)


@given(layouts)
def test_a_layout_is_read_back_as_it_was_written(layout: Layout) -> None:
    assert decode_layout(encode_layout(layout)) == layout


def test_the_digest_of_a_layout_is_that_of_the_vector() -> None:
    # The bytes by hand from the protobuf encoding's rules; the digest is hashlib's over the domain, 00 and them.
    assert encode_layout(TWO).hex() == (
        "0a20" + "62" * 32 + "1220" + "61" * 32
        + "1a12" + "0a0a" + b"layers.0.q".hex() + "1002" + "1803" + "2007"
        + "1a11" + "0a0b" + b"layers.0.up".hex() + "1002" + "1802"
    )  # fmt: skip
    assert layout_digest(encode_layout(TWO)).hex() == "c3fdeb87cb14d0b9dca94dcda033061a4078e445b05a4a47afdb7e7a8ac4e159"


@pytest.mark.parametrize(
    ("what", "build"),
    [
        ("base_digest", lambda: Layout(b"short", BASIS, TWO.segments)),
        ("basis_digest", lambda: Layout(BASE, b"", TWO.segments)),
        ("at least one segment", lambda: Layout(BASE, BASIS, ())),
        ("same name", lambda: Layout(BASE, BASIS, (TWO.segments[0], TWO.segments[0]))),
        ("needs a name", lambda: Layout(BASE, BASIS, (Segment("", 1, 1, 0),))),
        ("rows and columns", lambda: Layout(BASE, BASIS, (Segment("x", 0, 1, 0),))),
        ("scale", lambda: Layout(BASE, BASIS, (Segment("x", 1, 1, LARGEST_SCALE + 1),))),
        ("dimension", lambda: Layout(BASE, BASIS, (Segment("x", 1 << 20, 1 << 20, 0),))),
    ],
)
def test_what_is_no_layout_is_refused(what: str, build: object) -> None:
    with pytest.raises(Malformed, match=what):
        build()  # type: ignore[operator]


def test_a_second_spelling_is_refused() -> None:
    data = encode_layout(TWO)
    last = fork_pb2.Layout(base_digest=BASE).SerializeToString()
    for other in (data + last, data + b"\x22\x00", data[:-1], b"\xff"):
        with pytest.raises(Malformed):
            decode_layout(other)


def test_a_layout_grows_at_its_end_only() -> None:
    more = (*TWO.segments, Segment("layers.1.q", 1, 1, 0))
    assert is_growth_of(Layout(BASE, BASIS, more), TWO)
    assert is_growth_of(TWO, TWO)
    assert not is_growth_of(TWO, Layout(BASE, BASIS, more))
    assert not is_growth_of(Layout(BASE, BASIS, tuple(reversed(TWO.segments))), TWO)
    assert not is_growth_of(Layout(BASIS, BASIS, more), TWO)


def test_cores_are_rows_of_the_state_at_their_segments_scale() -> None:
    state = np.arange(10, dtype=np.int64) << 24
    cores = cores_of(TWO, state)
    assert cores["layers.0.q"].tolist() == [[0, 1 / 16, 2 / 16], [3 / 16, 4 / 16, 5 / 16]]
    assert cores["layers.0.up"].tolist() == [[6, 7], [8, 9]]
    assert all(core.dtype == np.float32 for core in cores.values())


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=10, max_size=10), st.integers(-LARGEST_SCALE, LARGEST_SCALE))
def test_a_core_is_the_state_rounded_once(numbers: list[int], scale: int) -> None:
    layout = Layout(BASE, BASIS, (Segment("x", 5, 2, scale),))
    core = cores_of(layout, np.array(numbers, np.int64))["x"].reshape(-1)
    rounded = np.array(numbers, np.int64).astype(np.float32)
    # In float64 the two scalings are exact, so the only rounding is that to float32.
    assert core.astype(np.float64).tolist() == (rounded.astype(np.float64) * 2.0**-24 * 2.0**scale).tolist()


def test_a_state_of_another_dimension_has_no_cores() -> None:
    with pytest.raises(Unsuited, match="10 numbers"):
        cores_of(TWO, np.zeros(11, np.int64))
