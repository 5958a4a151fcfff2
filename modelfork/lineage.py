"""Which updates of a fork are active: a function of its entries, read in order and without keys.

Today every record's update is active. Topics that disable, replace, roll back or erase are refused at the door until
they are built; whoever meets one here must stop, for its effect on the state is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ledger
from modelfork.errors import Diverged


@dataclass(frozen=True, slots=True)
class ActiveUpdate:
    """A recorded update that counts, by the place and the id of its record."""

    version: int
    interaction_number: int
    record_id: bytes  # 16


def check_topic(entry: ledger.entry.Entry) -> None:
    """Raise Diverged unless the effect of `entry` on a state is known: version 1 creates, records add."""
    topics = ledger.entry
    expected = topics.FORK_CREATED if entry.version == 1 else topics.USER_TRAINING_RECORD
    if entry.topic != expected:
        named = entry.topic if entry.topic in topics.TOPICS | topics.RESERVED_TOPICS else "an unknown one"
        raise Diverged(
            f"fork {entry.fork_id} version {entry.version}: topic: expected {expected}, got {named}", entry.version
        )


def active_updates(entries: Iterable[ledger.entry.Entry]) -> tuple[ActiveUpdate, ...]:
    """The active updates of one fork, given its entries from version 1 on. Raises Diverged where it must stop."""
    active = []
    fork_id = None
    for version, entry in enumerate(entries, 1):
        if entry.version != version or entry.fork_id != (fork_id or entry.fork_id):
            raise Diverged(
                f"fork {fork_id or entry.fork_id} version {version}: place: another entry stands there", version
            )
        fork_id = entry.fork_id
        check_topic(entry)
        if entry.topic == ledger.entry.USER_TRAINING_RECORD:
            body = ledger.record.decode_body(entry.body)
            active.append(ActiveUpdate(version, body.interaction_number, body.record_id))
    return tuple(active)
