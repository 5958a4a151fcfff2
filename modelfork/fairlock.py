"""A lock that waiting threads get in the order in which they came.

Python's own lock goes to whoever is quickest, which is the thread that has just released it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class FairLock:
    """First come, first served. The thread that holds it may take it again, and gives it back as often."""

    def __init__(self) -> None:
        self._inside = threading.Lock()  # around the fields below, for moments
        self._holder = 0  # the thread, or 0
        self._depth = 0
        self._queue: deque[tuple[int, threading.Lock]] = deque()  # each with a lock that is released when it is served

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._inside:
            if self._taken_by(me):
                return
            served = threading.Lock()
            served.acquire()
            place = (me, served)
            self._queue.append(place)
        try:
            served.acquire()  # handed over by the one before: `_holder` is this thread by now
        except BaseException:
            self._leave(place)
            raise

    def _taken_by(self, me: int) -> bool:
        """Taken, with `_inside` held, unless another thread has it."""
        free = self._holder in (0, me)
        if free:
            self._holder, self._depth = me, self._depth + 1
        return free

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Take it where no other thread has it, and say whether that was so. Never waits."""
        me = threading.get_ident()
        with self._inside:
            taken = self._taken_by(me)
        try:
            yield taken
        finally:
            if taken:
                self.__exit__(None, None, None)

    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        with self._inside:
            return bool(self._queue)

    def _leave(self, place: tuple[int, threading.Lock]) -> None:
        """Of a thread that was interrupted while it waited."""
        with self._inside:
            if place in self._queue:
                self._queue.remove(place)
                return
        self.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._inside:
            self._depth -= 1
            if self._depth:
                return
            self._holder = 0
            if self._queue:
                self._holder, served = self._queue.popleft()
                self._depth = 1
                served.release()
