"""For those who run the service: does it live, can it do its work, and its figures.

No API key is asked for, and nothing here tells of a fork or an app. A proxy that opens the service to strangers keeps
`/readyz` and `/metrics` inside.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ledger.api.metrics import CONTENT_TYPE, Metrics
from ledger.api.publishing import Publishing, seconds_since_accepted
from ledger.api.service import Served, Service
from ledger.ledger import MAXIMUM_DELAY

DEADLINE = 2.0  # seconds that the database has to answer
_LATE = MAXIMUM_DELAY / 1_000_000

router = APIRouter(tags=["operating"])


class Readiness:
    """Whether a service can do its work. One look at a time: whoever asks meanwhile gets what it finds."""

    def __init__(self, service: Service, publishing: Publishing) -> None:
        self._service = service
        self._publishing = publishing
        self._looking: asyncio.Task[tuple[list[str], list[str]]] | None = None

    async def look(self) -> tuple[list[str], list[str]]:
        """Why it is not ready: nothing when it is. And what is to be said although it is."""
        if self._looking is None or self._looking.done():
            # A thread that is not one of those that requests wait for.
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), DEADLINE)
        except TimeoutError:
            return [f"the database did not answer within {DEADLINE:g} s"], []

    def _look(self) -> tuple[list[str], list[str]]:
        service, reasons, notes = self._service, [], []
        try:
            covered, size = service.publisher.size, service.ledger.size()
            fenced = service.ledger.fenced()
            waits = seconds_since_accepted(service, covered) if covered < size else 0.0
        except Exception as error:
            return [f"the database does not answer: {type(error).__name__}"], []
        if fenced:
            reasons.append("another process has taken over the log's writing")
        failure = self._publishing.failure
        if failure is not None:
            reasons.append(f"the last checkpoint could not be published: {failure}")
        elif waits > _LATE and service.publisher.witnessed:
            notes.append(f"no quorum of witnesses: entries wait {waits:.0f} s for a checkpoint, expected {_LATE:.0f}")
        elif waits > _LATE:
            reasons.append(f"entries wait {waits:.0f} s for a checkpoint, expected at most {_LATE:.0f}")
        if service.worker is not None:
            halted = [standing for standing in service.worker.standings if standing.halted]
            notes += [f"anchoring halted ({standing.backend}): {standing.halted}" for standing in halted]
        return reasons, notes


@router.get("/healthz")
async def healthz(service: Served) -> dict[str, str]:  # on the event loop: answers however many turns are under way
    return {"status": "ok", "origin": service.ledger.origin}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """200 while records can be appended and are made public; 503 with the reasons otherwise."""
    readiness: Readiness = request.app.state.readiness
    reasons, notes = await readiness.look()
    said: dict[str, Any] = {"status": "not ready" if reasons else "ready", "reasons": reasons, "notes": notes}
    return JSONResponse(said, 503 if reasons else 200, {"cache-control": "no-store"})


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures in Prometheus' text format."""
    kept: Metrics = request.app.state.metrics
    return Response(kept.text(), media_type=CONTENT_TYPE)
