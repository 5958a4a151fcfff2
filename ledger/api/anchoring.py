"""Gives the anchors their turns while the service runs, and tells what they have of a checkpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from ledger.anchor import NOWHERE, Confirmation, Standing
from ledger.anchor.rfc3161 import KIND as RFC3161
from ledger.anchor.timestamp import Timestamp, encode_timestamp
from ledger.anchor.worker import TURN_EVERY, Worker
from ledger.api.service import Served
from ledger.errors import NotFound
from ledger.logs import place_of
from ledger.store import Attempt, Settled

_LOG = logging.getLogger("forkledger.anchor")

router = APIRouter(tags=["log"])


class Anchoring:
    """The turns of one service's worker. What changed in how a backend stands is logged once."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._said: dict[str, str | None] = {}

    async def for_ever(self) -> None:
        while True:
            await self.turn()
            await asyncio.sleep(TURN_EVERY)

    async def turn(self) -> None:
        try:
            standings = await run_in_threadpool(self._worker.turn)
        except Exception as error:  # a backend is to raise nothing; if one does, the others and the log go on
            _LOG.error("no anchor: %s", place_of(error))
            return
        for standing in standings:
            self._tell(standing)

    def _tell(self, standing: Standing) -> None:
        trouble = standing.halted or standing.waiting
        if trouble == self._said.get(standing.backend):
            return
        self._said[standing.backend] = trouble
        if standing.halted:
            _LOG.error("anchoring halted: %s", standing.halted, extra={"backend": standing.backend})
        elif standing.waiting:
            _LOG.warning("anchoring waits: %s", standing.waiting, extra={"backend": standing.backend})
        else:
            _LOG.info("anchoring goes on", extra={"backend": standing.backend})


@router.get("/v1/log/anchors")
def anchors(
    service: Served,
    size: Annotated[
        int | None, Query(ge=1, lt=2**63, description="a checkpoint's; the published one's if left out")
    ] = None,
) -> dict[str, Any]:
    """The anchors that cover the first `size` entries: of each backend the smallest that has them all.

    `confirmation` is pending (sent), latest (in a block), safe or finalized. The service tells of itself here: who does
    not believe it asks the chain, with `forkledger audit --chain`.
    """
    wanted = service.publisher.size if size is None else size
    worker = service.worker
    standings = {standing.backend: standing for standing in (worker.standings if worker else ())}
    rows = service.ledger.store.outbox.anchors(wanted) if wanted else []
    found = [
        _shown(backend, list(of_one), standings.get(backend), worker)
        for backend, of_one in groupby(rows, lambda row: row.backend)
    ]
    said: dict[str, Any] = {"size": wanted, "anchors": found, "backends": list(worker.backends) if worker else []}
    return said if worker or found else said | {"note": NOWHERE}


@router.get("/v1/log/timestamp", response_class=Response)
def timestamp(service: Served, size: Annotated[int, Query(ge=1, lt=2**63)]) -> Response:
    """A timestamp authority's token over the smallest stamped checkpoint that covers the first `size` entries, and
    that checkpoint: a file for `forkledger verify --tsa-roots`."""
    store = service.ledger.store
    for row in store.outbox.anchors(size):
        if isinstance(row, Attempt) and row.backend.startswith(RFC3161):
            signed = store.checkpoint_of(row.size)
            if signed is not None:
                return Response(encode_timestamp(Timestamp(signed, row.data)), media_type="application/json")
    raise NotFound(f"timestamp: no stamped checkpoint covers {size} entries")


def _shown(
    backend: str, rows: Sequence[Attempt | Settled], standing: Standing | None, worker: Worker | None
) -> dict[str, Any]:
    """An anchor as JSON: of its attempts the one that came through, or else the last."""
    settled = next((row for row in rows if isinstance(row, Settled)), None)
    attempts = [row for row in rows if isinstance(row, Attempt)]
    sent = next((row for row in attempts if settled and row.attempt == settled.attempt), attempts[-1])
    confirmation = standing.confirmation(sent.size) if standing else None
    shown = {
        "backend": backend,
        "size": sent.size,
        "root": sent.root.hex(),
        "confirmation": Confirmation.FINALIZED if settled else confirmation or Confirmation.PENDING,
        "found_under": worker.found_under(sent) if worker else None,
    }
    if settled is None or not settled.block_hash:  # an authority's stamp is in no block
        return shown
    return shown | {"block": settled.block, "block_hash": settled.block_hash.hex()}
