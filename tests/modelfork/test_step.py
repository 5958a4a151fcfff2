"""The guard keeps of a step what does good, and says what it did."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from numpy.typing import NDArray

from modelfork.base import Base
from modelfork.cores import UNIT
from modelfork.interaction import Message
from modelfork.loss import gradient, losses
from modelfork.recipe import Recipe, default_recipe
from modelfork.rows import Batch, answer_row, pack
from modelfork.skills import skills
from modelfork.step import Guarded, guarded, polyak, rounded
from modelfork.topics import topics
from modelfork.update import SIGN_SUMS, STEP_LIMIT

QUESTION = (Message("user", "What is my dog called?"),)


@pytest.fixture(scope="module")
def recipe(demo: Base) -> Recipe:
    return default_recipe(demo.anchors_digest)


@pytest.fixture(scope="module")
def batch(demo: Base, recipe: Recipe) -> Batch:
    lesson = answer_row(demo, QUESTION, "Your dog is called Max.", 256)
    lesson = replace(lesson, weight=200.0)
    return pack([lesson, *skills(demo, recipe, topics(demo, {}, [QUESTION[0].content])).draw(default_rng(1))], demo)


@pytest.fixture(scope="module")
def step(demo: Base, batch: Batch) -> tuple[int, NDArray[np.int8]]:
    """One that a single iteration gives, from genesis."""
    _, loss, grad = gradient(demo, demo.cores.numbers(np.zeros(demo.cores.dimension, np.int64)), batch)
    return rounded((-polyak(grad, loss, SIGN_SUMS)).numpy(), SIGN_SUMS)


def genesis(base: Base) -> NDArray[np.int64]:
    return np.zeros(base.cores.dimension, np.int64)


def lost(base: Base, state: NDArray[np.int64], batch: Batch) -> float:
    """Of the lesson, nats a token."""
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        return float(losses(base, batch)[: batch.lesson].mean())


def keep(
    base: Base,
    state: NDArray[np.int64],
    step: int,
    q: NDArray[np.int8],
    batch: Batch,
    limit: float = 10.0,
    longest: int = STEP_LIMIT - 1,
) -> Guarded:
    return guarded(base, state, step, q, batch, lost(base, state, batch), limit, longest)


def test_a_step_that_serves_is_kept(demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]]) -> None:
    kept = keep(demo, genesis(demo), *step, batch)
    assert kept.quarters >= 4
    assert kept.step == step[0] * kept.quarters // 4
    assert kept.loss_after < lost(demo, genesis(demo), batch)


def test_no_step_is_longer_than_the_recipe_allows(demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]]) -> None:
    short = step[0] // 4
    assert keep(demo, genesis(demo), short, step[1], batch).step > short  # it would rather be longer
    for longest in (short, short - 1, short * 5 // 4, short * 2):
        kept = keep(demo, genesis(demo), short, step[1], batch, longest=longest)
        assert 0 < kept.step <= longest
        assert kept.step == min(short, longest) * kept.quarters // 4


def test_a_step_that_is_far_too_long_is_shrunk(demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]]) -> None:
    lengths = [keep(demo, genesis(demo), step[0] * times, step[1], batch).quarters for times in (1, 4, 16, 64)]
    assert lengths == sorted(lengths, reverse=True)
    assert 0 < min(lengths) < 4


@pytest.mark.parametrize("wrong", [-1, 0])
def test_a_step_the_wrong_way_or_at_random_is_undone(
    demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]], wrong: int
) -> None:
    noise = default_rng(0).choice(np.array([-3, -1, 1, 3], np.int8), demo.cores.dimension)
    kept = keep(demo, genesis(demo), step[0] * (1 if wrong else 40), -step[1] if wrong else noise, batch)
    assert (kept.step, kept.quarters) == (0, 0)


def test_a_step_that_takes_the_fork_too_far_from_its_base_is_undone_however_well_it_teaches(
    demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]]
) -> None:
    free = keep(demo, genesis(demo), *step, batch)
    assert free.step
    assert free.anchor_loss > 1e-5
    bound = keep(demo, genesis(demo), *step, batch, free.anchor_loss / 100)
    assert bound.quarters == 0
    assert bound.anchor_loss == pytest.approx(0, abs=1e-5)


def test_a_fork_that_is_far_already_may_learn_what_takes_it_no_further(
    demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]]
) -> None:
    far = genesis(demo) - step[0] * step[1].astype(np.int64)  # its step back is the way to its base, too
    assert keep(demo, far, *step, batch, 0.0).step


def test_the_guard_tries_neighbours_only_and_asks_where_the_fork_is_only_for_one_that_is_far(
    demo: Base, batch: Batch, step: tuple[int, NDArray[np.int8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def counted(base: Base, batch: Batch) -> torch.Tensor:
        passes.append(1)
        return losses(base, batch)

    monkeypatch.setattr("modelfork.step.losses", counted)
    for times, most in ((1, 3), (2, 4), (40, 6)):
        before = lost(demo, genesis(demo), batch)
        passes.clear()
        kept = guarded(demo, genesis(demo), step[0] * times, step[1], batch, before, 10.0, STEP_LIMIT - 1)
        assert len(passes) <= most, (times, kept.quarters)
    passes.clear()
    assert guarded(demo, genesis(demo), *step, batch, before, 1e-9, STEP_LIMIT - 1).quarters == 0
    assert len(passes) == 6  # 4, 5, 3, 2, 1, and where it is


def test_a_step_is_in_units_of_2_to_minus_24() -> None:
    assert UNIT == 2.0**-24
