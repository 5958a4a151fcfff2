"""An entry: a signed body in its place in a fork. Its leaf hash is the next entry's `previous` and the log's leaf.

Serialised once by the log, stored verbatim; every hash is over the stored bytes. docs/format.md, "Entry".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ledger.errors import Malformed, Refused
from ledger.keys import (
    PublicKey,
    Signature,
    check_fork_id,
    public_key_from_wire,
    public_key_to_wire,
    signature_from_wire,
    signature_to_wire,
)
from ledger.wire.v1 import entry_pb2 as wire

FORK_CREATED = "fork-created/v1"
USER_TRAINING_RECORD = "user-training-record/v1"

TOPICS = frozenset({FORK_CREATED, USER_TRAINING_RECORD})
# Specified in docs/format.md and refused at the door until they are built.
RESERVED_TOPICS = frozenset(
    f"{name}/v1"
    for name in (
        "update-replaced", "record-disabled", "record-enabled", "rolled-back", "subject-erased", "key-changed",
        "key-delegated", "ownership-transferred", "fork-imported", "fork-moved", "heads-committed",
    )
)  # fmt: skip

_ORIGIN = re.compile(r"[!-*,-~]{1,128}")

NO_ENTRY = bytes(32)  # `previous` of version 1
LONGEST_ENTRY = 65_535  # bytes: an entry bundle of tlog-tiles gives a length 16 bits

SELF, DELEGATE, SERVICE = wire.CUSTODY_SELF, wire.CUSTODY_DELEGATE, wire.CUSTODY_SERVICE


@dataclass(frozen=True, slots=True)
class Entry:
    """`authority` is the version of the entry that gave the signer its right."""

    origin: str
    fork_id: str
    version: int
    previous: bytes  # 32
    topic: str
    body: bytes
    signatures: tuple[Signature, ...]
    authority: int


@dataclass(frozen=True, slots=True)
class ForkCreated:
    """The body of a fork's first entry. `genesis_digest` is the state digest at fork time."""

    fork_id: str
    owner_key: PublicKey
    custody: int
    layout_digest: bytes  # 32
    recipe_digest: bytes  # 32
    genesis_digest: bytes  # 32
    dimension: int
    recovery_key_digest: bytes = b""  # 32, or absent


@dataclass(frozen=True, slots=True)
class SignedControl:
    """A control event as it arrives: topic, body as signed, signatures."""

    topic: str
    body: bytes
    signatures: tuple[Signature, ...]


def check_origin(origin: str) -> str:
    """Return `origin` if it is printable ASCII without space or plus (it is also a note key name)."""
    if not _ORIGIN.fullmatch(origin):
        raise Malformed("origin: expected 1 to 128 printable ASCII characters without space or '+'")
    return origin


def shown_topic(topic: str) -> str:
    """A topic in a message: one that is specified by its name, anything else as a reader may safely see it."""
    return topic if topic in TOPICS | RESERVED_TOPICS else ascii(topic[:64])


def encode_entry(entry: Entry) -> bytes:
    data = wire.Entry(
        origin=entry.origin,
        fork_id=entry.fork_id,
        version=entry.version,
        previous=entry.previous,
        topic=entry.topic,
        body=entry.body,
        signatures=[signature_to_wire(signature) for signature in entry.signatures],
        authority=entry.authority,
    ).SerializeToString(deterministic=True)
    if len(data) > LONGEST_ENTRY:
        raise Refused(f"entry: expected at most {LONGEST_ENTRY} bytes, got {len(data)}")
    return data


def decode_entry(data: bytes) -> Entry:
    """Read stored entry bytes; raise Malformed where a field cannot be what the format says."""
    message = wire.Entry()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"entry: {len(data)} bytes do not parse as Entry") from None
    if message.version < 1:
        raise Malformed("entry: expected a version from 1, got 0")
    if len(message.previous) != 32:
        raise Malformed(f"entry: expected 32 bytes in previous, got {len(message.previous)}")
    return Entry(
        origin=check_origin(message.origin),
        fork_id=check_fork_id(message.fork_id),
        version=message.version,
        previous=message.previous,
        topic=message.topic,
        body=message.body,
        signatures=tuple(signature_from_wire(signature) for signature in message.signatures),
        authority=message.authority,
    )


def encode_control(control: SignedControl) -> bytes:
    return wire.SignedControl(
        topic=control.topic,
        body=control.body,
        signatures=[signature_to_wire(signature) for signature in control.signatures],
    ).SerializeToString(deterministic=True)


def decode_control(data: bytes) -> SignedControl:
    """Read a SignedControl message; raise Malformed when it does not parse."""
    message = wire.SignedControl()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"signed control: {len(data)} bytes do not parse as SignedControl") from None
    signatures = tuple(signature_from_wire(signature) for signature in message.signatures)
    return SignedControl(message.topic, message.body, signatures)


def encode_fork_created(body: ForkCreated) -> bytes:
    return wire.ForkCreated(
        fork_id=body.fork_id,
        owner_key=public_key_to_wire(body.owner_key),
        recovery_key_digest=body.recovery_key_digest,
        custody=body.custody,  # type: ignore[arg-type]  # an int is what protobuf takes and stores
        layout_digest=body.layout_digest,
        recipe_digest=body.recipe_digest,
        genesis_digest=body.genesis_digest,
        dimension=body.dimension,
        previous=NO_ENTRY,
    ).SerializeToString(deterministic=True)


def decode_fork_created(data: bytes) -> ForkCreated:
    """Read a fork-created body; later fields are tolerated."""
    message = wire.ForkCreated()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"fork-created: {len(data)} bytes do not parse as ForkCreated") from None
    for name in ("layout_digest", "recipe_digest", "genesis_digest", "previous"):
        if len(getattr(message, name)) != 32:
            raise Malformed(f"fork-created: expected 32 bytes in {name}, got {len(getattr(message, name))}")
    if len(message.recovery_key_digest) not in (0, 32):
        raise Malformed("fork-created: expected 32 bytes in recovery_key_digest, or none")
    if message.previous != NO_ENTRY:
        raise Malformed("fork-created: expected 32 zero bytes in previous")
    if message.custody not in (SELF, SERVICE):
        raise Malformed(f"fork-created: expected custody self or service, got {message.custody}")
    if message.dimension < 1:
        raise Malformed("fork-created: expected a dimension from 1, got 0")
    return ForkCreated(
        fork_id=check_fork_id(message.fork_id),
        owner_key=public_key_from_wire(message.owner_key),
        custody=int(message.custody),
        layout_digest=message.layout_digest,
        recipe_digest=message.recipe_digest,
        genesis_digest=message.genesis_digest,
        dimension=message.dimension,
        recovery_key_digest=message.recovery_key_digest,
    )


def admit_fork_created(data: bytes) -> ForkCreated:
    """Read a fork-created body at the door: nothing unknown, no second spelling."""
    body = decode_fork_created(data)
    if encode_fork_created(body) != data:
        raise Refused("fork-created: expected the deterministic serialisation of known fields, got another")
    return body
