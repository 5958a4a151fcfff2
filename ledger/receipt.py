"""The log's signed promise on append: where an entry stands, and by when a checkpoint will cover it.

A signed note of eight lines under a key name of its own, so that it can never be taken for a checkpoint. A receipt
that a later checkpoint omits or contradicts is evidence against the log.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ledger import note
from ledger.errors import Malformed, Refused

_TITLE = "forkledger/receipt/v1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Times are microseconds since 1970-01-01 UTC."""

    origin: str
    fork_id: str
    version: int
    leaf_index: int
    entry_hash: bytes  # 32: the leaf hash
    accepted_at: int
    due_by: int

    def encode(self) -> bytes:
        """The text that is signed."""
        lines = (
            _TITLE, self.origin, self.fork_id, str(self.version), str(self.leaf_index),
            base64.b64encode(self.entry_hash).decode(), str(self.accepted_at), str(self.due_by),
        )  # fmt: skip
        return "".join(f"{line}\n" for line in lines).encode()


def key_name(origin: str) -> str:
    """The name of the key that signs a log's receipts."""
    return f"{origin}/receipt"


def sign(receipt: Receipt, signer: note.Signer) -> bytes:
    return note.sign(receipt.encode(), [signer])


def open_receipt(signed: bytes, verifier: note.Verifier) -> Receipt:
    """Check and read a signed receipt. Raises BadSignature, Malformed, or Refused when it is another log's."""
    receipt = _read(note.open_note(signed, [verifier]).text)
    if key_name(receipt.origin) != verifier.name:
        raise Refused(f"receipt: expected the log that {verifier.name!r} signs for, got another origin")
    return receipt


def read_unchecked(signed: bytes) -> Receipt:
    """Read a receipt without a look at its signatures: for the log that has just signed it, and nobody else."""
    return _read(signed.partition(b"\n\n")[0] + b"\n")


def _read(text: bytes) -> Receipt:
    lines = text.decode().split("\n")
    if len(lines) != 9 or lines[0] != _TITLE or lines[8]:
        raise Malformed(f"receipt: expected eight lines that begin with {_TITLE}")
    try:
        receipt = Receipt(
            origin=lines[1],
            fork_id=lines[2],
            version=int(lines[3]),
            leaf_index=int(lines[4]),
            entry_hash=note.decode_base64(lines[5], "receipt entry hash"),
            accepted_at=int(lines[6]),
            due_by=int(lines[7]),
        )
    except ValueError:
        raise Malformed("receipt: expected decimals for version, leaf index and times") from None
    numbers = (receipt.version, receipt.leaf_index, receipt.accepted_at, receipt.due_by)
    if receipt.encode().decode().split("\n") != lines or len(receipt.entry_hash) != 32 or min(numbers) < 0:
        raise Malformed("receipt: expected the canonical spelling, got another")
    return receipt
