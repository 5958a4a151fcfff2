"""Jobs that come while a transaction is being synced share the next one: one sync for all of them.

Whoever finds nobody at work takes what waits, its own among it; when others still wait after that, a thread takes over
until none do. There is no timer: what comes alone goes at once. What waits is bounded: more of it is refused, not kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ledger.errors import Busy, LedgerError, Unavailable

MOST_IN_ONE = 1_000  # jobs of a transaction, and
MOST_BYTES_IN_ONE = 4 << 20  # their bytes; one larger job goes alone
MOST_WAITING = 20_000  # jobs, and
MOST_BYTES_WAITING = 256 << 20
RETRY_AFTER = 1.0  # seconds: at thousands of jobs a second, a full queue is worked off in a few
_PAUSES = (0.05, 0.2, 1.0)  # seconds before a transaction that nobody knows the end of is tried again

_J = TypeVar("_J")
_R = TypeVar("_R")


@dataclass(eq=False, slots=True)
class _Caller(Generic[_J, _R]):
    """The jobs of one call, in order, and what became of those that are done."""

    jobs: Sequence[tuple[_J, int]]  # with their bytes
    answer: Future[list[_R | LedgerError]] = field(default_factory=Future)
    done: list[_R | LedgerError] = field(default_factory=list)


class GroupCommit(Generic[_J, _R]):
    """`commit` does jobs in one durable transaction, and gives a result or a refusal for each.

    What it raises as a whole meant nothing happened: then each of its jobs is done alone, so that one bad job is one
    caller's. Unavailable means that nobody knows, and `commit` must know a job that it has done before when it is
    handed the same again. `sleep` takes seconds.
    """

    def __init__(self, commit: Callable[[Sequence[_J]], list[_R | LedgerError]], sleep: Callable[[float], None]):
        self._commit = commit
        self._sleep = sleep
        self._callers: deque[_Caller[_J, _R]] = deque()
        self._jobs = self._bytes = 0  # of those callers, not yet done
        self._at_work = False
        self._closed = False
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="group-commit")

    @property
    def waiting(self) -> int:
        """Jobs that are not done yet."""
        return self._jobs

    def append(self, jobs: Sequence[tuple[_J, int]]) -> list[_R | LedgerError]:
        """Do these jobs, each given with its size in bytes; return once what became of each is durable.

        Raises Busy, and has then taken none of them, when too much is waiting.
        """
        if not jobs:
            return []
        caller = _Caller[_J, _R](jobs)
        if self._enter(caller):
            try:
                self._work(until=caller)
            except BaseException:  # interrupted: the others must not wait for this thread
                self._thread.submit(self._work)
                raise
        return caller.answer.result()

    def submit(self, jobs: Sequence[tuple[_J, int]]) -> Future[list[_R | LedgerError]]:
        """As `append`, without waiting. What is cancelled before it was begun never happens."""
        caller = _Caller[_J, _R](jobs)
        if not jobs:
            caller.answer.set_result([])
        elif self._enter(caller):
            self._thread.submit(self._work)
        return caller.answer

    def close(self) -> None:
        """Take nothing more, and return when all that was taken is done."""
        with self._lock:
            self._closed = True
            callers = list(self._callers)
        for caller in callers:
            if not caller.answer.cancelled():
                caller.answer.exception()
        self._thread.shutdown(wait=True)

    def _enter(self, caller: _Caller[_J, _R]) -> bool:
        """Stand in line. Returns whether nobody is at work, so that who entered is now."""
        size = sum(size for _, size in caller.jobs)
        with self._lock:
            if self._closed:
                raise Unavailable("append: this ledger is closing")
            jobs, weight = self._jobs + len(caller.jobs), self._bytes + size
            if self._jobs and (jobs > MOST_WAITING or weight > MOST_BYTES_WAITING):
                raise Busy(f"append: {self._jobs} wait already, expected at most {MOST_WAITING}", RETRY_AFTER)
            self._callers.append(caller)
            self._jobs, self._bytes = jobs, weight
            if self._at_work:
                return False
            self._at_work = True
            return True

    def _work(self, until: _Caller[_J, _R] | None = None) -> None:
        """Do what waits; a caller at work stops once its own is done, and the thread goes on."""
        while True:
            with self._lock:
                if not self._callers:
                    self._at_work = False
                    return
                if until is not None and until.answer.done():
                    self._thread.submit(self._work)
                    return
                taken = self._take()
            if taken:
                self._do(taken)

    def _take(self) -> list[tuple[_Caller[_J, _R], Sequence[_J]]]:
        """The jobs of the next transaction, in the order they came."""
        taken: list[tuple[_Caller[_J, _R], Sequence[_J]]] = []
        count = size = 0
        while self._callers:
            caller = self._callers[0]
            begun = len(caller.done)
            given_up = not caller.answer.running() and (
                caller.answer.done() or not caller.answer.set_running_or_notify_cancel()
            )
            if given_up:
                self._callers.popleft()
                self._forget(caller.jobs[begun:])
                continue
            jobs: list[_J] = []
            for job, weight in caller.jobs[begun:]:
                if count and (count == MOST_IN_ONE or size + weight > MOST_BYTES_IN_ONE):
                    break
                jobs.append(job)
                count, size = count + 1, size + weight
            if jobs:
                taken.append((caller, jobs))
            if begun + len(jobs) < len(caller.jobs):
                break
            self._callers.popleft()
        return taken

    def _forget(self, jobs: Sequence[tuple[_J, int]]) -> None:
        self._jobs -= len(jobs)
        self._bytes -= sum(size for _, size in jobs)

    def _do(self, taken: list[tuple[_Caller[_J, _R], Sequence[_J]]]) -> None:
        jobs = [job for _, some in taken for job in some]
        try:
            outcomes: list[_R | LedgerError | BaseException] = list(self._certainly(jobs))
        except Unavailable as error:
            outcomes = [error] * len(jobs)
        except Exception as error:
            outcomes = [error] if len(jobs) == 1 else [self._alone(job) for job in jobs]
        except BaseException:
            for caller, _ in taken:
                caller.answer.set_exception(Unavailable("append: interrupted, nobody knows at which point"))
            raise
        place = 0
        for caller, some in taken:
            self._answer(caller, outcomes[place : place + len(some)])
            place += len(some)

    def _alone(self, job: _J) -> _R | LedgerError | BaseException:
        try:
            return self._certainly([job])[0]
        except Exception as error:
            return error

    def _certainly(self, jobs: Sequence[_J]) -> list[_R | LedgerError]:
        """Commit, and again while nobody knows whether it was."""
        for pause in _PAUSES:
            try:
                return self._commit(jobs)
            except Unavailable as error:
                if type(error) is not Unavailable:  # fenced: it will not get better
                    raise
                self._sleep(pause)
        return self._commit(jobs)

    def _answer(self, caller: _Caller[_J, _R], outcomes: Sequence[_R | LedgerError | BaseException]) -> None:
        begun = len(caller.done)
        with self._lock:
            self._forget(caller.jobs[begun : begun + len(outcomes)])
        ending = next((each for each in outcomes if _ends_the_call(each)), None)
        caller.done.extend(outcomes)  # type: ignore[arg-type]  # an error that ends the call is never returned
        if isinstance(ending, BaseException):
            caller.answer.set_exception(ending)
        elif len(caller.done) == len(caller.jobs):
            caller.answer.set_result(caller.done)


def _ends_the_call(outcome: object) -> bool:
    """Whether an outcome is no refusal of one job, but an error of the whole call: others of its jobs may be done."""
    return isinstance(outcome, Unavailable) or (
        isinstance(outcome, BaseException) and not isinstance(outcome, LedgerError)
    )
