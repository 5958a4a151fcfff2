"""The signed record over ciphertext: encoder, door and reader of a `UserTrainingRecord` body.

A body is bytes that the fork's key signed. It is stored and hashed as received; the only place that serialises
again is the door, to refuse a second spelling of the same statement. docs/format.md, "Record".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from google.protobuf.message import DecodeError

from ledger.errors import Malformed, Refused
from ledger.keys import Signature, check_fork_id, signature_from_wire, signature_to_wire
from ledger.wire.v1 import record_pb2 as wire

INPUT = wire.PAYLOAD_KIND_INPUT
OUTPUT = wire.PAYLOAD_KIND_OUTPUT
UPDATE = wire.PAYLOAD_KIND_UPDATE
PARTICULARS = wire.PAYLOAD_KIND_PARTICULARS

EMPTY = wire.UPDATE_ENCODING_EMPTY

STEP_UNIT = 2.0**-24  # learning_rate = step * STEP_UNIT, so that replay multiplies integers only
STEP_LIMIT = 1 << 24
KEY_SCHEMES = frozenset({1})  # docs/format.md, "Keys of a record": the door takes no key reference that nobody can read
LONGEST_BODY = 4096  # bytes
LONGEST_PAYLOAD = 1 << 20  # bytes
MOST_IN_BATCH = 1000  # records
LARGEST_DIMENSION = 1 << 26

_ENCODINGS = frozenset(wire.UpdateEncoding.values()) - {wire.UPDATE_ENCODING_UNSPECIFIED}
_KINDS = [int(kind) for kind in (INPUT, OUTPUT, UPDATE, PARTICULARS)]
_KINDS_OF_EMPTY = [int(kind) for kind in (INPUT, OUTPUT, PARTICULARS)]

_PAYLOAD_DOMAIN = b"forkledger/payload/v1\0"

# Fields that never stand in a body: ciphertext and signatures have their own place, the rest is personal.
_NOT_IN_BODY = {
    "user_id", "encrypted_input", "encrypted_output", "encrypted_gradient", "feedback", "metrics",
    "prior_update", "zkp_proof", "signature", "created_at", "state_version", "rehearsed", "seed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Body:
    """What a record states in clear. `step` is the integer k of learning_rate = k * 2^-24."""

    fork_id: str
    record_id: bytes  # 16
    interaction_number: int
    step: int
    payloads: tuple[tuple[int, bytes], ...]  # (kind, digest), ascending by kind
    key_scheme: int
    key_commitment: bytes  # 32
    update_encoding: int
    update_dimension: int
    layout_digest: bytes  # 32
    recipe_digest: bytes  # 32
    state_commitment: bytes  # 32


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A body as signed, its signatures, and the payloads by kind."""

    body: bytes
    signatures: tuple[Signature, ...]
    payloads: Mapping[int, bytes]


def payload_digest(kind: int, payload: bytes) -> bytes:
    """32 bytes that name a payload: over its kind, key commitment, nonce and ciphertext."""
    return hashlib.sha256(_PAYLOAD_DOMAIN + bytes([kind]) + payload).digest()


def encode_body(body: Body) -> bytes:
    """The bytes to sign: the deterministic serialisation, which is the only one the door takes."""
    message = wire.UserTrainingRecord(
        fork_id=body.fork_id,
        interaction_number=body.interaction_number,
        learning_rate=body.step * STEP_UNIT,
        record_id=body.record_id,
        payloads=[
            wire.PayloadReference(kind=cast(wire.PayloadKind, kind), digest=digest) for kind, digest in body.payloads
        ],
        key=wire.KeyReference(scheme=body.key_scheme, commitment=body.key_commitment),
        update_encoding=cast(wire.UpdateEncoding, body.update_encoding),
        update_dimension=body.update_dimension,
        layout_digest=body.layout_digest,
        recipe_digest=body.recipe_digest,
        state_commitment=body.state_commitment,
    )
    return message.SerializeToString(deterministic=True)


def decode_body(data: bytes) -> Body:
    """Read a body. Fields that a later version added are left alone: readers and auditors tolerate them."""
    return _body_of(_parse(data))


def admit_body(data: bytes) -> Body:
    """Read a body at the door, where nothing unknown, nothing personal and no second spelling passes."""
    if len(data) > LONGEST_BODY:
        raise Refused(f"record body: expected at most {LONGEST_BODY} bytes, got {len(data)}")
    message = _parse(data)
    misplaced = [field.name for field, _ in message.ListFields() if field.name in _NOT_IN_BODY]
    if misplaced:
        raise Refused(f"record body: {', '.join(misplaced)} must not stand in a body")
    body = _body_of(message)
    if body.key_scheme not in KEY_SCHEMES:
        raise Refused(f"key.scheme: expected one of {sorted(KEY_SCHEMES)}, got {body.key_scheme}")
    if encode_body(body) != data:
        raise Refused("record body: expected the deterministic serialisation of known fields, got another")
    return body


