"""Interactions over one WebSocket: a frame each, and for each a text frame that says what became of it.

Forks learn side by side, so answers come in the order in which they are done: each has the frame's number `n` in its
stream, from 0, and its `key`. Every answer says how many frames of the stream wait. A stream keeps a bounded number
that it has not answered, and then reads no further; while the app's own queue is full it does the same, and says so.

Whatever ends a stream, all that was answered with a receipt is durable. A client sends what was not answered again,
under the same keys: what had been recorded is told again, and nothing is learned twice.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from ledger import service, streams
from ledger.errors import LedgerError, Malformed, Refused, Unavailable
from modelfork.api.outcomes import outcome_view, refusal_view
from modelfork.api.sent import Streamed, read_frame, record
from modelfork.api.teaching import Taught
from modelfork.api.wiring import Wired, fork_of_user, id_of_users_fork, wired_of
from modelfork.forks import Recorded

MOST_UNANSWERED = 64  # frames of one stream, and
MOST_BYTES_UNANSWERED = 4 << 20  # about: the frame that reaches it is still taken
LONGEST_FRAME = 4 << 20  # bytes, as a request; a conversation of the largest size is well below

router = APIRouter(prefix="/v1", tags=["forks"])

_Answer = tuple[dict[str, Any], int, asyncio.Future[Taught] | Exception]  # what it begins with, bytes of the frame


@router.websocket("/interactions/stream")
async def stream(websocket: WebSocket, caller: service.Caller, served: service.Served) -> None:
    """Learn from interactions for as long as the connection lasts. The API key comes with the handshake."""
    open_streams: streams.Streams = websocket.app.state.streams
    await open_streams.serve(websocket, lambda: _Stream(websocket, caller, served, wired_of(websocket)))


class _Stream:
    """One open stream: one task reads frames and queues them, one answers what is done."""

    def __init__(self, websocket: WebSocket, caller: service.Caller, served: service.Service, forks: Wired) -> None:
        self._websocket = websocket
        self._caller = caller
        self._served = served
        self._forks = forks
        self._read_so_far = 0  # frames
        self._unanswered = self._bytes = 0  # of what was read
        self._waiting: set[asyncio.Future[Taught]] = set()
        self._told: asyncio.Queue[_Answer | dict[str, Any] | None] = asyncio.Queue()  # None: look again
        self._over = False  # nothing more will be read
        self._room = asyncio.Event()  # something was answered
        self._reading: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reading = tasks.create_task(self._read())
                tasks.create_task(self._answer())
            await self._websocket.close(streams.RESTART, "the server is stopping; send what was not answered again")
        except* WebSocketDisconnect:
            pass
        except* HTTPException as errors:
            with suppress(WebSocketDisconnect):
                await self._websocket.close(streams.KEY_GONE, str(errors.exceptions[0]).removeprefix("401: "))
        finally:
            for waiting in self._waiting:
                waiting.cancel()

    def finish(self) -> None:
        """Read no further. What was read is answered, and then the stream ends."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while True:
                await self._expect_room()
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect
                await self._take(message.get("text") or message.get("bytes") or b"")
        finally:
            self._over = True
            self._told.put_nowait(None)

    async def _expect_room(self) -> None:
        while self._unanswered >= MOST_UNANSWERED or self._bytes >= MOST_BYTES_UNANSWERED:
            self._room.clear()
            await self._room.wait()

    async def _take(self, frame: str | bytes) -> None:
        named: dict[str, Any] = {"n": self._read_so_far}
        size = len(frame)
        self._read_so_far += 1
        self._unanswered += 1
        self._bytes += size
        try:
            arrived = await run_in_threadpool(_read, frame)
            if not isinstance(arrived, Streamed):
                self._told.put_nowait((named, size, arrived))
                return
            named["key"] = arrived.key
            done = await self._queue(arrived, size)
        except Unavailable as error:
            self._told.put_nowait((named, size, error))
        except asyncio.CancelledError:
            self._told.put_nowait((named, size, Unavailable("this server is stopping; it may be sent again")))
            raise
        else:
            self._waiting.add(done)
            done.add_done_callback(lambda done: self._told.put_nowait((named, size, done)))

    async def _queue(self, body: Streamed, size: int) -> asyncio.Future[Taught]:
        teaching, app_id = self._forks.teaching, self._caller.app_id
        fork_id = body.fork_id or id_of_users_fork(self._served, self._caller, body.user or "")
        if not teaching.has_room(app_id):
            self._told.put_nowait({"full": True})
            await teaching.room(app_id)
        return teaching.take(app_id, fork_id, [(size, partial(self._work, body))])[0]

    def _work(self, body: Streamed) -> Recorded:
        caller = service.caller_of(self._websocket)  # the key may have been taken back since the stream was opened
        fork_id = body.fork_id or fork_of_user(self._served, self._forks, caller, body.user or "")
        return record(self._served, self._forks, caller, fork_id, body, body.key)

    async def _answer(self) -> None:
        while self._unanswered or not self._over:
            told = await self._told.get()
            if isinstance(told, tuple):
                told = self._answered(*told)
            if told is not None:
                waiting = {"waiting": self._unanswered, "queued": self._forks.teaching.waiting(self._caller.app_id)}
                await self._websocket.send_text(json.dumps(told | waiting, ensure_ascii=False))
                self._room.set()

    def _answered(self, named: dict[str, Any], size: int, done: asyncio.Future[Taught] | Exception) -> dict[str, Any]:
        self._unanswered -= 1
        self._bytes -= size
        if isinstance(done, Exception):
            return named | refusal_view(self._served, done)
        self._waiting.discard(done)
        error = done.exception()
        if isinstance(error, HTTPException):
            raise error
        return named | outcome_view(self._served, done)


def _read(frame: str | bytes) -> Streamed | ValidationError | LedgerError:
    if not frame:
        return Malformed("frame: expected an interaction, got nothing")
    if len(frame) > LONGEST_FRAME:
        return Refused(f"frame: expected at most {LONGEST_FRAME} bytes, got {len(frame)}")
    return read_frame(frame)
