"""A fork's owner on a chain (contracts/src/ForkRegistry.sol): what the fork's ledger key signs, and what a registration
is worth beside the ledger. docs/format.md, "Chain owner".

The chain cannot check Ed25519: an anchorer of the log attests there that it did, and the signature stands in the event,
so that anybody can do it again. The ledger decides who may sign for a fork; the chain has no say in that. No I/O here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ledger.anchor.chainproof import ADDRESS_SIZE, keccak
from ledger.entry import FORK_CREATED, USER_TRAINING_RECORD, Entry, shown_topic
from ledger.errors import BadSignature, Malformed, NotFound, Refused
from ledger.keys import ED25519, PublicKey, Signature, SigningKey, check_signature
from ledger.merkle import HASH_SIZE
from ledger.rights import Rights, check_fork_created, rights_from

PUBLIC = (
    "this is public for good: whoever knows the fork id can look up the address, no entry on a chain is ever removed, "
    "and erasing records in the ledger erases nothing there"
)

_DOMAIN = b"forkledger/chain-owner/v1\0"
_SIGNATURE_SIZE = 64


@dataclass(frozen=True, slots=True)
class Naming:
    """That an address owns a fork, in one registry on one chain. Raises Malformed for what none can be."""

    chain_id: int
    registry: bytes  # 20
    ledger_anchor: bytes  # 20, the contract that the log is anchored in
    log_id: bytes  # 32
    fork_id_hash: bytes  # 32
    owner: bytes  # 20

    def __post_init__(self) -> None:
        if not 0 < self.chain_id < 1 << 64:
            raise Malformed(f"chain owner: expected a chain id from 1 to 2^64 - 1, {self.chain_id} came")
        sizes = {"registry": ADDRESS_SIZE, "ledger_anchor": ADDRESS_SIZE, "log_id": HASH_SIZE}
        for name, size in {**sizes, "fork_id_hash": HASH_SIZE, "owner": ADDRESS_SIZE}.items():
            if len(getattr(self, name)) != size:
                raise Malformed(f"chain owner: expected {size} bytes of {name}, {len(getattr(self, name))} came")

    @property
    def chain_fork_id(self) -> bytes:
        return chain_fork_id(self.ledger_anchor, self.log_id, self.fork_id_hash)


@dataclass(frozen=True, slots=True)
class Registration:
    """A naming as the fork's ledger key signed it, to be registered until `deadline` (seconds since 1970)."""

    naming: Naming
    ledger_key: bytes  # 32, Ed25519
    ledger_signature: bytes  # 64
    deadline: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a registry holds of a fork: the event of its one registration, and who owns it by now."""

    naming: Naming  # of its first owner
    ledger_key: bytes  # 32
    ledger_signature: bytes  # 64
    attester: bytes  # 20, the anchorer that stands for having checked the signature
    block: int
    transaction: bytes  # 32
    owner: bytes  # 20
    transfers: int


class Reading(enum.StrEnum):
    """What a registration is worth beside the ledger."""

    REGISTERED = "registered"  # the fork's ledger key named this owner
    PENDING = "pending"  # another owner since, of which the ledger says nothing
    FALSE = "false"  # the fork's ledger key never did, and the attester said so: evidence against the operator


def fork_id_hash(fork_id: str) -> bytes:
    """What stands on the chain in place of a fork id."""
    return sha256(fork_id.encode("ascii")).digest()


def chain_fork_id(ledger_anchor: bytes, log_id: bytes, fork_id_hash: bytes) -> bytes:
    """A fork's id in every registry: keccak256(abi.encode(ledger anchor, log id, fork id hash))."""
    return keccak(ledger_anchor.rjust(32, b"\0") + log_id + fork_id_hash)


# --- what the fork's ledger key signs ---


def ledger_message(naming: Naming) -> bytes:
    """What the contract's `ledgerMessage` gives. Every part but the first has one length, and 00 ends the first."""
    return b"".join((
        _DOMAIN, naming.chain_id.to_bytes(32, "big"), naming.registry, naming.ledger_anchor, naming.log_id,
        naming.fork_id_hash, naming.owner,
    ))  # fmt: skip


def sign_naming(naming: Naming, key: SigningKey, deadline: int) -> Registration:
    return Registration(naming, key.public.raw, key.sign(ledger_message(naming)).raw, deadline)


