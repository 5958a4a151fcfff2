"""Tells of each request by the template of its route: a path or a query may hold what is nobody's business."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.metrics import WEBSOCKET, Metrics

NO_ROUTE = "none"  # no route is at that path, or the request never came so far
SWITCHED = 101  # the status of a stream that was opened
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_LOG = logging.getLogger("forkledger.access")


class Access:
    """ASGI middleware: a line in the log and a place in the metrics for each request, once it is answered.

    A stream is one request, which ends when it is closed.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        status = 0  # nobody waited for the answer

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = SWITCHED
            elif message["type"] == "websocket.close" and not status:
                status = 403  # what a server makes of a close before the accept
            await send(message)

        begun = time.monotonic()
        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.monotonic() - begun
            method, route = method_of(scope), route_of(scope)
            self._metrics.answered(method, route, status, seconds)
            _LOG.info(
                "%s %s %d", method, route, status,
                extra={"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)},
            )  # fmt: skip


def method_of(scope: Scope) -> str:
    """The method, if it is one: whoever asks can make up any word."""
    if scope["type"] == "websocket":
        return WEBSOCKET
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def route_of(scope: Scope) -> str:
    """The template of the route that a request took, as `/v1/forks/{fork_id}/entries`."""
    return getattr(scope.get("route"), "path", NO_ROUTE)
