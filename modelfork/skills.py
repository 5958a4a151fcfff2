"""The base's own skills, kept by anchor rows: a step moves the fork, and these say where the base would have stayed.

An anchor row has no right answer but the base's own, every word of it with its chances. Which rows a step draws
depends on what the person has told: a row that owns not to know the very thing is no skill any more, and one that owns
not to know something close to it is drawn more often, for there a fork gets things wrong first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from modelfork.base import CONTEXT, UNKNOWN, Anchor, Base
from modelfork.loss import hidden_states
from modelfork.recipe import Recipe
from modelfork.rows import Row, answer_row, pack
from modelfork.topics import topics


@dataclass(frozen=True, slots=True)
class Skills:
    """The anchor rows that a step may draw, by number, and how likely each is."""

    base: Base
    recipe: Recipe
    numbers: NDArray[np.int64]  # (rows,)
    chances: NDArray[np.float64]  # (rows,), summing to 1

    def draw(self, rng: Generator) -> list[Row]:
        count = min(self.recipe.anchors, len(self.numbers))
        drawn = rng.choice(self.numbers, count, replace=False, p=self.chances) if count else ()
        return [_row(self.base, self.recipe, self.base.anchors[int(number)]) for number in drawn]


def skills(base: Base, recipe: Recipe, told: Tensor) -> Skills:
    """Those of the base, for a person who told something about `told` (things, hidden)."""
    # 1. How close each row that owns not to know is to what was told.
    unknown = [at for at, anchor in enumerate(base.anchors) if anchor.kind == UNKNOWN and len(anchor.messages) == 2]
    close = np.zeros(len(base.anchors))
    if unknown and len(told):
        questions = [base.anchors[at].messages[0].content for at in unknown]
        close[unknown] = (topics(base, base.own.topics, questions) @ told.T).amax(1).numpy()
    # 2. What denies it is left out.
    numbers = np.flatnonzero(close <= recipe.same_topic_cosine)
    # 3. Of the rest the closest come most often; together they come as often as before.
    weight = np.ones(len(base.anchors))
    weight[unknown] = np.exp(recipe.nearness_ratio * close[unknown])
    left = np.intersect1d(numbers, np.array(unknown, np.int64))
    weight[left] *= len(left) / max(weight[left].sum(), 1e-9)
    # 4. Rows with facts in the prompt come as often as the recipe says, however many there are: a fork overfits few.
    context = np.array([base.anchors[at].kind == CONTEXT for at in numbers], np.bool_)
    chances = weight[numbers]
    for these, part in ((context, recipe.context_part), (~context, 1 - recipe.context_part)):
        chances[these] *= part / max(chances[these].sum(), 1e-9)
    return Skills(base, recipe, numbers, chances / max(chances.sum(), 1e-9))


def _row(base: Base, recipe: Recipe, anchor: Anchor) -> Row:
    tokens, begin, own = _own(base, anchor, recipe.longest_row)
    more = {UNKNOWN: recipe.unknown_ratio, CONTEXT: recipe.context_ratio}.get(anchor.kind, 1.0)
    return Row(tokens, begin, weight=recipe.anchor_ratio * more, own=own)


def _own(base: Base, anchor: Anchor, longest: int) -> tuple[tuple[int, ...], int, Tensor]:
    """The row's tokens, where its answer begins, and what the base has along that: once, and of this row alone."""
    if (anchor, longest) not in base.own.answers:
        row = answer_row(base, anchor.messages[:-1], anchor.messages[-1].content, longest)
        with torch.no_grad(), base.cores.running(None):
            base.own.answers[anchor, longest] = row.tokens, row.begin, hidden_states(base, pack([row], base))
    return base.own.answers[anchor, longest]
