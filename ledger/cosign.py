"""C2SP cosignatures (c2sp.org/tlog-cosignature, version 1.1) and the rule by which a witness gives one.

A cosignature is a signature line of a checkpoint's note, with the bytes `u64be time || signature`. Who cosigns says: at
that time this was the largest tree of the log that I had seen, and it only added to all that I saw before.

    04 Ed25519     over "cosignature/v1\\ntime <time>\\n" and the note's text; one key, one name: it is not signed
    06 ML-DSA-44   over "subtree/v1\\n\\0" || name || u64 time || origin || u64 0 || u64 size || root
                   with a byte of length before name and origin

A log signs its own checkpoints with type 06 too (tlog-checkpoint: "Logs SHOULD use ML-DSA-44 cosignatures"), in the
very same form and with its origin as the name. Its time is that of signing, with the same meaning, or zero, which says
nothing about the largest tree; verifiers take both. A witness's time is never zero (tlog-witness).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self, TypeAlias

import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from ledger import checkpoint, note
from ledger.checkpoint import Checkpoint
from ledger.errors import BadSignature, Malformed, Refused, SplitView, StaleSize
from ledger.merkle import EMPTY_ROOT, check_consistency
from ledger.note import Ed25519Verifier

# signature types
ED25519_COSIGNATURE = 0x04
ML_DSA_44 = 0x06

MAX_TIME = 2**63 - 1

_TIME_BYTES = 8
_ED25519_KEY_BYTES, _ED25519_BYTES = 32, 64
_ML_DSA_44_KEY_BYTES, _ML_DSA_44_BYTES = 1312, 2420
_SEED_BYTES = 32

Clock: TypeAlias = Callable[[], int]
"""Seconds since 1970-01-01 UTC."""


def cosigned_at(signature: bytes) -> int:
    """The time in a cosignature, in seconds. True only once the signature was verified. Raises Malformed."""
    lengths = (_TIME_BYTES + _ED25519_BYTES, _TIME_BYTES + _ML_DSA_44_BYTES)
    if len(signature) not in lengths:  # a plain Ed25519 signature, say, which has no time
        raise Malformed(f"cosignature: expected {lengths[0]} or {lengths[1]} bytes, {len(signature)} came")
    time = int.from_bytes(signature[:_TIME_BYTES], "big")
    if time > MAX_TIME:
        raise Malformed(f"cosignature time: expected at most 2^63 - 1, {time} came")
    return time


# --- the witness's rule: tlog-witness, add-checkpoint ---


def check_growth(known: Checkpoint | None, old_size: int, proof: Sequence[bytes], new: Checkpoint) -> None:
    """Whether a witness that cosigned `known` last, or nothing yet, may cosign `new`, shown to grow from `old_size`.

    Who calls it has checked that the log signed `new`, and stores `new` in the same transaction that read `known`.

    Raises Malformed (400); SplitView (422, or 409 where `old_size` is not the stored one either), which is worth an
    alarm whatever is answered; StaleSize (409); BadProof (422).
    """
    stored_size, stored_root = (known.size, known.root) if known else (0, EMPTY_ROOT)
    where = f"checkpoint of size {new.size} for {new.origin!r}"
    if known and known.origin != new.origin:
        raise Refused(f"{where}: expected the log {known.origin!r}")
    # 1. The old size is not above the new one.
    if not 0 <= old_size <= new.size:
        raise Malformed(f"{where}: expected an old size from 0 to it, {old_size} came")
    # 2. One size has one root, wherever growth is said to start: the log signed both.
    if new.size == stored_size and new.root != stored_root:
        raise SplitView(f"{where}: expected root {stored_root.hex()}, {new.root.hex()} came", stored_size)
    # 3. Growth starts where the witness stands.
    if old_size != stored_size:
        raise StaleSize(f"{where}: expected old size {stored_size}, {old_size} came", stored_size)
    # 4. The new tree only adds to the stored one.
    check_consistency(stored_size, new.size, stored_root, new.root, proof)


# --- signers ---


@dataclass(frozen=True, slots=True, eq=False)
class _Signer:
    """A key that signs checkpoints, and nothing else. The seed shows in no repr and no message."""

    signature_type: ClassVar[int]
    name: str
    seed: bytes = field(repr=False)  # (32,)
    now: Clock = field(repr=False)
    verifier: Ed25519CosignatureVerifier | MlDsa44Verifier = field(init=False, repr=False)

    @classmethod
    def from_skey(cls, skey: str, now: Clock) -> Self:
        """The inverse of `skey`. Raises Malformed."""
        name, signature_type, seed, stated_id = note.parse_skey(skey)
        if signature_type != cls.signature_type:
            raise Malformed(
                f"signer key: expected signature type {cls.signature_type:#04x}, {signature_type:#04x} came"
            )
        signer = cls(name, seed, now)
        if signer.key_id != stated_id:
            raise Malformed("signer key: expected the id of its own name and public key, another came")
        return signer

    @property
    def key_id(self) -> bytes:
        return self.verifier.key_id

    @property
    def vkey(self) -> str:
        return self.verifier.vkey

    def skey(self) -> str:
        """The secret as text. A method, so that nothing shows it by looking at the signer."""
        return note.encode_skey(self.name, self.key_id, self.signature_type, self.seed)


# --- Ed25519, type 04 ---


@dataclass(frozen=True, slots=True)
class Ed25519CosignatureVerifier:
    """A known cosigner's Ed25519 key."""

    name: str
    public_key: bytes  # (32,)

    def __post_init__(self) -> None:
        note.check_name(self.name)
        if len(self.public_key) != _ED25519_KEY_BYTES:
            raise Malformed(f"Ed25519 public key: expected {_ED25519_KEY_BYTES} bytes, {len(self.public_key)} came")

    @classmethod
    def from_vkey(cls, vkey: str) -> Ed25519CosignatureVerifier:
        """Raises Malformed, also where the key is of another signature type."""
        name, public_key = _public_key_of(vkey, ED25519_COSIGNATURE)
        return cls(name, public_key)

    @property
    def key_id(self) -> bytes:
        return note.key_id(self.name, ED25519_COSIGNATURE, self.public_key)

    @property
    def vkey(self) -> str:
        return note.encode_vkey(self.name, ED25519_COSIGNATURE, self.public_key)

    def verify(self, text: bytes, signature: bytes) -> None:
        time, signed = _split(self, signature, _ED25519_BYTES)
        try:
            nacl.signing.VerifyKey(self.public_key).verify(_dated_text(time, text), signed)
        except nacl.exceptions.BadSignatureError:
            raise _does_not_hold(self) from None


