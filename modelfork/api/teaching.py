"""Interactions that wait to be learned: in order within a fork, side by side for many, and no app before another.

What one app sends waits in a queue of that app's, which is bounded. Its forks take turns, and so do the apps: who sends
much waits for itself. No thread is held by what waits. Who asked for one thing over a silent connection is told in time
that it was not begun; a batch and a stream have signs of life.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger.errors import Busy, Unavailable
from modelfork.forks import Recorded

MOST_WAITING = 256  # of one app, those that are being learned among them, and
MOST_BYTES_WAITING = 16 << 20  # about: the one that reaches it is still taken
MOST_SECONDS = 60.0  # that a single request waits to be begun
RETRY_AFTER = 1.0  # seconds

Work = Callable[[], Recorded]


@dataclass(frozen=True, slots=True)
class Taught:
    """A durable record, and how long it took: `waited` for its turn, then `took` to be learned and recorded."""

    recorded: Recorded
    waited: float  # milliseconds
    took: float  # milliseconds


@dataclass(eq=False, slots=True)
class _Waiting:
    app_id: str
    size: int  # bytes
    work: Work
    done: asyncio.Future[Taught]
    since: float


class Teaching:
    """Lives on the event loop; `threads` work at once. Every app and fork is named by who sends, not checked here."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="teaching")
        self._lanes: dict[tuple[str, str], deque[_Waiting]] = {}  # by app and fork: what waits; one lane, one thread
        self._ready: OrderedDict[str, deque[str]] = OrderedDict()  # by app: its forks that something may be begun of
        self._counted: Counter[str] = Counter()  # by app
        self._bytes: Counter[str] = Counter()
        self._working = 0
        self._ending = False
        self._changed = asyncio.Event()  # something is done

    def waiting(self, app_id: str) -> int:
        """How many of the app's interactions wait, or are being learned."""
        return self._counted[app_id]

    def take(
        self, app_id: str, fork_id: str, several: Sequence[tuple[int, Work]], within: float | None = None
    ) -> list[asyncio.Future[Taught]]:
        """Queue work on a fork, with its size in bytes: done in this order, and not at all if its future is cancelled.
        What was not begun `within` so many seconds fails with Busy.

        Raises Busy where there is no room for all of it, and nothing was taken; Unavailable while the service stops.
        """
        if self._ending:
            raise _stopping()
        if not self.has_room(app_id, len(several)):
            raise Busy(f"interactions: expected at most {MOST_WAITING} of one app to wait", RETRY_AFTER)
        loop = asyncio.get_running_loop()
        lane = self._lanes.get((app_id, fork_id))
        if lane is None:
            lane = self._lanes[app_id, fork_id] = deque()
            self._ready.setdefault(app_id, deque()).append(fork_id)
        taken = []
        for size, work in several:
            waiting = _Waiting(app_id, size, work, loop.create_future(), time.monotonic())
            waiting.done.add_done_callback(lambda _, waiting=waiting, lane=lane: self._release(waiting, lane))  # type: ignore[misc]
            self._counted[app_id] += 1
            self._bytes[app_id] += size
            lane.append(waiting)
            taken.append(waiting.done)
            if within is not None:
                timer = loop.call_later(within, _expire, waiting, lane, within)
                waiting.done.add_done_callback(lambda _, timer=timer: timer.cancel())  # type: ignore[misc]
        self._begin()
        return taken

    async def room(self, app_id: str) -> None:
        """Return once one more can be taken. Raises Unavailable while the service stops."""
        while not self._ending and not self.has_room(app_id):
            await self._changed.wait()
        if self._ending:
            raise _stopping()

    def has_room(self, app_id: str, count: int = 1) -> bool:
        return self._counted[app_id] + count <= MOST_WAITING and self._bytes[app_id] < MOST_BYTES_WAITING

    def _begin(self) -> None:
        """Begin what may be begun: of the app that waited longest for a turn, the fork that did."""
        while self._working < self._threads and self._ready:
            app_id, forks = next(iter(self._ready.items()))
            fork_id = forks.popleft()
            if forks:
                self._ready.move_to_end(app_id)
            else:
                del self._ready[app_id]
            lane = self._lanes[app_id, fork_id]
            while lane and lane[0].done.done():
                lane.popleft()
            if not lane:
                del self._lanes[app_id, fork_id]
                continue
            self._working += 1
            waiting = lane.popleft()
            asyncio.get_running_loop().run_in_executor(self._executor, _timed, waiting).add_done_callback(
                lambda work, waiting=waiting, fork_id=fork_id: self._end(work, waiting, fork_id)  # type: ignore[misc]
            )

    def _end(self, work: asyncio.Future[Taught], waiting: _Waiting, fork_id: str) -> None:
        self._working -= 1
        self._ready.setdefault(waiting.app_id, deque()).append(fork_id)  # with nothing in its lane it is dropped there
        error = work.exception()
        if not waiting.done.done():
            if error is None:
                waiting.done.set_result(work.result())
            else:
                _fail(waiting, error)
        self._begin()

    def _release(self, waiting: _Waiting, lane: deque[_Waiting]) -> None:
        if waiting in lane:  # whoever sent it is gone: it need not happen
            lane.remove(waiting)
        self._counted[waiting.app_id] -= 1
        self._bytes[waiting.app_id] -= waiting.size
        if not self._counted[waiting.app_id]:
            del self._counted[waiting.app_id], self._bytes[waiting.app_id]
        self._changed.set()
        self._changed = asyncio.Event()

    def finish(self) -> None:
        """Take no more. What was begun is done; what was not fails with Unavailable, and may be sent again."""
        self._ending = True
        for lane in self._lanes.values():
            for waiting in lane:
                if not waiting.done.done():
                    _fail(waiting, _stopping())
        self._changed.set()

    def close(self) -> None:
        """Wait until all that was begun is recorded."""
        self._executor.shutdown(wait=True)


def _timed(waiting: _Waiting) -> Taught:
    begun = time.monotonic()
    recorded = waiting.work()
    return Taught(recorded, 1000 * (begun - waiting.since), 1000 * (time.monotonic() - begun))


def _fail(waiting: _Waiting, error: BaseException) -> None:
    waiting.done.set_exception(error)
    waiting.done.exception()  # what nobody listens to any more is not an error of the loop


def _expire(waiting: _Waiting, lane: deque[_Waiting], within: float) -> None:
    if waiting in lane and not waiting.done.done():
        _fail(waiting, Busy(f"interactions: not begun in {within:g} s, and nothing was recorded", RETRY_AFTER))


def _stopping() -> Unavailable:
    return Unavailable("this server is stopping; what was not recorded may be sent again")
