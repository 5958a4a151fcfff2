"""Payload encryption: what is personal becomes ciphertext beside the entry.

Composes with `ledger.record`; neither imports the other.

Scheme 1 (docs/format.md, "Keys of a record"):

    fork root (32 random bytes)      kept sealed by whoever holds the fork's keys
      + salt (32 random bytes)       one a record, kept with the keys and nowhere else: destroy it to erase
      -> record key                  HMAC-SHA256(salt, domain || root || interaction number)
           -> a key for each payload kind, and the commit key of the state commitment

XChaCha20-Poly1305 is not key-committing, so each payload starts with a commitment to its key: nobody can show
an auditor another plaintext under another key.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from ledger.errors import BadSignature, Malformed, Refused

SCHEME = 1
COMMIT_KEY = 16  # subkey numbers: 1 to 4 are the payload kinds
OVERHEAD = 32 + 24 + 16  # bytes a payload is longer than its padded plaintext
PARTICULARS_BLOCK = 256  # bytes

_RECORD_KEY_DOMAIN = b"forkledger/record-key/v1\0"
_SUBKEY_DOMAIN = b"forkledger/subkey/v1\0"
_COMMITMENT_DOMAIN = b"forkledger/key-commitment/v1\0"
_AEAD_DOMAIN = b"forkledger/aead/v1\0"
_SNAPSHOT_KEY_DOMAIN = b"forkledger/snapshot-key/v1\0"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a payload belongs; its ciphertext opens nowhere else."""

    origin: str
    fork_id: str
    record_id: bytes  # 16

    def associated(self, kind: int) -> bytes:
        head = _AEAD_DOMAIN + self.origin.encode("ascii") + b"\0" + self.fork_id.encode("ascii") + b"\0"
        return head + self.record_id + bytes([kind])


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The key of one record (32 bytes). Whoever is given one subkey learns nothing of the others."""

    raw: bytes = field(repr=False)

    @property
    def commitment(self) -> bytes:
        """32 bytes, in clear in the record's body: they name the key without telling it."""
        return commitment_to(self.raw)

    def subkey(self, number: int) -> bytes:
        return hmac.digest(self.raw, _SUBKEY_DOMAIN + bytes([number]), "sha256")

    @property
    def commit_key(self) -> bytes:
        return self.subkey(COMMIT_KEY)


def record_key(root: bytes, salt: bytes, interaction_number: int) -> RecordKey:
    """Scheme 1. `root` and `salt` are 32 bytes; the salt must be fresh for every attempt, retries included."""
    if len(root) != 32 or len(salt) != 32:
        raise Malformed("record key: expected a root and a salt of 32 bytes each")
    message = _RECORD_KEY_DOMAIN + root + interaction_number.to_bytes(8, "big")
    return RecordKey(hmac.digest(salt, message, "sha256"))


def snapshot_key(root: bytes) -> ServiceKey:
    """Seals what is kept of a fork to open it sooner: whoever holds the fork's root can make it, and nobody else."""
    if len(root) != 32:
        raise Malformed("snapshot key: expected a root of 32 bytes")
    return ServiceKey(hmac.digest(root, _SNAPSHOT_KEY_DOMAIN, "sha256"))


def commitment_to(key: bytes) -> bytes:
    return hashlib.sha256(_COMMITMENT_DOMAIN + key).digest()


def seal_payload(key: bytes, kind: int, padded: bytes, place: Place, nonce: bytes) -> bytes:
    """key commitment (32) || nonce (24) || ciphertext and tag, of plaintext that is already padded."""
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(padded, place.associated(kind), nonce, key)
    return commitment_to(key) + nonce + sealed


def open_payload(key: bytes, kind: int, payload: bytes, place: Place) -> bytes:
    """The padded plaintext. Raises BadSignature when the key is not the committed one or the bytes changed."""
    if len(payload) < OVERHEAD:
        raise Malformed(f"payload {kind}: expected at least {OVERHEAD} bytes, got {len(payload)}")
    if not hmac.compare_digest(payload[:32], commitment_to(key)):
        raise BadSignature(f"payload {kind}: this is not the key that it is committed to")
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(payload[56:], place.associated(kind), payload[32:56], key)
    except CryptoError:
        raise BadSignature(f"payload {kind}: ciphertext does not open at this place") from None


def padme(length: int) -> int:
    """The padded length of Padmé (Nikitin et al., PETS 2019): leaks O(log log n) bits, costs at most 12%."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def pad_text(text: bytes) -> bytes:
    """u32be length || text || zeros up to a Padmé length."""
    framed = len(text).to_bytes(4, "big") + text
    return framed.ljust(padme(len(framed)), b"\0")


def pad_particulars(fragment: bytes) -> bytes:
    """The same frame, padded to a multiple of 256 bytes."""
    framed = len(fragment).to_bytes(4, "big") + fragment
    return framed.ljust(-(-len(framed) // PARTICULARS_BLOCK) * PARTICULARS_BLOCK, b"\0")


def unpad(padded: bytes) -> bytes:
    """Undo either padding; raises Malformed when the frame is wrong or the padding is not zero."""
    length = int.from_bytes(padded[:4], "big")
    if len(padded) < 4 + length or any(padded[4 + length :]):
        raise Malformed("padded text: its length field or its padding is wrong")
    return padded[4 : 4 + length]


def state_commitment(commit_key: bytes, state_digest: bytes) -> bytes:
    """What stands in the ledger for a state: nobody can test a guess without the key; hiding once it is gone."""
    return hmac.digest(commit_key, state_digest, "sha256")


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """Seals the keys that the service holds for others. 32 bytes, kept outside the data folder."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise Refused(f"service key: expected 32 bytes, got {len(self.raw)}")

    def seal(self, secret: bytes, about: bytes, nonce: bytes) -> bytes:
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(secret, about, nonce, self.raw)
        return nonce + sealed

    def open(self, sealed: bytes, about: bytes) -> bytes:
        if len(sealed) < 24 + 16:  # PyNaCl would ask for a buffer of negative length
            raise BadSignature(f"sealed key: expected at least 40 bytes, got {len(sealed)}")
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], about, sealed[:24], self.raw)
        except CryptoError:
            raise BadSignature("sealed key: the service key is another one, or the sealed bytes changed") from None

    def derive(self, purpose: bytes) -> bytes:
        """32 bytes for one purpose, for what needs no storage (API key hashing, idempotent record ids)."""
        return hmac.digest(self.raw, b"forkledger/service-key/v1\0" + purpose, "sha256")
