"""Publishes every second, and keeps how it went for those who watch."""

from __future__ import annotations

import asyncio
import logging

from starlette.concurrency import run_in_threadpool

from ledger.api.metrics import Metrics
from ledger.api.service import Service
from ledger.errors import LedgerError
from ledger.logs import place_of

PUBLISH_EVERY = 1.0  # seconds

_LOG = logging.getLogger("forkledger.publish")


class Publishing:
    """The turns of one service's publisher. `failure` is the type of error that the last one ended with."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._seen: tuple[int, int] | None = None  # log and published size at the end of the last turn
        self.failure: str | None = None

    async def for_ever(self) -> None:
        while True:
            await self.turn()
            await asyncio.sleep(PUBLISH_EVERY)

    async def turn(self) -> None:
        try:
            await run_in_threadpool(self._turn)
            self.failure = None
        except Exception as error:  # the next second tries again, and the error must be seen
            self.failure = type(error).__name__
            self._metrics.publish_failures.inc()
            said = f"{self.failure}: {error}" if isinstance(error, LedgerError) else place_of(error)
            _LOG.error("no checkpoint: %s", said)

    def _turn(self) -> None:
        service, metrics = self._service, self._metrics
        service.publisher.publish()
        covered, size = service.publisher.size, service.ledger.size()  # in this order: the log only grows
        grown_from, public_from = self._seen or (size, covered)
        if covered > public_from:
            metrics.integration_delay.observe(seconds_since_accepted(service, public_from))
        metrics.appended.inc(max(0, size - grown_from))
        metrics.log_size.set(size)
        metrics.published_size.set(covered)
        metrics.oldest_unpublished.set(seconds_since_accepted(service, covered) if covered < size else 0)
        if (written_at := service.publisher.folder.written_at()) is not None:
            metrics.checkpoint_age.set(max(0.0, service.now() / 1_000_000 - written_at))
        self._seen = (size, covered)


def seconds_since_accepted(service: Service, leaf_index: int) -> float:
    return max(0.0, (service.now() - service.ledger.entry_at(leaf_index).accepted_at) / 1_000_000)
