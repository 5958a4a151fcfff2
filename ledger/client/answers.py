"""What the service answers, as it was found to hold.

Who reads says what was asked for, so that an answer about anything else is found out. Where an answer states a thing
twice, once signed and once not, the signed one is taken.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from ledger.checkpoint import Checkpoint
from ledger.client.refusal import error_of
from ledger.client.trust import Trust
from ledger.entry import USER_TRAINING_RECORD, Entry, decode_entry
from ledger.errors import BadProof, LedgerError, Malformed
from ledger.evidence import Shown, check_evidence
from ledger.merkle import HASH_SIZE, check_consistency, check_inclusion, leaf_hash
from ledger.receipt import Receipt
from ledger.record import decode_body, payload_digest


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    signed: bytes  # the note with all its signatures
    tree: Checkpoint


@dataclass(frozen=True, slots=True)
class Included:
    """An entry's bytes, its leaf, and the path from there to the root: the leaf's sibling first."""

    leaf_index: int
    entry: bytes
    path: tuple[bytes, ...]  # 32 each
    checkpoint: SignedCheckpoint


@dataclass(frozen=True, slots=True)
class Growth:
    """The proof that the tree of `checkpoint` only added to one of `old_size` leaves."""

    old_size: int
    path: tuple[bytes, ...]  # 32 each
    checkpoint: SignedCheckpoint


@dataclass(frozen=True, slots=True)
class Recorded:
    """The log's promise, as the signed note to keep and as what that says. `included` is what was waited for, or None
    where no checkpoint came in time."""

    receipt: Receipt
    signed: bytes
    included: Included | None = None


Outcome: TypeAlias = Recorded | LedgerError
"""What became of one record of many."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry of a fork with its payloads by kind, which are ciphertext."""

    leaf_index: int  # by the service's word
    data: bytes
    entry: Entry
    payloads: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """A fork's newest entry, by the service's word."""

    fork_id: str
    version: int
    entry_hash: bytes  # 32: the leaf hash
    interactions: int


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Verifier keys by the service's word. To pin them, get them by another way too."""

    origin: str
    log: str
    receipt: str
    log_ml_dsa: str | None


@dataclass(frozen=True, slots=True)
class Proven:
    """Evidence to keep, and what it has shown."""

    data: bytes
    shown: Shown


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchor by the service's word: who does not take it asks the chain. `block` is known once it is final."""

    backend: str
    size: int
    root: bytes  # 32
    confirmation: str
    found_under: str | None
    block: int | None
    block_hash: bytes | None


@dataclass(frozen=True, slots=True)
class Anchors:
    """The anchors that cover the first `size` entries, and the backends that are at work."""

    size: int
    anchors: tuple[Anchor, ...]
    backends: tuple[str, ...]


def read_checkpoint(signed: bytes, trust: Trust) -> SignedCheckpoint:
    return SignedCheckpoint(signed, trust.open_checkpoint(signed))


def read_keys(body: bytes) -> LogKeys:
    said = json.loads(body)
    ml_dsa = said.get("log_ml_dsa")
    return LogKeys(
        _text(said["origin"]), _text(said["log"]), _text(said["receipt"]), None if ml_dsa is None else _text(ml_dsa)
    )


def read_recorded(said: Any, trust: Trust, fork_id: str | None, body: bytes) -> Recorded:
    """What was promised of a body that was sent for this fork."""
    signed = _text(said["receipt"]).encode()
    # 1. The log promised it.
    receipt = trust.open_receipt(signed)
    # 2. To the fork that it is for.
    if receipt.fork_id != fork_id:
        raise BadProof("receipt: expected one of the fork that was asked for, got another's")
    if said.get("inclusion") is None:
        return Recorded(receipt, signed)
    # 3. The promise is kept, where that was waited for: at that leaf stands that entry,
    included = read_included(said["inclusion"], trust, receipt)
    # 4. with what was sent.
    if decode_entry(included.entry).body != body:
        raise BadProof(f"inclusion of leaf {receipt.leaf_index}: expected the entry of what was sent, got another")
    return Recorded(receipt, signed, included)


def read_outcomes(said: Any, trust: Trust, sent: list[tuple[str | None, bytes]]) -> list[Outcome]:
    """What became of each (fork, body) that was sent. A receipt that does not hold is the outcome of its record."""
    results = said["results"]
    if len(results) != len(sent):
        raise Malformed(f"batch: expected {len(sent)} results, {len(results)} came")
    return [_outcome(one, trust, *of) for one, of in zip(results, sent, strict=True)]


def _outcome(said: Any, trust: Trust, fork_id: str | None, body: bytes) -> Outcome:
    try:
        if "error" in said:
            return error_of(_number(said["status"]), said["error"], trust, fork_id=fork_id)
        return read_recorded(said, trust, fork_id, body)
    except LedgerError as error:
        return error


