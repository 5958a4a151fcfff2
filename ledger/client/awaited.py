"""The client whose answers are awaited. It may be used by several tasks of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from ledger.checkpoint import Checkpoint
from ledger.client import interactions, streaming, verbs
from ledger.client.answers import (
    Anchors,
    Growth,
    Head,
    Included,
    Kept,
    LogKeys,
    Outcome,
    Proven,
    Recorded,
    SignedCheckpoint,
)
from ledger.client.call import TIMEOUT, Answer, Arriving, Call, headers_of, lost, pause_before_next
from ledger.client.interactions import Acknowledged, Fork, Learned, Remembered, Sent, ServedFork, Taught
from ledger.client.streaming import Window
from ledger.client.trust import trust_of
from ledger.client.verbs import Wait
from ledger.entry import SignedControl
from ledger.errors import LedgerError, Unavailable
from ledger.policy import Policy
from ledger.receipt import Receipt
from ledger.record import SignedRecord

T = TypeVar("T")
_Coming: TypeAlias = "asyncio.Queue[tuple[Fork, Sent] | Exception | None]"  # the next; what went wrong; the end


class AsyncClient:
    """A service by its URL, as the app of this API key; without one, what is public.

    `log_key` or `policy` says whose checkpoints are believed, `receipt_key` whose receipts: verifier keys as `log_keys`
    and `forkledger keys show` state them, got by another way than the service. Every verb raises what the ledger itself
    raises, and Unavailable where no answer came; the same may then be asked again.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        log_key: str | None = None,
        receipt_key: str | None = None,
        policy: Policy | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._trust = trust_of(log_key, policy, receipt_key)
        self._url = url.rstrip("/")
        self._pause = pause
        self._line: dict[str, Any] = streaming.options(api_key)
        self._http = httpx.AsyncClient(timeout=TIMEOUT, headers=headers_of(api_key), transport=transport)

    async def create_fork(self, control: SignedControl) -> Recorded:
        """Append a fork's first entry. The same bytes get the same receipt again."""
        return await self._do(verbs.create_fork(self._trust, control))

    async def append(self, record: SignedRecord, wait: Wait = None) -> Recorded:
        """Append a finished record: it is durable once this returns, and the same bytes get the same receipt again.

        With `wait="checkpoint"` this returns with the inclusion proof, or after some ten seconds without one.
        """
        return await self._do(verbs.append(self._trust, record, wait))

    async def append_batch(self, records: Sequence[SignedRecord]) -> list[Outcome]:
        """Append up to a thousand records in their order: for each its receipt, or the error that it would get alone.

        What this raises is of the whole batch, which may be sent again as it is.
        """
        return await self._do(verbs.append_batch(self._trust, records))

    async def entries(self, fork_id: str, after: int = 0, limit: int = 100) -> tuple[Kept, ...]:
        """A fork's entries with a version above `after`, fewer than `limit` where they are large; none at the end.

        Checked to be one chain with the payloads that it names. That the log has them, and who signed: `evidence`.
        """
        return await self._do(verbs.entries(self._trust, fork_id, after, limit))

    async def head(self, fork_id: str) -> Head:
        """A fork's newest entry, by the service's word. A service without models has no such route: NotFound."""
        return await self._do(verbs.head(self._trust, fork_id))

    async def fork_of(self, user: str) -> ServedFork:
        """The fork of an end user, by the app's own id of them: made on first use, and the same ever after."""
        return await self._do(interactions.fork_of(self._trust, user))

    async def fork(self, fork_id: str) -> ServedFork:
        """A fork in service custody as it stands, by the service's word."""
        return await self._do(interactions.fork(self._trust, fork_id))

    async def interact(self, fork_id: str, sent: Sent) -> Learned:
        """Record a turn that was generated elsewhere, or a verdict on an earlier answer, and learn from it."""
        (outcome,) = await self._do(interactions.interact(self._trust, fork_id, [sent]))
        if isinstance(outcome, LedgerError):
            raise outcome
        return outcome

    async def interact_batch(self, fork_id: str, several: Sequence[Sent]) -> list[Taught]:
        """The same for up to a hundred of one fork, learned in their order: for each its record, or the error that it
        would get alone. All of it may be sent again as it is."""
        return await self._do(interactions.interact(self._trust, fork_id, several))

    async def interact_stream(
        self, several: Iterable[tuple[Fork, Sent]] | AsyncIterable[tuple[Fork, Sent]]
    ) -> AsyncIterator[Acknowledged]:
        """The same for as many as come, each with its fork: acknowledged as they are learned, forks side by side.

        At most 32 are on their way; then the next is not asked for before one is answered. What a connection that ended
        left unanswered is sent again on the next, and recorded once. Raises what no connection can mend; what `several`
        itself raises comes once all before it is answered.
        """
        window = Window(self._trust)
        coming: _Coming = asyncio.Queue(maxsize=1)
        feeding = asyncio.create_task(_feed(several, coming))
        try:
            while not window.done:
                try:
                    async with connect(streaming.address(self._url), **self._line) as line:
                        async for acknowledged in _through(line, window, coming):
                            yield acknowledged
                except (OSError, WebSocketException, Unavailable) as error:
                    await self._pause(window.pause(error))
            if window.failed is not None:
                raise window.failed
        finally:
            await _ended(feeding)

    async def pause(self, fork_id: str) -> None:
        """Record what comes and learn nothing of it, then or later. Survives a restart of the service."""
        await self._do(interactions.pause(self._trust, fork_id, True))

    async def resume(self, fork_id: str) -> None:
        """Learn again from what comes from now on."""
        await self._do(interactions.pause(self._trust, fork_id, False))

    async def history(self, fork_id: str, after: int = 0, limit: int = 100) -> tuple[Remembered, ...]:
        """A fork's records with a version above `after`, in order, as the service opens them; none at the end."""
        return await self._do(interactions.history(self._trust, fork_id, after, limit))

    async def checkpoint(self) -> SignedCheckpoint:
        """The published checkpoint."""
        return await self._do(verbs.checkpoint(self._trust))

    async def log_keys(self) -> LogKeys:
        """The log's keys by its own word."""
        return await self._do(verbs.log_keys(self._trust))

    async def inclusion(self, of: Receipt | int) -> Included:
        """The proof of a leaf, checked; of a receipt: that the log holds what it promised there."""
        return await self._do(verbs.inclusion(self._trust, of))

    async def consistency(self, old: Checkpoint) -> Growth:
        """The proof, checked, that the log only grew from a checkpoint that was seen before to the published one."""
        return await self._do(verbs.consistency(self._trust, old))

    async def evidence(self, fork_id: str, named: bytes | int) -> Proven:
        """Evidence of a fork's entry, named by its record id or its version; checked as `forkledger verify` does."""
        return await self._do(verbs.evidence(self._trust, fork_id, named))

    async def anchors(self, size: int | None = None) -> Anchors:
        """The anchors that cover the first `size` entries; those of the published checkpoint if it is left out."""
        return await self._do(verbs.anchors(self._trust, size))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _do(self, call: Call[T]) -> T:
        turn = 1
        while (pause := pause_before_next(came := await self._ask(call), turn)) is not None:
            await self._pause(pause)
            turn += 1
        return call.read(came)

    async def _ask(self, call: Call[T]) -> Answer | Unavailable:
        asked = self._http.stream(
            call.method, f"{self._url}{call.path}", params=call.params, content=call.content, headers=call.headers
        )
        try:
            async with asked as answer:
                arriving = Arriving(call, answer)
                async for part in answer.aiter_raw():
                    arriving.add(part)
                return arriving.whole()
        except Unavailable as error:
            return error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return lost(call, error)


