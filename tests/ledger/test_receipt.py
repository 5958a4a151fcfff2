"""Receipts: a promise in eight lines, signed by a key that signs nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint as checkpoints
from ledger import note, receipt
from ledger.errors import BadSignature, Malformed, Refused
from ledger.receipt import Receipt, open_receipt, read_unchecked, sign
from tests.ledger.written import LOG_KEY, NOW, ORIGIN, RECEIPT_KEY, Writer, drawn

RECEIPT = Receipt(ORIGIN, Writer(1).fork_id, 3, 17, drawn(32, "leaf hash"), NOW, NOW + 10)
VERIFIER = RECEIPT_KEY.verifier
LINES = RECEIPT.encode().split(b"\n")


def test_a_receipt_comes_back_from_its_signed_bytes() -> None:
    assert open_receipt(sign(RECEIPT, RECEIPT_KEY), VERIFIER) == RECEIPT


@given(*(st.integers(0, 2**63 - 1) for _ in range(4)), st.binary(min_size=32, max_size=32))
def test_every_receipt_comes_back(version: int, leaf: int, accepted: int, due: int, entry_hash: bytes) -> None:
    made = Receipt(ORIGIN, RECEIPT.fork_id, version, leaf, entry_hash, accepted, due)
    assert open_receipt(sign(made, RECEIPT_KEY), VERIFIER) == made


def test_it_is_eight_lines_that_begin_with_their_title() -> None:
    assert len(LINES) == 9
    assert LINES[0] == b"forkledger/receipt/v1"
    assert LINES[1] == ORIGIN.encode()


def test_a_receipt_signed_by_another_key_is_refused() -> None:
    other = note.Ed25519Signer(RECEIPT_KEY.name, drawn(32, "another"))
    with pytest.raises(BadSignature):
        open_receipt(sign(RECEIPT, other), VERIFIER)


def test_every_flipped_byte_is_refused() -> None:
    signed = sign(RECEIPT, RECEIPT_KEY)
    for place in range(len(signed)):
        flipped = bytearray(signed)
        flipped[place] ^= 1
        with pytest.raises((BadSignature, Malformed)):
            open_receipt(bytes(flipped), VERIFIER)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (0, "forkledger/receipt/v2"),
        (3, "03"),
        (3, "+3"),
        (3, "-3"),
        (4, "-0"),
        (6, "-1"),
        (7, "-1"),
        (7, "007"),
        (3, " 3"),
        (3, "3_0"),
        (3, "３"),
        (4, "x"),
        (4, ""),
        (5, "AAAA"),
        (5, "not base64"),
        (6, "1e3"),
    ],
)
def test_a_signed_text_in_another_spelling_is_no_receipt(line: int, text: str) -> None:
    lines = list(LINES)
    lines[line] = text.encode()
    with pytest.raises(Malformed):
        open_receipt(note.sign(b"\n".join(lines), [RECEIPT_KEY]), VERIFIER)


@pytest.mark.parametrize("text", [b"\n".join(LINES[:-2]) + b"\n", RECEIPT.encode() + b"one more\n"])
def test_a_signed_text_of_another_length_is_no_receipt(text: bytes) -> None:
    with pytest.raises(Malformed, match="eight lines"):
        open_receipt(note.sign(text, [RECEIPT_KEY]), VERIFIER)


def test_a_receipt_of_another_log_is_refused_even_under_a_known_key() -> None:
    with pytest.raises(Refused, match="another origin"):
        open_receipt(sign(replace(RECEIPT, origin="example.org/other"), RECEIPT_KEY), VERIFIER)


def test_a_receipt_and_a_checkpoint_are_never_taken_for_each_other() -> None:
    checkpoint = checkpoints.sign(checkpoints.Checkpoint(ORIGIN, 17, drawn(32, "root")), LOG_KEY)
    with pytest.raises((BadSignature, Malformed)):
        open_receipt(checkpoint, LOG_KEY.verifier)
    with pytest.raises(BadSignature):
        checkpoints.open_checkpoint(sign(RECEIPT, RECEIPT_KEY), ORIGIN, [VERIFIER])
    assert receipt.key_name(ORIGIN) != ORIGIN


def test_a_receipt_can_be_read_by_who_does_not_ask_for_its_signer() -> None:
    assert read_unchecked(sign(RECEIPT, LOG_KEY)) == RECEIPT
    with pytest.raises(Malformed):
        read_unchecked(sign(RECEIPT, LOG_KEY).replace(b"\n17\n", b"\n017\n"))
    with pytest.raises(Malformed):
        read_unchecked(RECEIPT.encode())
