"""Evidence: one file that shows, without the log, that an entry is in it, at its place, signed by who had the right.

It holds the entry, the entry that gave its signer the right (version `authority` of the same fork), the path of both to
the root of one checkpoint, and that checkpoint with all its signatures. docs/format.md, "Evidence".

Evidence shows inclusion and place. It does not show that nothing follows: a later entry may change what this one means.
Payloads are no part of it. They are private to the fork; whoever has one compares its digest with the body's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ledger import note
from ledger.anchor import chainproof
from ledger.anchor.chainproof import Held, Pinned
from ledger.checkpoint import Checkpoint
from ledger.entry import (
    FORK_CREATED,
    NO_ENTRY,
    USER_TRAINING_RECORD,
    Entry,
    ForkCreated,
    decode_entry,
    shown_topic,
)
from ledger.errors import BadAnchor, BadEvidence, BadProof, LedgerError, Malformed, Refused
from ledger.merkle import HASH_SIZE, check_inclusion, leaf_hash
from ledger.record import Body, decode_body
from ledger.rights import check_fork_created, check_signer, rights_from
from ledger.tlogproof import OpenCheckpoint, TlogProof
from ledger.wire.v1 import evidence_pb2 as wire

STEPS = {
    1: "the file is evidence, in its one spelling",
    2: "the checkpoint is one that the policy accepts",
    3: "the entry is in the log, at its place",
    4: "the entry that gave its signer the right is in the same log, at its place",
    5: "both belong to this log and to one fork, and the one names the other",
    6: "that other entry gives the right to sign this one",
    7: "the key with that right signed the entry",
    8: "what was signed can be read, and belongs to that fork",
}
ANCHOR_STEPS = {len(STEPS) + step: f"anchor: {says}" for step, says in chainproof.STEPS.items()}
"""Of evidence that holds an anchor proof, for a checker who knows the hash of its block."""

SHOWS = "evidence shows that this entry is in the log at this place; it does not show that nothing follows it"

LONGEST_EVIDENCE = 1 << 20  # bytes: two entries, two paths, and a checkpoint with as many signatures as a note can have

_FORMAT = "forkledger/evidence/v1"


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry's bytes as stored, its leaf, and the path from there to the root: the leaf's sibling first."""

    leaf_index: int
    entry: bytes
    path: tuple[bytes, ...]  # 32 each


@dataclass(frozen=True, slots=True)
class Anchoring:
    """An anchor proof, and the consistency proof from the smaller of its tree and the checkpoint's to the larger."""

    proof: bytes  # `chainproof.encode_anchor`
    path: tuple[bytes, ...]  # 32 each; none where both are the same


@dataclass(frozen=True, slots=True)
class Evidence:
    """`authority` is the entry that gave the signer of `entry` the right, or None where that is `entry` itself."""

    checkpoint: bytes
    entry: LoggedEntry
    authority: LoggedEntry | None
    anchor: Anchoring | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What evidence that holds has shown. `created` names the key that signed and who keeps it."""

    checkpoint: Checkpoint
    leaf_index: int
    entry_hash: bytes  # 32: the leaf hash
    entry: Entry
    created: ForkCreated
    record: Body | None  # None for a fork-created


def encode_evidence(evidence: Evidence) -> bytes:
    message = wire.Evidence(format=_FORMAT, checkpoint=evidence.checkpoint, entry=_to_wire(evidence.entry))
    if evidence.authority is not None:
        message.authority.CopyFrom(_to_wire(evidence.authority))
    if evidence.anchor is not None:
        message.anchor.CopyFrom(wire.Anchoring(proof=evidence.anchor.proof, path=evidence.anchor.path))
    data = message.SerializeToString(deterministic=True)
    if len(data) > LONGEST_EVIDENCE:
        raise Refused(f"evidence: expected at most {LONGEST_EVIDENCE} bytes, got {len(data)}")
    return data


def decode_evidence(data: bytes) -> Evidence:
    """Read evidence. Unlike an entry it tolerates no later field: what it does not understand it cannot check."""
    if len(data) > LONGEST_EVIDENCE:
        raise Malformed(f"evidence: expected at most {LONGEST_EVIDENCE} bytes, got {len(data)}")
    message = wire.Evidence()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"evidence: {len(data)} bytes do not parse as Evidence") from None
    if message.format != _FORMAT:
        raise Malformed(f"evidence: expected the format {_FORMAT}, got another")
    if not message.HasField("entry"):
        raise Malformed("evidence: expected an entry, none came")
    evidence = Evidence(
        checkpoint=message.checkpoint,
        entry=_from_wire(message.entry),
        authority=_from_wire(message.authority) if message.HasField("authority") else None,
        anchor=Anchoring(message.anchor.proof, tuple(message.anchor.path)) if message.HasField("anchor") else None,
    )
    if encode_evidence(evidence) != data:
        raise Malformed("evidence: expected the deterministic serialisation of known fields, got another")
    return evidence


def tlog_proof(evidence: Evidence) -> TlogProof:
    """The part of it that the standard's tools read: that the entry is in the log, without who signed it."""
    return TlogProof(evidence.entry.leaf_index, evidence.entry.path, evidence.checkpoint)


