"""Files are cut where their pieces end, whatever stands in them and wherever a read of the disk ends."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfork.errors import Malformed
from modelfork.ingest import pieces
from modelfork.ingest.pieces import elements, lines

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(alphabet='a"\\[]{},: é'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='"\\]},b'), inner, max_size=4),
)


def cut(data: bytes) -> list[bytes]:
    return [data[begin:end] for begin, end in elements(io.BytesIO(data))]


@given(st.lists(JSON, min_size=1, max_size=5), st.integers(1, 7), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_cut_into_its_elements(values: list[object], chunk: int, indent: int | None, ascii: bool) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii).encode() + b" \n"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "_CHUNK", chunk)
        assert [json.loads(one) for one in cut(data)] == values


def test_a_broken_element_leaves_the_others_whole() -> None:
    assert cut(b'[{"a": 1}, nonsense, {"b": \xff}, "]", {"c": NaN}]') == [
        b'{"a": 1}', b" nonsense", b' {"b": \xff}', b' "]"', b' {"c": NaN}',
    ]  # fmt: skip


def test_an_empty_list_has_one_blank_piece() -> None:
    assert cut(b"[ ]") == [b" "]


@pytest.mark.parametrize(
    ("data", "whole", "said"),
    [
        (b"[1, 2", 1, "found the end of the file"),
        (b'[1, "2]', 1, "found the end of the file"),
        (b'[1, "\\"]', 1, "found the end of the file"),
        (b"", 0, "found the end of the file"),
        (b"[1, 2] 3", 2, "found more"),
        (b"[1, 2]" + b" " * 3_000_000 + b"[", 2, "found more"),
    ],
)
def test_a_list_that_does_not_end_as_one_says_so_after_what_is_whole(data: bytes, whole: int, said: str) -> None:
    found = elements(io.BytesIO(data))
    for _ in range(whole):
        next(found)
    with pytest.raises(Malformed, match=said):
        next(found)


def test_lines_are_numbered_and_a_long_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LONGEST", 4)
    monkeypatch.setattr(pieces, "_CHUNK", 3)
    file = io.BytesIO(b"abcd\n\nabcde\n" + b"x" * 50 + b"\nab\r\nabcdefgh")
    assert list(lines(file)) == [
        (1, b"abcd\n"), (2, b"\n"), (3, None), (4, None), (5, b"ab\r\n"), (6, None),
    ]  # fmt: skip
    assert list(lines(io.BytesIO(b"abcd"))) == [(1, b"abcd")]


def test_the_last_line_needs_no_end() -> None:
    assert list(lines(io.BytesIO(b"a\nb"))) == [(1, b"a\n"), (2, b"b")]
    assert list(lines(io.BytesIO(b""))) == []


class Long(io.RawIOBase):
    """`size` bytes of one line, made as they are asked for."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.largest = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]  # a memoryview is the only buffer here
        some = min(len(into), self.left)
        self.largest = max(self.largest, some)
        self.left -= some
        into[:some] = b"x" * some
        return some


def test_a_long_line_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LONGEST", 1 << 16)
    file = Long(1 << 26)
    assert list(lines(io.BufferedReader(file, 1 << 16))) == [(1, None)]
    assert file.largest <= pieces._CHUNK
