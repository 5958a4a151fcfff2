"""The C2SP signed note (c2sp.org/signed-note, version 1.0.0): a text, an empty line, and lines of signatures.

    some text, one or more lines
                                                       an empty line: the last one of the note
    — example.com/log Az3grlgt…==                      em dash, key name, base64(key id, 4 bytes || signature)

`parse` knows no signature type. A type is a `Verifier` and a `Signer`; Ed25519 (0x01) is here, others, such
as cosignatures (0x04, 0x06), stand beside their rules and need no change to this file.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import nacl.exceptions
import nacl.signing

from ledger.errors import BadSignature, Malformed, Refused

ED25519 = 0x01  # signature type

MAX_SIGNATURES = 100  # the standard asks for at least 16; Go's sumdb/note stops here too

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # "those below U+0020", other than newline
_SPACE_OR_CONTROL = re.compile(r"[\s\x00-\x1f]")
_EM_DASH = "\N{EM DASH} "
_SIGNER_KEY = "PRIVATE+KEY+"  # how a secret key's text begins


class Verifier(Protocol):
    """A known key: what checks the signatures under its name and id."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raises BadSignature unless `signature` is by this key over the note's text."""


class Signer(Protocol):
    """A key that signs notes."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def sign(self, text: bytes) -> bytes:
        """The signature over the note's text, without the key id."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who signed by their own word, and the bytes that only their key can judge."""

    name: str
    key_id: bytes  # (4,)
    signature: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.key_id) != 4 or not self.signature:
            raise Malformed(
                "signature: expected a key id of 4 bytes and at least 1 byte after it, "
                f"{len(self.key_id)} and {len(self.signature)} came"
            )

    def encode(self) -> bytes:
        """The line as it stands in a note, with its newline."""
        blob = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_EM_DASH}{self.name} {blob}\n".encode()


