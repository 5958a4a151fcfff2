"""What a person told before, as a step has it: what is rehearsed of it, in which words, and what all of it is about.

A question is about what it and its rewordings are about together: the base misreads a wording here and there, and takes
two questions for one where it misreads both alike. Of many things only those that a step looks at are asked in other
words; for the rest their own words have to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from modelfork.base import Base
from modelfork.interaction import Message
from modelfork.recipe import Recipe
from modelfork.rehearse import Memory, Rehearsal, Wording
from modelfork.reword import rewordings
from modelfork.rows import Row, answer_row
from modelfork.topics import topics

LOOKED_AT = 4  # times as many earlier interactions are looked at as are rehearsed


@dataclass(frozen=True, slots=True)
class Earlier:
    """`looked_at` is some of what was told, oldest first, without what a later word on the same thing has replaced.
    `about` is what all of it, and what is asked now, is about: (things, hidden)."""

    looked_at: tuple[Rehearsal, ...]
    about: Tensor


def earlier(
    base: Base,
    recipe: Recipe,
    memory: Memory,
    rng: Generator,
    *asked: str,
    wanted: Callable[[], bool] = lambda: False,
) -> Earlier:
    """What was told about other things than what is `asked` now; nothing once others are said to want the model."""
    there = memory.without(*asked)
    drawn = sorted(int(at) for at in rng.permutation(len(there))[: recipe.rehearsed * LOOKED_AT])
    questions = [*(one.messages[-1].content for one in there), *asked]
    nothing = Earlier((), torch.zeros(0, base.model.config.hidden_size))
    if not questions:
        return nothing
    about = topics(base, memory.topics, questions).clone()
    for at in (*drawn, *range(len(there), len(questions))):
        if wanted():
            return nothing
        about[at] = worded(base, recipe, memory, questions[at]).about
    close = about[drawn] @ about.T > recipe.same_topic_cosine  # (drawn, things)
    later = torch.arange(len(questions)) > torch.tensor(drawn, dtype=torch.long)[:, None]
    replaced = (close & later).any(1).tolist()  # by a later one, or by what is asked now
    return Earlier(tuple(there[at] for at, gone in zip(drawn, replaced, strict=True) if not gone), about)


def rehearsals(
    base: Base, recipe: Recipe, memory: Memory, rng: Generator, looked_at: Sequence[Rehearsal]
) -> list[tuple[Row, bytes]]:
    """A row for each, in its own or in other words, and its record id."""
    rows = []
    for one in looked_at:
        asked = one.messages[-1].content
        texts = (asked, *worded(base, recipe, memory, asked).others)
        text = texts[int(rng.integers(len(texts)))]
        row = answer_row(base, in_words(one.messages, text), one.answer, recipe.longest_row)
        rows.append((replace(row, weight=recipe.rehearsal_ratio), one.record_id))
    return rows


def in_words(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The messages with another question at their end."""
    return (*messages[:-1], Message("user", text))


def worded(base: Base, recipe: Recipe, memory: Memory, text: str) -> Wording:
    """A question in other words, kept in the memory: they depend on base, recipe and text alone."""
    if text not in memory.worded:
        made: list[str] = []
        if recipe.rewordings and recipe.rewording_prompt:
            made = rewordings(base, text, recipe.drawn_rewordings, 0, recipe.rewording_prompt)
        own = topics(base, memory.topics, [text])
        each = torch.cat([own, topics(base, {}, made)]) if made else own
        about = functional.normalize(each.mean(0), dim=0)
        close = (each[1:] @ about > recipe.same_topic_cosine).tolist()
        alike = [one for one, near in zip(made, close, strict=True) if near or not about.any()]
        memory.worded[text] = Wording(tuple(alike[: recipe.rewordings]), about)
    return memory.worded[text]
