"""Records over one WebSocket: a binary frame each, and for each, in order, a text frame that says what became of it.

What has arrived while the last submission was being made durable is the next one; there is no timer. A stream keeps a
bounded number of records that it has not answered, and then reads no further, so that the client's own connection
makes it wait. Where the queue of the whole service is full, the stream waits in the client's place.

Whatever ends a stream, all that was answered with a receipt is durable. A client sends what was not answered again,
with the same bytes: that gets the same receipt whether it had been recorded or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from ledger.api.appending import Appending, Arrived, as_json, refusal_view
from ledger.api.limits import LONGEST_REQUEST
from ledger.api.service import Caller, Served, Service, caller_of
from ledger.errors import Busy, LedgerError, Malformed, Refused, Unavailable
from ledger.keystore import App
from ledger.record import decode_record

MOST_UNANSWERED = 512  # records of one stream, and
MOST_BYTES_UNANSWERED = LONGEST_REQUEST  # about: the frame that reaches it is still taken
PATIENCE = 30  # times that a stream waits for a full queue before it hands the refusal on

RESTART, KEY_GONE = 1012, 4401  # close codes: the registered one, and ours for what is 401 over HTTP

router = APIRouter(prefix="/v1", tags=["records"])

_Frame = bytes | LedgerError  # or why what came is none


class Streams:
    """The open streams of a service, so that they can be ended when it stops."""

    def __init__(self) -> None:
        self._open: set[_Stream] = set()
        self._ending = False

    async def serve(self, websocket: WebSocket, caller: App, service: Service) -> None:
        if self._ending:
            raise HTTPException(503, "this server is stopping; open the stream again in a moment")
        await websocket.accept()
        stream = _Stream(websocket, caller, service)
        self._open.add(stream)
        try:
            await stream.serve()
        finally:
            self._open.discard(stream)

    async def finish(self, timeout: float) -> None:
        """Open no more; let the open ones answer what they have read, for at most `timeout` seconds."""
        self._ending = True
        for stream in self._open:
            stream.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._open:
                    await asyncio.sleep(0.01)


@router.websocket("/records/stream")
async def stream(websocket: WebSocket, caller: Caller, service: Served) -> None:
    """Append records for as long as the connection lasts. The API key comes with the handshake."""
    streams: Streams = websocket.app.state.streams
    await streams.serve(websocket, caller, service)


class _Stream:
    """One open stream: a task that reads frames, and beside it `serve`, which appends and answers what was read."""

    def __init__(self, websocket: WebSocket, caller: App, service: Service) -> None:
        self._websocket = websocket
        self._caller = caller
        self._service = service
        self._appending: Appending = websocket.app.state.appending
        self._frames: list[_Frame] = []  # read, and not being appended yet
        self._unanswered = self._bytes = 0  # of what was read
        self._answered = 0  # frames
        self._over = self._gone = False  # nothing more will be read; nobody would hear an answer
        self._news = asyncio.Event()  # there are frames, or it is over
        self._room = asyncio.Event()  # something was answered
        self._reading = asyncio.create_task(self._read())

    async def serve(self) -> None:
        try:
            await self._work()
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()  # raises what nobody expected
            if not self._gone:
                await self._websocket.close(RESTART, "the server is stopping; send what was not answered again")
        except WebSocketDisconnect:
            pass  # while it was being answered
        except HTTPException as error:
            with suppress(WebSocketDisconnect):
                await self._websocket.close(KEY_GONE, error.detail)
        finally:
            self._reading.cancel()

    def finish(self) -> None:
        """Read no further. What was read is answered, and then the stream ends."""
        self._reading.cancel()
        self._over = True
        self._news.set()

    async def _read(self) -> None:
        try:
            while True:
                while self._unanswered >= MOST_UNANSWERED or self._bytes >= MOST_BYTES_UNANSWERED:
                    self._room.clear()
                    await self._room.wait()
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    self._gone = True
                    return
                frame = _expect_frame(message.get("bytes"))
                self._frames.append(frame)
                self._unanswered += 1
                self._bytes += _size([frame])
                self._news.set()
        finally:
            self._over = True
            self._news.set()

    async def _work(self) -> None:
        """Append what was read, answer it, and so on while more comes."""
        while not self._gone and (self._frames or not self._over):
            await self._news.wait()
            self._news.clear()
            frames, self._frames = self._frames, []
            if not frames:
                continue
            for result in await self._results(frames):
                await self._websocket.send_text(as_json({"n": self._answered, **result}))
                self._answered += 1
            self._unanswered -= len(frames)
            self._bytes -= _size(frames)
            self._room.set()

    async def _results(self, frames: Sequence[_Frame]) -> list[dict[str, Any]]:
        try:
            return await self._patiently(frames)
        except Unavailable as error:
            return [refusal_view(self._service, error)] * len(frames)

    async def _patiently(self, frames: Sequence[_Frame]) -> list[dict[str, Any]]:
        for _ in range(PATIENCE):
            try:
                return await self._append(frames)
            except Busy as error:
                await asyncio.sleep(error.retry_after)
            if self._gone:
                raise WebSocketDisconnect
        return await self._append(frames)

    async def _append(self, frames: Sequence[_Frame]) -> list[dict[str, Any]]:
        def read() -> list[Arrived]:
            caller_of(self._websocket)  # the key may have been taken back since the stream was opened
            return [_record_or_error(frame) for frame in frames]

        return await self._appending.append(self._caller, _size(frames), read)


def _size(frames: Sequence[_Frame]) -> int:
    return sum([len(frame) for frame in frames if isinstance(frame, bytes)])


def _expect_frame(frame: bytes | None) -> _Frame:
    if frame is None:
        return Malformed("frame: expected a binary one with a SignedRecord, got text")
    if len(frame) > LONGEST_REQUEST:
        return Refused(f"frame: expected at most {LONGEST_REQUEST} bytes, got {len(frame)}")
    return frame


def _record_or_error(frame: _Frame) -> Arrived:
    try:
        return decode_record(frame) if isinstance(frame, bytes) else frame
    except LedgerError as error:
        return error
