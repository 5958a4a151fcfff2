"""uvicorn with what streams need: a bound on frames, and time to answer before it closes them."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from ledger.api.limits import LONGEST_REQUEST
from ledger.api.streams import Streams


class Server(uvicorn.Server):
    """Told to stop, it lets streams answer what they have read, and requests end, for `drain` seconds each."""

    def __init__(self, app: FastAPI, host: str, port: int, drain: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,  # as this process logs
                access_log=False,  # ours names no path
                server_header=False,
                timeout_graceful_shutdown=drain,
                # A frame longer than a request is refused with a word of why; one this long ends its stream (1009), and
                # whoever still sends it may hear of it as a connection that was reset.
                ws_max_size=2 * LONGEST_REQUEST,
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
