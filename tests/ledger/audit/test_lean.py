"""The short way through a record's entry reads what the strict decoders read, or nothing."""

from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ledger import record
from ledger.audit import lean
from ledger.audit.chains import Chains
from ledger.audit.report import Faults
from ledger.audit.signatures import Signatures
from ledger.entry import Entry, ForkCreated, decode_entry, encode_entry
from ledger.keys import ED25519, PublicKey, Signature
from tests.ledger.tiled import Forks
from tests.ledger.written import ORIGIN, Writer

PATTERN = lean.pattern(ORIGIN)
FORKS = Forks(2)
FORKS.grow(12)
RECORDS = FORKS.entries[2:]


def test_a_record_s_entry_is_matched_learned_from_or_not() -> None:
    assert len(RECORDS) == 10
    assert all(PATTERN.match(data) for data in RECORDS)
    assert {len(record.decode_body(decode_entry(data).body).payloads) for data in RECORDS} == {3, 4}


def test_a_fork_created_and_another_log_s_entry_are_not() -> None:
    assert PATTERN.match(FORKS.entries[0]) is None
    assert lean.pattern("example.org/lob").match(RECORDS[0]) is None


def test_terms_are_those_of_the_fork_s_creation() -> None:
    for data in RECORDS[:2]:
        found = PATTERN.match(data)
        assert found is not None
        assert found["terms"] == lean.terms_of(FORKS.writers[0].creation())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An entry with a few bytes changed, left out or put in."""
    data = bytearray(draw(st.sampled_from(RECORDS)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data) - 1))
        if draw(st.booleans()):
            data[at] = draw(st.integers(0, 255))
        elif draw(st.booleans()):
            del data[at]
        else:
            data.insert(at, draw(st.integers(0, 255)))
    return bytes(data)


@given(damaged())
@example(RECORDS[0])
def test_what_is_matched_says_the_same_to_the_strict_decoders(data: bytes) -> None:
    found = PATTERN.match(data)
    if found is None:
        return
    got = lean.LeanEntry(*found.groups())
    if got.length != lean.varint(len(got.body)) or (got.rate is not None and not is_step(got.rate)):
        return  # the audit asks the strict decoders
    read = decode_entry(data)
    assert read.fork_id.encode() == got.fork_id
    assert (lean.varint(read.version), read.previous, read.body) == (got.version, got.previous, got.body)
    assert [(each.key_id, each.algorithm, each.raw) for each in read.signatures] == [(got.key_id, 1, got.signature)]
    assert (read.origin, read.authority) == (ORIGIN, 1)
    body = record.decode_body(read.body)
    assert (body.fork_id, lean.varint(body.interaction_number)) == (read.fork_id, got.number)
    assert lean.terms_of(creation_like(body)) == got.terms


def is_step(rate: bytes) -> bool:
    step: float = lean.FLOAT.unpack(rate)[0] * record.STEP_LIMIT
    return 0 < step < record.STEP_LIMIT and step.is_integer()


def creation_like(body: record.Body) -> ForkCreated:
    return replace(
        Writer(0).creation(),
        dimension=body.update_dimension,
        layout_digest=body.layout_digest,
        recipe_digest=body.recipe_digest,
    )


def verdict(chains: Chains, faults: Faults, signatures: Signatures, data: bytes) -> tuple[Any, ...]:
    chains.check_page(0, FORKS.entries[:2], b"")
    hashes = chains.check_page(2, [data, RECORDS[1]], b"")
    signatures.settle()
    forks = {fork_id: (fork.leaf, fork.version, fork.head, fork.interactions) for fork_id, fork in chains.forks.items()}
    return hashes, forks, chains.records, faults.first()


@given(damaged() | st.sampled_from(RECORDS))
def test_an_audit_that_never_takes_the_short_way_says_the_same(data: bytes) -> None:
    verdicts = []
    for short in (True, False):
        faults = Faults()
        signatures = Signatures(faults)
        chains = Chains(faults, ORIGIN, signatures)
        if not short:
            chains._pattern = None
        verdicts.append(verdict(chains, faults, signatures, data))
    assert verdicts[0] == verdicts[1]


def test_a_body_of_another_length_than_it_states_does_not_take_the_short_way() -> None:
    data = RECORDS[0]
    found = PATTERN.match(data)
    assert found is not None
    at = found.start("length")
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert PATTERN.match(changed)
    faults = Faults()
    Chains(faults, ORIGIN, Signatures(faults)).check_page(0, [*FORKS.entries[:2], changed], b"")
    assert [(fault.leaf, fault.step) for fault in faults.first()] == [(2, 3)]


@given(st.integers(0, 2**24 + 1), st.sampled_from([0.0, 1.0, 0.5]))
def test_only_steps_take_the_short_way(step: int, off: float) -> None:
    """A learning rate that is no step is the strict decoder's to refuse, in its own words."""
    rate = lean.FLOAT.pack((step + off) * record.STEP_UNIT)
    exact = lean.FLOAT.unpack(rate)[0] / record.STEP_UNIT
    assert is_step(rate) == (exact == int(exact) and 0 < exact < record.STEP_LIMIT)


@given(st.integers(0, 2**63 - 1))
def test_numbers_are_written_as_protobuf_writes_them(number: int) -> None:
    read = Entry(ORIGIN, Writer(0).fork_id, number, bytes(32), "", b"", (), 0)
    if number:
        assert b"\x18" + lean.varint(number) + b"\x22\x20" in encode_entry(read)
    if number < len(lean.SMALL_VARINTS):
        assert lean.SMALL_VARINTS[number] == lean.varint(number)


def test_a_key_of_another_owner_does_not_take_the_short_way() -> None:
    entry = decode_entry(RECORDS[0])
    other = PublicKey(ED25519, bytes(32)).key_id
    changed = replace(entry, signatures=(Signature(other, ED25519, entry.signatures[0].raw),))
    faults = Faults()
    chains = Chains(faults, ORIGIN, Signatures(faults))
    chains.check_page(0, [*FORKS.entries[:2], encode_entry(changed)], b"")
    (fault,) = faults.first()
    assert (fault.leaf, fault.step) == (2, 6)
    assert fault.message.startswith("signature: expected key ")
