"""Anchors: what commits the published checkpoints in a place that neither we nor our witnesses hold. The port.

Each backend is given turns. A turn does one step of what there is to do, and tells how things stand; what must not be
sent twice is kept in the outbox (`ledger.store`) before it leaves.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from ledger.store import Attempt, Outbox

NOWHERE = "this log is anchored nowhere: only witnesses, and those who kept a checkpoint, would notice a second history"


class Confirmation(enum.StrEnum):
    """How far a place has gone in taking an anchor for good."""

    PENDING = "pending"  # sent, in no block yet
    LATEST = "latest"  # in a block that may still be taken back
    SAFE = "safe"  # in one that honest nodes do not expect to be taken back
    FINALIZED = "finalized"  # for good


@dataclass(frozen=True, slots=True)
class Public:
    """The published checkpoint: the newest that may be anchored."""

    size: int
    root: bytes  # 32
    note: bytes  # signed, verbatim


@dataclass(frozen=True, slots=True)
class Standing:
    """How a backend stands after a turn. A size is a checkpoint's; 0 where there is none yet."""

    backend: str
    pending: int = 0  # of the newest checkpoint that was sent and is in no block yet
    anchored: int = 0  # of the newest anchor that is in a block
    safe: int = 0
    settled: int = 0  # finalized
    lag: int = 0  # entries that are published and not anchored
    waiting: str | None = None  # why nothing moves now; it goes on by itself
    halted: str | None = None  # what must not be, and was seen; a person has to look
    cost: int = 0  # of all that is settled: wei; 0 where it costs nothing
    balance: int | None = None  # of who pays: wei
    transaction: bytes | None = None  # of the newest anchor: what it is found under
    block: int | None = None  # of the newest anchor

    def confirmation(self, size: int) -> Confirmation | None:
        """Of the anchor that covers the first `size` entries. None while nothing of the kind was sent."""
        for reached, confirmation in (
            (self.settled, Confirmation.FINALIZED),
            (self.safe, Confirmation.SAFE),
            (self.anchored, Confirmation.LATEST),
            (self.pending, Confirmation.PENDING),
        ):
            if 0 < size <= reached:
                return confirmation
        return None


def known(outbox: Outbox, backend: str, public: Public) -> Standing:
    """What the outbox alone tells of a backend: nobody is asked."""
    last = outbox.last_anchored(backend)
    size = last.size if last else 0
    return Standing(
        backend,
        anchored=size,
        safe=size,
        settled=size,
        lag=max(0, public.size - size),
        halted=outbox.halted(backend),
        cost=outbox.cost(backend),
    )


class Anchor(Protocol):
    """A backend. One thread at a time."""

    @property
    def backend(self) -> str:
        """What it is called in the outbox."""

    def turn(self, public: Public) -> Standing:
        """One step. Whatever the world does raises nothing: it is waited for; what must not be halts the backend."""

    def found_under(self, attempt: Attempt) -> str:
        """What a kept attempt of this backend is called where it went: a transaction's hash, a token's digest."""

    def close(self) -> None: ...
