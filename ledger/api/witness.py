"""The HTTP service of a witness: add-checkpoint as c2sp.org/tlog-witness (1.0.0) has it, and what it has seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from ledger import __version__
from ledger.api.errors import Unexpected
from ledger.api.limits import BodyLimit
from ledger.errors import (
    BadProof,
    BadSignature,
    LedgerError,
    Malformed,
    NotFound,
    Refused,
    SplitView,
    StaleSize,
    Unavailable,
)
from ledger.witness.request import LONGEST_REQUEST, encode_size
from ledger.witness.witness import Witness

_STATUS: tuple[tuple[type[LedgerError], int], ...] = (
    (Malformed, 400),
    (Refused, 400),
    (BadSignature, 403),
    (NotFound, 404),
    (BadProof, 422),
    (Unavailable, 503),
)


def create_app(witness: Witness) -> FastAPI:
    """Serves one witness, and closes it at the end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(witness.close)

    app = FastAPI(title="forkledger witness", version=__version__, lifespan=lifespan)
    app.add_middleware(BodyLimit, limit=LONGEST_REQUEST)
    app.add_middleware(Unexpected)  # the outermost

    @app.exception_handler(LedgerError)
    async def _refused(_: Request, error: LedgerError) -> Response:
        if isinstance(error, SplitView | StaleSize):
            # Both name the size that was cosigned last: a log that sent this very size learns that its root is another.
            # The type is to be exactly this; as a media type, starlette would give it a charset.
            return Response(encode_size(error.size), 409, {"content-type": "text/x.tlog.size"})
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return PlainTextResponse(f"{error}\n", status)

    @app.post("/add-checkpoint", response_class=PlainTextResponse)
    async def add_checkpoint(request: Request) -> PlainTextResponse:
        """Cosignature lines for a log's checkpoint that only adds to what was cosigned before."""
        body = await request.body()
        return PlainTextResponse(await run_in_threadpool(witness.add_checkpoint, body))

    @app.get("/v1/witness")
    def described() -> dict[str, Any]:
        """The keys to pin, and the checkpoint cosigned last for each log: compare its root with what the log says."""
        logs = [
            {"origin": origin, "size": tree.size if tree else 0, "root": tree.root.hex() if tree else None}
            for origin, tree in witness.logs().items()
        ]
        return {"name": witness.name, "vkeys": witness.vkeys, "logs": logs}

    @app.get("/v1/witness/alarms")
    def alarms() -> dict[str, Any]:
        """Evidence against logs: pairs of checkpoints that they signed and that do not go together."""
        return {"alarms": [alarm.as_json() for alarm in witness.alarms()]}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "name": witness.name}

    return app
