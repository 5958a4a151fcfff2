"""Real HTTP servers in threads: a witness, and what only pretends to be one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from ledger.witness.request import AddCheckpoint, decode

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The URL of a server for this app, on a port that the system picks."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < end, "the server did not start in time"
            time.sleep(0.01)
        (listening,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@dataclass
class Answer:
    """An answer of a pretended witness, in pieces with a pause before each."""

    status: int
    pieces: tuple[bytes, ...] = (b"",)
    pause: float = 0


@dataclass
class Pretender:
    """Answers as it is told, and keeps what it was asked. `answers` gets the request and its number, from 0."""

    answers: Callable[[AddCheckpoint, int], Answer]
    asked: list[AddCheckpoint] = field(default_factory=list)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        assert (scope["method"], scope["path"]) == ("POST", "/a/prefix/add-checkpoint")
        body = b"".join([piece async for piece in _body(receive)])
        self.asked.append(decode(body))
        answer = self.answers(self.asked[-1], len(self.asked) - 1)
        await asyncio.sleep(answer.pause)
        await send({"type": "http.response.start", "status": answer.status, "headers": []})
        for piece in answer.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(answer.pause)
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)