def check_naming(naming: Naming, ledger_key: bytes, ledger_signature: bytes) -> None:
    """Raise BadSignature unless this key signed that naming."""
    key = PublicKey(ED25519, ledger_key)
    check_signature(key, Signature(key.key_id, ED25519, ledger_signature), ledger_message(naming))


# --- beside the ledger ---


def rights_at_head(origin: str, fork_id: str, entries: Iterable[Entry]) -> Rights:
    """Who may sign for a fork, by all of its entries in order.

    Raises NotFound where there are none, and Refused at one that may have changed it in a way that this version does
    not know.
    """
    rights = None
    for entry in entries:
        if rights is None:
            if (entry.version, entry.topic, entry.fork_id) != (1, FORK_CREATED, fork_id):
                raise Refused(f"fork {fork_id}: expected {FORK_CREATED} of this fork at version 1")
            rights = rights_from(check_fork_created(origin, fork_id, entry.body, entry.signatures))
        elif entry.topic != USER_TRAINING_RECORD:
            raise Refused(
                f"fork {fork_id} version {entry.version}: this version does not know what {shown_topic(entry.topic)} "
                "says of who may sign"
            )
    if rights is None:
        raise NotFound(f"fork {fork_id}: not in this ledger")
    return rights


def check_registration(registration: Registration, fork_id: str, rights: Rights) -> None:
    """All that an anchorer attests. Raises Refused, and BadSignature."""
    # 1. It is about this fork.
    if registration.naming.fork_id_hash != fork_id_hash(fork_id):
        raise Refused(f"chain owner: expected the hash of fork id {fork_id}, that of another fork came")
    # 2. The key is its owner's now.
    if registration.ledger_key != rights.owner_key.raw:
        raise Refused(f"chain owner: expected the owner's key of fork {fork_id}, another key came")
    # 3. That key named this address.
    check_naming(registration.naming, registration.ledger_key, registration.ledger_signature)


def read_recorded(recorded: Recorded, rights: Rights) -> tuple[Reading, str]:
    """What stands on the chain beside the ledger, and why. Of an `ownership-transferred` no ledger of this version has
    an entry: every transfer is pending."""
    # 1. The key was the fork's. It never changes yet.
    if recorded.ledger_key != rights.owner_key.raw:
        return Reading.FALSE, "the recorded key never was the fork's"
    # 2. It named the first owner.
    try:
        check_naming(recorded.naming, recorded.ledger_key, recorded.ledger_signature)
    except BadSignature:
        return Reading.FALSE, "the recorded signature does not hold: the fork's key did not name this owner"
    # 3. What came after is in the ledger.
    if recorded.transfers:
        return Reading.PENDING, "transferred on the chain, and the ledger has no entry of it: it decides who may sign"
    return Reading.REGISTERED, "the fork's key named this owner"


# --- what wallets sign ---

_FIELDS = (
    ("ledgerAnchor", "address"), ("logId", "bytes32"), ("forkIdHash", "bytes32"), ("owner", "address"),
    ("ledgerKey", "bytes32"), ("ledgerSignature", "bytes"), ("deadline", "uint64"),
)  # fmt: skip
_EIP712 = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))

CONSENT, ATTESTATION = "Register", "Attest"


def typed(primary: str, registration: Registration) -> dict[str, Any]:
    """EIP-712 typed data as eth_signTypedData_v4 takes it: the owner's CONSENT, or an anchorer's ATTESTATION."""
    naming = registration.naming
    return {
        "types": {
            name: [{"name": field, "type": kind} for field, kind in fields]
            for name, fields in (("EIP712Domain", _EIP712), (primary, _FIELDS))
        },
        "primaryType": primary,
        "domain": {
            "name": "ForkRegistry",
            "version": "1",
            "chainId": naming.chain_id,
            "verifyingContract": f"0x{naming.registry.hex()}",
        },
        "message": {
            "ledgerAnchor": f"0x{naming.ledger_anchor.hex()}",
            "logId": f"0x{naming.log_id.hex()}",
            "forkIdHash": f"0x{naming.fork_id_hash.hex()}",
            "owner": f"0x{naming.owner.hex()}",
            "ledgerKey": f"0x{registration.ledger_key.hex()}",
            "ledgerSignature": f"0x{registration.ledger_signature.hex()}",
            "deadline": registration.deadline,
        },
    }
