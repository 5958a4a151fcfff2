"""Payload encryption: a key for each place and kind, commitments, padding, and nothing secret in sight."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadSignature, LedgerError, Malformed, Refused
from ledger.record import INPUT, OUTPUT, PARTICULARS, UPDATE
from ledger.vault import (
    COMMIT_KEY,
    OVERHEAD,
    PARTICULARS_BLOCK,
    Place,
    RecordKey,
    ServiceKey,
    commitment_to,
    open_payload,
    pad_particulars,
    pad_text,
    padme,
    record_key,
    seal_payload,
    snapshot_key,
    state_commitment,
    unpad,
)
from tests.ledger.written import ORIGIN, Writer, drawn

ROOT, SALT, NONCE = drawn(32, "root"), drawn(32, "salt"), drawn(24, "nonce")
KEY = record_key(ROOT, SALT, 7)
PLACE = Place(ORIGIN, Writer(1).fork_id, drawn(16, "record"))
PLAIN = pad_text(b"something private")
SEALED = seal_payload(KEY.subkey(INPUT), INPUT, PLAIN, PLACE, NONCE)


def test_a_record_s_key_depends_on_root_salt_and_number() -> None:
    others = [record_key(SALT, ROOT, 7), record_key(ROOT, drawn(32, "fresh salt"), 7), record_key(ROOT, SALT, 8)]
    assert len({KEY.raw, *(other.raw for other in others)}) == 4
    assert record_key(ROOT, SALT, 7) == KEY


@pytest.mark.parametrize(("root", "salt"), [(bytes(31), SALT), (ROOT, bytes(33)), (b"", b"")])
def test_roots_and_salts_have_32_bytes(root: bytes, salt: bytes) -> None:
    with pytest.raises(Malformed, match="32 bytes each"):
        record_key(root, salt, 1)


def test_every_subkey_is_another_one() -> None:
    subkeys = [KEY.subkey(number) for number in range(256)]
    assert len({KEY.raw, KEY.commitment, *subkeys}) == 258
    assert KEY.commit_key == KEY.subkey(COMMIT_KEY)
    assert COMMIT_KEY not in (INPUT, OUTPUT, UPDATE, PARTICULARS)


def test_a_payload_opens_with_its_key_at_its_place() -> None:
    assert open_payload(KEY.subkey(INPUT), INPUT, SEALED, PLACE) == PLAIN
    assert len(SEALED) == len(PLAIN) + OVERHEAD


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, origin="example.org/other"),
        replace(PLACE, fork_id=Writer(2).fork_id),
        replace(PLACE, record_id=bytes(16)),
    ],
)
def test_a_payload_opens_nowhere_else(elsewhere: Place) -> None:
    with pytest.raises(BadSignature, match="does not open at this place"):
        open_payload(KEY.subkey(INPUT), INPUT, SEALED, elsewhere)


def test_a_payload_does_not_open_as_another_kind() -> None:
    with pytest.raises(BadSignature, match="not the key"):
        open_payload(KEY.subkey(OUTPUT), OUTPUT, SEALED, PLACE)
    with pytest.raises(BadSignature, match="does not open"):  # even where someone uses the same key for both
        open_payload(KEY.subkey(INPUT), OUTPUT, SEALED, PLACE)


def test_a_payload_is_committed_to_one_key() -> None:
    other = record_key(ROOT, SALT, 8).subkey(INPUT)
    assert SEALED[:32] == commitment_to(KEY.subkey(INPUT))
    with pytest.raises(BadSignature, match="not the key that it is committed to"):
        open_payload(other, INPUT, SEALED, PLACE)
    relabelled = commitment_to(other) + SEALED[32:]
    with pytest.raises(BadSignature, match="does not open"):
        open_payload(other, INPUT, relabelled, PLACE)


def test_every_flipped_byte_of_a_payload_is_noticed() -> None:
    for place in range(len(SEALED)):
        flipped = bytearray(SEALED)
        flipped[place] ^= 1
        with pytest.raises(BadSignature):
            open_payload(KEY.subkey(INPUT), INPUT, bytes(flipped), PLACE)


@pytest.mark.parametrize("length", [0, 31, OVERHEAD - 1])
def test_bytes_too_short_for_a_payload_are_refused(length: int) -> None:
    with pytest.raises(Malformed, match="at least 72 bytes"):
        open_payload(KEY.subkey(INPUT), INPUT, SEALED[:length], PLACE)


def test_a_state_commitment_depends_on_key_and_state() -> None:
    state = drawn(32, "state")
    made = {
        state_commitment(KEY.commit_key, state),
        state_commitment(KEY.commit_key, drawn(32, "another state")),
        state_commitment(KEY.subkey(INPUT), state),
    }
    assert len(made) == 3


# --- padding ---


@given(st.integers(2, 2**40))
def test_a_padded_length_costs_at_most_an_eighth_and_tells_only_the_first_bits(length: int) -> None:
    padded = padme(length)
    assert length <= padded <= length * 1.12
    assert padme(padded) == padded
    exponent = math.floor(math.log2(length))
    zeros = exponent - (math.floor(math.log2(exponent)) + 1)  # Padmé: E - S low bits are zero
    assert padded % (1 << max(zeros, 0)) == 0


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_longer_text_is_never_padded_to_less(one: int, two: int) -> None:
    assert (padme(one) <= padme(two)) or one > two


def test_few_lengths_are_ever_seen() -> None:
    assert [padme(length) for length in (0, 1, 8, 9, 10, 17, 33, 100, 1000)] == [0, 1, 8, 10, 10, 18, 36, 104, 1024 - 0]
    assert len({padme(length) for length in range(1, 10_001)}) < 150


@given(st.binary(max_size=2000))
def test_text_and_particulars_come_back_from_their_padding(text: bytes) -> None:
    assert unpad(pad_text(text)) == text
    assert unpad(pad_particulars(text)) == text
    assert len(pad_particulars(text)) % PARTICULARS_BLOCK == 0
    assert len(pad_text(text)) == padme(len(text) + 4)


@pytest.mark.parametrize("padded", [b"", b"\0\0\0", b"\0\0\0\5abcd", b"\0\0\0\1a\0\1", b"\xff\xff\xff\xffabc"])
def test_padding_that_is_not_what_was_written_is_refused(padded: bytes) -> None:
    with pytest.raises(Malformed, match="padded text"):
        unpad(padded)


# --- the service's key ---

SERVICE_KEY = ServiceKey(drawn(32, "service"))


def test_what_the_service_key_sealed_opens_for_what_it_is_about() -> None:
    sealed = SERVICE_KEY.seal(b"a secret", b"fork 1", NONCE)
    assert SERVICE_KEY.open(sealed, b"fork 1") == b"a secret"
    assert b"a secret" not in sealed
    with pytest.raises(BadSignature):
        SERVICE_KEY.open(sealed, b"fork 2")
    with pytest.raises(BadSignature):
        ServiceKey(drawn(32, "another")).open(sealed, b"fork 1")


@given(st.binary(max_size=80))
def test_bytes_that_nobody_sealed_are_refused(sealed: bytes) -> None:
    with pytest.raises(BadSignature):
        SERVICE_KEY.open(sealed, b"fork 1")


def test_keys_derived_for_two_purposes_differ() -> None:
    assert SERVICE_KEY.derive(b"one") == SERVICE_KEY.derive(b"one") != SERVICE_KEY.derive(b"two")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_service_key_has_32_bytes(length: int) -> None:
    with pytest.raises(Refused):
        ServiceKey(bytes(length))


@pytest.mark.parametrize("key", [RecordKey(KEY.raw), SERVICE_KEY], ids=["record", "service"])
def test_no_repr_and_no_error_shows_a_key(key: RecordKey | ServiceKey) -> None:
    assert repr(key.raw) not in repr(key)
    assert key.raw.hex() not in repr(key)
    with pytest.raises(LedgerError) as caught:
        open_payload(key.raw, INPUT, SEALED, PLACE)
    assert key.raw.hex() not in str(caught.value)


def test_a_snapshot_key_is_of_its_root_alone() -> None:
    root = bytes(range(32))
    sealed = snapshot_key(root).seal(b"state", b"about", bytes(24))
    assert snapshot_key(root).open(sealed, b"about") == b"state"
    for other in (snapshot_key(bytes(32)), ServiceKey(root)):
        with pytest.raises(BadSignature):
            other.open(sealed, b"about")
    with pytest.raises(Malformed):
        snapshot_key(root[:-1])
