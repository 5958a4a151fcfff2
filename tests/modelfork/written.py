"""Forks with real updates, written into a real ledger file. Every key, id and number follows from a seed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

import ledger
from ledger.store.sqlite import open_store
from modelfork import update as updates
from modelfork.interaction import Interaction, Message
from modelfork.recording import Metrics, Particulars, Writer, build_record
from modelfork.replay import Replayed, State, advance, genesis, replay
from modelfork.update import Update

ORIGIN = "example.org/log"
DIMENSION = 100  # no multiple of 8: every encoding has padding bits
LAYOUT, RECIPE = sha256(b"layout").digest(), sha256(b"recipe").digest()
SAID = Interaction(
    (Message("system", "Be kind."), Message("user", "Wie heißt mein Hund?")),
    "Das weiß ich nicht.",
    correction="Rex.",
    comment="of course",
    refers_to=bytes(range(16)),
)


def drawn_update(numbers: np.random.Generator, encoding: int, dimension: int = DIMENSION) -> Update:
    """A random update that its encoding can say."""
    step = int(numbers.integers(0, updates.STEP_LIMIT))
    if encoding == updates.EMPTY:
        return updates.empty(dimension)
    if encoding == updates.SPARSE_SIGNS:
        q = np.zeros(dimension, np.int8)
        some = numbers.choice(dimension, updates.sparse_count(dimension), replace=False)
        q[some] = numbers.choice([-1, 1], some.size)
        return Update(step, encoding, q)
    values = {
        updates.SIGNS: [-1, 1],
        updates.SIGN_SUMS: [-3, -1, 1, 3],
        updates.INT4: list(range(-7, 8)),
        updates.INT8: list(range(-127, 128)),
    }[encoding]
    return Update(step, encoding, numbers.choice(values, dimension).astype(np.int8))


@dataclass(slots=True)
class Fork:
    """Someone who creates a fork in a ledger and writes its records, learning at random."""

    log: ledger.Ledger
    seed: int = 0
    number: int = 0
    salts: dict[int, bytes] = field(default_factory=dict)
    random: Callable[[int], bytes] = field(init=False)
    numbers: np.random.Generator = field(init=False)
    writer: Writer = field(init=False)
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = np.random.default_rng(self.seed)
        self.random = np.random.default_rng(self.seed + 1_000_000).bytes
        key = ledger.keys.SigningKey(self.random(32))
        self.state = genesis(LAYOUT, DIMENSION)
        fork_id = str(uuid.UUID(bytes=self.random(16), version=4))
        created = ledger.entry.ForkCreated(
            fork_id, key.public, ledger.entry.SELF, LAYOUT, RECIPE, self.state.digest, DIMENSION
        )
        self.writer = Writer(self.log.origin, created, key, self.random(32))
        self.log.create_fork(self.control(ledger.entry.encode_fork_created(created)))

    @property
    def fork_id(self) -> str:
        return self.writer.fork.fork_id

    def control(self, body: bytes) -> ledger.entry.SignedControl:
        message = ledger.keys.signed_message(ledger.entry.FORK_CREATED, self.log.origin, body)
        return ledger.entry.SignedControl(ledger.entry.FORK_CREATED, body, (self.writer.owner_key.sign(message),))

    def key_of(self, body: ledger.record.Body) -> ledger.vault.RecordKey:
        return ledger.vault.record_key(self.writer.root, self.salts[body.interaction_number], body.interaction_number)

    def learn(self, encoding: int = updates.SIGNS, said: Interaction = SAID) -> ledger.record.SignedRecord:
        """Append the next record; returns it."""
        self.number += 1
        update = drawn_update(self.numbers, encoding)
        self.state = advance(self.state, self.state.version + 1, update)
        record, self.salts[self.number] = build_record(
            self.writer, self.number, self.random(16), said, update, self.state.digest, particulars(), self.random
        )
        self.log.append(record)
        return record

    def entries(self, after: int = 0) -> list[tuple[ledger.StoredEntry, ledger.entry.Entry]]:
        return list(self.log.read(self.fork_id, after))

    def replay(self, start: Replayed | None = None, check_state: bool = True) -> Replayed:
        after = 0 if start is None else start.state.version
        return replay(
            self.log.read(self.fork_id, after), self.log.payloads, self.key_of, self.log.origin, start, check_state
        )


def particulars() -> Particulars:
    metrics = Metrics(loss_before=1.5, learned_tokens=99, iterations=3, prompt_tokens=20, completion_tokens=5)
    return Particulars("someone", 1_700_000_000_000_000, 4, metrics, (bytes(16), b"r" * 16), seed=2**64 - 1)


def open_ledger(path: Path) -> ledger.Ledger:
    log_key = ledger.note.Ed25519Signer(ORIGIN, sha256(b"log").digest())
    receipt_key = ledger.note.Ed25519Signer(ledger.receipt.key_name(ORIGIN), sha256(b"receipt").digest())
    return ledger.Ledger(open_store(path), log_key, receipt_key, lambda: 1_700_000_000_000_000)
