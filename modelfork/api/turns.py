"""Turns under way: each runs to its end in a thread of its own, whoever is still listening.

A client that disconnects in the middle of an answer changes nothing: the turn is finished and recorded as if it had
stayed. An identical request that comes while the first is unanswered joins it and reads the same pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from starlette.exceptions import HTTPException

from ledger.errors import Conflict

Result = TypeVar("Result")
Push = Callable[[str], None]


class Turn(Generic[Result]):
    """The pieces of an answer as they come, then its result. Lives on the event loop; readers may come late."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self._pieces: list[str] = []
        self._result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def push(self, piece: str) -> None:
        self._pieces.append(piece)
        self._notify()

    def settle(self, work: asyncio.Future[Result]) -> None:
        error = work.exception()
        if error is not None:
            self._result.set_exception(error)
            self._result.exception()  # a turn that nobody listens to any more is not an error of the loop
        else:
            self._result.set_result(work.result())
        self._notify()

    async def begun(self) -> None:
        """Return at the first piece or at the end; raise what the turn failed of, if it failed before a piece."""
        while not self._pieces and not self._result.done():
            await self._changed.wait()
        if not self._pieces:
            self._result.result()

    async def pieces(self) -> AsyncIterator[str]:
        """Every piece from the first. Ends when the turn does, whether well or not."""
        seen = 0
        while True:
            while seen < len(self._pieces):
                yield self._pieces[seen]
                seen += 1
            if self._result.done():
                return
            await self._changed.wait()

    async def result(self) -> Result:
        return await asyncio.shield(self._result)


class Turns(Generic[Result]):
    """All turns under way. `most` bounds them: beyond it a request is told to come back (429)."""

    def __init__(self, most: int, threads: int) -> None:
        self._most = most
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="turn")
        self._under_way: dict[str, Turn[Result]] = {}

    def join_or_start(self, key: str, request: bytes, work: Callable[[Push], Result]) -> Turn[Result]:
        """The turn under way for `key`, or a new one that runs `work`, which may push pieces.

        Raises Conflict when the one under way answers another `request`.
        """
        if key in self._under_way:
            if self._under_way[key].request != request:
                raise Conflict("Idempotency-Key: it is in use for another request")
            return self._under_way[key]
        if len(self._under_way) >= self._most:
            raise HTTPException(429, f"{self._most} turns are under way already", {"retry-after": "1"})
        loop = asyncio.get_running_loop()
        turn: Turn[Result] = Turn(request)

        def push(piece: str) -> None:
            loop.call_soon_threadsafe(turn.push, piece)

        def settle(done: asyncio.Future[Result]) -> None:
            del self._under_way[key]
            turn.settle(done)

        self._under_way[key] = turn
        loop.run_in_executor(self._executor, work, push).add_done_callback(settle)
        return turn

    def close(self) -> None:
        """Wait until every turn under way is recorded."""
        self._executor.shutdown(wait=True)
