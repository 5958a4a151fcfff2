"""The C2SP checkpoint (c2sp.org/tlog-checkpoint, version 1.0.0): a log's size and root, as a signed note.

    example.com/log                                    origin: the log's name, also the name of its keys
    20852163                                           size: decimal, no leading zeros
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=       root: base64 of the RFC 6962 root at that size

Extension lines, which the standard allows and advises against, are refused: ML-DSA cosignatures do not cover
them.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger import note
from ledger.errors import BadSignature, Malformed, Refused
from ledger.merkle import EMPTY_ROOT, HASH_SIZE

MAX_SIZE = 2**63 - 1  # a tree size is a signed 64-bit number in Go, in SQL and in most that reads it

_CONTROL = re.compile(r"[\x00-\x1f]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of `origin` had this root at this size. Raises Malformed for what no log can say."""

    origin: str
    size: int
    root: bytes  # (32,)

    def __post_init__(self) -> None:
        if not self.origin or _CONTROL.search(self.origin):
            raise Malformed("checkpoint origin: expected at least one character, no control characters")
        try:
            self.origin.encode()
        except UnicodeEncodeError:
            raise Malformed("checkpoint origin: expected characters that UTF-8 can hold") from None
        if not 0 <= self.size <= MAX_SIZE:
            raise Malformed(f"checkpoint size: expected 0 to 2^63 - 1, {self.size} came")
        if len(self.root) != HASH_SIZE:
            raise Malformed(f"checkpoint root: expected {HASH_SIZE} bytes, {len(self.root)} came")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise Malformed("checkpoint root: expected the empty tree's root at size 0, another came")

    def encode(self) -> bytes:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


def parse(text: bytes) -> Checkpoint:
    """The inverse of `Checkpoint.encode`: no other bytes are read as that checkpoint. Raises Malformed."""
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed(f"checkpoint: expected UTF-8, byte {error.start} is not") from None
    if len(lines) != 4 or lines[3]:
        raise Malformed(f"checkpoint: expected three lines that each end in a newline, {len(lines) - 1} came")
    origin, size, root, _ = lines
    if not _DECIMAL.fullmatch(size):
        raise Malformed("checkpoint size: expected a decimal of at most 19 digits without leading zeros")
    return Checkpoint(origin, int(size), note.decode_base64(root, "checkpoint root"))


def sign(checkpoint: Checkpoint, *signers: note.Signer) -> bytes:
    """The signed checkpoint. Refused when a signer's name is not the origin.

    Nothing here remembers what was signed before: who calls this keeps a log from signing two histories.
    """
    for signer in signers:
        if signer.name != checkpoint.origin:
            raise Refused(f"checkpoint: expected a key named {checkpoint.origin!r}, {signer.name!r} came")
    return note.sign(checkpoint.encode(), signers)


def open_checkpoint(signed: bytes, origin: str, verifiers: Sequence[note.Verifier]) -> Checkpoint:
    """The checkpoint that the log `origin` signed, checked against the keys that the caller knows.

    Keys of witnesses may be among them: if they signed, their signatures must hold, but they do not stand in
    for the log's. Raises what `note.open_note` raises; BadSignature when the log did not sign; Refused when
    it is another log's checkpoint.
    """
    # 1. No known key's signature is bad, and one at least holds.
    opened = note.open_note(signed, verifiers)
    # 2. One that holds is the log's own: key name = origin.
    if all(signature.name != origin for signature in opened.signatures):
        raise BadSignature(f"checkpoint: expected a signature by the log {origin!r}, none came")
    # 3. The text is a checkpoint.
    checkpoint = parse(opened.text)
    # 4. Of this log.
    if checkpoint.origin != origin:
        raise Refused(f"checkpoint: expected origin {origin!r}, {checkpoint.origin!r} came")
    return checkpoint
