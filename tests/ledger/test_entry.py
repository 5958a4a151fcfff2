"""Entries and the first control event: bytes, links and what may not stand in them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import (
    DELEGATE,
    LONGEST_ENTRY,
    NO_ENTRY,
    RESERVED_TOPICS,
    SERVICE,
    TOPICS,
    USER_TRAINING_RECORD,
    Entry,
    admit_fork_created,
    check_origin,
    decode_entry,
    decode_fork_created,
    encode_entry,
    encode_fork_created,
    shown_topic,
)
from ledger.errors import LedgerError, Malformed, Refused
from ledger.keys import Signature
from ledger.wire.v1 import entry_pb2 as wire
from tests.ledger.written import ORIGIN, Writer

WRITER = Writer(1)
ENTRY = Entry(
    ORIGIN, WRITER.fork_id, 3, bytes(range(32)), USER_TRAINING_RECORD, b"body", WRITER.control().signatures, 1
)
CREATED = encode_fork_created(WRITER.creation())


def test_an_entry_comes_back_from_its_bytes() -> None:
    assert decode_entry(encode_entry(ENTRY)) == ENTRY


@given(
    version=st.integers(1, 2**64 - 1),
    previous=st.binary(min_size=32, max_size=32),
    body=st.binary(max_size=200),
    authority=st.integers(0, 2**64 - 1),
    signatures=st.lists(st.builds(Signature, st.binary(max_size=40), st.integers(0, 3), st.binary(max_size=70))),
)
def test_every_entry_comes_back_from_its_bytes(
    version: int, previous: bytes, body: bytes, authority: int, signatures: list[Signature]
) -> None:
    entry = Entry(ORIGIN, WRITER.fork_id, version, previous, USER_TRAINING_RECORD, body, tuple(signatures), authority)
    assert decode_entry(encode_entry(entry)) == entry


def test_fields_are_written_in_ascending_order() -> None:
    data = encode_entry(ENTRY)
    tags, at = [], 0
    while at < len(data):
        tags.append(data[at] >> 3)
        kind, at = data[at] & 7, at + 1
        at += 1 if kind == 0 else 1 + data[at]
    assert tags == sorted(tags) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 0),
        ("previous", bytes(31)),
        ("previous", b""),
        ("origin", ""),
        ("origin", "two words"),
        ("origin", "a+b"),
        ("fork_id", "no uuid"),
    ],
)
def test_a_field_that_is_not_what_the_format_says_is_refused(field: str, value: object) -> None:
    changed = replace(ENTRY, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(Malformed, match=field):
        decode_entry(encode_entry(changed))


def test_an_entry_that_no_bundle_could_hold_is_refused() -> None:
    room = LONGEST_ENTRY - len(encode_entry(replace(ENTRY, body=bytes(60_000)))) + 60_000
    assert len(encode_entry(replace(ENTRY, body=bytes(room)))) == LONGEST_ENTRY
    with pytest.raises(Refused, match="at most 65535 bytes"):
        encode_entry(replace(ENTRY, body=bytes(room + 1)))


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_be_refused(data: bytes) -> None:
    for read in (decode_entry, decode_fork_created, admit_fork_created):
        with pytest.raises(LedgerError):
            read(data)


def test_no_topic_is_both_taken_and_reserved() -> None:
    assert not TOPICS & RESERVED_TOPICS
    assert all(topic.endswith("/v1") and topic.isascii() for topic in TOPICS | RESERVED_TOPICS)


@pytest.mark.parametrize(
    ("topic", "shown"),
    [
        (USER_TRAINING_RECORD, USER_TRAINING_RECORD),
        ("rolled-back/v1", "rolled-back/v1"),
        ("\x1b[2J\u202e", r"'\x1b[2J\u202e'"),
        ("x" * 1000, repr("x" * 64)),
    ],
)
def test_a_topic_that_nobody_specified_is_shown_short_and_in_ascii(topic: str, shown: str) -> None:
    assert shown_topic(topic) == shown


@pytest.mark.parametrize("origin", ["a", "example.org/log", "!~", "x" * 128])
def test_an_origin_is_printable_ascii(origin: str) -> None:
    assert check_origin(origin) == origin


@pytest.mark.parametrize("origin", ["", "x" * 129, "a b", "a+b", "a\n", "a\0", "ä", "a\x7f", "a\xa0b"])
def test_no_other_origin_is_taken(origin: str) -> None:
    with pytest.raises(Malformed, match="origin"):
        check_origin(origin)


# --- fork-created ---


def test_a_fork_s_first_body_comes_back_from_its_bytes() -> None:
    assert admit_fork_created(CREATED) == decode_fork_created(CREATED) == WRITER.creation()
    service = WRITER.creation(custody=SERVICE, recovery_key_digest=bytes(range(32)))
    assert admit_fork_created(encode_fork_created(service)) == service


def test_its_previous_is_32_zero_bytes() -> None:
    found = wire.ForkCreated.FromString(CREATED)
    assert found.previous == NO_ENTRY == bytes(32)
    for wrong in (b"", bytes(31), bytes(31) + b"\1"):
        found.previous = wrong
        with pytest.raises(Malformed, match="previous"):
            decode_fork_created(found.SerializeToString(deterministic=True))


@pytest.mark.parametrize(
    ("field", "value", "about"),
    [
        ("fork_id", "no uuid", "fork_id"),
        ("layout_digest", bytes(31), "layout_digest"),
        ("recipe_digest", b"", "recipe_digest"),
        ("genesis_digest", bytes(33), "genesis_digest"),
        ("recovery_key_digest", bytes(31), "recovery_key_digest"),
        ("custody", 0, "custody"),
        ("custody", DELEGATE, "custody"),
        ("custody", 77, "custody"),
        ("dimension", 0, "dimension"),
    ],
)
def test_a_fork_is_not_created_with(field: str, value: object, about: str) -> None:
    with pytest.raises(Malformed, match=about):
        admit_fork_created(encode_fork_created(WRITER.creation(**{field: value})))


def test_a_fork_s_owner_has_a_key_of_a_known_algorithm() -> None:
    found = wire.ForkCreated.FromString(CREATED)
    found.owner_key.algorithm = 2  # type: ignore[assignment]
    with pytest.raises(Refused, match="algorithm"):
        admit_fork_created(found.SerializeToString(deterministic=True))
    found.ClearField("owner_key")
    with pytest.raises(Refused, match="algorithm"):
        admit_fork_created(found.SerializeToString(deterministic=True))


@pytest.mark.parametrize("more", [b"\xc0\x3e\x01", b"\x40\x80\x02"], ids=["unknown", "twice"])
def test_another_spelling_of_a_first_body_is_refused_at_the_door_and_read_by_readers(more: bytes) -> None:
    assert decode_fork_created(CREATED + more) == WRITER.creation()
    with pytest.raises(Refused, match="deterministic"):
        admit_fork_created(CREATED + more)
