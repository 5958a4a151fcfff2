"""The body of an add-checkpoint request: the standard's own example, and all that is nearly a request."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Malformed
from ledger.witness.request import MAX_PROOF, AddCheckpoint, decode, encode_size, parse_size
from tests.ledger.witness.house import history

# c2sp.org/tlog-witness, "Example request body"
EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501

HASH = b"A" * 43 + b"="


def test_the_standard_s_example_is_read() -> None:
    asked = decode(EXAMPLE)
    assert asked.old_size == 20852014
    assert [base64.b64encode(node)[:4] for node in asked.proof] == [b"PlRN", b"jrJZ", b"5+pK", b"/6WV"]
    assert asked.checkpoint.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert asked.encode() == EXAMPLE


@given(
    old=st.integers(0, 2**63 - 1),
    proof=st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF),
    checkpoint=st.binary(max_size=200),
)
def test_what_is_written_is_read_again(old: int, proof: list[bytes], checkpoint: bytes) -> None:
    asked = AddCheckpoint(old, tuple(proof), checkpoint)
    assert decode(asked.encode()) == asked


@given(st.binary(max_size=300) | st.text("old 0123456789\nAB=/+ ", max_size=300).map(str.encode))
def test_what_is_read_has_one_spelling(body: bytes) -> None:
    try:
        asked = decode(body)
    except Malformed:
        return
    assert asked.encode() == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"\n\nnote",
        b"old 3\n" + HASH + b"\n",  # no empty line
        b"old\n\nnote",
        b"old \n\nnote",
        b"old  3\n\nnote",
        b"old 03\n\nnote",
        b"old +3\n\nnote",
        b"old -3\n\nnote",
        b"old 3 \n\nnote",
        b"old 3\r\n\r\nnote",
        b"Old 3\n\nnote",
        "old ٣\n\nnote".encode(),  # a digit, but not an ASCII one
        b"old " + b"9" * 5000 + b"\n\nnote",
        b"old 3\n" + HASH[:-1] + b"\n\nnote",
        b"old 3\n" + HASH[:-2] + b"B=\n\nnote",  # not canonical
        b"old 3\n" + base64.b64encode(bytes(31)) + b"\n\nnote",
        b"old 3\n" + base64.b64encode(bytes(33)) + b"\n\nnote",
        b"old 3\n " + HASH + b"\n\nnote",
        b"old 3\n\xff\n\nnote",
        b"old 3\n" + (HASH + b"\n") * (MAX_PROOF + 1) + b"\nnote",
    ],
)
def test_what_is_nearly_a_request_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode(body)


def test_63_proof_lines_are_read() -> None:
    assert len(decode(b"old 3\n" + (HASH + b"\n") * MAX_PROOF + b"\nnote").proof) == MAX_PROOF


def test_a_request_that_no_witness_would_read_is_not_made() -> None:
    for old, proof in ((-1, ()), (1, (bytes(31),)), (1, (bytes(32),) * (MAX_PROOF + 1))):
        with pytest.raises(Malformed):
            AddCheckpoint(old, proof, history().signed(3))


@given(st.integers(0, 2**63 - 1))
def test_a_size_is_read_as_it_was_written(size: int) -> None:
    assert parse_size(encode_size(size)) == size


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"3", b"03\n", b" 3\n", b"3\n\n", b"-1\n", b"9" * 20 + b"\n", b"<html>\n"]
)
def test_what_is_nearly_a_size_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_size(body)
