"""Identities and signatures: Ed25519 as libsodium verifies it (RFC 8032, cofactorless).

libsodium refuses S >= L, non-canonical and small-order A, and small-order R, and so do we, everywhere:
two verifiers that disagree about one signature would split the log. docs/format.md, "Signature".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import cast

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as _Ed25519Key
from nacl.signing import VerifyKey as _Ed25519Verifier

from ledger.errors import BadSignature, Malformed, Refused
from ledger.wire.v1 import record_pb2 as wire

ED25519 = wire.SIGNATURE_ALGORITHM_ED25519

_KEY_DOMAIN = b"forkledger/key/v1\0"
_ENTRY_DOMAIN = b"forkledger/entry/v1\0"
_FORK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and its algorithm. `raw` is 32 bytes for Ed25519."""

    algorithm: int
    raw: bytes

    def __post_init__(self) -> None:
        if self.algorithm != ED25519:
            raise Refused(f"public key: expected algorithm {ED25519} (Ed25519), got {self.algorithm}")
        if len(self.raw) != 32:
            raise Malformed(f"public key: expected 32 bytes, got {len(self.raw)}")

    @property
    def key_id(self) -> bytes:
        """32 bytes: SHA-256(domain || algorithm || public key)."""
        return hashlib.sha256(_KEY_DOMAIN + bytes([self.algorithm]) + self.raw).digest()


@dataclass(frozen=True, slots=True)
class Signature:
    """`raw` (64 bytes for Ed25519) by the key that `key_id` (32 bytes) names."""

    key_id: bytes
    algorithm: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key made from a 32 byte seed, which no repr shows."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise Malformed(f"signing key: expected a seed of 32 bytes, got {len(self.seed)}")

    @property
    def public(self) -> PublicKey:
        return PublicKey(ED25519, bytes(_Ed25519Key(self.seed).verify_key))

    def sign(self, message: bytes) -> Signature:
        key = _Ed25519Key(self.seed)
        public = PublicKey(ED25519, bytes(key.verify_key))
        return Signature(public.key_id, ED25519, key.sign(message).signature)


def check_fork_id(fork_id: str) -> str:
    """Return `fork_id` if it is a random (version 4) UUID, lower case with hyphens; raise Malformed otherwise."""
    if not _FORK_ID.fullmatch(fork_id):
        raise Malformed("fork_id: expected a random UUID, lower case with hyphens")
    return fork_id


def signed_message(topic: str, origin: str, body: bytes) -> bytes:
    """The bytes that an entry's signatures are over. Topic and origin are printable ASCII, so 00 ends them."""
    return _ENTRY_DOMAIN + topic.encode("ascii") + b"\0" + origin.encode("ascii") + b"\0" + body


def check_signature(key: PublicKey, signature: Signature, message: bytes) -> None:
    """Raise BadSignature unless `signature` is by `key` over `message`."""
    if signature.key_id != key.key_id:
        raise BadSignature(f"signature: expected key {key.key_id.hex()[:16]}, got {signature.key_id.hex()[:16]}")
    if signature.algorithm != key.algorithm or len(signature.raw) != 64:
        raise BadSignature(f"signature of key {key.key_id.hex()[:16]}: expected 64 bytes of Ed25519")
    try:
        _Ed25519Verifier(key.raw).verify(message, signature.raw)
    except BadSignatureError:
        raise BadSignature(f"signature of key {key.key_id.hex()[:16]} does not hold over this body") from None


def signature_to_wire(signature: Signature) -> wire.Signature:
    return wire.Signature(
        key_id=signature.key_id,
        algorithm=cast(wire.SignatureAlgorithm, signature.algorithm),
        bytes=signature.raw,
    )


def signature_from_wire(signature: wire.Signature) -> Signature:
    return Signature(signature.key_id, int(signature.algorithm), signature.bytes)


def public_key_to_wire(key: PublicKey) -> wire.PublicKey:
    return wire.PublicKey(algorithm=cast(wire.SignatureAlgorithm, key.algorithm), bytes=key.raw)


def public_key_from_wire(key: wire.PublicKey) -> PublicKey:
    return PublicKey(int(key.algorithm), key.bytes)
