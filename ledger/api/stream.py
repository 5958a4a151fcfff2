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
from ledger.api.streams import KEY_GONE, RESTART, Streams
from ledger.errors import Busy, LedgerError, Malformed, Refused, Unavailable
from ledger.keystore import App
from ledger.record import decode_record

MOST_UNANSWERED = 512  # records of one stream, and
MOST_BYTES_UNANSWERED = LONGEST_REQUEST  # about: the frame that reaches it is still taken
PATIENCE = 30  # times that a stream waits for a full queue before it hands the refusal on

router = APIRouter(prefix="/v1", tags=["records"])

_Frame = bytes | LedgerError  # or why what came is none
_Results = asyncio.Future[list[dict[str, Any]]]


@router.websocket("/records/stream")
async def stream(websocket: WebSocket, caller: Caller, service: Served) -> None:
    """Append records for as long as the connection lasts. The API key comes with the handshake."""
    streams: Streams = websocket.app.state.streams
    await streams.serve(websocket, lambda: _Stream(websocket, caller, service))


class _Stream:
    """One open stream. One task reads frames, one queues what was read, and `serve` answers what became of it."""

    def __init__(self, websocket: WebSocket, caller: App, service: Service) -> None:
        self._websocket = websocket
        self._caller = caller
        self._service = service
        self._appending: Appending = websocket.app.state.appending
        self._frames: list[_Frame] = []  # read, and not at the door yet
        self._queued: asyncio.Queue[tuple[Sequence[_Frame], _Results] | None] = asyncio.Queue()  # None: no more
        self._unanswered = self._bytes = 0  # of what was read
        self._answered = 0  # frames
        self._over = self._gone = False  # nothing more will be read; nobody would hear an answer
        self._news = asyncio.Event()  # there are frames, or it is over
        self._room = asyncio.Event()  # something was answered
        self._reading = asyncio.create_task(self._read())
        self._queueing = asyncio.create_task(self._queue())

    async def serve(self) -> None:
        try:
            await self._answer()
            for task in (self._queueing, self._reading):
                await asyncio.wait({task})
                if not task.cancelled():
                    task.result()  # raises what ended it
            if not self._gone:
                await self._websocket.close(RESTART, "the server is stopping; send what was not answered again")
        except WebSocketDisconnect:
            pass  # while it was being answered
        except HTTPException as error:
            with suppress(WebSocketDisconnect):
                await self._websocket.close(KEY_GONE, error.detail)
        finally:
            self._reading.cancel()
            self._queueing.cancel()
            while not self._queued.empty() and (unheard := self._queued.get_nowait()):
                unheard[1].cancel()

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

    async def _queue(self) -> None:
        """Queue what was read, and so on while more comes: nothing goes to the door before all that came before it
        has its place in the queue, or the order of a fork would be lost."""
        try:
            while not self._gone and (self._frames or not self._over):
                await self._news.wait()
                self._news.clear()
                frames, self._frames = self._frames, []
                if frames:
                    self._queued.put_nowait((frames, await self._patiently(frames)))
        finally:
            self._queued.put_nowait(None)

    async def _answer(self) -> None:
        while queued := await self._queued.get():
            frames, results = queued
            try:
                views = await results
            except Unavailable as error:
                views = self._refused(frames, error)
            for view in views:
                await self._websocket.send_text(as_json({"n": self._answered, **view}))
                self._answered += 1
            self._unanswered -= len(frames)
            self._bytes -= _size(frames)
            self._room.set()

    async def _patiently(self, frames: Sequence[_Frame]) -> _Results:
        """Queue frames, waiting while the queue is full."""
        for waited in range(PATIENCE + 1):
            try:
                return await self._appending.queue(self._caller, _size(frames), lambda: self._records(frames))
            except Busy as error:
                refusal: Unavailable = error
                if waited < PATIENCE:
                    await asyncio.sleep(error.retry_after)
            except Unavailable as error:
                refusal = error
                break
            if self._gone:
                raise WebSocketDisconnect
        results: _Results = asyncio.get_running_loop().create_future()
        results.set_result(self._refused(frames, refusal))
        return results

    def _records(self, frames: Sequence[_Frame]) -> list[Arrived]:
        caller_of(self._websocket)  # the key may have been taken back since the stream was opened
        return [_record_or_error(frame) for frame in frames]

    def _refused(self, frames: Sequence[_Frame], error: Unavailable) -> list[dict[str, Any]]:
        return [refusal_view(self._service, error)] * len(frames)


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
