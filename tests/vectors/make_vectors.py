"""Golden vectors for docs/format.md, made by an implementation of their own: none of this imports `ledger`.

    python tests/vectors/make_vectors.py

writes record.json, fork_created.json, log.json and evidence.json beside this file. Protobuf is written by hand, keys
and payloads are made with hashlib, hmac and `cryptography` (the packages themselves use protobuf and libsodium),
HChaCha20 is below.
Every key, salt and nonce is fixed, so that the bytes are.
"""

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).resolve().parent
ORIGIN = "vectors.example/log"
FORK = "6f0e1c5a-7d4b-4a2e-9c3d-0123456789ab"
OWNER_SEED = bytes(range(32))
LOG_SEED = bytes(range(32, 64))
RECEIPT_SEED = bytes(range(64, 96))
WITNESS_SEED = bytes(range(128, 160))
FORK_ROOT = bytes(range(96, 128))
LAYOUT, RECIPE, GENESIS = (hashlib.sha256(name).digest() for name in (b"layout", b"recipe", b"genesis"))
ACCEPTED_AT = 1_790_000_000_000_000
WITNESSED_AT = 1_790_000_001
WITNESS = "witness.example/w1"
INPUT, OUTPUT, UPDATE, PARTICULARS, COMMIT = 1, 2, 3, 4, 16
EMPTY, SIGNS = 1, 2


# --- protobuf, written by hand ---


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def integer(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number) if number else b""


