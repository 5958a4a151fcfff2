"""What an error looks like over HTTP: OpenAI's error object, for every route. Never with content or keys."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.access import method_of, route_of
from ledger.errors import (
    AlreadyRecorded,
    BadProof,
    BadSignature,
    Busy,
    Conflict,
    Fenced,
    Halted,
    LedgerError,
    Malformed,
    NotFound,
    Refused,
    StaleNumber,
    Unavailable,
)
from ledger.ledger import Ledger
from ledger.logs import place_of as place_of

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
    (Busy, 429, "busy"),
    (Fenced, 503, "fenced"),
    (Halted, 503, "halted"),
    (Unavailable, 503, "unavailable"),
)
# What pydantic says of these names classes of ours, or nothing that helps.
_WHY = {
    "extra_forbidden": "expected no other fields than /docs names, got one",
    "json_invalid": "expected JSON, got something else",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "expected a JSON object, got something else"),
}
RETRY_AFTER = 1  # seconds: a database that was lost is back in a moment, or not for long


def error_object(status: int, code: str, message: str, param: str | None = None, **more: Any) -> dict[str, Any]:
    """What stands under `error`. `more` is for fields that a client of ours can use, such as the expected number."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return {"message": message, "type": kind, "param": param, "code": code, **more}


def error_response(
    status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An OpenAI error object, as the answer to a request."""
    return JSONResponse({"error": error_object(status, code, message, param, **more)}, status, headers)


def invalid_object(errors: Sequence[Any]) -> dict[str, Any]:
    """The error object for what pydantic says of a body. It quotes what came; only where and why goes out."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] in ("extra_forbidden", "json_invalid"):
        place = place[:-1]  # a name that they chose; a number of characters
    where = ".".join(place)
    why = _WHY.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return error_object(400, "invalid_value", f"{where or 'body'}: {why}", where or None)


def refusal(ledger: Ledger, error: LedgerError) -> tuple[int, dict[str, Any]]:
    """The status and the error object of an error, for a whole request or for one record of many.

    That of AlreadyRecorded has the receipt of the record that stands, which is read from the store.
    """
    status, code = next(((s, c) for kind, s, c in _STATUS if isinstance(error, kind)), (500, "ledger_error"))
    message = str(error)
    more: dict[str, Any] = {}
    if isinstance(error, StaleNumber):
        more["expected"] = error.expected
    if isinstance(error, AlreadyRecorded):
        try:
            more["receipt"] = ledger.receipt_of(ledger.entry_at(error.leaf_index)).decode()
        except LedgerError as worse:
            return refusal(ledger, worse)
    if isinstance(error, Unavailable):
        message += "; to ask again with the same bytes is safe"
    return status, error_object(status, code, message, **more)


def code_of(error: Exception) -> str:
    """The code of an error alone, without a look at the store."""
    unknown = "ledger_error" if isinstance(error, LedgerError) else "internal"
    return next((code for kind, _, code in _STATUS if isinstance(error, kind)), unknown)


def _retry_after(error: LedgerError) -> dict[str, str] | None:
    if isinstance(error, Busy):
        return {"retry-after": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, Unavailable) and not isinstance(error, (Fenced, Halted)):
        return {"retry-after": str(RETRY_AFTER)}
    return None  # one who was superseded stays so, and a contradiction too


def add_error_handlers(app: FastAPI) -> None:
    """Turn every error into an error object: expected ones with their reason, others without a word of detail."""

    @app.exception_handler(LedgerError)
    def _ledger_error(request: Request, error: LedgerError) -> JSONResponse:  # not async: it may read the store
        status, described = refusal(request.app.state.service.ledger, error)
        return JSONResponse({"error": described}, status, _retry_after(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": invalid_object(error.errors())}, 400)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        if error.detail == "There was an error parsing the body":  # FastAPI's, where not even bytes were text
            return error_response(400, "invalid_value", "body: expected JSON in UTF-8, got something else")
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        headers = dict(error.headers) if error.headers else None
        return error_response(error.status_code, code, str(error.detail), headers=headers)


class Unexpected:
    """ASGI middleware: an error that nobody expected becomes a 500 without detail, or ends a WebSocket with 1011.

    The log names its type and where it was raised, and not its message, which may quote what came.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] in ("http.response.start", "websocket.accept")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] == "lifespan":
                raise
            _LOG.error("%s %s failed: %s", method_of(scope), route_of(scope), place_of(error))
            if begun and scope["type"] == "websocket":
                with suppress(Exception):  # it may be closed already
                    await send({"type": "websocket.close", "code": 1011, "reason": "the service failed"})
            elif not begun:  # otherwise the server ends the connection, for the answer is not complete
                response = error_response(
                    500, "internal", "the service failed; nothing of this request was acknowledged"
                )
                await response(scope, receive, send)
