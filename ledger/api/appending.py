"""What apps send at the same time goes to the door together, waits for its commit together, and holds no thread then.

A thread for each record would spend more on waking up, and on waiting for its turn to run Python, than on the record.
So what arrives while the last lot is checked is the next lot; there is no timer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from ledger import receipt
from ledger.api.errors import code_of, refusal
from ledger.api.metrics import Metrics
from ledger.api.service import Service
from ledger.door import Submission
from ledger.errors import Busy, LedgerError, NotFound, Unavailable
from ledger.groupcommit import MOST_WAITING, RETRY_AFTER
from ledger.keystore import App
from ledger.record import SignedRecord, admit_body
from ledger.sequencer import Outcome

MOST_BYTES_AT_ONCE = 1 << 20  # some thousand records, or one call that is larger

Arrived = SignedRecord | LedgerError  # a record, or why what came is none
_Admitted = Submission | LedgerError


@dataclass(eq=False, slots=True)
class _Call:
    """What one request sent, or one stream since it was answered last."""

    caller: App
    size: int  # bytes
    read: Callable[[], Sequence[Arrived]]
    queued: asyncio.Future[None]  # done once it is past the door and has its place in the queue
    answer: asyncio.Future[list[dict[str, Any]]]


class Appending:
    """The way of records from the event loop into the ledger, and of what became of them back."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._calls: deque[_Call] = deque()
        self._at_the_door = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def append(self, caller: App, size: int, read: Callable[[], Sequence[Arrived]]) -> list[dict[str, Any]]:
        """Append what `read`, called in a thread, makes of `size` bytes. Of each record, once all of it is durable,
        its receipt, or the error object and the status that it would get alone.

        Raises what `read` raises; Busy, when nothing was taken; Unavailable, when the same bytes may be sent again.
        """
        return await (await self.queue(caller, size, read))

    async def queue(
        self, caller: App, size: int, read: Callable[[], Sequence[Arrived]]
    ) -> asyncio.Future[list[dict[str, Any]]]:
        """As `append`, without waiting for the commit. What is queued after this comes after it in the log too.

        Raises what `read` raises, and Busy.
        """
        if self._service.ledger.waiting >= MOST_WAITING:  # no signature need be checked to know
            self._metrics.refused("busy")
            raise Busy(f"append: expected at most {MOST_WAITING} to wait", RETRY_AFTER)
        loop = asyncio.get_running_loop()
        call = _Call(caller, size, read, loop.create_future(), loop.create_future())
        self._calls.append(call)
        if not self._at_the_door:
            self._at_the_door = True
            self._start(self._work())
        await call.queued
        return call.answer

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # or nobody would hold it
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Take what waits to the door, lot after lot, until nothing does."""
        try:
            while calls := self._lot():
                self._start(self._commit(await run_in_threadpool(self._admit, calls)))
        finally:
            self._at_the_door = False

    def _lot(self) -> list[_Call]:
        calls: list[_Call] = []
        size = 0
        while self._calls and (not calls or size + self._calls[0].size <= MOST_BYTES_AT_ONCE):
            call = self._calls.popleft()
            if not call.queued.done():  # nobody waits any more: it need not happen
                calls.append(call)
                size += call.size
        return calls

    def _admit(self, calls: Sequence[_Call]) -> list[tuple[_Call, list[_Admitted] | Exception]]:
        """The door, in a thread: of each call what is to be placed, or why nothing of it is."""
        read: list[tuple[_Call, Sequence[Arrived]]] = []
        refused: list[tuple[_Call, list[_Admitted] | Exception]] = []
        for call in calls:
            try:
                read.append((call, call.read()))
            except Exception as error:
                refused.append((call, error))
        try:
            admitted = iter(admit(self._service, [(call.caller, each) for call, arrived in read for each in arrived]))
        except Exception as error:
            if len(read) > 1 and not isinstance(error, Unavailable):  # nobody foresaw it: it is one call's alone
                return refused + [found for call, _ in read for found in self._admit([call])]
            return refused + [(call, error) for call, _ in read]
        return refused + [(call, [next(admitted) for _ in arrived]) for call, arrived in read]

    async def _commit(self, passed: Sequence[tuple[_Call, list[_Admitted] | Exception]]) -> None:
        """Queue what passed the door, and answer each call once all is durable."""
        calls = []
        for call, admitted in passed:
            if isinstance(admitted, Exception):
                self._fail(call, admitted)
            else:
                calls.append((call, admitted))
        together = [each for _, admitted in calls for each in admitted]
        begun = time.monotonic()
        try:
            outcomes = asyncio.wrap_future(self._service.ledger.submit(together))
            for call, _ in calls:
                if not call.queued.done():
                    call.queued.set_result(None)
            became = await outcomes
            self._metrics.commit_delay.observe(time.monotonic() - begun)
            views = iter(await run_in_threadpool(self._views, together, became))
        except Exception as error:
            for call, _ in calls:
                self._fail(call, error)
            return
        for call, admitted in calls:
            view = [next(views) for _ in admitted]
            if not call.answer.done():
                call.answer.set_result(view)

    def _fail(self, call: _Call, error: Exception) -> None:
        self._metrics.refused(code_of(error))
        waited_for = call.answer if call.queued.done() else call.queued
        if not waited_for.done() and not call.queued.cancelled():  # or nobody would ever look at it
            waited_for.set_exception(error)

    def _views(self, admitted: Sequence[_Admitted], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        results = self._service.ledger.promise(admitted, outcomes)
        for each in results:
            if isinstance(each, LedgerError):
                self._metrics.refused(code_of(each))
        return [
            receipt_view(each) if isinstance(each, bytes) else refusal_view(self._service, each) for each in results
        ]


def admit(service: Service, arrived: Sequence[tuple[App, Arrived]]) -> list[_Admitted]:
    """The door, for apps: another app's fork looks like none at all."""
    passed = iter(service.ledger.admit([each for _, each in arrived if isinstance(each, SignedRecord)]))
    admitted = [next(passed) if isinstance(each, SignedRecord) else each for _, each in arrived]
    forks = [_fork_of(each, became) for (_, each), became in zip(arrived, admitted, strict=True)]
    owners = service.keystore.apps_of_forks({fork_id for fork_id in forks if fork_id is not None})
    return [
        became if fork_id is None or owners.get(fork_id) == caller.app_id else NotFound(f"fork {fork_id}: not found")
        for (caller, _), became, fork_id in zip(arrived, admitted, forks, strict=True)
    ]


def _fork_of(arrived: Arrived, admitted: _Admitted) -> str | None:
    """The fork that a record is for, also where it was refused for another reason; None where it names none."""
    if isinstance(admitted, Submission):
        return admitted.fork_id
    try:
        return admit_body(arrived.body).fork_id if isinstance(arrived, SignedRecord) else None
    except LedgerError:
        return None


def receipt_view(signed: bytes) -> dict[str, Any]:
    """A receipt that this log has just signed as JSON: the signed note, and what it says."""
    said = receipt.read_unchecked(signed)
    return {
        "fork_id": said.fork_id,
        "version": said.version,
        "leaf_index": said.leaf_index,
        "entry_hash": said.entry_hash.hex(),
        "receipt": signed.decode(),
    }


def refusal_view(service: Service, error: LedgerError) -> dict[str, Any]:
    """What stands in the place of a receipt, where records have an outcome each."""
    status, described = refusal(service.ledger, error)
    return {"error": described, "status": status}


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
