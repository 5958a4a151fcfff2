"""What a fork was given and what it learned of it, opened with its keys. Needs no model.

Whoever holds the key store and the service key can read this: that is what service custody means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import ledger
from ledger.errors import BadProof
from modelfork.interaction import Interaction
from modelfork.lesson import lesson_of
from modelfork.recording import Particulars, open_interaction
from modelfork.update import EMPTY

KeyFinder = Callable[[ledger.record.Body], ledger.vault.RecordKey]

_CUSTODY = {1: "owner", 2: "delegate", 3: "service"}


@dataclass(frozen=True, slots=True)
class Remembered:
    """A record as its fork's keys open it."""

    stored: ledger.StoredEntry
    body: ledger.record.Body
    interaction: Interaction
    particulars: Particulars


def key_finder(keystore: ledger.KeyStore, fork_id: str) -> KeyFinder:
    """Finds the key of a record through the salt that is kept for it. Raises NotFound where the fork's secrets are not
    kept here; so does what it returns, for a record whose salt is gone."""
    root = keystore.fork_keys(fork_id).root
    return lambda body: keystore.record_key(fork_id, root, body.key_commitment, body.interaction_number)


def remember(log: ledger.LogReader, stored: ledger.StoredEntry, key_of: KeyFinder) -> Remembered:
    """Open one record. Raises BadProof when the entry is not the one that the store found it as."""
    entry = ledger.entry.decode_entry(stored.data)
    body = ledger.record.decode_body(entry.body)
    said_to_be = (stored.fork_id, stored.fork_id, stored.version, stored.record_id)
    if (entry.fork_id, body.fork_id, entry.version, body.record_id) != said_to_be:
        raise BadProof(f"leaf {stored.leaf_index}: the entry is of another record than was asked for; run an audit")
    said, particulars = open_interaction(body, log.payloads(stored.leaf_index), key_of(body), log.origin)
    return Remembered(stored, body, said, particulars)


def history(log: ledger.LogReader, key_of: KeyFinder, fork_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Entries of a fork with a version above `after`, in order, as plain values: who signed, what was said, what
    it taught."""
    log.head(fork_id)
    signer = _signer(log, fork_id)
    return [
        {
            "version": stored.version,
            "leaf_index": stored.leaf_index,
            "topic": stored.topic,
            "entry_hash": ledger.merkle.leaf_hash(stored.data).hex(),
            "signed_by": signer,
        }
        | (_told(remember(log, stored, key_of)) if _is_record(stored) else {})
        for stored in log.store.fork_entries(fork_id, after, limit)
    ]


def _is_record(stored: ledger.StoredEntry) -> bool:
    return ledger.entry.decode_entry(stored.data).topic == ledger.entry.USER_TRAINING_RECORD


def _signer(log: ledger.LogReader, fork_id: str) -> str:
    _, first = next(log.read(fork_id))
    return _CUSTODY[ledger.entry.decode_fork_created(first.body).custody]


def effect(body: ledger.record.Body, said: Interaction) -> tuple[bool, bool]:
    """Whether the lesson of a record moved its fork; whether, without one, what was told earlier was learned again."""
    moved, taught = body.update_encoding != EMPTY, lesson_of(said) is not None
    return moved and taught, moved and not taught


def _told(known: Remembered) -> dict[str, Any]:
    said, particulars, body = known.interaction, known.particulars, known.body
    learned, practised = effect(body, said)
    return {
        "record_id": body.record_id.hex(),
        "interaction_number": body.interaction_number,
        "created_at": particulars.created_at,
        "said": said.messages[-1].content if said.messages else "",
        "answer": said.answer,
        "correction": said.correction,
        "rating": said.rating,
        "comment": said.comment,
        "refers_to": said.refers_to.hex(),
        "teaches": said.teaches,
        "learned": learned,
        "practised": practised,
        "noted": [asdict(one) for one in said.noted],
        "step": body.step,
        "loss_before": particulars.metrics.loss_before,
        "loss_after": particulars.metrics.loss_after,
        "anchor_loss": particulars.metrics.anchor_loss,
        "guard_quarters": particulars.metrics.guard_quarters,
        "rehearsed": [record_id.hex() for record_id in particulars.rehearsed],
    }
