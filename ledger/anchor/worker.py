"""Gives the backends their turns with what is published, and keeps how they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.anchor import Anchor, Public, Standing
from ledger.store import Attempt

TURN_EVERY = 5.0  # seconds: a block takes longer on most chains


class Worker:
    """`public` tells the published checkpoint, `may` whether this process still speaks for the log.

    Several may run on one ledger: they meet in the outbox, and the chain takes each checkpoint once.
    """

    def __init__(self, anchors: Sequence[Anchor], public: Callable[[], Public | None], may: Callable[[], bool]) -> None:
        self._anchors = tuple(anchors)
        self._public = public
        self._may = may
        self.standings: tuple[Standing, ...] = ()

    @property
    def backends(self) -> tuple[str, ...]:
        return tuple(anchor.backend for anchor in self._anchors)

    def turn(self) -> tuple[Standing, ...]:
        """One turn of every backend; those before one that raises have had theirs. Nothing while nothing is public."""
        public = self._public() if self._may() else None
        if public is not None:
            self.standings = tuple(anchor.turn(public) for anchor in self._anchors)
        return self.standings

    def found_under(self, attempt: Attempt) -> str | None:
        """What an attempt is called where it went; None where it is of no backend that is asked now."""
        for anchor in self._anchors:
            if anchor.backend == attempt.backend:
                return anchor.found_under(attempt)
        return None

    def close(self) -> None:
        for anchor in self._anchors:
            anchor.close()
