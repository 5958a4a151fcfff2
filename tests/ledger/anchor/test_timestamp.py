"""A checkpoint and its token in one file: read as it was written, or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.anchor.timestamp import LONGEST_TIMESTAMP, Timestamp, decode_timestamp, encode_timestamp
from ledger.errors import Malformed

STAMP = Timestamp("log.example\n3\n…\n\n— log.example abcd\n".encode(), b"\x30\x03token")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.binary(max_size=200))
def test_a_timestamp_is_read_as_it_was_written(checkpoint: str, token: bytes) -> None:
    stamp = Timestamp(checkpoint.encode(), token)
    assert decode_timestamp(encode_timestamp(stamp)) == stamp


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="expected"):
        decode_timestamp(data)


@pytest.mark.parametrize(
    "change",
    [{"format": "forkledger/timestamp/v2"}, {"token": "?"}, {"token": 3}, {"checkpoint": None}, {"more": "text"},
     {"checkpoint": "\ud800"}],
)  # fmt: skip
def test_a_field_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Malformed, match="expected"):
        decode_timestamp(json.dumps(json.loads(encode_timestamp(STAMP)) | change).encode())


def test_what_is_too_long_or_too_deep_is_refused() -> None:
    with pytest.raises(Malformed, match="at most"):
        decode_timestamp(b" " * (LONGEST_TIMESTAMP + 1))
    with pytest.raises(Malformed, match="a JSON object"):
        decode_timestamp(b"[" * LONGEST_TIMESTAMP)