def read_entries(said: Any, fork_id: str, after: int) -> tuple[Kept, ...]:
    """A page of a fork that begins after a version. Its entries are a chain, and have the payloads that they name."""
    page: list[Kept] = []
    for version, one in enumerate(said["entries"], start=after + 1):
        kept = Kept(
            leaf_index=_number(one["leaf_index"]),
            data=(data := _base64(one["entry"])),
            entry=decode_entry(data),
            payloads=MappingProxyType({int(kind): _base64(payload) for kind, payload in one["payloads"].items()}),
        )
        where = f"fork {fork_id} version {version}"
        if (kept.entry.fork_id, kept.entry.version) != (fork_id, version):
            raise BadProof(f"{where}: got another entry in its place")
        if page and kept.entry.previous != leaf_hash(page[-1].data):
            raise BadProof(f"{where}: does not follow the entry before it")
        named = dict(decode_body(kept.entry.body).payloads) if kept.entry.topic == USER_TRAINING_RECORD else {}
        for kind, payload in kept.payloads.items():
            if named.get(kind) != payload_digest(kind, payload):
                raise BadProof(f"{where}, payload {kind}: its digest is not the one that the body names")
        page.append(kept)
    return tuple(page)


def read_head(said: Any, fork_id: str) -> Head:
    if said["fork_id"] != fork_id:
        raise BadProof(f"fork {fork_id}: got another fork's head")
    return Head(fork_id, _number(said["version"]), _hash(said["head"]), _number(said["interactions"]))


def read_included(said: Any, trust: Trust, of: Receipt | int) -> Included:
    """The proof of a leaf; of the entry that a receipt promised, where it is one that was asked for."""
    leaf = of if isinstance(of, int) else of.leaf_index
    entry, path = _base64(said["entry"]), _path(said["proof"])
    # 1. It is about that leaf.
    if said["leaf_index"] != leaf:
        raise BadProof(f"inclusion of leaf {leaf}: got a proof of another leaf")
    # 2. The checkpoint is the log's.
    under = read_checkpoint(_text(said["checkpoint"]).encode(), trust)
    # 3. The path leads from the entry's own bytes to its root.
    check_inclusion(leaf, under.tree.size, leaf_hash(entry), path, under.tree.root)
    # 4. The entry is the one that was promised, by the log that promised it.
    if isinstance(of, Receipt) and (of.entry_hash, of.origin) != (leaf_hash(entry), under.tree.origin):
        raise BadProof(f"inclusion of leaf {leaf}: expected the entry that the receipt promises, got another")
    return Included(leaf, entry, path, under)


def read_growth(said: Any, trust: Trust, old: Checkpoint) -> Growth:
    path = _path(said["proof"])
    under = read_checkpoint(_text(said["checkpoint"]).encode(), trust)
    if under.tree.origin != old.origin:
        raise BadProof(f"growth from size {old.size}: expected a checkpoint of the same log, got another's")
    check_consistency(old.size, under.tree.size, old.root, under.tree.root, path)
    return Growth(old.size, path, under)


def read_evidence(data: bytes, trust: Trust, fork_id: str, named: bytes | int) -> Proven:
    """Evidence of a fork's entry, named by its record id or its version. Raises BadEvidence, and BadProof where it
    holds for another entry."""
    shown = check_evidence(data, trust.open_checkpoint)
    record_id = shown.record.record_id if shown.record else None
    if shown.entry.fork_id != fork_id or named != (shown.entry.version if isinstance(named, int) else record_id):
        raise BadProof(f"evidence of fork {fork_id}: holds, but for another entry than was asked for")
    return Proven(data, shown)


def read_anchors(said: Any, size: int | None) -> Anchors:
    covered = _number(said["size"])
    if size is not None and covered != size:
        raise BadProof(f"anchors of size {size}: got those of another size")
    found = tuple(
        Anchor(
            backend=_text(one["backend"]),
            size=_number(one["size"]),
            root=_hash(one["root"]),
            confirmation=_text(one["confirmation"]),
            found_under=None if one["found_under"] is None else _text(one["found_under"]),
            block=None if one.get("block") is None else _number(one["block"]),
            block_hash=None if one.get("block_hash") is None else bytes.fromhex(one["block_hash"]),
        )
        for one in said["anchors"]
    )
    return Anchors(covered, found, tuple(_text(backend) for backend in said["backends"]))


# What is not of its form raises ValueError or TypeError: `Call.read` makes one error of it.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError
    return value


def _base64(value: Any) -> bytes:
    return base64.b64decode(_text(value), validate=True)


def _hash(value: Any) -> bytes:
    found = bytes.fromhex(_text(value))
    if len(found) != HASH_SIZE:
        raise ValueError
    return found


def _path(value: Any) -> tuple[bytes, ...]:
    return tuple([_hash(node) for node in value])
