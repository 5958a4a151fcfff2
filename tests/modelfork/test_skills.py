"""Anchor rows hold a fork to what its base says, save where the person told otherwise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from modelfork.base import CONTEXT, UNKNOWN, Base, load_base
from modelfork.loss import losses
from modelfork.recipe import ONE, Recipe, default_recipe
from modelfork.rows import Row, pack
from modelfork.settings import DEMO_BASE
from modelfork.skills import Skills, skills
from modelfork.topics import topics

TOLD = "What is my dog called?"


@pytest.fixture(scope="module")
def recipe(demo: Base) -> Recipe:
    return replace(default_recipe(demo.anchors_digest), anchors=8)


def cost(base: Base, rows: list[Row], core: float) -> float:
    state = np.full(base.cores.dimension, round(core * 2**24), np.int64)
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        return float(losses(base, pack(rows, base)).mean())


def test_a_fork_at_genesis_says_what_its_base_says_and_a_moved_one_does_not(demo: Base, recipe: Recipe) -> None:
    rows = skills(demo, recipe, nothing(demo)).draw(default_rng(1))
    assert abs(cost(demo, rows, 0.0)) < 1e-5
    assert cost(demo, rows, 0.1) > 1e-3


def nothing(base: Base) -> torch.Tensor:
    """What somebody is about who told nothing."""
    return torch.zeros(0, base.model.config.hidden_size)


def unknown(found: Skills) -> dict[str, float]:
    """Chance of each question that the base owns not to know."""
    anchors = [found.base.anchors[int(number)] for number in found.numbers]
    chances = zip(anchors, found.chances.tolist(), strict=True)
    return {anchor.messages[0].content: chance for anchor, chance in chances if anchor.kind == UNKNOWN}


def test_what_denies_what_was_told_is_not_drawn(demo: Base, recipe: Recipe) -> None:
    before, now = unknown(skills(demo, recipe, nothing(demo))), unknown(skills(demo, recipe, topics(demo, {}, [TOLD])))
    gone = sorted(before.keys() - now.keys())
    assert gone
    assert all("dog" in question or "puppy" in question for question in gone)
    assert not any("my dog" in question for question in now)
    assert len(gone) < len(before) // 10


def test_what_is_close_to_what_was_told_is_drawn_more_often(demo: Base, recipe: Recipe) -> None:
    chances = unknown(skills(demo, recipe, topics(demo, {}, [TOLD])))
    close = (topics(demo, {}, list(chances)) @ topics(demo, {}, [TOLD])[0]).tolist()
    nearest, furthest = (pick(zip(close, chances.values(), strict=True))[1] for pick in (max, min))
    assert nearest > 3 * furthest
    even = unknown(skills(demo, replace(recipe, nearness=0), topics(demo, {}, [TOLD])))
    assert max(even.values()) == pytest.approx(min(even.values()))
    # Together they come as often as the same number of other rows without facts in their prompt.
    others = [at for at in skills(demo, recipe, topics(demo, {}, [TOLD])).numbers if demo.anchors[at].kind != CONTEXT]
    part = (1 - recipe.context_part) * len(chances) / len(others)
    assert sum(chances.values()) == pytest.approx(part, abs=0.01)


@pytest.mark.parametrize("rows", [1, 10, 1020])
def test_rows_with_facts_in_the_prompt_come_as_often_however_many_there_are(
    demo: Base, recipe: Recipe, rows: int
) -> None:
    facts = [anchor for anchor in demo.anchors if anchor.kind == CONTEXT]
    other = [anchor for anchor in demo.anchors if anchor.kind != CONTEXT]
    assert len(facts) == 1020
    shared = replace(recipe, context_share=ONE // 4)
    found = skills(replace(demo, anchors=(*facts[:rows], *other)), shared, nothing(demo))
    assert found.chances[found.numbers < rows].sum() == pytest.approx(0.25)
    assert found.chances.sum() == pytest.approx(1)


@pytest.mark.parametrize("facts", [True, False])
def test_rows_of_one_kind_alone_are_drawn_all_the_same(demo: Base, recipe: Recipe, facts: bool) -> None:
    rows = tuple(anchor for anchor in demo.anchors if (anchor.kind == CONTEXT) == facts)[:20]
    found = skills(replace(demo, anchors=rows), recipe, nothing(demo))
    assert len(found.draw(default_rng(1))) == recipe.anchors
    assert found.chances.sum() == pytest.approx(1)


@pytest.mark.parametrize(("kind", "more"), [(UNKNOWN, 3.0), (CONTEXT, 5.0), ("general", 1.0)])
def test_a_row_counts_by_what_it_watches_over(demo: Base, recipe: Recipe, kind: str, more: float) -> None:
    weighted = replace(recipe, unknown_weight=3 * ONE, context_weight=5 * ONE)
    numbers = np.array([at for at, anchor in enumerate(demo.anchors) if anchor.kind == kind])
    found = replace(
        skills(demo, weighted, nothing(demo)), numbers=numbers, chances=np.full(len(numbers), 1 / len(numbers))
    )
    assert {row.weight for row in found.draw(default_rng(1))} == {recipe.anchor_ratio * more}


def test_what_the_base_says_of_a_row_does_not_depend_on_what_else_was_drawn(demo: Base, recipe: Recipe) -> None:
    one = replace(skills(demo, recipe, nothing(demo)), numbers=np.array([7]), chances=np.array([1.0]))
    (row,) = one.draw(default_rng(1))
    other = load_base(DEMO_BASE)
    many = replace(skills(other, replace(recipe, anchors=200), nothing(other)), numbers=np.arange(200))
    drawn = replace(many, chances=np.full(200, 1 / 200)).draw(default_rng(2))
    (same,) = [each for each in drawn if each.tokens == row.tokens][:1]
    assert row.own is not None
    assert same.own is not None
    assert torch.equal(row.own, same.own)


def test_an_anchor_row_is_rendered_and_run_once(demo: Base, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(skills(demo, recipe, nothing(demo)), numbers=np.arange(3), chances=np.full(3, 1 / 3))
    first = one.draw(default_rng(1))
    monkeypatch.setattr(Base, "render", None)
    monkeypatch.setattr("modelfork.skills.hidden_states", None)
    again = one.draw(default_rng(1))
    assert [row.tokens for row in again] == [row.tokens for row in first]
    assert len({row.tokens for row in again}) == 3


def test_a_base_without_anchor_rows_draws_none(tiny_base: Path) -> None:
    base = load_base(tiny_base)
    bare = replace(base, anchors=())
    assert skills(bare, default_recipe(base.anchors_digest), topics(base, {}, ["Who?"])).draw(default_rng(1)) == []


def test_the_base_keeps_its_own_questions_and_never_a_person_s(demo: Base, recipe: Recipe) -> None:
    skills(demo, recipe, topics(demo, {}, ["Where is my treasure?"]))
    assert set(demo.own.topics) == {one.messages[0].content for one in demo.anchors if len(one.messages) == 2}
