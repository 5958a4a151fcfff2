"""The signed record: what the door takes, what it refuses and why, and what readers tolerate."""

import math
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import record
from ledger.errors import LedgerError, Malformed, Refused
from ledger.record import (
    INPUT,
    LARGEST_DIMENSION,
    LONGEST_BODY,
    LONGEST_PAYLOAD,
    OUTPUT,
    PARTICULARS,
    UPDATE,
    Body,
    SignedRecord,
    admit,
    admit_body,
    decode_body,
    decode_record,
    encode_body,
    encode_record,
    payload_digest,
)
from ledger.wire.v1 import record_pb2 as wire
from tests.ledger.written import SIGNS, Writer

WRITER = Writer(1)
RECORD = WRITER.record(1)
BODY = admit_body(RECORD.body)
SECOND_NUMBER = b"\x18\x01"  # field 3, interaction_number = 1, once more


def message() -> wire.UserTrainingRecord:
    return wire.UserTrainingRecord.FromString(RECORD.body)


def spelt(found: wire.UserTrainingRecord) -> bytes:
    return found.SerializeToString(deterministic=True)


def test_the_door_takes_a_record_and_reads_what_was_written() -> None:
    assert admit(RECORD) == WRITER.body(1, dict(RECORD.payloads)) == decode_body(RECORD.body)


def test_the_door_takes_an_empty_update() -> None:
    body = admit(WRITER.record(2, learns=False))
    assert (body.step, body.update_encoding, len(body.payloads)) == (0, record.EMPTY, 3)


digest = st.binary(min_size=32, max_size=32)


@given(
    st.builds(
        Body,
        fork_id=st.uuids(version=4).map(str),
        record_id=st.binary(min_size=16, max_size=16),
        interaction_number=st.integers(1, 2**64 - 1),
        step=st.integers(0, 2**24 - 1),
        payloads=st.tuples(*(digest for _ in range(4))).map(lambda found: tuple(enumerate(found, 1))),
        key_scheme=st.just(1),
        key_commitment=digest,
        update_encoding=st.integers(2, 5),
        update_dimension=st.integers(1, LARGEST_DIMENSION),
        layout_digest=digest,
        recipe_digest=digest,
        state_commitment=digest,
    )
)
def test_every_body_comes_back_from_its_bytes(body: Body) -> None:
    data = encode_body(body)
    assert admit_body(data) == decode_body(data) == body
    assert len(data) <= LONGEST_BODY


# --- the door: each check broken alone ---


def put(name: str, value: object) -> Callable[[wire.UserTrainingRecord], None]:
    def change(found: wire.UserTrainingRecord) -> None:
        if isinstance(value, int | float | str | bytes):
            setattr(found, name, value)
        else:
            getattr(found, name).CopyFrom(value)

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", "someone"),
        ("encrypted_input", b"x"),
        ("encrypted_output", b"x"),
        ("encrypted_gradient", b"x"),
        ("feedback", wire.UserFeedback(verdict=wire.VERDICT_LIKED)),
        ("metrics", wire.PerformanceMetrics(iterations=1)),
        ("prior_update", wire.PriorDelta(weight_numerator=1)),
        ("zkp_proof", b"x"),
        ("signature", b"x"),
        ("created_at", 1),
        ("state_version", 1),
        ("rehearsed", bytes(16)),
        ("seed", 1),
    ],
)
def test_nothing_personal_and_no_ciphertext_stands_in_a_body(name: str, value: object) -> None:
    found = message()
    put(name, value)(found)
    with pytest.raises(Refused, match=f"{name} must not stand in a body"):
        admit_body(spelt(found))


