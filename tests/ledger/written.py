"""Ledgers, forks and records that tests are written with. Every key, id and nonce follows from a number."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ledger import entry, note, receipt, record, vault
from ledger.keys import SigningKey, signed_message
from ledger.ledger import Ledger
from ledger.record import INPUT, OUTPUT, PARTICULARS, UPDATE, Body, SignedRecord
from ledger.store.sqlite import SqliteStore, open_store
from ledger.store.sqlite_recorder import Datastore
from ledger.wire.v1 import record_pb2

ORIGIN = "example.org/log"
LOG_KEY = note.Ed25519Signer(ORIGIN, sha256(b"log").digest())
RECEIPT_KEY = note.Ed25519Signer(receipt.key_name(ORIGIN), sha256(b"receipt").digest())
SIGNS = record_pb2.UPDATE_ENCODING_SIGNS
DIMENSION = 256
LAYOUT, RECIPE, GENESIS = (sha256(name).digest() for name in (b"layout", b"recipe", b"genesis"))
NOW = 1_700_000_000_000_000


def drawn(length: int, *what: object) -> bytes:
    """Bytes that look random and follow from what they are for."""
    seed = repr(what).encode()
    return b"".join(sha256(seed + bytes([block])).digest() for block in range(-(-length // 32)))[:length]


@dataclass(slots=True)
class Writer:
    """Someone who holds a fork's keys and writes its records, one after the other."""

    number: int
    origin: str = ORIGIN
    written: int = 0
    key: SigningKey = field(init=False)
    fork_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = SigningKey(drawn(32, "key", self.number))
        self.fork_id = str(uuid.UUID(bytes=drawn(16, "fork", self.number), version=4))

    def creation(self, **changes: object) -> entry.ForkCreated:
        fields: dict[str, object] = {
            "fork_id": self.fork_id,
            "owner_key": self.key.public,
            "custody": entry.SELF,
            "layout_digest": LAYOUT,
            "recipe_digest": RECIPE,
            "genesis_digest": GENESIS,
            "dimension": DIMENSION,
        }
        return entry.ForkCreated(**{**fields, **changes})  # type: ignore[arg-type]

    def control(self, body: bytes | None = None, topic: str = entry.FORK_CREATED) -> entry.SignedControl:
        body = entry.encode_fork_created(self.creation()) if body is None else body
        return entry.SignedControl(topic, body, (self.key.sign(signed_message(topic, self.origin, body)),))

    def record_id(self, interaction: int) -> bytes:
        return drawn(16, "record", self.number, interaction)

    def key_of(self, interaction: int) -> vault.RecordKey:
        root, salt = drawn(32, "root", self.number), drawn(32, "salt", self.number, interaction)
        return vault.record_key(root, salt, interaction)

    def payloads(self, interaction: int, learns: bool = True, said: str = "") -> dict[int, bytes]:
        text = said or f"what {self.number} said in {interaction}"
        plain = {
            INPUT: vault.pad_text(text.encode()),
            OUTPUT: vault.pad_text(f"answer to: {text}".encode()),
            UPDATE: drawn(DIMENSION // 8, "update", self.number, interaction),
            PARTICULARS: vault.pad_particulars(f"particulars of: {text}".encode()),
        }
        if not learns:
            del plain[UPDATE]
        key, at = self.key_of(interaction), vault.Place(self.origin, self.fork_id, self.record_id(interaction))
        return {
            kind: vault.seal_payload(
                key.subkey(kind), kind, padded, at, drawn(24, "nonce", self.number, interaction, kind)
            )
            for kind, padded in plain.items()
        }

    def body(self, interaction: int, payloads: dict[int, bytes], **changes: object) -> Body:
        key = self.key_of(interaction)
        learns = UPDATE in payloads
        fields: dict[str, object] = {
            "fork_id": self.fork_id,
            "record_id": self.record_id(interaction),
            "interaction_number": interaction,
            "step": 1234 if learns else 0,
            "payloads": tuple((kind, record.payload_digest(kind, payloads[kind])) for kind in sorted(payloads)),
            "key_scheme": vault.SCHEME,
            "key_commitment": key.commitment,
            "update_encoding": SIGNS if learns else record.EMPTY,
            "update_dimension": DIMENSION,
            "layout_digest": LAYOUT,
            "recipe_digest": RECIPE,
            "state_commitment": vault.state_commitment(key.commit_key, drawn(32, "state", self.number, interaction)),
        }
        return Body(**{**fields, **changes})  # type: ignore[arg-type]

    def signed(self, body: bytes, payloads: dict[int, bytes]) -> SignedRecord:
        message = signed_message(entry.USER_TRAINING_RECORD, self.origin, body)
        return SignedRecord(body, (self.key.sign(message),), payloads)

    def record(self, interaction: int, learns: bool = True, said: str = "", **changes: object) -> SignedRecord:
        """A record that the door takes, unless `changes` of its body make it one that it does not."""
        payloads = self.payloads(interaction, learns, said)
        return self.signed(record.encode_body(self.body(interaction, payloads, **changes)), payloads)

    def next(self, learns: bool = True, said: str = "") -> SignedRecord:
        self.written += 1
        return self.record(self.written, learns, said)


def clock() -> Callable[[], int]:
    """A clock that is a second further on each time it is looked at."""
    seconds = iter(range(10**9))
    return lambda: NOW + 1_000_000 * next(seconds)


def open_ledger(path: Path) -> Ledger:
    return Ledger(open_store(path), LOG_KEY, RECEIPT_KEY, clock())


def fill(ledger: Ledger, forks: int = 2, records: int = 3) -> list[Writer]:
    """Forks created first, then their records in turns: every third record has learned nothing."""
    writers = [Writer(number) for number in range(forks)]
    for writer in writers:
        ledger.create_fork(writer.control())
    for interaction in range(1, records + 1):
        for writer in writers:
            ledger.append(writer.next(learns=interaction % 3 != 0))
    return writers


def datastore(ledger: Ledger) -> Datastore:
    """What lies under a ledger on SQLite, to look at and to tamper with."""
    assert isinstance(ledger.store, SqliteStore)
    return ledger.store._datastore
