"""Who may add an entry to a fork: a function of the fork's own earlier entries, for the door and the audit alike."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.entry import FORK_CREATED, ForkCreated, decode_fork_created
from ledger.errors import BadSignature, Refused
from ledger.keys import PublicKey, Signature, check_signature, signed_message
from ledger.record import LARGEST_DIMENSION


@dataclass(frozen=True, slots=True)
class Rights:
    """The owner's key of a fork and the version of the entry that named it."""

    owner_key: PublicKey
    authority: int


def rights_from(created: ForkCreated) -> Rights:
    return Rights(created.owner_key, 1)


def check_fork_created(origin: str, fork_id: str, body: bytes, signatures: tuple[Signature, ...]) -> ForkCreated:
    """Check a first entry: it names this fork and is signed by the key it names as owner."""
    created = decode_fork_created(body)
    if created.fork_id != fork_id:
        raise Refused("fork-created: the body names another fork")
    if created.dimension > LARGEST_DIMENSION:
        raise Refused(f"fork-created: expected a dimension up to {LARGEST_DIMENSION}, got {created.dimension}")
    check_signer(rights_from(created), origin, FORK_CREATED, body, signatures)
    return created


def check_signer(rights: Rights, origin: str, topic: str, body: bytes, signatures: tuple[Signature, ...]) -> None:
    """Raise BadSignature unless exactly the owner's key signed `body` for this topic and origin."""
    if len(signatures) != 1:
        raise BadSignature(f"{topic}: expected one signature by the owner's key, got {len(signatures)}")
    check_signature(rights.owner_key, signatures[0], signed_message(topic, origin, body))
