"""Appends that come while another is being synced share the next transaction: one sync for all of them.

Whoever finds nobody at work takes all that wait, its own among them; the others find theirs done. There is no timer:
an append that comes alone goes at once. Each has a savepoint, so that one refusal is one caller's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar, cast


class Savepoints(Protocol):
    """An open append transaction that can undo a part of itself."""

    def savepoint(self) -> AbstractContextManager[None]:
        """What is written in the block stays if the block ends well, and is undone if it raises."""


_W = TypeVar("_W", bound=Savepoints)
_T = TypeVar("_T")


class _Job(Generic[_W]):
    __slots__ = ("done", "refusal", "result", "taken", "work")

    def __init__(self, work: Callable[[_W], object]) -> None:
        self.work = work
        self.result: object = None
        self.refusal: Exception | None = None
        self.taken = False  # into a shared transaction, whatever became of it
        self.done = False  # result or refusal stand: what they rest on is durable


class Together(Generic[_W]):
    """`begin` opens an append transaction that is durable when its block is left.

    `refusals` are the errors that end one append and leave the transaction as good as before.
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[_W]], refusals: tuple[type[Exception], ...]) -> None:
        self._begin = begin
        self._refusals = refusals
        self._waiting: list[_Job[_W]] = []
        self._at_work = False
        self._changed = threading.Condition()

    def append(self, work: Callable[[_W], _T]) -> _T:
        """Do `work` in an append transaction; return what it returns, or raise what it raises, once that is durable.

        `work` is done again, in a transaction of its own, when one that it shared failed.
        """
        job = _Job[_W](work)
        jobs = [job]
        with self._changed:
            self._waiting.append(job)
            while self._at_work and not job.done:
                self._changed.wait()
            if not job.done:
                self._at_work = True
                if not job.taken:
                    jobs, self._waiting = self._waiting, []
        if not job.done:
            try:
                if len(jobs) > 1:
                    self._share(jobs)
                if not job.done:
                    with self._begin() as write:
                        return work(write)
            finally:
                with self._changed:
                    self._at_work = False
                    self._changed.notify_all()
        if job.refusal is not None:
            raise job.refusal
        return cast(_T, job.result)

    def _share(self, jobs: list[_Job[_W]]) -> None:
        for job in jobs:
            job.taken = True
        try:
            with self._begin() as write:
                for job in jobs:
                    try:
                        with write.savepoint():
                            job.result = job.work(write)
                    except self._refusals as refusal:
                        job.refusal = refusal
        except Exception:
            return  # nothing of it happened: each goes alone, and finds out whose fault it was
        for job in jobs:
            job.done = True
