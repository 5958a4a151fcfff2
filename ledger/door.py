"""The door: all that can be said of a submission before it has a place. No lock is held and nothing is written here.

What depends on a fork's first entry alone belongs here as well, for that entry never changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ledger.entry import (
    FORK_CREATED,
    RESERVED_TOPICS,
    USER_TRAINING_RECORD,
    ForkCreated,
    SignedControl,
    admit_fork_created,
    decode_entry,
    decode_fork_created,
)
from ledger.errors import LedgerError, NotFound, Refused
from ledger.keys import Signature
from ledger.record import Body, SignedRecord, admit
from ledger.rights import check_fork_created, check_signer, rights_from
from ledger.store import Store

_AROUND = 512  # bytes of an entry that are not its body


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed body that passed the door. A control event has no record id, and interaction number 0."""

    fork_id: str
    topic: str
    body: bytes
    signatures: tuple[Signature, ...]
    record_id: bytes | None
    interaction_number: int
    payloads: Mapping[int, bytes]

    @property
    def size(self) -> int:
        """About how many bytes it becomes."""
        return _AROUND + len(self.body) + sum(map(len, self.payloads.values()))


def admit_control(origin: str, control: SignedControl) -> Submission:
    """Check a control event. Today that is `fork-created`. Raises Refused, Malformed or BadSignature."""
    if control.topic in RESERVED_TOPICS:
        raise Refused(f"topic {control.topic}: specified, but not taken by this version")
    if control.topic != FORK_CREATED:
        raise Refused(f"topic: expected {FORK_CREATED}, got another")
    created = admit_fork_created(control.body)
    check_fork_created(origin, created.fork_id, control.body, control.signatures)
    return Submission(created.fork_id, FORK_CREATED, control.body, control.signatures, None, 0, {})


def admit_records(store: Store, origin: str, records: Sequence[SignedRecord]) -> list[Submission | LedgerError]:
    """Check records, each for itself: what passes, or why it does not.

    Refused or Malformed (not a record that this log takes), NotFound (no such fork), BadSignature (not the owner's).
    """
    bodies = [_body_or_error(record) for record in records]
    firsts = store.first_entries({body.fork_id for body in bodies if not isinstance(body, LedgerError)})
    admitted: list[Submission | LedgerError] = []
    for record, body in zip(records, bodies, strict=True):
        if isinstance(body, LedgerError):
            admitted.append(body)
            continue
        try:
            first = firsts.get(body.fork_id)
            if first is None:
                raise NotFound(f"fork {body.fork_id}: not in this ledger")
            created = _created_by(first.data)
            check_signer(rights_from(created), origin, USER_TRAINING_RECORD, record.body, record.signatures)
            for name in ("layout_digest", "recipe_digest"):
                if getattr(body, name) != getattr(created, name):
                    raise Refused(f"{name}: expected the one that the fork was created with")
            if body.update_dimension != created.dimension:
                raise Refused(f"update_dimension: expected {created.dimension}, got {body.update_dimension}")
        except LedgerError as error:
            admitted.append(error)
            continue
        admitted.append(
            Submission(
                body.fork_id, USER_TRAINING_RECORD, record.body, record.signatures, body.record_id,
                body.interaction_number, record.payloads,
            )
        )  # fmt: skip
    return admitted


def _body_or_error(record: SignedRecord) -> Body | LedgerError:
    try:
        return admit(record)
    except LedgerError as error:
        return error


@lru_cache(maxsize=10_000)
def _created_by(first: bytes) -> ForkCreated:
    return decode_fork_created(decode_entry(first).body)
