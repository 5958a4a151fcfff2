"""Lets a path be written in one way only: what is cached for ever under one name must not have a second."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ledger.api.errors import error_response


class ExactPath:
    """ASGI middleware: 404 for a path that ends in a newline.

    Starlette's routes end in `$`, which matches before a last newline too: `/checkpoint%0a` would be `/checkpoint`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not scope["path"].endswith("\n"):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await error_response(404, "not_found", "Not Found")(scope, receive, send)