@dataclass(frozen=True, slots=True, eq=False)
class Ed25519Cosigner(_Signer):
    """An Ed25519 key that cosigns checkpoints, and nothing else."""

    signature_type: ClassVar[int] = ED25519_COSIGNATURE
    verifier: Ed25519CosignatureVerifier = field(init=False, repr=False)
    _key: nacl.signing.SigningKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_seed(self.seed)
        key = nacl.signing.SigningKey(self.seed)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "verifier", Ed25519CosignatureVerifier(self.name, bytes(key.verify_key)))

    def sign(self, text: bytes) -> bytes:
        checkpoint.parse(text)
        time = _read(self.now)
        return time.to_bytes(_TIME_BYTES, "big") + self._key.sign(_dated_text(time, text)).signature


def _dated_text(time: int, text: bytes) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time + text


# --- ML-DSA-44 (FIPS 204), type 06; the context string is empty ---


@dataclass(frozen=True, slots=True)
class MlDsa44Verifier:
    """A known ML-DSA-44 key, of a cosigner or of a log."""

    name: str
    public_key: bytes  # (1312,)
    _key: mldsa.MLDSA44PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        note.check_name(self.name)
        _length_byte(self.name, "key name")
        if len(self.public_key) != _ML_DSA_44_KEY_BYTES:
            raise Malformed(f"ML-DSA-44 public key: expected {_ML_DSA_44_KEY_BYTES} bytes, {len(self.public_key)} came")
        object.__setattr__(self, "_key", mldsa.MLDSA44PublicKey.from_public_bytes(self.public_key))

    @classmethod
    def from_vkey(cls, vkey: str) -> MlDsa44Verifier:
        """Raises Malformed, also where the key is of another signature type."""
        name, public_key = _public_key_of(vkey, ML_DSA_44)
        return cls(name, public_key)

    @property
    def key_id(self) -> bytes:
        return note.key_id(self.name, ML_DSA_44, self.public_key)

    @property
    def vkey(self) -> str:
        return note.encode_vkey(self.name, ML_DSA_44, self.public_key)

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raises BadSignature, and Malformed where the text is no checkpoint: then no signature could hold."""
        time, signed = _split(self, signature, _ML_DSA_44_BYTES)
        try:
            self._key.verify(signed, _tree_message(self.name, time, checkpoint.parse(text)))
        except InvalidSignature:
            raise _does_not_hold(self) from None


@dataclass(frozen=True, slots=True, eq=False)
class MlDsa44Signer(_Signer):
    """An ML-DSA-44 key that signs checkpoints, and nothing else: a witness's, or a log's own under its origin.

    Signing draws randomness (FIPS 204, "hedged"): the same checkpoint gets another signature each time.
    """

    signature_type: ClassVar[int] = ML_DSA_44
    verifier: MlDsa44Verifier = field(init=False, repr=False)
    _key: mldsa.MLDSA44PrivateKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_seed(self.seed)
        key = mldsa.MLDSA44PrivateKey.from_seed_bytes(self.seed)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "verifier", MlDsa44Verifier(self.name, key.public_key().public_bytes_raw()))

    def sign(self, text: bytes) -> bytes:
        tree, time = checkpoint.parse(text), _read(self.now)
        return time.to_bytes(_TIME_BYTES, "big") + self._key.sign(_tree_message(self.name, time, tree))


def _tree_message(name: str, time: int, tree: Checkpoint) -> bytes:
    """The structure `cosigned_message` for the whole tree: a subtree that starts at leaf 0."""
    return b"".join(
        (
            b"subtree/v1\n\0",
            _length_byte(name, "key name"),
            name.encode(),
            time.to_bytes(_TIME_BYTES, "big"),
            _length_byte(tree.origin, "checkpoint origin"),
            tree.origin.encode(),
            (0).to_bytes(8, "big"),
            tree.size.to_bytes(8, "big"),
            tree.root,
        )
    )


def _length_byte(text: str, what: str) -> bytes:
    length = len(text.encode())
    if length > 255:
        raise Malformed(f"{what}: expected at most 255 bytes for an ML-DSA-44 signature, {length} came")
    return bytes([length])


# --- any type ---

AnyVerifier: TypeAlias = Ed25519Verifier | Ed25519CosignatureVerifier | MlDsa44Verifier
"""A note.Verifier of a type that is built here: it also has `public_key` and `vkey`."""


def verifier_from_vkey(vkey: str) -> AnyVerifier:
    """The verifier of a key of type 01, 04 or 06. Raises Malformed, also for any other type."""
    name, signature_type, public_key = note.parse_vkey(vkey)
    match signature_type:
        case note.ED25519:
            return Ed25519Verifier(name, public_key)
        case 0x04:
            return Ed25519CosignatureVerifier(name, public_key)
        case 0x06:
            return MlDsa44Verifier(name, public_key)
    raise Malformed(f"verifier key: expected signature type 0x01, 0x04 or 0x06, {signature_type:#04x} came")


def _public_key_of(vkey: str, expected: int) -> tuple[str, bytes]:
    name, signature_type, public_key = note.parse_vkey(vkey)
    if signature_type != expected:
        raise Malformed(f"verifier key: expected signature type {expected:#04x}, {signature_type:#04x} came")
    return name, public_key


def _check_seed(seed: bytes) -> None:
    if len(seed) != _SEED_BYTES:
        raise Malformed(f"signer key seed: expected {_SEED_BYTES} bytes, {len(seed)} came")


def _read(now: Clock) -> int:
    time = now()
    if not 0 <= time <= MAX_TIME:
        raise Malformed(f"cosignature time: expected 0 to 2^63 - 1 seconds, {time} came")
    return time


def _split(verifier: note.Verifier, signature: bytes, length: int) -> tuple[int, bytes]:
    if len(signature) != _TIME_BYTES + length:
        raise BadSignature(f"note: expected {_TIME_BYTES + length} bytes by {_called(verifier)}, {len(signature)} came")
    time = int.from_bytes(signature[:_TIME_BYTES], "big")
    if time > MAX_TIME:
        raise BadSignature(f"note: expected a time of at most 2^63 - 1 by {_called(verifier)}, {time} came")
    return time, signature[_TIME_BYTES:]


def _does_not_hold(verifier: note.Verifier) -> BadSignature:
    return BadSignature(f"note: expected a cosignature by {_called(verifier)}, it does not hold")


def _called(verifier: note.Verifier) -> str:
    return f"{verifier.name}+{verifier.key_id.hex()}"