def check_evidence(data: bytes, open_checkpoint: OpenCheckpoint) -> Shown:
    """Check evidence without the log, in the numbered STEPS. Raises BadEvidence, which names the first that fails.

    An anchor proof in it is not looked at: that is for `check_anchoring`.
    """
    with _step(1, "file"):
        evidence = decode_evidence(data)
    with _step(2, "checkpoint"):
        checkpoint = open_checkpoint(evidence.checkpoint)
    at = f"leaf {evidence.entry.leaf_index}"
    with _step(3, at):
        _check_place(evidence.entry, checkpoint)
    giver = evidence.authority or evidence.entry
    with _step(4, f"leaf {giver.leaf_index}"):
        _check_place(giver, checkpoint)
    with _step(5, at):
        entry = _of_log(evidence.entry, checkpoint.origin)
        gives = entry if evidence.authority is None else _of_log(evidence.authority, checkpoint.origin)
        _check_order(evidence, entry, gives)
    at = f"{at}, fork {entry.fork_id} version {entry.version}"
    with _step(6, at):
        created = _check_right(entry, gives)
    with _step(7, at):
        check_signer(rights_from(created), entry.origin, entry.topic, entry.body, entry.signatures)
    with _step(8, at):
        record = _check_record(entry, created) if entry.topic == USER_TRAINING_RECORD else None
    return Shown(checkpoint, evidence.entry.leaf_index, leaf_hash(evidence.entry.entry), entry, created, record)


def check_anchoring(anchor: Anchoring, shown: Shown, pinned: Pinned, logs: Sequence[note.Ed25519Verifier]) -> Held:
    """Check that the entry which evidence has shown is anchored, in the numbered ANCHOR_STEPS.

    `logs` are the keys of the logs that are believed; of them only those of the checkpoint's origin count. Raises
    BadEvidence, which names the first step that fails, and Refused where the extra `chain` is missing.
    """
    try:
        held = chainproof.check_anchor(
            anchor.proof, pinned, [key for key in logs if key.name == shown.checkpoint.origin]
        )
        chainproof.check_tree(held, shown.checkpoint.size, shown.checkpoint.root, anchor.path, shown.leaf_index + 1)
    except BadAnchor as error:
        number = len(STEPS) + error.step
        raise BadEvidence(number, f"step {number}, anchor {error}") from error
    return held


@contextmanager
def _step(number: int, where: str) -> Iterator[None]:
    try:
        yield
    except LedgerError as error:
        raise BadEvidence(number, f"step {number}, {where}: {error}") from error


def _check_place(logged: LoggedEntry, checkpoint: Checkpoint) -> None:
    leaf = leaf_hash(logged.entry)
    check_inclusion(logged.leaf_index, checkpoint.size, leaf, logged.path, checkpoint.root)


def _of_log(logged: LoggedEntry, origin: str) -> Entry:
    entry = decode_entry(logged.entry)
    if entry.origin != origin:
        raise Refused(f"entry at leaf {logged.leaf_index}: expected the checkpoint's origin {origin}, got another")
    return entry


def _check_order(evidence: Evidence, entry: Entry, gives: Entry) -> None:
    """That `gives` is the entry that `entry` names as its authority: in its fork, at that version, before it."""
    if gives.fork_id != entry.fork_id:
        raise Refused(f"authority: expected an entry of fork {entry.fork_id}, got one of {gives.fork_id}")
    if gives.version != entry.authority:
        raise Refused(f"authority: expected version {entry.authority}, as the entry names it, got {gives.version}")
    if evidence.authority is None:
        return
    if gives.version >= entry.version:
        raise Refused(f"authority: expected a version before {entry.version}, got {gives.version}")
    # Every version between has a leaf of its own between.
    if evidence.entry.leaf_index - evidence.authority.leaf_index < entry.version - gives.version:
        raise Refused(f"authority: expected a leaf before {evidence.entry.leaf_index}, with room for what lies between")
    if gives.version + 1 == entry.version and entry.previous != leaf_hash(evidence.authority.entry):
        raise BadProof(f"previous: not the hash of version {gives.version}, which comes right before")


def _check_right(entry: Entry, gives: Entry) -> ForkCreated:
    """That `gives` lets somebody sign an entry of this topic. Today only a fork's first entry gives a right."""
    if gives.topic != FORK_CREATED:
        raise Refused(f"authority: expected topic {FORK_CREATED}, got {shown_topic(gives.topic)}")
    if (gives.version, gives.authority, gives.previous) != (1, 1, NO_ENTRY):
        raise Refused("authority: a fork is created at version 1, by its own authority and after nothing")
    created = check_fork_created(gives.origin, gives.fork_id, gives.body, gives.signatures)
    if entry.version != 1 and entry.topic != USER_TRAINING_RECORD:
        raise Refused(f"topic: this version knows nobody who may sign {shown_topic(entry.topic)} after version 1")
    return created


def _check_record(entry: Entry, created: ForkCreated) -> Body:
    body = decode_body(entry.body)
    if body.fork_id != entry.fork_id:
        raise Refused("record body: names another fork")
    for name in ("layout_digest", "recipe_digest"):
        if getattr(body, name) != getattr(created, name):
            raise Refused(f"{name}: not the one that the fork was created with")
    if body.update_dimension != created.dimension:
        raise Refused(f"update_dimension: expected {created.dimension}, got {body.update_dimension}")
    return body


def _to_wire(logged: LoggedEntry) -> wire.LoggedEntry:
    return wire.LoggedEntry(leaf_index=logged.leaf_index, entry=logged.entry, path=logged.path)


def _from_wire(message: wire.LoggedEntry) -> LoggedEntry:
    for node in message.path:
        if len(node) != HASH_SIZE:
            raise Malformed(f"path of leaf {message.leaf_index}: expected {HASH_SIZE} bytes a hash, got {len(node)}")
    return LoggedEntry(message.leaf_index, message.entry, tuple(message.path))
