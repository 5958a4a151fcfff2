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
from concurrent.futures import Future
from contextlib import suppress

from fastapi import APIRouter, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from ledger.api.appending import Admitted, Arrived, Result, admit, as_json, result_view
from ledger.api.limits import LONGEST_REQUEST
from ledger.api.service import Caller, Served, Service, caller_of
from ledger.errors import Busy, LedgerError, Malformed, Refused, Unavailable
from ledger.keystore import App
from ledger.record import decode_record
from ledger.sequencer import Outcome

MOST_UNANSWERED = 512  # records of one stream, and
MOST_BYTES_UNANSWERED = LONGEST_REQUEST  # about: the frame that reaches it is still taken
PATIENCE = 30  # times that a stream waits for a full queue before it hands the refusal on

RESTART, KEY_GONE = 1012, 4401  # close codes: the registered one, and ours for what is 401 over HTTP

router = APIRouter(prefix="/v1", tags=["records"])


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
    """One open stream: a task that reads frames, and another, `serve`, that submits and answers what was read."""

    def __init__(self, websocket: WebSocket, caller: App, service: Service) -> None:
        self._websocket = websocket
        self._caller = caller
        self._service = service
        self._reading = asyncio.create_task(self._read())
        self._frames: list[bytes | LedgerError] = []  # read, and in no submission yet
        self._unanswered = self._bytes = 0  # read, and not answered yet
        self._answered = 0
        self._over = self._gone = False  # nothing more will be read; and nobody would hear an answer
        self._news = asyncio.Event()  # there are frames, or it is over
        self._room = asyncio.Event()  # there is room for another frame

    async def serve(self) -> None:
        try:
            await self._work()
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()  # raises what nobody expected
            if not self._gone:
                await self._websocket.close(RESTART, "the server is stopping; send what was not answered again")
        except WebSocketDisconnect:
            pass  # while it was answered
        except HTTPException as error:
            with suppress(WebSocketDisconnect):
                await self._websocket.close(KEY_GONE, error.detail)
        finally:
            self._reading.cancel()

    def finish(self) -> None:
        """Read no further. What was read is answered, and then the stream ends."""
        self._reading.cancel()

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
                self._bytes += len(frame) if isinstance(frame, bytes) else 0
                self._news.set()
        finally:
            self._over = True
            self._news.set()

    async def _work(self) -> None:
        """Submit what was read, answer it, and so on while more comes."""
        while not self._gone:
            await self._news.wait()
            self._news.clear()
            frames, self._frames = self._frames, []
            if frames:
                for text in await self._answers(frames):
                    await self._websocket.send_text(text)
                self._answered += len(frames)
                self._unanswered -= len(frames)
                self._bytes -= sum(len(frame) for frame in frames if isinstance(frame, bytes))
                self._room.set()
            if self._over:
                self._news.set()  # for good
                if not self._frames:
                    return

    async def _answers(self, frames: Sequence[bytes | LedgerError]) -> list[str]:
        admitted = await run_in_threadpool(self._admit, frames)
        results: Sequence[Result]
        try:
            outcomes = await asyncio.wrap_future(await self._submit(admitted))
        except Unavailable as error:  # of all that passed the door
            results = [each if isinstance(each, LedgerError) else error for each in admitted]
            return await run_in_threadpool(self._texts, results)
        return await run_in_threadpool(lambda: self._texts(self._service.ledger.promise(admitted, outcomes)))

    def _admit(self, frames: Sequence[bytes | LedgerError]) -> list[Admitted]:
        caller_of(self._websocket)  # a key may have been taken back since the stream was opened
        arrived = [_decoded(frame) for frame in frames]
        try:
            return admit(self._service, self._caller, arrived)
        except Unavailable as error:
            return [error] * len(frames)

    async def _submit(self, admitted: list[Admitted]) -> Future[list[Outcome]]:
        for _ in range(PATIENCE):
            try:
                return self._service.ledger.submit(admitted)
            except Busy as error:
                await asyncio.sleep(error.retry_after)
                if self._gone:
                    raise WebSocketDisconnect from None
        return self._service.ledger.submit(admitted)

    def _texts(self, results: Sequence[Result]) -> list[str]:
        return [
            as_json({"n": n, **result_view(self._service, result)}) for n, result in enumerate(results, self._answered)
        ]


def _expect_frame(frame: bytes | None) -> bytes | LedgerError:
    if frame is None:
        return Malformed("frame: expected a binary one with a SignedRecord, got text")
    if len(frame) > LONGEST_REQUEST:
        return Refused(f"frame: expected at most {LONGEST_REQUEST} bytes, got {len(frame)}")
    return frame


def _decoded(frame: bytes | LedgerError) -> Arrived:
    try:
        return decode_record(frame) if isinstance(frame, bytes) else frame
    except LedgerError as error:
        return error
