"""Whose word a client believes: keys that it got by another way than the service."""

from __future__ import annotations

from dataclasses import dataclass

from ledger import checkpoint as checkpoints
from ledger import note, policy, receipt
from ledger.checkpoint import Checkpoint
from ledger.errors import Refused
from ledger.note import Ed25519Verifier
from ledger.policy import Policy
from ledger.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Trust:
    """What is None is not pinned: there anybody's signature passes."""

    policy: Policy | None
    receipt_key: Ed25519Verifier | None

    def open_checkpoint(self, signed: bytes) -> Checkpoint:
        """Raises Malformed and BadSignature."""
        if self.policy is None:
            return checkpoints.parse(note.parse(signed).text)
        return self.policy.check(signed)

    def open_receipt(self, signed: bytes) -> Receipt:
        """Raises Malformed and BadSignature, and Refused when it is another log's."""
        if self.receipt_key is None:
            return receipt.read_unchecked(signed)
        return receipt.open_receipt(signed, self.receipt_key)


def trust_of(log_key: str | None, believed: Policy | None, receipt_key: str | None) -> Trust:
    """From verifier keys as text, or a policy in the place of the log's. Raises Malformed and Refused."""
    if log_key is not None:
        if believed is not None:
            raise Refused("trust: expected a log's key or a policy, both came")
        believed = policy.of_log(log_key)
    return Trust(believed, None if receipt_key is None else Ed25519Verifier.from_vkey(receipt_key))
