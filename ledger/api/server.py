"""uvicorn with what streams need: frames no longer than a request, and time to answer before it closes them."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from ledger.api.limits import LONGEST_REQUEST
from ledger.api.stream import Streams


class Server(uvicorn.Server):
    """Told to stop, it lets streams answer what they have read, and requests end, for `drain` seconds each."""

    def __init__(self, app: FastAPI, host: str, port: int, drain: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="info",
                server_header=False,
                timeout_graceful_shutdown=drain,
                ws_max_size=LONGEST_REQUEST,  # a longer frame ends its stream with 1009
                ws_per_message_deflate=False,  # ciphertext does not shrink
            )
        )
        self._streams: Streams = app.state.streams
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # no new connections
        await self._streams.finish(self._drain)  # uvicorn closes a WebSocket at once, whatever it still has to say
        await super().shutdown(sockets)
