"""Attaches the fork routes to the ledger's service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from ledger import api_errors
from modelfork.api import chat, forks
from modelfork.api.turns import Turns
from modelfork.api.wiring import Wired
from modelfork.errors import Diverged, ForkError, Malformed, TooLong, Unsuited
from modelfork.forks import Answered, ForkManager

TURN_THREADS = 8

_STATUS: tuple[tuple[type[ForkError], int, str], ...] = (
    (TooLong, 400, "context_length_exceeded"),
    (Malformed, 400, "malformed"),
    (Unsuited, 409, "unsuited"),
    (Diverged, 500, "diverged"),
)


def attach_forks(app: FastAPI, manager: ForkManager, now: Callable[[], int], most_turns: int) -> None:
    """Add routes, error objects, and the turns' end to the service's own end."""
    turns: Turns[Answered] = Turns(most_turns, TURN_THREADS)
    app.state.forks = Wired(manager, turns, now)
    app.include_router(chat.router)
    app.include_router(forks.router)

    @app.exception_handler(ForkError)
    async def _fork_error(_: Request, error: ForkError) -> JSONResponse:
        status, code = next(((s, c) for kind, s, c in _STATUS if isinstance(error, kind)), (500, "fork_error"))
        return api_errors.error_response(status, code, str(error))

    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with inner(app):
            yield
            await run_in_threadpool(turns.close)  # what is under way is recorded before the ledger closes

    app.router.lifespan_context = lifespan
