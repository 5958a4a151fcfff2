"""What an error looks like over HTTP: OpenAI's error object, for every route. Never with content or keys."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from traceback import extract_tb
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.errors import (
    AlreadyRecorded,
    BadProof,
    BadSignature,
    Conflict,
    LedgerError,
    Malformed,
    NotFound,
    Refused,
    StaleNumber,
)

_LOG = logging.getLogger("forkledger.api")

# What the caller can mend is 4xx. Anything else is ours.
_STATUS: Sequence[tuple[type[LedgerError], int, str]] = (
    (AlreadyRecorded, 409, "already_recorded"),
    (StaleNumber, 409, "stale_number"),
    (Conflict, 409, "conflict"),
    (NotFound, 404, "not_found"),
    (BadSignature, 403, "bad_signature"),
    (Malformed, 400, "malformed"),
    (Refused, 422, "refused"),
    (BadProof, 500, "bad_proof"),
)


def error_response(
    status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An OpenAI error object. `more` is for fields that a client of ours can use, such as the expected number."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code, **more}}
    return JSONResponse(body, status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Turn every error into an error object: expected ones with their reason, others without a word of detail."""

    @app.exception_handler(LedgerError)
    async def _ledger_error(request: Request, error: LedgerError) -> JSONResponse:
        status, code = next(((s, c) for kind, s, c in _STATUS if isinstance(error, kind)), (500, "ledger_error"))
        more: dict[str, Any] = {}
        if isinstance(error, StaleNumber):
            more["expected"] = error.expected
        if isinstance(error, AlreadyRecorded):
            more["receipt"] = _receipt_at(request, error.leaf_index)
        return error_response(status, code, str(error), **more)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # A validation error quotes what came; only where and why goes out.
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part != "body"]
        if first["type"] == "extra_forbidden":
            place = place[:-1]  # a name that they chose
        where = ".".join(place)
        return error_response(400, "invalid_value", f"{where or 'body'}: {first['msg']}", where or None)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        headers = dict(error.headers) if error.headers else None
        return error_response(error.status_code, code, str(error.detail), headers=headers)


class Unexpected:
    """ASGI middleware: an error that nobody expected becomes a 500 without detail.

    The log names its type and where it was raised, and not its message, which may quote what came.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http":
                raise
            _LOG.error("%s %s failed: %s", scope["method"], scope["path"], place_of(error))
            if not begun:  # otherwise the server ends the connection, for the answer is not complete
                response = error_response(
                    500, "internal", "the service failed; nothing of this request was acknowledged"
                )
                await response(scope, receive, send)


def place_of(error: BaseException) -> str:
    """Type and place of an error, for a log."""
    frames = extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


def _receipt_at(request: Request, leaf_index: int) -> str:
    ledger = request.app.state.service.ledger
    receipt: bytes = ledger.receipt_of(ledger.entry_at(leaf_index))
    return receipt.decode()
