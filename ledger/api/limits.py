"""Refuses a body that is too large before it is read into memory."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.errors import error_response

LONGEST_REQUEST = 4 << 20  # bytes: a record with four payloads of the largest size does not fit, any real one does


class BodyLimit:
    """ASGI middleware: 413 once more than `limit` bytes are announced or arrive."""

    def __init__(self, app: ASGIApp, limit: int = LONGEST_REQUEST) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = error_response(413, "too_large", f"request body: expected at most {self._limit} bytes")
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._limit:
            await refusal(scope, receive, send)
            return
        # Without an announced length, bytes are counted as they come: read here, handed on whole.
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                await refusal(scope, receive, send)
                return
        handed = False

        async def once() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, once, send)