def admit(record: SignedRecord) -> Body:
    """Check at the door that a record's body is admissible and names exactly the payloads that came with it."""
    body = admit_body(record.body)
    named = dict(body.payloads)
    if set(named) != set(record.payloads):
        raise Refused(f"payloads: the body names kinds {sorted(named)}, kinds {sorted(record.payloads)} came")
    for kind, payload in record.payloads.items():
        if len(payload) > LONGEST_PAYLOAD:
            raise Refused(f"payload {kind}: expected at most {LONGEST_PAYLOAD} bytes, got {len(payload)}")
        if payload_digest(kind, payload) != named[kind]:
            raise Refused(f"payload {kind}: its digest is not the one that the body names")
    return body


def encode_record(record: SignedRecord) -> bytes:
    return _to_wire(record).SerializeToString(deterministic=True)


def _to_wire(record: SignedRecord) -> wire.SignedRecord:
    return wire.SignedRecord(
        body=record.body,
        signatures=[signature_to_wire(signature) for signature in record.signatures],
        payloads=[
            wire.Payload(kind=cast(wire.PayloadKind, kind), bytes=record.payloads[kind])
            for kind in sorted(record.payloads)
        ],
    )


def decode_record(data: bytes) -> SignedRecord:
    """Read a SignedRecord message; raise Malformed when it does not parse or a payload kind comes twice."""
    message = wire.SignedRecord()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"signed record: {len(data)} bytes do not parse as SignedRecord") from None
    return _record_of(message)


def encode_batch(records: Sequence[SignedRecord]) -> bytes:
    return wire.SignedRecordBatch(records=[_to_wire(record) for record in records]).SerializeToString(
        deterministic=True
    )


def decode_batch(data: bytes) -> list[SignedRecord | Malformed]:
    """Read a SignedRecordBatch: of each record what came, or why it cannot be read.

    Raises Malformed when the batch does not parse, Refused when it is empty or has more than MOST_IN_BATCH records.
    """
    message = wire.SignedRecordBatch()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"batch: {len(data)} bytes do not parse as SignedRecordBatch") from None
    if not 1 <= len(message.records) <= MOST_IN_BATCH:
        raise Refused(f"batch: expected 1 to {MOST_IN_BATCH} records, got {len(message.records)}")
    return [_record_or_error(each) for each in message.records]


def _record_or_error(message: wire.SignedRecord) -> SignedRecord | Malformed:
    try:
        return _record_of(message)
    except Malformed as error:
        return error


def _record_of(message: wire.SignedRecord) -> SignedRecord:
    payloads = {int(payload.kind): payload.bytes for payload in message.payloads}
    if len(payloads) != len(message.payloads):
        raise Malformed("signed record: a payload kind came twice")
    signatures = tuple(signature_from_wire(signature) for signature in message.signatures)
    return SignedRecord(message.body, signatures, MappingProxyType(payloads))


def _parse(data: bytes) -> wire.UserTrainingRecord:
    message = wire.UserTrainingRecord()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"record body: {len(data)} bytes do not parse as UserTrainingRecord") from None
    return message


def _body_of(message: wire.UserTrainingRecord) -> Body:
    references = tuple([(int(reference.kind), reference.digest) for reference in message.payloads])
    kinds = [kind for kind, _ in references]
    learns = message.update_encoding != EMPTY
    expected = _KINDS if learns else _KINDS_OF_EMPTY
    if kinds != expected:
        raise Malformed(f"payloads: expected kinds {expected} in this order, got {kinds}")
    for kind, digest in references:
        if len(digest) != 32:
            raise Malformed(f"digest of payload {kind}: expected 32 bytes, got {len(digest)}")
    if message.update_encoding not in _ENCODINGS:
        raise Malformed(f"update_encoding: {message.update_encoding} is not one of the known encodings")
    if message.interaction_number < 1:
        raise Malformed("interaction_number: expected 1 or more, got 0")
    if not 1 <= message.update_dimension <= LARGEST_DIMENSION:
        raise Malformed(f"update_dimension: expected 1 to {LARGEST_DIMENSION}, got {message.update_dimension}")
    step = _step_of(message.learning_rate)
    if not learns and step:
        raise Malformed(f"learning_rate: an empty update has step 0, got step {step}")
    return Body(
        fork_id=check_fork_id(message.fork_id),
        record_id=_sized("record_id", message.record_id, 16),
        interaction_number=message.interaction_number,
        step=step,
        payloads=references,
        key_scheme=message.key.scheme,
        key_commitment=_sized("key.commitment", message.key.commitment, 32),
        update_encoding=int(message.update_encoding),
        update_dimension=message.update_dimension,
        layout_digest=_sized("layout_digest", message.layout_digest, 32),
        recipe_digest=_sized("recipe_digest", message.recipe_digest, 32),
        state_commitment=_sized("state_commitment", message.state_commitment, 32),
    )


def _step_of(learning_rate: float) -> int:
    """The integer k. Multiplying by a power of two is exact, so any float that is not k * 2^-24 shows."""
    scaled = learning_rate / STEP_UNIT
    if not (0 <= scaled < STEP_LIMIT) or scaled != int(scaled) or math.copysign(1, scaled) < 0:
        raise Malformed("learning_rate: expected k * 2^-24 with an integer 0 <= k < 2^24")
    return int(scaled)


def _sized(name: str, value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise Malformed(f"{name}: expected {length} bytes, got {len(value)}")
    return value
