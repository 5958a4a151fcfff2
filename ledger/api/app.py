"""Puts the service together: the ledger's routes, error objects, limits, and a checkpoint every second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from ledger import __version__
from ledger.api import batches, evidence, log, records, stream
from ledger.api.appending import Appending
from ledger.api.errors import Unexpected, add_error_handlers
from ledger.api.limits import BodyLimit
from ledger.api.service import Service

PUBLISH_EVERY = 1.0  # seconds

_LOG = logging.getLogger("forkledger.publish")


def create_app(service: Service, on_close: Callable[[], None]) -> FastAPI:
    """The ledger's part of the service. Other packages attach their routes to what this returns."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        publishing = asyncio.create_task(_publish_for_ever(service))
        try:
            yield
        finally:
            publishing.cancel()
            with suppress(asyncio.CancelledError):
                await publishing  # it may be in the middle of one: the ledger stays open until then
            await _publish(service)
            on_close()

    app = FastAPI(title="forkledger", version=__version__, lifespan=lifespan)
    app.state.service = service
    app.state.appending = Appending(service)
    app.state.streams = stream.Streams()
    add_error_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Unexpected)  # the outermost
    app.include_router(records.router)
    app.include_router(batches.router)
    app.include_router(stream.router)
    app.include_router(log.router)
    app.include_router(evidence.router)

    @app.get("/healthz", tags=["operating"])
    async def healthz() -> dict[str, str]:  # on the event loop: answers however many turns are under way
        return {"status": "ok", "origin": service.ledger.origin}

    return app


async def _publish_for_ever(service: Service) -> None:
    while True:
        await _publish(service)
        await asyncio.sleep(PUBLISH_EVERY)


async def _publish(service: Service) -> None:
    try:
        await run_in_threadpool(service.publisher.publish)
    except Exception as error:  # the next second tries again, and the error must be seen
        _LOG.error("no checkpoint: %s: %s", type(error).__name__, error)
