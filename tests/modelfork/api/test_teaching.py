"""The queue of what is to be learned: order, turns, bounds and an end. The work is a stand-in; no model learns here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from ledger.errors import Busy, Unavailable
from modelfork.api.teaching import MOST_BYTES_WAITING, MOST_WAITING, Teaching, Work
from modelfork.forks import Recorded

pytestmark = pytest.mark.asyncio


class Desk:
    """Work that notes its name when it is begun, and then waits for the gate."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = threading.Event()

    def work(self, name: str) -> Work:
        def done() -> Recorded:
            self.begun.append(name)
            assert self.gate.wait(20)
            return cast(Recorded, name)

        return done

    def works(self, *names: str, size: int = 1) -> list[tuple[int, Work]]:
        return [(size, self.work(name)) for name in names]


@asynccontextmanager
async def teaching_with(threads: int) -> AsyncIterator[tuple[Teaching, Desk]]:
    teaching, desk = Teaching(threads), Desk()
    try:
        yield teaching, desk
    finally:
        desk.gate.set()
        teaching.finish()
        await asyncio.to_thread(teaching.close)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_forks_interactions_are_learned_one_after_another_and_forks_side_by_side() -> None:
    async with teaching_with(threads=4) as (teaching, desk):
        first = teaching.take("app", "x", desk.works("x1", "x2"))
        other = teaching.take("app", "y", desk.works("y1"))
        await until(lambda: len(desk.begun) == 2)
        await asyncio.sleep(0.01)
        assert sorted(desk.begun) == ["x1", "y1"]
        desk.gate.set()
        taught = await asyncio.gather(*first, *other)
        assert [cast(Any, one.recorded) for one in taught] == ["x1", "x2", "y1"]
        assert desk.begun[2] == "x2"
        assert taught[1].waited > 0


async def test_apps_take_turns_and_so_do_the_forks_of_one() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        taken = teaching.take("flood", "a", desk.works("a1", "a2", "a3"))
        taken += teaching.take("flood", "b", desk.works("b1", "b2"))
        taken += teaching.take("other", "z", desk.works("z1", "z2"))
        desk.gate.set()
        await asyncio.gather(*taken)
        assert desk.begun == ["a1", "b1", "z1", "a2", "z2", "b2", "a3"]


async def test_two_apps_that_name_the_same_fork_do_not_wait_for_each_other() -> None:
    async with teaching_with(threads=2) as (teaching, desk):
        teaching.take("app", "x", desk.works("mine"))
        teaching.take("another", "x", desk.works("theirs"))
        await until(lambda: len(desk.begun) == 2)


async def test_an_app_has_so_much_room_and_no_more_and_leaves_that_of_others_alone() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        taken = teaching.take("flood", "x", desk.works(*map(str, range(MOST_WAITING))))
        with pytest.raises(Busy):
            teaching.take("flood", "y", desk.works("one more"))
        assert teaching.waiting("flood") == MOST_WAITING
        teaching.take("other", "z", desk.works("z"))
        waiting = asyncio.create_task(teaching.room("flood"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        desk.gate.set()
        await taken[0]
        await waiting
        await asyncio.gather(*taken)
        await asyncio.sleep(0)
        assert teaching.waiting("flood") == 0


async def test_room_is_a_matter_of_bytes_too() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        teaching.take("app", "x", desk.works("large", size=MOST_BYTES_WAITING))
        with pytest.raises(Busy):
            teaching.take("app", "x", desk.works("small"))


async def test_a_batch_is_taken_whole_or_not_at_all() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        teaching.take("app", "x", desk.works(*map(str, range(MOST_WAITING - 1))))
        with pytest.raises(Busy):
            teaching.take("app", "x", desk.works("two", "more"))
        assert teaching.waiting("app") == MOST_WAITING - 1


async def test_what_nobody_waits_for_is_not_begun_and_takes_no_room() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        begun, *rest = teaching.take("app", "x", desk.works("first", "unheard", "last"))
        await until(lambda: desk.begun == ["first"])
        rest[0].cancel()
        await asyncio.sleep(0)
        assert teaching.waiting("app") == 2
        assert [len(lane) for lane in teaching._lanes.values()] == [1]
        desk.gate.set()
        await asyncio.gather(begun, rest[1])
        assert desk.begun == ["first", "last"]
        await until(lambda: not teaching._lanes)


async def test_work_that_fails_fails_alone() -> None:
    async with teaching_with(threads=1) as (teaching, desk):

        def fails() -> Recorded:
            raise KeyError

        desk.gate.set()
        failed, done = teaching.take("app", "x", [(1, fails), *desk.works("next")])
        assert isinstance((await asyncio.gather(failed, return_exceptions=True))[0], KeyError)
        assert cast(Any, (await done).recorded) == "next"


async def test_the_end_fails_what_was_not_begun_and_waits_for_what_was() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        begun, waiting = teaching.take("app", "x", desk.works("begun", "waiting"))
        await until(lambda: desk.begun == ["begun"])
        teaching.finish()
        for refused in (waiting, asyncio.ensure_future(teaching.room("app"))):
            with pytest.raises(Unavailable, match="stopping"):
                await refused
        with pytest.raises(Unavailable, match="stopping"):
            teaching.take("app", "y", desk.works("late"))
        desk.gate.set()
        assert cast(Any, (await begun).recorded) == "begun"
        assert desk.begun == ["begun"]


async def test_what_is_not_begun_in_time_is_refused_and_what_was_begun_is_finished() -> None:
    async with teaching_with(threads=1) as (teaching, desk):
        (begun,) = teaching.take("app", "x", desk.works("x1"), within=0.05)
        await until(lambda: desk.begun == ["x1"])
        (late,) = teaching.take("app", "x", desk.works("x2"), within=0.05)
        (patient,) = teaching.take("app", "y", desk.works("y1"))
        with pytest.raises(Busy, match=r"not begun in 0\.05 s"):
            await late
        assert teaching.waiting("app") == 2, "its place is free again"
        desk.gate.set()
        await asyncio.gather(begun, patient)
        assert desk.begun == ["x1", "y1"]
