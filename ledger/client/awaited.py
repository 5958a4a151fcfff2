"""The client whose answers are awaited. It may be used by several tasks of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TypeVar

import httpx

from ledger.checkpoint import Checkpoint
from ledger.client import verbs
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
from ledger.client.trust import trust_of
from ledger.client.verbs import Wait
from ledger.entry import SignedControl
from ledger.errors import Unavailable
from ledger.policy import Policy
from ledger.receipt import Receipt
from ledger.record import SignedRecord

T = TypeVar("T")


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
        asked = self._http.stream(call.method, f"{self._url}{call.path}", params=call.params, content=call.content)
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
