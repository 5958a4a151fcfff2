"""The body of an add-checkpoint request (c2sp.org/tlog-witness, version 1.0.0, "add-checkpoint"), and of a size.

old 20852014                                       the size that growth is shown from
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=       the consistency proof: 0 to 63 hashes
                                                   an empty line
example.com/behind-the-sofa                        the signed checkpoint, to the end
…
"""

import base64
import re
from dataclasses import dataclass

from ledger import note
from ledger.errors import Malformed
from ledger.merkle import HASH_SIZE

LONGEST_REQUEST = 16 << 10  # bytes: what witnesses in the wild take
MAX_PROOF = 63  # lines

_SIZE = re.compile(rb"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The log of `checkpoint` asks for a cosignature, and shows its growth from `old_size`. Nobody has checked it."""

    old_size: int
    proof: tuple[bytes, ...]  # (n, 32), n <= 63
    checkpoint: bytes  # a signed note

    def __post_init__(self) -> None:
        if self.old_size < 0:
            raise Malformed(f"add-checkpoint: expected an old size from 0, {self.old_size} came")
        if len(self.proof) > MAX_PROOF:
            raise Malformed(f"add-checkpoint: expected at most {MAX_PROOF} proof lines, {len(self.proof)} came")
        for number, node in enumerate(self.proof, start=1):
            if len(node) != HASH_SIZE:
                raise Malformed(f"add-checkpoint: proof line {number}: expected {HASH_SIZE} bytes, {len(node)} came")

    def encode(self) -> bytes:
        lines = [f"old {self.old_size}", *(base64.b64encode(node).decode() for node in self.proof)]
        return ("\n".join(lines) + "\n\n").encode() + self.checkpoint


def decode(body: bytes) -> AddCheckpoint:
    """The inverse of `AddCheckpoint.encode`: no other bytes are read as that request. Raises Malformed."""
    # 1. The first empty line parts the lines about growth from the checkpoint, which has one of its own.
    head, parted, signed = body.partition(b"\n\n")
    if not parted:
        raise Malformed("add-checkpoint: expected an empty line before the checkpoint, none came")
    first, *lines = head.split(b"\n")
    # 2. The old size, in its one spelling.
    if not first.startswith(b"old "):
        raise Malformed("add-checkpoint: expected a first line `old` and a size")
    old_size = _size(first.removeprefix(b"old "), "old size")
    # 3. The hashes, in theirs. Counted first: a request may hold thousands.
    if len(lines) > MAX_PROOF:
        raise Malformed(f"add-checkpoint: expected at most {MAX_PROOF} proof lines, {len(lines)} came")
    proof = [_hash(line, f"add-checkpoint: proof line {number}") for number, line in enumerate(lines, start=1)]
    return AddCheckpoint(old_size, tuple(proof), signed)


def encode_size(size: int) -> bytes:
    """The body of type text/x.tlog.size that a 409 has: the size that the witness cosigned last."""
    return b"%d\n" % size


def parse_size(body: bytes) -> int:
    """The inverse of `encode_size`. Raises Malformed."""
    if not body.endswith(b"\n"):
        raise Malformed("size: expected a line that ends in a newline")
    return _size(body[:-1], "size")


def _size(digits: bytes, where: str) -> int:
    if not _SIZE.fullmatch(digits):
        raise Malformed(f"{where}: expected a decimal of at most 19 digits without leading zeros")
    return int(digits)


def _hash(line: bytes, where: str) -> bytes:
    try:
        return note.decode_base64(line.decode("ascii"), where)
    except UnicodeDecodeError:
        raise Malformed(f"{where}: expected base64") from None
