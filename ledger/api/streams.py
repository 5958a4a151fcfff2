"""The open streams of a service, so that they can be ended when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from fastapi import WebSocket
from starlette.exceptions import HTTPException

RESTART, KEY_GONE = 1012, 4401  # close codes: the registered one, and ours for what is 401 over HTTP


class Stream(Protocol):
    async def serve(self) -> None:
        """Read and answer until the client goes, or until all is answered that was read before `finish`."""

    def finish(self) -> None:
        """Read no further. What was read is answered, and then the stream ends."""


class Streams:
    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._told: list[Callable[[], None]] = []
        self._ending = False

    def tell(self, ending: Callable[[], None]) -> None:
        """Call `ending` once the service stops, before any stream is told to finish."""
        self._told.append(ending)

    async def serve(self, websocket: WebSocket, begin: Callable[[], Stream]) -> None:
        """Accept the connection, and serve the stream that begins on it."""
        if self._ending:
            raise HTTPException(503, "this server is stopping; open the stream again in a moment")
        await websocket.accept()
        stream = begin()
        self._open.add(stream)
        try:
            await stream.serve()
        finally:
            self._open.discard(stream)

    async def finish(self, timeout: float) -> None:
        """Open no more; let the open ones answer what they have read, for at most `timeout` seconds."""
        self._ending = True
        for ending in self._told:
            ending()
        for stream in self._open:
            stream.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._open:
                    await asyncio.sleep(0.01)
