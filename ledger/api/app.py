"""Puts the service together: the ledger's routes, error objects, limits, and a checkpoint every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from ledger import __version__
from ledger.api import anchoring, batches, evidence, log, operating, records, stream
from ledger.api.access import Access
from ledger.api.appending import Appending
from ledger.api.errors import Unexpected, add_error_handlers
from ledger.api.limits import BodyLimit
from ledger.api.metrics import Metrics
from ledger.api.paths import ExactPath
from ledger.api.publishing import Publishing
from ledger.api.service import Service
from ledger.api.streams import Streams


def create_app(service: Service, on_close: Callable[[], None]) -> FastAPI:
    """The ledger's part of the service. Other packages attach their routes to what this returns."""
    metrics = Metrics(service)
    publishing = Publishing(service, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        turns = [asyncio.create_task(publishing.for_ever())]
        if service.worker is not None:
            turns.append(asyncio.create_task(anchoring.Anchoring(service.worker).for_ever()))
        try:
            yield
        finally:
            if service.worker is not None:  # first: its turn may wait for a slow node, and nothing is lost by ending it
                await run_in_threadpool(service.worker.close)
            for each in turns:
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each  # one may be under way: the ledger stays open until it ends
            await publishing.turn()
            on_close()

    app = FastAPI(title="forkledger", version=__version__, lifespan=lifespan)
    app.state.service = service
    app.state.metrics = metrics
    app.state.publishing = publishing
    app.state.readiness = operating.Readiness(service, publishing)
    app.state.appending = Appending(service, metrics)
    app.state.streams = Streams()
    add_error_handlers(app)
    app.add_middleware(ExactPath)
    app.add_middleware(BodyLimit)
    app.add_middleware(Unexpected)
    app.add_middleware(Access, metrics=metrics)  # the outermost
    app.include_router(records.router)
    app.include_router(batches.router)
    app.include_router(stream.router)
    app.include_router(log.router)
    app.include_router(evidence.router)
    app.include_router(anchoring.router)
    app.include_router(operating.router)
    return app
