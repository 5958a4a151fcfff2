"""Answers computed together are those that each would get alone; places go in order, and nobody waits for ever."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ledger.errors import Busy
from modelfork import batcher as batching
from modelfork.base import Base, load_base
from modelfork.batcher import Batcher
from modelfork.errors import TooLong
from modelfork.generate import Sampling, generate
from modelfork.interaction import Message
from modelfork.kvcache import RowCache

TEXTS = ("Hi", "What is 4 and 4?", "Longer words than before, and some more", "?")


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base)


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows and tokens of every forward pass."""
    shapes: list[tuple[int, int]] = []
    feed = RowCache.feed

    def seen(self: RowCache, tokens: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        shapes.append((tokens.shape[0], tokens.shape[1]))
        return feed(self, tokens, counts)

    monkeypatch.setattr(RowCache, "feed", seen)
    return shapes


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def states(base: Base, rows: int) -> list[NDArray[np.int64]]:
    return list(np.random.default_rng(2).integers(-(2**21), 2**21, (rows, base.cores.dimension)))


def prompt(base: Base, text: str) -> list[int]:
    return base.render([Message("user", text)], prompt=True)


def until(true: Callable[[], object]) -> None:
    while not true():
        threading.Event().wait(0.001)  # a test may poll


def at_once(
    batcher: Batcher,
    pool: ThreadPoolExecutor,
    asked: Sequence[tuple[NDArray[np.int64], list[int], Sampling]],
) -> list[Future[list[int]]]:
    """Ask for all in this order, before the first is begun."""
    answers = []
    with batcher._base.cores.lock:
        for number, one in enumerate(asked, len(batcher._waiting) + 1):
            answers.append(pool.submit(lambda one=one: list(batcher.generate(*one))))  # type: ignore[misc]
            until(lambda number=number: len(batcher._waiting) == number)  # type: ignore[misc]
    return answers


def idle(batcher: Batcher) -> None:
    until(lambda: not batcher._alive)


def test_sixteen_users_are_told_in_one_batch_what_each_is_told_alone(
    demo: Base, pool: ThreadPoolExecutor, fed: list[tuple[int, int]]
) -> None:
    """On the demo base, whose likeliest token is mostly likelier by more than rounding."""
    users = np.random.default_rng(5).integers(-(2**21), 2**21, (16, demo.cores.dimension))
    asked = [prompt(demo, f"What is my {'big ' * at}dog called?") for at in range(16)]
    sampling = Sampling(max_tokens=9)
    answers = at_once(Batcher(demo), pool, [(*one, sampling) for one in zip(users, asked, strict=True)])
    together = [demo.text(one.result(60)) for one in answers]
    assert together == [demo.text(list(generate(demo, *one, sampling))) for one in zip(users, asked, strict=True)]
    assert len(set(together)) >= 6
    assert {rows for rows, tokens in fed if tokens > 1} == {12, 4}  # prompts, side by side
    assert max(rows for rows, _ in fed) == 16
    assert len(fed) < 2 + 11  # then a token of each at once


def test_a_seed_draws_the_same_alone_and_beside_others(base: Base, pool: ThreadPoolExecutor) -> None:
    drawn = [Sampling(1.2, 0.9, seed, 20) for seed in (1, 2)]
    asked = [(state, prompt(base, "Hi"), one) for state in states(base, 2) for one in (*drawn, Sampling(max_tokens=20))]
    together = [one.result(60) for one in at_once(Batcher(base), pool, asked)]
    assert together == [list(generate(base, *one)) for one in asked]
    assert together[0] != together[1]


def test_rows_come_and_go_while_others_go_on(base: Base, pool: ThreadPoolExecutor, fed: list[tuple[int, int]]) -> None:
    batcher = Batcher(base, most_rows=3)
    asked = [
        (state, prompt(base, TEXTS[at % 4]), Sampling(max_tokens=3 + 5 * (at % 3)))
        for at, state in enumerate(states(base, 10))
    ]
    together = [one.result(60) for one in at_once(batcher, pool, asked)]
    shared = list(fed)
    assert together == [list(generate(base, *one)) for one in asked]
    assert max(rows for rows, _ in shared) == 3
    assert len(shared) < sum(map(len, together)) - 10  # fewer forward passes than tokens, prompts among them


def test_places_are_given_in_the_order_of_arrival(
    base: Base, pool: ThreadPoolExecutor, fed: list[tuple[int, int]]
) -> None:
    state, sizes = states(base, 1)[0], [4, 9, 3, 7, 5]
    asked = [(state, [7] * size, Sampling(max_tokens=2)) for size in sizes]
    for one in at_once(Batcher(base, most_rows=1), pool, asked):
        one.result(60)
    assert [tokens + 1 for _, tokens in fed if tokens > 1] == sizes  # a prompt's last token begins the answer


def test_a_long_prompt_is_fed_in_pieces_and_the_others_go_on_between_them(
    base: Base, pool: ThreadPoolExecutor, fed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "FED", 20)
    short, long = prompt(base, "Hi"), prompt(base, "long " * 30)
    state = states(base, 1)[0]
    asked = [(state, short, Sampling(max_tokens=30)), (state, long, Sampling(max_tokens=2))]
    together = [one.result(60) for one in at_once(Batcher(base), pool, asked)]
    pieces = [at for at, (_, tokens) in enumerate(fed) if tokens > 1]
    assert [fed[at][1] for at in pieces[:-1]] == [len(short) - 1, *[20] * (len(long) // 20)]
    assert {later - earlier for earlier, later in itertools.pairwise(pieces)} == {2}  # one token of the other
    assert together == [list(generate(base, *one)) for one in asked]


def test_who_learns_and_who_answers_have_the_model_for_as_long(
    base: Base, fed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    spent = [0]  # by a learner; a forward pass takes 1
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: spent[0] + len(fed)))
    lock, between = base.cores.lock, []
    with lock:
        answer = pool.submit(lambda: list(Batcher(base).generate(states(base, 1)[0], [5, 6], Sampling(max_tokens=60))))
        until(lambda: lock._queue)
    for _ in range(4):
        with lock:
            until(lambda: lock._queue)  # the answers wait for the model
            between.append(len(fed))
            spent[0] += 10
    answer.result(60)
    assert np.diff(between).tolist() == [10, 10, 10]


def test_what_nobody_wants_any_more_leaves_its_place(
    base: Base, pool: ThreadPoolExecutor, fed: list[tuple[int, int]]
) -> None:
    batcher, state = Batcher(base, most_rows=1), states(base, 1)[0]
    unwanted = batcher.generate(state, prompt(base, "Hi"), Sampling(max_tokens=200))
    next(unwanted)
    unwanted.close()
    asked = (state, prompt(base, "Ho"), Sampling(max_tokens=4))
    assert list(batcher.generate(*asked)) == list(generate(base, *asked))
    idle(batcher)
    assert len(fed) < 200


def test_a_prompt_that_finds_no_place_in_time_is_told_to_come_back(base: Base, pool: ThreadPoolExecutor) -> None:
    batcher = Batcher(base, most_seconds=0.05)
    asked = (states(base, 1)[0], prompt(base, "Hi"), Sampling(max_tokens=4))
    with base.cores.lock, pytest.raises(Busy, match=r"no place came free in 0\.05 s") as busy:  # somebody learns
        list(batcher.generate(*asked))
    assert busy.value.retry_after > 0
    idle(batcher)
    assert list(Batcher(base).generate(*asked)) == list(generate(base, *asked))


def test_a_long_answer_outlasts_the_time_that_a_place_is_waited_for(base: Base) -> None:
    answer = Batcher(base, most_seconds=0.05).generate(states(base, 1)[0], [5, 6], Sampling(max_tokens=3))
    next(answer)
    with base.cores.lock:
        threading.Event().wait(0.1)
    assert len(list(answer)) <= 2


def test_one_more_than_may_wait_is_refused_at_once_and_the_others_are_answered(
    base: Base, pool: ThreadPoolExecutor
) -> None:
    batcher = Batcher(base, most_waiting=3)
    asked = (states(base, 1)[0], prompt(base, "Hi"), Sampling(max_tokens=4))
    with base.cores.lock:
        answers = at_once(batcher, pool, [asked] * 3)
        with pytest.raises(Busy, match="3 wait already"):
            next(batcher.generate(*asked))
    assert {len(one.result(60)) for one in answers} == {len(list(generate(base, *asked)))}


def test_a_row_that_nothing_can_be_drawn_for_fails_alone(base: Base, pool: ThreadPoolExecutor) -> None:
    asked = [
        (state, prompt(base, "Hi"), Sampling(temperature, max_tokens=15))
        for state, temperature in zip(states(base, 3), (1.0, 1e-320, 1.0), strict=True)
    ]
    answers = at_once(Batcher(base), pool, asked)
    with pytest.raises(RuntimeError):
        answers[1].result(60)
    assert [answers[at].result(60) for at in (0, 2)] == [list(generate(base, *asked[at])) for at in (0, 2)]


def test_a_prompt_that_is_too_long_is_refused_before_it_waits(base: Base) -> None:
    batcher = Batcher(base)
    with pytest.raises(TooLong, match="256 tokens"):
        batcher.generate(states(base, 1)[0], [1] * base.context, Sampling())
    assert not batcher._alive


def test_an_answer_ends_with_the_context(base: Base) -> None:
    full = [1] * (base.context - 3)
    said = list(Batcher(base).generate(states(base, 1)[0], full, Sampling(max_tokens=50)))
    assert said == list(generate(base, states(base, 1)[0], full, Sampling(max_tokens=50)))
    assert len(said) <= 3


@pytest.mark.parametrize("with_prompts", [True, False])
def test_a_failure_of_the_model_reaches_every_row_and_the_next_are_answered(
    base: Base, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, with_prompts: bool
) -> None:
    batcher = Batcher(base)
    asked = [(state, prompt(base, "Hi"), Sampling(max_tokens=5)) for state in states(base, 3)]
    feed = RowCache.feed

    def fails(self: RowCache, tokens: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        if bool(counts) == with_prompts:
            raise MemoryError
        return feed(self, tokens, counts)

    with monkeypatch.context() as patch:
        patch.setattr(RowCache, "feed", fails)
        for one in at_once(batcher, pool, asked):
            with pytest.raises(MemoryError):
                one.result(60)
        idle(batcher)
    again = [one.result(60) for one in at_once(batcher, pool, asked)]
    assert again == [list(generate(base, *one)) for one in asked]


def test_there_is_one_thread_whoever_comes_as_it_ends(
    base: Base, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again at the moment at which the last answer is out and the thread is not gone yet."""
    batcher, running = Batcher(base), []
    run, step, asked = batcher._run, batcher._step, (states(base, 1)[0], [5, 6], Sampling(max_tokens=1))
    later: list[Future[list[int]]] = []

    def counted() -> None:
        running.append(1)
        run()
        running.append(-1)

    def and_one_more() -> None:
        step()
        if not later and not batcher._has_work():
            monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: 0))
            later.append(pool.submit(lambda: list(batcher.generate(*asked))))
            until(lambda: batcher._waiting)

    monkeypatch.setattr(batcher, "_run", counted)
    monkeypatch.setattr(batcher, "_step", and_one_more)
    first = list(batcher.generate(*asked))
    until(lambda: later)
    assert later[0].result(60) == first
    idle(batcher)
    assert running[0] == 1
    assert sum(running) in (0, 1)
    assert running.count(1) == 1


def test_the_thread_ends_with_the_last_answer_and_keeps_nothing(base: Base) -> None:
    batcher = Batcher(base)
    list(batcher.generate(states(base, 1)[0], [5, 6], Sampling(max_tokens=3)))
    idle(batcher)
    until(lambda: all(one.name != "batcher" for one in threading.enumerate()))
    assert not batcher._cache._keys
    assert batcher._running[0] == []
    assert not torch.is_inference_mode_enabled()
