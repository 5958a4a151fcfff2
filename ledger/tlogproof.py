"""The C2SP proof file, `.tlog-proof` (c2sp.org/tlog-proof): that a log holds an entry, checkable offline.

c2sp.org/tlog-proof@v1
extra <base64>              optional; nobody signed it
index <leaf index>
<base64 hash>               the inclusion proof, the leaf's sibling first

<checkpoint>                the signed note with its cosignatures, byte for byte
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ledger import note
from ledger.checkpoint import MAX_SIZE, Checkpoint
from ledger.errors import Malformed
from ledger.merkle import HASH_SIZE, check_inclusion, leaf_hash

MAX_HASHES = 63  # a tree of 2^63 - 1 leaves has no longer path

_TITLE = b"c2sp.org/tlog-proof@v1"
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)

OpenCheckpoint: TypeAlias = Callable[[bytes], Checkpoint]
"""Checks a signed checkpoint and returns it, or raises: `Policy.check`, or `open_checkpoint` with keys bound to it."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Nobody has checked it. Raises Malformed for what no proof file can say."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes  # a signed note
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_SIZE:
            raise Malformed(f"tlog-proof index: expected 0 to 2^63 - 2, {self.index} came")
        if len(self.hashes) > MAX_HASHES:
            raise Malformed(f"tlog-proof: expected at most {MAX_HASHES} hashes, {len(self.hashes)} came")
        for each in self.hashes:
            if len(each) != HASH_SIZE:
                raise Malformed(f"tlog-proof: expected hashes of {HASH_SIZE} bytes, one of {len(each)} came")

    def encode(self) -> bytes:
        lines = [_TITLE]
        if self.extra is not None:
            lines.append(b"extra " + base64.b64encode(self.extra))
        lines.append(b"index %d" % self.index)
        lines += [base64.b64encode(each) for each in self.hashes]
        return b"".join(line + b"\n" for line in lines) + b"\n" + self.checkpoint


def parse(proof: bytes) -> TlogProof:
    """The inverse of `TlogProof.encode`: no other bytes are read as that proof. Raises Malformed."""
    # 1. The first empty line parts the proof from the checkpoint.
    head, empty_line, checkpoint = proof.partition(b"\n\n")
    title, _, rest = head.partition(b"\n")
    if title != _TITLE:
        raise Malformed(f"tlog-proof: expected it to begin with the line {_TITLE.decode()}")
    if not empty_line:
        raise Malformed("tlog-proof: expected an empty line before the checkpoint, none came")
    if not rest.isascii():
        raise Malformed("tlog-proof: expected ASCII before the checkpoint")
    lines = rest.decode().split("\n")
    # 2. Extra data, if any.
    extra = None
    if lines[0].startswith("extra "):
        extra = note.decode_base64(lines.pop(0).removeprefix("extra "), "tlog-proof extra")
    # 3. The index.
    if not lines or not lines[0].startswith("index ") or not _DECIMAL.fullmatch(lines[0].removeprefix("index ")):
        raise Malformed("tlog-proof: expected an index line with a decimal of at most 19 digits without leading zeros")
    index = int(lines[0].removeprefix("index "))
    # 4. The hashes.
    hashes = [note.decode_base64(line, f"tlog-proof hash {number}") for number, line in enumerate(lines[1:], start=1)]
    return TlogProof(index, tuple(hashes), checkpoint, extra)


def check(proof: TlogProof, entry: bytes, open_checkpoint: OpenCheckpoint) -> Checkpoint:
    """That the log holds these bytes as the leaf `proof.index` of the checkpoint that is returned.

    Raises what `open_checkpoint` raises, and BadProof.
    """
    return check_leaf(proof, leaf_hash(entry), open_checkpoint)


def check_leaf(proof: TlogProof, leaf: bytes, open_checkpoint: OpenCheckpoint) -> Checkpoint:
    """The same, for who knows the leaf's hash alone."""
    # 1. The checkpoint is one of a log that is believed.
    tree = open_checkpoint(proof.checkpoint)
    # 2. Its tree holds the leaf.
    check_inclusion(proof.index, tree.size, leaf, proof.hashes, tree.root)
    return tree