async def _feed(several: Iterable[tuple[Fork, Sent]] | AsyncIterable[tuple[Fork, Sent]], coming: _Coming) -> None:
    """Ask for the next one, in a task that outlives every connection: nothing that was given is dropped with one."""
    try:
        if isinstance(several, AsyncIterable):
            async for following in several:
                await coming.put(following)
        else:
            for following in several:
                await coming.put(following)
        await coming.put(None)
    except Exception as error:  # the caller's own: it is raised where the caller is
        await coming.put(error)


async def _through(line: ClientConnection, window: Window, coming: _Coming) -> AsyncIterator[Acknowledged]:
    """All that one connection carries, until nothing more comes and everything is answered."""
    room = asyncio.Event()
    sending = asyncio.create_task(_send(line, window, coming, room))
    receiving: asyncio.Task[str | bytes] | None = None
    try:
        while not window.done:
            receiving = receiving or asyncio.create_task(line.recv())
            await asyncio.wait({receiving, sending} if not window.ended else {receiving}, return_when="FIRST_COMPLETED")
            if sending.done():
                sending.result()  # raises what ended it
            if receiving.done():
                acknowledged = window.answered(receiving.result())
                receiving = None
                room.set()
                if acknowledged is not None:
                    yield acknowledged
    finally:
        await _ended(sending, *([receiving] if receiving else []))


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """End them, and look at what they ended with: nobody else does."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def _send(line: ClientConnection, window: Window, coming: _Coming, room: asyncio.Event) -> None:
    for frame in window.again():
        await line.send(frame)
    while not window.ended:
        while window.full:
            room.clear()
            await room.wait()
        following = await coming.get()
        if isinstance(following, Exception):
            following, window.failed = None, following
        if following is None:
            window.ended = True
        else:
            await line.send(window.frame(following))
