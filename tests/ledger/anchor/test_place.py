"""Where a log is anchored: a small file that is read as it was written, or refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.anchor.place import Place, decode_place, encode_place, read_place, write_place
from ledger.errors import Malformed

PLACE = Place(31337, b"\x01" * 32, b"\x02" * 20, b"\x03" * 32, b"\x04" * 32)


def raw(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


numbers = st.integers(0, 2**63 - 1)


@given(st.builds(Place, numbers, raw(32), raw(20), raw(32), raw(32)))
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert decode_place(encode_place(place)) == place


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("format", "forkledger/anchor-place/v2", "of the format forkledger/anchor-place/v1"),
        ("chain_id", "31337", "chain_id to be a number"),
        ("chain_id", True, "chain_id to be a number"),
        ("chain_id", -1, "chain_id to be a number"),
        ("contract", "0x02", "contract to be 0x and 40 hex digits"),
        ("log_id", "04" * 32, "log_id to be 0x and 64 hex digits"),
        ("genesis", "0x" + "zz" * 32, "genesis to be 0x and 64 hex digits"),
        ("code_hash", None, "code_hash to be 0x and 64 hex digits"),
    ],
)
def test_a_field_of_another_form_is_named(field: str, value: object, expected: str) -> None:
    with pytest.raises(Malformed, match=expected):
        decode_place(json.dumps(json.loads(encode_place(PLACE)) | {field: value}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 200_000, '{"format": "forkledger/anchor-place/v1"}'])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="expected"):
        decode_place(text)


def test_a_field_too_many_is_refused() -> None:
    with pytest.raises(Malformed, match="expected the fields"):
        decode_place(json.dumps(json.loads(encode_place(PLACE)) | {"key": "0x00"}))


def test_a_file_that_is_not_there_is_no_place(tmp_path: Path) -> None:
    assert read_place(tmp_path / "anchor.json") is None
    (tmp_path / "anchor.json").write_text(encode_place(PLACE))
    assert read_place(tmp_path / "anchor.json") == PLACE
    (tmp_path / "anchor.json").write_bytes(b"\xff")
    with pytest.raises(Malformed, match="not ASCII"):
        read_place(tmp_path / "anchor.json")


def test_a_place_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "anchor.json"
    write_place(file, PLACE)
    assert read_place(file) == PLACE
    other = Place(1, *(bytes(length) for length in (32, 20, 32, 32)))

    def fail(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="full"):
        write_place(file, other)
    assert read_place(file) == PLACE