def test_an_empty_message_of_what_must_be_absent_is_refused_too() -> None:
    found = message()
    found.feedback.SetInParent()
    with pytest.raises(Refused, match="feedback"):
        admit_body(spelt(found))


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("fork_id", "", "fork_id"),
        ("fork_id", WRITER.fork_id.upper(), "fork_id"),
        ("record_id", bytes(15), "record_id"),
        ("record_id", b"", "record_id"),
        ("interaction_number", 0, "interaction_number"),
        ("update_encoding", 0, "update_encoding"),
        ("update_encoding", 999, "update_encoding"),
        ("update_dimension", 0, "update_dimension"),
        ("update_dimension", LARGEST_DIMENSION + 1, "update_dimension"),
        ("layout_digest", bytes(31), "layout_digest"),
        ("recipe_digest", bytes(33), "recipe_digest"),
        ("state_commitment", b"", "state_commitment"),
        ("key", wire.KeyReference(scheme=1, commitment=bytes(31)), "key.commitment"),
        ("key", wire.KeyReference(scheme=0, commitment=bytes(32)), "key.scheme"),
        ("key", wire.KeyReference(scheme=2, commitment=bytes(32)), "key.scheme"),
    ],
)
def test_a_field_that_is_not_what_the_format_says_is_refused(name: str, value: object, about: str) -> None:
    found = message()
    if name == "key":
        found.ClearField("key")
    put(name, value)(found)
    with pytest.raises((Malformed, Refused), match=about):
        admit_body(spelt(found))


ONE = 2.0**-24


@pytest.mark.parametrize("step", [0, 1, 2, 12_345, 2**23, 2**24 - 1])
def test_a_learning_rate_on_the_grid_is_its_integer(step: int) -> None:
    assert admit_body(encode_body(WRITER.body(1, dict(RECORD.payloads), step=step))).step == step


@pytest.mark.parametrize(
    "rate",
    [math.nan, math.inf, -math.inf, -0.0, -ONE, ONE / 2, 2.0**-25, 1.0, 1.5, 1e30, 2.0**-149, 0.1, ONE * 1.5],
)
def test_a_learning_rate_off_the_grid_is_refused(rate: float) -> None:
    found = message()
    found.learning_rate = rate
    with pytest.raises(Malformed, match="learning_rate"):
        admit_body(spelt(found))
    # Written by hand too: protobuf leaves out a field that it takes for zero.
    without = message()
    without.ClearField("learning_rate")
    data = spelt(without)
    key = b"\x3d"  # field 7, 32 bits
    at = data.index(b"\x6a\x10")  # field 13, record_id
    with pytest.raises(LedgerError, match=r"learning_rate|deterministic"):
        admit_body(data[:at] + key + struct.pack("<f", rate) + data[at:])


def test_an_empty_update_has_no_step() -> None:
    payloads = WRITER.payloads(1, learns=False)
    with pytest.raises(Malformed, match="empty update has step 0"):
        admit_body(encode_body(WRITER.body(1, payloads, step=1)))


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        [INPUT, OUTPUT, PARTICULARS],
        [OUTPUT, INPUT, UPDATE, PARTICULARS],
        [INPUT, INPUT, OUTPUT, UPDATE, PARTICULARS],
        [INPUT, OUTPUT, UPDATE, UPDATE, PARTICULARS],
        [INPUT, OUTPUT, UPDATE, PARTICULARS, 5],
        [0, INPUT, OUTPUT, UPDATE, PARTICULARS],
    ],
)
def test_a_body_names_each_payload_once_in_order(kinds: list[int]) -> None:
    with pytest.raises(Malformed, match="payloads"):
        admit_body(encode_body(replace(BODY, payloads=tuple((k, bytes(32)) for k in kinds))))


def test_an_empty_update_names_no_update_payload() -> None:
    with pytest.raises(Malformed, match="payloads"):
        admit_body(encode_body(WRITER.body(1, dict(RECORD.payloads), update_encoding=record.EMPTY, step=0)))


def test_a_payload_digest_has_32_bytes() -> None:
    short = ((INPUT, bytes(31)), *BODY.payloads[1:])
    with pytest.raises(Malformed, match="digest of payload 1"):
        admit_body(encode_body(replace(BODY, payloads=short)))


def test_a_second_spelling_of_the_same_body_is_refused() -> None:
    at = RECORD.body.index(b"\x3d")  # learning_rate follows interaction_number
    spellings = {
        "a field twice": RECORD.body + SECOND_NUMBER,
        "another order": RECORD.body[at - 2 : at] + RECORD.body[: at - 2] + RECORD.body[at:],
        "a varint of two bytes": RECORD.body[: at - 1] + b"\x81\x00" + RECORD.body[at:],
        "a merged message": RECORD.body + b"\x7a\x00",
    }
    for name, data in spellings.items():
        assert decode_body(data) == BODY, name
        with pytest.raises(Refused, match="deterministic"):
            admit_body(data)