@dataclass(frozen=True, slots=True)
class UnverifiedNote:
    """What `parse` found. Nobody has checked a signature: the text must not be believed."""

    text: bytes
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A text that known keys signed: at least one signature holds, and none of a known key is bad."""

    text: bytes
    signatures: tuple[Signature, ...]  # verified, at most one for each known key
    ignored: tuple[Signature, ...]  # of keys that are not known: anyone may have written them


# --- notes ---


def parse(signed: bytes) -> UnverifiedNote:
    """Take a signed note apart, without looking at keys. Raises Malformed."""
    # 1. UTF-8 without control characters but newline.
    decoded = _text(signed)
    # 2. The last empty line parts the text, with its newline, from the signatures.
    split = decoded.rfind("\n\n")
    if split < 0:
        raise Malformed("note: expected an empty line before the signatures, none came")
    text, lines = decoded[: split + 1], decoded[split + 2 :]
    # 3. Whole lines, at least one, not too many.
    if not lines.endswith("\n"):
        raise Malformed("note: expected signature lines that end in a newline after the last empty line")
    count = lines.count("\n")
    if count > MAX_SIGNATURES:
        raise Malformed(f"note: expected at most {MAX_SIGNATURES} signatures, {count} came")
    # 4. Each line is a signature.
    numbered = enumerate(lines[:-1].split("\n"), start=1)
    return UnverifiedNote(text.encode(), tuple(_signature(line, number) for number, line in numbered))


def open_note(signed: bytes, verifiers: Sequence[Verifier]) -> Note:
    """Parse a signed note and check it against the keys that the caller knows.

    Signatures of other keys are ignored, even where they share a name or an id with a known one. Raises
    Malformed; BadSignature when a known key's signature does not hold, or no known key signed; Refused when
    two known keys have the same name and id, so that nobody could tell which is meant.
    """
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if (verifier.name, verifier.key_id) in known:
            raise Refused(f"known keys: expected one key {_called(verifier)}, two came")
        known[verifier.name, verifier.key_id] = verifier

    unverified = parse(signed)
    held: dict[tuple[str, bytes], Signature] = {}
    ignored: dict[Signature, None] = {}  # a set that keeps the order
    for signature in unverified.signatures:
        key = (signature.name, signature.key_id)
        if key not in known:
            ignored[signature] = None
            continue
        known[key].verify(unverified.text, signature.signature)
        held.setdefault(key, signature)
    if not held:
        raise BadSignature(
            f"note: expected a signature by one of {len(known)} known keys, {len(unverified.signatures)} by others came"
        )
    return Note(unverified.text, tuple(held.values()), tuple(ignored))


def sign(text: bytes, signers: Sequence[Signer]) -> bytes:
    """A signed note over this text, its signature lines in the order of the signers. Raises Malformed.

    More lines may be added at the end later: `signed + signature.encode()` is a note again.
    """
    if not _text(text).endswith("\n"):
        raise Malformed("note text: expected a newline at its end")
    if not 0 < len(signers) <= MAX_SIGNATURES:
        raise Malformed(f"note: expected 1 to {MAX_SIGNATURES} signers, {len(signers)} came")
    lines = [Signature(signer.name, signer.key_id, signer.sign(text)).encode() for signer in signers]
    return text + b"\n" + b"".join(lines)


def parse_signature(line: bytes) -> Signature:
    """One signature line with its newline, as a witness returns it. Raises Malformed."""
    decoded = _text(line)
    if not decoded.endswith("\n"):  # a newline before the end is in no name and no base64
        raise Malformed("signature: expected one line that ends in a newline")
    return _signature(decoded[:-1], 1)


def _signature(line: str, number: int) -> Signature:
    where = f"signature line {number}"
    name, _, blob64 = line.removeprefix(_EM_DASH).partition(" ")
    if not line.startswith(_EM_DASH):
        raise Malformed(f"{where}: expected an em dash, a key name and base64, parted by spaces")
    blob = decode_base64(blob64, where)
    try:
        return Signature(name, blob[:4], blob[4:])
    except Malformed as error:
        raise Malformed(f"{where}: {error}") from None


# --- keys ---


def check_name(name: str) -> None:
    """A key name is not empty and has no Unicode space, no plus, no control character. Raises Malformed."""
    if not name or "+" in name or _SPACE_OR_CONTROL.search(name):
        raise Malformed("key name: expected at least one character, no spaces, no plus, no control characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Malformed("key name: expected characters that UTF-8 can hold") from None


def key_id(name: str, signature_type: int, public_key: bytes) -> bytes:
    """The first four bytes of SHA-256(name || newline || type || public key): too short to trust a key by."""
    return sha256(name.encode() + b"\n" + bytes([signature_type]) + public_key).digest()[:4]


def encode_vkey(name: str, signature_type: int, public_key: bytes) -> str:
    """A verifier key as text, `name+hex8(id)+base64(type || public key)`."""
    typed = base64.b64encode(bytes([signature_type]) + public_key).decode()
    return f"{name}+{key_id(name, signature_type, public_key).hex()}+{typed}"


def parse_vkey(vkey: str) -> tuple[str, int, bytes]:
    """The name, signature type and public key of a verifier key whose id is right. Raises Malformed."""
    name, stated_id, key = _split_key(vkey, "verifier key")
    signature_type, public_key = key[0], key[1:]
    if key_id(name, signature_type, public_key) != stated_id:
        raise Malformed("verifier key: expected the id of its own name and public key, another came")
    return name, signature_type, public_key


def encode_skey(name: str, signer_id: bytes, signature_type: int, seed: bytes) -> str:
    """A secret key as Go's text form, `PRIVATE+KEY+name+hex8(id)+base64(type || seed)`; the id is the public key's."""
    typed = base64.b64encode(bytes([signature_type]) + seed).decode()
    return f"{_SIGNER_KEY}{name}+{signer_id.hex()}+{typed}"


def parse_skey(skey: str) -> tuple[str, int, bytes, bytes]:
    """Name, signature type, seed and stated id, which only a known signature type can check. Raises Malformed."""
    if not skey.startswith(_SIGNER_KEY):
        raise Malformed(f"signer key: expected it to begin with {_SIGNER_KEY[:-1]}")
    name, stated_id, key = _split_key(skey.removeprefix(_SIGNER_KEY), "signer key")
    return name, key[0], key[1:], stated_id


@dataclass(frozen=True, slots=True)
class Ed25519Verifier:
    """A known Ed25519 key. Verifies as libsodium does: RFC 8032 without cofactor, small orders refused."""

    name: str
    public_key: bytes  # (32,)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != 32:
            raise Malformed(f"Ed25519 public key: expected 32 bytes, {len(self.public_key)} came")

    @classmethod
    def from_vkey(cls, vkey: str) -> "Ed25519Verifier":
        """Raises Malformed, also where the key is of another signature type."""
        name, signature_type, public_key = parse_vkey(vkey)
        if signature_type != ED25519:
            raise Malformed(f"verifier key: expected signature type {ED25519:#04x}, {signature_type:#04x} came")
        return cls(name, public_key)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, ED25519, self.public_key)

    @property
    def vkey(self) -> str:
        return encode_vkey(self.name, ED25519, self.public_key)

    def verify(self, text: bytes, signature: bytes) -> None:
        if len(signature) != 64:
            raise BadSignature(f"note: expected 64 bytes by {_called(self)}, {len(signature)} came")
        try:
            nacl.signing.VerifyKey(self.public_key).verify(text, signature)
        except nacl.exceptions.BadSignatureError:
            raise BadSignature(f"note: expected a signature by {_called(self)}, it does not hold") from None


@dataclass(frozen=True, slots=True, eq=False)
class Ed25519Signer:
    """An Ed25519 key that signs. The seed is secret: it shows in no repr, no message and no comparison."""

    name: str
    seed: bytes = field(repr=False)  # (32,)
    verifier: Ed25519Verifier = field(init=False, repr=False)
    key_id: bytes = field(init=False, repr=False)  # (4,)
    _key: nacl.signing.SigningKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.seed) != 32:
            raise Malformed(f"Ed25519 seed: expected 32 bytes, {len(self.seed)} came")
        # Derived once: a log signs a receipt an append.
        key = nacl.signing.SigningKey(self.seed)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "verifier", Ed25519Verifier(self.name, bytes(key.verify_key)))
        object.__setattr__(self, "key_id", self.verifier.key_id)

    @classmethod
    def from_skey(cls, skey: str) -> "Ed25519Signer":
        """The inverse of `skey`. Raises Malformed."""
        name, signature_type, seed, stated_id = parse_skey(skey)
        if signature_type != ED25519:
            raise Malformed(f"signer key: expected signature type {ED25519:#04x}, {signature_type:#04x} came")
        signer = cls(name, seed)
        if signer.key_id != stated_id:  # the id is that of the public key
            raise Malformed("signer key: expected the id of its own name and public key, another came")
        return signer

    @property
    def vkey(self) -> str:
        return self.verifier.vkey

    def skey(self) -> str:
        """The secret as text. A method, so that nothing shows it by looking at the signer."""
        return encode_skey(self.name, self.key_id, ED25519, self.seed)

    def sign(self, text: bytes) -> bytes:
        return self._key.sign(text).signature


def _split_key(key: str, where: str) -> tuple[str, bytes, bytes]:
    """Name, stated id and typed key, of at least one byte, of `name+hex8+base64`."""
    parts = key.split("+", 2)  # base64 may hold a plus
    if len(parts) != 3:
        raise Malformed(f"{where}: expected name, id and key, parted by plus signs")
    name, stated_id, typed = parts
    check_name(name)
    if not re.fullmatch("[0-9a-f]{8}", stated_id):
        raise Malformed(f"{where}: expected an id of 8 lowercase hex digits")
    decoded = decode_base64(typed, where)
    if not decoded:
        raise Malformed(f"{where}: expected a signature type and a key, nothing came")
    return name, bytes.fromhex(stated_id), decoded


def _called(key: Verifier) -> str:
    return f"{key.name}+{key.key_id.hex()}"


# --- text ---


def decode_base64(encoded: str, where: str) -> bytes:
    """RFC 4648 section 4, in the one canonical form of the bytes. Raises Malformed, naming `where`."""
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"{where}: expected base64") from None
    if base64.b64encode(decoded).decode() != encoded:
        raise Malformed(f"{where}: expected base64 in its canonical form")
    return decoded


def _text(signed: bytes) -> str:
    try:
        decoded = signed.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"note: expected UTF-8, byte {error.start} is not") from None
    if found := _CONTROL.search(decoded):
        raise Malformed(f"note: expected no control characters but newline, one at character {found.start()}")
    return decoded
