"""Attaches the fork routes to the ledger's service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from modelfork.api import batches, chat, forks, stream
from modelfork.api.outcomes import fork_refusal
from modelfork.api.teaching import Teaching
from modelfork.api.turns import Turns
from modelfork.api.wiring import Wired
from modelfork.errors import ForkError
from modelfork.forks import Answered, ForkManager

TEACHING_THREADS = 4  # one learns, the others open a fork or append: more would only wait for the model out of turn


def attach_forks(app: FastAPI, manager: ForkManager, now: Callable[[], int], most_turns: int) -> None:
    """Add routes, error objects, and the turns' end to the service's own end."""
    turns: Turns[Answered] = Turns(most_turns, most_turns)  # all of them wait for places in one queue: the batcher's
    teaching = Teaching(TEACHING_THREADS)
    app.state.forks = Wired(manager, turns, teaching, now)
    app.state.streams.tell(teaching.finish)
    app.include_router(chat.router)
    app.include_router(forks.router)
    app.include_router(batches.router)
    app.include_router(stream.router)

    @app.exception_handler(ForkError)
    async def _fork_error(_: Request, error: ForkError) -> JSONResponse:
        status, described = fork_refusal(error)
        return JSONResponse({"error": described}, status)

    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with inner(app):
            yield
            teaching.finish()
            await run_in_threadpool(turns.close)  # what is under way is recorded before the ledger closes
            await run_in_threadpool(teaching.close)

    app.router.lifespan_context = lifespan