@pytest.mark.parametrize("unknown", [b"\xc0\x3e\x01", b"\xc2\x3e\x01x"], ids=["number", "bytes"])
def test_an_unknown_field_is_refused_at_the_door_and_tolerated_by_readers(unknown: bytes) -> None:
    data = RECORD.body + unknown  # field 1000
    assert decode_body(data) == BODY
    with pytest.raises(Refused, match="known fields"):
        admit_body(data)


def test_an_unknown_field_within_a_field_is_refused() -> None:
    found = message()
    data = spelt(found)
    reference = found.payloads[0].SerializeToString(deterministic=True)
    longer = reference + b"\x18\x01"
    inside = data.replace(bytes([0x72, len(reference)]) + reference, bytes([0x72, len(longer)]) + longer, 1)
    assert inside != data
    with pytest.raises(Refused, match="known fields"):
        admit_body(inside)


def test_a_body_of_more_than_four_kibibytes_is_refused_unread() -> None:
    with pytest.raises(Refused, match="at most 4096 bytes"):
        admit_body(b"\xff" * (LONGEST_BODY + 1))


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_be_refused(data: bytes) -> None:
    for read in (admit_body, decode_body, decode_record):
        try:
            read(data)
        except LedgerError:
            continue
        assert read is decode_record  # no body is as easy to hit


@given(st.data())
def test_no_damaged_body_ends_in_another_error(data: st.DataObject) -> None:
    damaged = bytearray(RECORD.body)
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3, unique=True)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        body = admit_body(bytes(damaged))
    except LedgerError:
        return
    assert encode_body(body) == bytes(damaged)


# --- payloads beside the body ---


def beside(payloads: dict[int, bytes]) -> SignedRecord:
    return SignedRecord(RECORD.body, RECORD.signatures, payloads)


def test_payloads_are_exactly_those_that_the_body_names() -> None:
    payloads = dict(RECORD.payloads)
    missing = {kind: payload for kind, payload in payloads.items() if kind != OUTPUT}
    for wrong in (missing, {**payloads, 5: b"x"}, {}):
        with pytest.raises(Refused, match="the body names kinds"):
            admit(beside(wrong))


def test_a_payload_with_another_digest_is_refused() -> None:
    payloads = dict(RECORD.payloads)
    with pytest.raises(Refused, match="payload 2: its digest"):
        admit(beside({**payloads, OUTPUT: payloads[OUTPUT] + b"\0"}))
    with pytest.raises(Refused, match="payload 1: its digest"):
        admit(beside({**payloads, INPUT: payloads[OUTPUT], OUTPUT: payloads[INPUT]}))


def test_a_payload_beyond_the_limit_is_refused() -> None:
    long = bytes(LONGEST_PAYLOAD + 1)
    digests = tuple((kind, payload_digest(kind, long) if kind == INPUT else named) for kind, named in BODY.payloads)
    body = encode_body(replace(BODY, payloads=digests))
    with pytest.raises(Refused, match="payload 1: expected at most"):
        admit(SignedRecord(body, RECORD.signatures, {**RECORD.payloads, INPUT: long}))


def test_the_same_ciphertext_has_another_digest_as_another_kind() -> None:
    assert payload_digest(INPUT, b"same") != payload_digest(OUTPUT, b"same")


# --- on the wire ---


def test_a_signed_record_comes_back_from_the_wire() -> None:
    assert decode_record(encode_record(RECORD)) == RECORD


def test_a_payload_kind_that_comes_twice_is_refused() -> None:
    found = wire.SignedRecord.FromString(encode_record(RECORD))
    found.payloads.add(kind=wire.PAYLOAD_KIND_INPUT, bytes=b"another")
    with pytest.raises(Malformed, match="came twice"):
        decode_record(found.SerializeToString())


def test_bytes_that_are_no_signed_record_are_refused() -> None:
    with pytest.raises(Malformed, match="do not parse"):
        decode_record(b"\xff\xff")


def test_an_error_holds_nothing_of_the_body() -> None:
    found = message()
    found.user_id = "a-secret-name"
    with pytest.raises(Refused) as caught:
        admit_body(spelt(found))
    assert "a-secret-name" not in str(caught.value)


def test_the_updates_of_these_tests_have_a_known_encoding() -> None:
    assert BODY.update_encoding == SIGNS
