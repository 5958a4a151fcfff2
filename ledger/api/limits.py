"""Refuses a body that is too large before it is read into memory, and any while too much of others' is held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.errors import RETRY_AFTER, error_response

# bytes: a record with four payloads of the largest size does not fit, any real one does. A thousand records of 4 KB do
# too, and a transaction takes no more than that: a larger batch would gain nothing.
LONGEST_REQUEST = 4 << 20
MOST_HELD = 256 << 20  # bytes of all bodies that were not answered yet
MOST_SECONDS = 30.0  # for one body to arrive: what stalls would count against MOST_HELD for as long as it likes


class BodyLimit:
    """ASGI middleware: 413 once more than `limit` bytes are announced or arrive; 408 when they do not arrive; 429 while
    `most_held` are held.

    A body is held until its request is answered. For as long as the queue behind it is full, or the threads before the
    queue are at work, bodies pile up here and nowhere else.
    """

    def __init__(self, app: ASGIApp, limit: int = LONGEST_REQUEST, most_held: int = MOST_HELD) -> None:
        self._app = app
        self._limit = limit
        self._most_held = most_held
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._limit:
            await self._too_large(scope, receive, send)
            return
        held = 0

        def hold(length: int) -> bool:
            nonlocal held
            held += length
            self._held += length
            return self._held <= self._most_held

        try:
            await self._bounded(hold, scope, receive, send)
        finally:
            self._held -= held

    async def _bounded(self, hold: Callable[[int], bool], scope: Scope, receive: Receive, send: Send) -> None:
        # Without an announced length, bytes are counted as they come: read here, handed on whole.
        body = bytearray()
        more = True
        end = asyncio.get_running_loop().time() + MOST_SECONDS
        while more:
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                await self._too_slow(scope, receive, send)
                return
            if message["type"] == "http.disconnect":
                return
            part = message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) + len(part) > self._limit:
                await self._too_large(scope, receive, send)
                return
            if part and not hold(len(part)):
                await self._too_much(scope, receive, send)
                return
            body += part
        handed = False

        async def once() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, once, send)

    async def _too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"request body: expected at most {self._limit} bytes"
        await error_response(413, "too_large", message)(scope, receive, send)

    async def _too_slow(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"request body: expected all of it within {MOST_SECONDS:.0f} seconds"
        headers = {"connection": "close"}
        await error_response(408, "too_slow", message, headers=headers)(scope, receive, send)

    async def _too_much(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"request body: more than {self._most_held} bytes of others wait already; nothing was taken"
        headers = {"retry-after": str(RETRY_AFTER)}
        await error_response(429, "busy", message, headers=headers)(scope, receive, send)
