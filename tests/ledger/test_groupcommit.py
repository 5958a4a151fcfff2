"""Jobs that share a transaction: one for all that wait, one refusal for one, bounded, and nothing done twice."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future

import pytest

from ledger import groupcommit
from ledger.errors import Busy, Conflict, Fenced, LedgerError, Unavailable
from ledger.groupcommit import GroupCommit


class Log:
    """A small real thing to commit to: a list of what is durable, which knows what it has been handed before."""

    def __init__(self) -> None:
        self.durable: list[str] = []
        self.transactions: list[int] = []  # how many jobs each had
        self.go_on = threading.Event()
        self.go_on.set()
        self.before: Callable[[Sequence[str]], None] = lambda _: None
        self.after: Callable[[Sequence[str]], None] = lambda _: None
        self.slept: list[float] = []
        self.group = GroupCommit[str, int](self.commit, self.slept.append)

    def commit(self, jobs: Sequence[str]) -> list[int | LedgerError]:
        assert self.go_on.wait(10)
        self.transactions.append(len(jobs))
        self.before(jobs)
        outcomes: list[int | LedgerError] = []
        draft = list(self.durable)
        for job in jobs:
            if job.startswith("refused"):
                outcomes.append(Conflict(job))
            else:
                if job not in draft:
                    draft.append(job)
                outcomes.append(draft.index(job))
        self.durable = draft
        self.after(jobs)
        return outcomes

    def append(self, *jobs: str) -> list[int | LedgerError]:
        return self.group.append([(job, 1) for job in jobs])

    def submit(self, *jobs: str, size: int = 1) -> Future[list[int | LedgerError]]:
        return self.group.submit([(job, size) for job in jobs])


@pytest.fixture
def log() -> Log:
    return Log()


def hold(log: Log) -> Future[list[int | LedgerError]]:
    """A transaction under way, until `go_on` is set."""
    log.go_on.clear()
    held = log.submit("held")
    while not held.running():
        pass
    return held


def test_what_comes_alone_has_a_transaction_of_its_own(log: Log) -> None:
    assert [log.append(job) for job in "abc"] == [[0], [1], [2]]
    assert log.transactions == [1, 1, 1]


def test_what_waits_shares_the_next_transaction_in_the_order_it_came(log: Log) -> None:
    held = hold(log)
    waiting = [log.submit("a"), log.submit("b", "c"), log.submit("d")]
    log.go_on.set()
    assert [each.result(10) for each in (held, *waiting)] == [[0], [1], [2, 3], [4]]
    assert log.transactions == [1, 4]
    assert log.group.waiting == 0


def test_threads_that_wait_share_as_well(log: Log) -> None:
    held = hold(log)
    results: dict[str, object] = {}
    threads = [threading.Thread(target=lambda job=job: results.update({job: log.append(job)})) for job in "abcde"]
    for thread in threads:
        thread.start()
    while log.group.waiting < 6:
        pass
    log.go_on.set()
    for thread in threads:
        thread.join(10)
    assert held.result(10) == [0]
    assert sorted(results) == list("abcde")
    assert log.transactions == [1, 5]


def test_one_refusal_is_one_job_s(log: Log) -> None:
    first, refused, last = log.append("a", "refused", "b")
    assert (first, last) == (0, 1)
    assert isinstance(refused, Conflict)


def test_a_transaction_that_fails_is_nobody_s_and_each_goes_alone(log: Log) -> None:
    def fail(jobs: Sequence[str]) -> None:
        if "broken" in jobs:
            raise ValueError("of this job alone")

    log.before = fail
    held = hold(log)
    good, bad, other = log.submit("a"), log.submit("broken"), log.submit("b")
    log.go_on.set()
    assert held.result(10) == [0]
    assert (good.result(10), other.result(10)) == ([1], [2])
    with pytest.raises(ValueError, match="of this job alone"):
        bad.result(10)
    assert log.transactions == [1, 3, 1, 1, 1]
    assert log.group.waiting == 0


@pytest.mark.parametrize("committed", [True, False], ids=["after the commit", "before the commit"])
def test_a_connection_lost_at_the_commit_leaves_exactly_one_of_each(log: Log, committed: bool) -> None:
    losses = [Unavailable("lost"), Unavailable("still down")]

    def lose(_: Sequence[str]) -> None:
        if losses:
            raise losses.pop()

    if committed:
        log.after = lose
    else:
        log.before = lose
    assert log.append("a", "b") == [0, 1]
    assert log.durable == ["a", "b"]
    assert len(log.slept) == 2


def test_who_cannot_be_told_how_it_ended_is_told_so(log: Log) -> None:
    def lose(_: Sequence[str]) -> None:
        raise Unavailable("down for good")

    log.before = lose
    with pytest.raises(Unavailable, match="down for good"):
        log.append("a")
    first, second = log.submit("b"), log.submit("c")
    for each in (first, second):
        with pytest.raises(Unavailable):
            each.result(10)


def test_fenced_is_not_tried_again(log: Log) -> None:
    def fence(_: Sequence[str]) -> None:
        raise Fenced("another process")

    log.before = fence
    with pytest.raises(Fenced):
        log.append("a")
    assert log.transactions == [1]
    assert log.slept == []


def test_a_call_of_many_jobs_spans_transactions_of_bounded_size(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groupcommit, "MOST_IN_ONE", 4)
    jobs = [str(number) for number in range(10)]
    assert log.append(*jobs) == list(range(10))
    assert log.transactions == [4, 4, 2]
    monkeypatch.setattr(groupcommit, "MOST_BYTES_IN_ONE", 10)
    log.transactions.clear()
    assert log.submit("x", "y", "z", size=6).result(10) == [10, 11, 12]
    assert log.submit("large", size=50).result(10) == [13]
    assert log.transactions == [1, 1, 1, 1]


def test_a_full_queue_refuses_and_says_when_to_come_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groupcommit, "MOST_WAITING", 5)
    held = hold(log)
    waiting = log.submit("a", "b", "c", "d")
    with pytest.raises(Busy) as caught:
        log.submit("e")
    assert caught.value.retry_after > 0
    log.go_on.set()
    assert (held.result(10), waiting.result(10)) == ([0], [1, 2, 3, 4])
    assert log.submit("e").result(10) == [5]
    monkeypatch.setattr(groupcommit, "MOST_BYTES_WAITING", 5)
    held = hold(log)
    with pytest.raises(Busy):
        log.submit("f", size=5)
    log.go_on.set()
    assert held.result(10)
    assert "f" not in log.durable


def test_who_gives_up_before_its_turn_is_not_done(log: Log) -> None:
    held = hold(log)
    given_up, kept = log.submit("gone"), log.submit("a")
    assert given_up.cancel()
    log.go_on.set()
    assert (held.result(10), kept.result(10)) == ([0], [1])
    assert log.durable == ["held", "a"]
    with pytest.raises(CancelledError):
        given_up.result()
    assert log.group.waiting == 0


def test_closing_finishes_what_was_taken_and_takes_nothing_more(log: Log) -> None:
    held = hold(log)
    waiting = [log.submit(str(number)) for number in range(20)]
    closing = threading.Thread(target=log.group.close)
    closing.start()
    log.go_on.set()
    closing.join(10)
    assert held.done()
    assert all(each.done() for each in waiting)
    assert len(log.durable) == 21
    with pytest.raises(Unavailable, match="closing"):
        log.append("late")


def test_of_many_threads_nothing_is_lost_and_nothing_is_doubled(log: Log) -> None:
    results: list[int] = []

    def work(number: int) -> None:
        for turn in range(50):
            (place,) = log.append(f"{number}-{turn}") if turn % 2 else log.submit(f"{number}-{turn}").result(10)
            assert isinstance(place, int)
            results.append(place)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == list(range(400))
    assert sum(log.transactions) == 400


def test_who_is_interrupted_at_work_leaves_nobody_waiting(log: Log) -> None:
    def interrupt(jobs: Sequence[str]) -> None:
        if "a" in jobs:
            raise KeyboardInterrupt

    log.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        log.append("a")
    assert log.submit("b").result(10) == [0]
    assert log.append("c") == [1]