def blob(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content if content else b""


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def single(field: int, number: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", number) if number else b""


# --- keys and payloads ---


def public(seed: bytes) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed: bytes, text: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(text)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """draft-irtf-cfrg-xchacha, section 2.2."""
    words = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for to, plus, turned, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            words[to] = (words[to] + words[plus]) & 0xFFFFFFFF
            mixed = words[turned] ^ words[to]
            words[turned] = (mixed << by | mixed >> (32 - by)) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        quarter(0, 5, 10, 15)
        quarter(1, 6, 11, 12)
        quarter(2, 7, 8, 13)
        quarter(3, 4, 9, 14)
    return struct.pack("<8I", *words[:4], *words[12:])


def xchacha20_poly1305(key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plain, associated)


def padme(length: int) -> int:
    exponent = length.bit_length() - 1
    low = exponent - exponent.bit_length()
    return -(-length >> low) << low if low > 0 else length


def framed(text: bytes, to: Callable[[int], int]) -> bytes:
    whole = struct.pack(">I", len(text)) + text
    return whole + bytes(to(len(whole)) - len(whole))


def signature(seed: bytes, topic: str, body: bytes) -> bytes:
    """The message Signature."""
    key_id = sha(b"forkledger/key/v1\0", b"\x01", public(seed))
    signed = sign(seed, b"forkledger/entry/v1\0" + topic.encode() + b"\0" + ORIGIN.encode() + b"\0" + body)
    return blob(1, key_id) + integer(2, 1) + blob(3, signed)


def entry(version: int, previous: bytes, topic: str, body: bytes) -> bytes:
    return (
        blob(1, ORIGIN.encode())
        + blob(2, FORK.encode())
        + integer(3, version)
        + blob(4, previous)
        + blob(5, topic.encode())
        + blob(6, body)
        + message(7, signature(OWNER_SEED, topic, body))
        + integer(8, 1)
    )


def record(number: int, learns: bool) -> dict[str, object]:
    """One record of the fork: everything that goes in, and every byte that comes out."""
    record_id, salt = sha(b"record id", bytes([number]))[:16], sha(b"salt", bytes([number]))
    key = mac(salt, b"forkledger/record-key/v1\0", FORK_ROOT, struct.pack(">Q", number))
    plain = {
        INPUT: framed(f"input {number}: schöne Grüße".encode(), padme),
        OUTPUT: framed(f"output {number}".encode() * 20, padme),
        UPDATE: sha(b"update", bytes([number])),
        PARTICULARS: framed(f"particulars {number}".encode(), lambda length: -(-length // 256) * 256),
    }
    if not learns:
        del plain[UPDATE]
    payloads, nonces, subkeys = {}, {}, {}
    for kind, padded in plain.items():
        subkeys[kind] = mac(key, b"forkledger/subkey/v1\0", bytes([kind]))
        nonces[kind] = sha(b"nonce", bytes([number, kind]))[:24]
        where = b"forkledger/aead/v1\0" + ORIGIN.encode() + b"\0" + FORK.encode() + b"\0" + record_id + bytes([kind])
        committed = sha(b"forkledger/key-commitment/v1\0", subkeys[kind])
        payloads[kind] = committed + nonces[kind] + xchacha20_poly1305(subkeys[kind], nonces[kind], padded, where)
    digests = {kind: sha(b"forkledger/payload/v1\0", bytes([kind]), payload) for kind, payload in payloads.items()}
    state_digest = sha(b"state", bytes([number]))
    commit_key = mac(key, b"forkledger/subkey/v1\0", bytes([COMMIT]))
    step = 12_345 if learns else 0
    key_commitment = sha(b"forkledger/key-commitment/v1\0", key)
    body = (
        blob(2, FORK.encode())
        + integer(3, number)
        + single(7, step * 2.0**-24)
        + blob(13, record_id)
        + b"".join(message(14, integer(1, kind) + blob(2, digests[kind])) for kind in sorted(digests))
        + message(15, integer(1, 1) + blob(2, key_commitment))
        + integer(16, SIGNS if learns else EMPTY)
        + integer(17, 256)
        + blob(18, LAYOUT)
        + blob(19, RECIPE)
        + blob(20, mac(commit_key, state_digest))
    )
    signed = message(1, body) + message(2, signature(OWNER_SEED, "user-training-record/v1", body))
    for kind in sorted(payloads):
        signed += message(3, integer(1, kind) + blob(2, payloads[kind]))
    return {
        "interaction_number": number,
        "record_id": record_id,
        "salt": salt,
        "step": step,
        "state_digest": state_digest,
        "record_key": key,
        "key_commitment": key_commitment,
        "commit_key": commit_key,
        "state_commitment": mac(commit_key, state_digest),
        "padded": {str(kind): padded for kind, padded in plain.items()},
        "subkeys": {str(kind): subkey for kind, subkey in subkeys.items()},
        "nonces": {str(kind): nonce for kind, nonce in nonces.items()},
        "payloads": {str(kind): payload for kind, payload in payloads.items()},
        "digests": {str(kind): digest for kind, digest in digests.items()},
        "body": body,
        "signature": sign(
            OWNER_SEED, b"forkledger/entry/v1\0user-training-record/v1\0" + ORIGIN.encode() + b"\0" + body
        ),
        "signed_record": signed,
    }


def fork_created() -> dict[str, object]:
    recovery = sha(b"forkledger/key/v1\0", b"\x01", public(LOG_SEED))
    body = (
        blob(1, FORK.encode())
        + message(2, integer(1, 1) + blob(2, public(OWNER_SEED)))
        + blob(3, recovery)
        + integer(4, 1)
        + blob(5, LAYOUT)
        + blob(6, RECIPE)
        + blob(7, GENESIS)
        + integer(8, 256)
        + blob(9, bytes(32))
    )
    return {
        "owner_seed": OWNER_SEED,
        "owner_key": public(OWNER_SEED),
        "owner_key_id": sha(b"forkledger/key/v1\0", b"\x01", public(OWNER_SEED)),
        "recovery_key_digest": recovery,
        "layout_digest": LAYOUT,
        "recipe_digest": RECIPE,
        "genesis_digest": GENESIS,
        "dimension": 256,
        "body": body,
        "signature": sign(OWNER_SEED, b"forkledger/entry/v1\0fork-created/v1\0" + ORIGIN.encode() + b"\0" + body),
    }


# --- the log: RFC 6962 by its own definition, C2SP notes ---


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return sha(b"\0", leaves[0])
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\1", root(leaves[:half]), root(leaves[half:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*path(index, leaves[:half]), root(leaves[half:])]
    return [*path(index - half, leaves[half:]), root(leaves[:half])]


def note(text: str, name: str, seed: bytes) -> str:
    key_id = sha(name.encode(), b"\n\x01", public(seed))[:4]
    blob64 = base64.b64encode(key_id + sign(seed, text.encode())).decode()
    return f"{text}\n— {name} {blob64}\n"


def vkey(name: str, seed: bytes, kind: int = 1) -> str:
    key_id = sha(name.encode(), b"\n", bytes([kind]), public(seed))[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(bytes([kind]) + public(seed)).decode()}"


def cosigned(checkpoint: str) -> str:
    """The checkpoint with a line of the witness below: a cosignature/v1 (type 4) of c2sp.org/tlog-cosignature."""
    text = checkpoint[: checkpoint.rindex("\n\n") + 1]
    signed = sign(WITNESS_SEED, f"cosignature/v1\ntime {WITNESSED_AT}\n{text}".encode())
    key_id = sha(WITNESS.encode(), b"\n\x04", public(WITNESS_SEED))[:4]
    blob64 = base64.b64encode(key_id + struct.pack(">Q", WITNESSED_AT) + signed).decode()
    return f"{checkpoint}— {WITNESS} {blob64}\n"


def log(created: dict[str, object], records: list[dict[str, object]]) -> dict[str, object]:
    entries, previous = [], bytes(32)
    for version, signed in enumerate([created, *records], 1):
        topic = "fork-created/v1" if version == 1 else "user-training-record/v1"
        body = signed["body"]
        assert isinstance(body, bytes)
        entries.append(entry(version, previous, topic, body))
        previous = sha(b"\0", entries[-1])
    receipts = []
    for leaf, data in enumerate(entries):
        hash64 = base64.b64encode(sha(b"\0", data)).decode()
        lines = ("forkledger/receipt/v1", ORIGIN, FORK, leaf + 1, leaf, hash64, ACCEPTED_AT, ACCEPTED_AT + 10_000_000)
        receipts.append(note("".join(f"{line}\n" for line in lines), f"{ORIGIN}/receipt", RECEIPT_SEED))
    size_root = base64.b64encode(root(entries)).decode()
    return {
        "origin": ORIGIN,
        "log_seed": LOG_SEED,
        "log_vkey": vkey(ORIGIN, LOG_SEED),
        "receipt_seed": RECEIPT_SEED,
        "receipt_vkey": vkey(f"{ORIGIN}/receipt", RECEIPT_SEED),
        "accepted_at": ACCEPTED_AT,
        "entries": entries,
        "leaf_hashes": [sha(b"\0", data) for data in entries],
        "root": root(entries),
        "checkpoint": note(f"{ORIGIN}\n{len(entries)}\n{size_root}\n", ORIGIN, LOG_SEED),
        "receipts": receipts,
        "inclusion": [path(leaf, entries) for leaf in range(len(entries))],
    }


def evidence(checkpoint: str, entries: list[bytes]) -> dict[str, object]:
    """Of every entry the message Evidence and the c2sp.org/tlog-proof. All have their authority at leaf 0."""

    def logged(leaf: int) -> bytes:
        return integer(1, leaf) + blob(2, entries[leaf]) + b"".join(message(3, node) for node in path(leaf, entries))

    signed, files, proofs = cosigned(checkpoint), [], []
    for leaf in range(len(entries)):
        file = blob(1, b"forkledger/evidence/v1") + blob(2, signed.encode()) + message(3, logged(leaf))
        files.append(file + (message(4, logged(0)) if leaf else b""))
        hashes = "".join(base64.b64encode(node).decode() + "\n" for node in path(leaf, entries))
        proofs.append(f"c2sp.org/tlog-proof@v1\nindex {leaf}\n{hashes}\n{signed}")
    witness = vkey(WITNESS, WITNESS_SEED, 4)
    return {
        "policy": f"log {vkey(ORIGIN, LOG_SEED)}\nwitness w1 {witness}\nquorum w1\n",
        "witness_seed": WITNESS_SEED,
        "witness_vkey": witness,
        "witnessed_at": WITNESSED_AT,
        "checkpoint": signed,
        "evidence": files,
        "tlog_proofs": proofs,
    }


def written(value: object) -> object:
    """Bytes as hex, everything else as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: written(each) for name, each in value.items()}
    return [written(each) for each in value] if isinstance(value, list) else value


def vectors() -> dict[str, object]:
    """Each file's name and content."""
    created, records = fork_created(), [record(1, True), record(2, False), record(3, True)]
    fork = {"fork_id": FORK, "fork_root": FORK_ROOT, "origin": ORIGIN}
    logged = log(created, records)
    checkpoint, entries = logged["checkpoint"], logged["entries"]
    assert isinstance(checkpoint, str)
    assert isinstance(entries, list)
    return {
        "fork_created.json": written({**fork, **created}),
        "record.json": written({**fork, "records": records}),
        "log.json": written(logged),
        "evidence.json": written(evidence(checkpoint, entries)),
    }


if __name__ == "__main__":
    for name, content in vectors().items():
        (HERE / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(HERE / name)
