"""A fair lock goes to whoever waits, in order of arrival, and never back to the one that gave it up."""

import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from modelfork.fairlock import FairLock


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def waiting(lock: FairLock, count: int) -> None:
    """Return once so many threads wait."""
    while len(lock._queue) < count:
        threading.Event().wait(0.001)  # a test may poll


def test_threads_are_served_in_the_order_in_which_they_came() -> None:
    lock, served = FairLock(), []

    def take(number: int) -> None:
        with lock:
            served.append(number)

    with lock:
        threads = []
        for number in range(5):
            threads.append(start(lambda number=number: take(number)))  # type: ignore[misc]
            waiting(lock, number + 1)
    for thread in threads:
        thread.join()
    assert served == list(range(5))


def test_who_has_it_can_see_that_somebody_waits_for_it() -> None:
    lock = FairLock()
    with lock:
        assert not lock.wanted()
        thread = start(lambda: lock.__enter__())
        waiting(lock, 1)
        assert lock.wanted()
    thread.join()
    assert not lock.wanted()  # it has it


def test_who_does_not_want_to_wait_gets_it_only_where_nobody_has_it() -> None:
    lock, found = FairLock(), []

    def look() -> None:
        with lock.if_free() as free:
            found.append(free)

    for held in (False, True, False):
        with lock if held else nullcontext():
            thread = start(look)
            thread.join(10)
    assert found == [True, False, True]
    with lock.if_free(), lock.if_free() as again:
        assert again  # by the thread that has it
        thread = start(look)
        thread.join(10)
    assert found[3:] == [False]


def test_who_gives_it_up_does_not_get_it_again_before_those_who_wait() -> None:
    lock, order = FairLock(), []

    def other() -> None:
        with lock:
            order.append("other")

    with lock:
        thread = start(other)
        waiting(lock, 1)
    with lock:
        order.append("first again")
    thread.join()
    assert order == ["other", "first again"]


def test_its_thread_may_take_it_again_and_others_wait_until_it_gave_it_back_as_often() -> None:
    lock, inside = FairLock(), threading.Event()

    def other() -> None:
        with lock:
            inside.set()

    with lock:
        with lock:
            thread = start(other)
            waiting(lock, 1)
        assert not inside.wait(0.02)
    thread.join()
    assert inside.is_set()


def test_an_error_inside_gives_it_back() -> None:
    lock = FairLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    thread = start(lambda: lock.__enter__())
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_that_is_interrupted_while_it_waits_holds_up_nobody() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    lock, held, done, main = FairLock(), threading.Event(), threading.Event(), threading.get_ident()

    def hold() -> None:
        with lock:
            held.set()
            waiting(lock, 1)
            signal.pthread_kill(main, signal.SIGUSR1)
            done.wait(5)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        thread = start(hold)
        held.wait(5)
        with pytest.raises(Interrupted), lock:
            pass
    finally:
        signal.signal(signal.SIGUSR1, before)
        done.set()
    thread.join()
    with lock:
        assert not lock._queue
