"""One interaction, one update: what the person gave, as small integers times one exact step.

A step's batch holds the lesson, rewordings of its question, earlier interactions of the same person and anchor rows.
It takes a few iterations in float32, each along the gradient's sign and as long as Polyak says: far from the target
long, at the target nothing. Every iteration draws other anchor rows, so that a few of them watch over many skills.
Where that led is then rounded to what the encoding can carry, and tried before it counts. Practice is the same step
without a lesson, towards what the fork has forgotten or back to where its base has stayed. No state but the fork's own
is kept: the same base, recipe, state, interaction, memory and seed give the same update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from modelfork.base import Base
from modelfork.earlier import earlier, in_words, rehearsals, worded
from modelfork.interaction import Interaction, Message, Noted
from modelfork.lesson import Lesson, lesson_of
from modelfork.loss import gradient, judged
from modelfork.recipe import Recipe
from modelfork.recording import Metrics
from modelfork.rehearse import Memory
from modelfork.reword import told
from modelfork.rows import Row, answer_row, pack, words_row
from modelfork.skills import Skills, skills
from modelfork.step import guarded, polyak, rounded
from modelfork.update import Update, empty


@dataclass(frozen=True, slots=True)
class Said:
    """How a fork says a row."""

    row: Row
    record_id: bytes  # that told it
    nats: float  # a token
    right: bool  # every token of it is the likeliest


@dataclass(frozen=True, slots=True)
class Learned:
    update: Update
    rehearsed: tuple[bytes, ...] = ()  # record ids
    metrics: Metrics = field(default_factory=Metrics)
    noted: tuple[Noted, ...] = ()  # what a statement was learned as


def nothing_learned(base: Base) -> Learned:
    """An empty update."""
    return Learned(empty(base.cores.dimension))


def learn(
    base: Base,
    recipe: Recipe,
    state: NDArray[np.int64],
    interaction: Interaction,
    memory: Memory,
    seed: int,
) -> Learned:
    """The update that the interaction gives at this state (dimension,); EMPTY where it gives none."""
    lesson = lesson_of(interaction)
    noted: tuple[Noted, ...] = ()
    if lesson is not None and lesson.kind == "words" and recipe.question_prompt:
        lesson, noted = _told(base, recipe, lesson, memory)
    if lesson is None:
        return nothing_learned(base)
    rng, recipe = default_rng(seed), _fitting(base, recipe)
    rows = _lesson_rows(base, recipe, lesson, memory)
    if rows[0].begin >= len(rows[0].tokens):
        return replace(nothing_learned(base), noted=noted)
    before = earlier(base, recipe, memory, rng, lesson.messages[-1].content)
    again = rehearsals(base, recipe, memory, rng, before.looked_at)
    if len(again) > recipe.rehearsed:
        again = [(one.row, one.record_id) for one in _worst_first(base, state, again)[: recipe.rehearsed]]
    drawn = skills(base, recipe, before.about)
    return replace(_step(base, recipe, state, lesson.kind, rows, again, drawn, rng), noted=noted)


def practise(
    base: Base,
    recipe: Recipe,
    state: NDArray[np.int64],
    memory: Memory,
    seed: int,
    wanted: Callable[[], bool] = lambda: False,
) -> Learned:
    """The update that learns again what the fork has forgotten, or draws it back to its base; EMPTY where it says well
    enough what it was told, and what its base would say.

    For a turn that brings no lesson. What was told is asked in its own or in other words. EMPTY also where others want
    the model to learn with before the step begins: `wanted` is asked while other words are looked for.
    """
    rng, recipe = default_rng(seed), _fitting(base, recipe)
    if not recipe.practice_loss:
        return nothing_learned(base)
    before = earlier(base, recipe, memory, rng, wanted=wanted)
    rows = rehearsals(base, recipe, memory, rng, before.looked_at)
    said = _worst_first(base, state, rows)
    # What is said right and yet unlikely has tokens that the base cannot tell from others: no practice helps.
    again = [one for one in said if one.nats <= recipe.practice_loss_nats or not one.right][: recipe.rehearsed]
    if not again:
        return nothing_learned(base)
    forgot = again[0].nats > recipe.practice_loss_nats
    recipe = recipe if forgot else _drawn_back(recipe)
    drawn = skills(base, recipe, before.about)
    if not (forgot or _drifted(base, recipe, state, drawn.draw(rng))) or wanted():
        return nothing_learned(base)
    return _step(base, recipe, state, "again", [], [(one.row, one.record_id) for one in again], drawn, rng)


def _fitting(base: Base, recipe: Recipe) -> Recipe:
    """A small base has no longer rows than its own."""
    return replace(recipe, longest_row=min(recipe.longest_row, base.row))


def _drawn_back(recipe: Recipe) -> Recipe:
    """How a fork is drawn back that forgot nothing: more anchor rows at a time, in fewer and shorter steps."""
    return replace(
        recipe,
        eta=recipe.drift_eta,
        anchors=recipe.drift_anchors,
        iterations=recipe.drift_iterations,
        context_share=recipe.drift_context_share,
    )


def _step(
    base: Base,
    recipe: Recipe,
    state: NDArray[np.int64],
    kind: str,  # of the lesson; "again" without one
    lesson: Sequence[Row],
    again: Sequence[tuple[Row, bytes]],
    drawn: Skills,
    rng: Generator,
) -> Learned:
    """Towards the rows of the lesson and of what is rehearsed; the first of them says how far."""
    nothing = empty(base.cores.dimension)
    rows, rehearsed = [*lesson, *(row for row, _ in again)], tuple(record_id for _, record_id in again)
    # 1. Where the fork is.
    batch = pack([*rows, *drawn.draw(rng)], base)
    numbers = base.cores.numbers(state)
    before, loss, grad = gradient(base, numbers, batch)
    tokens = len(batch.targets)
    if before <= recipe.target_loss_nats:
        return Learned(nothing, metrics=Metrics(loss_before=before, learned_tokens=tokens))
    contradicts = kind == "answer" and before > recipe.contradiction_loss_nats
    iterations = recipe.contradiction_iterations if contradicts else recipe.iterations
    most = max(iterations, recipe.longest_iterations) if contradicts else iterations
    encoding = recipe.contradiction_encoding if contradicts else recipe.update_encoding
    eta = recipe.eta_ratio * (recipe.own_words_ratio if kind == "words" else 1.0)
    # 2. Where it should go; further while a contradicting correction is not learned.
    moved = torch.zeros_like(numbers)  # (dimension,)
    taken = 0
    while True:
        # What the anchor rows lose is to stay nothing: the target is that of the other rows.
        moved -= eta * polyak(grad, loss - batch.taught * recipe.target_loss_nats, encoding)
        taken += 1
        if taken == most:
            break
        batch = pack([*rows, *drawn.draw(rng)], base)
        tokens += len(batch.targets)
        own, loss, grad = gradient(base, numbers + moved, batch)
        if taken >= iterations and own <= recipe.learned_loss_nats:
            break
    # 3. What of that the encoding can say.
    step, q = rounded(moved.cpu().numpy(), encoding)
    # 4. What of that does good.
    fresh = pack([*rows, *drawn.draw(rng)], base)
    left = guarded(base, state, step, q, fresh, before, recipe.anchor_limit_nats, recipe.longest_step)
    metrics = Metrics(
        loss_before=before,
        learned_tokens=tokens,
        iterations=taken,
        guard_quarters=left.quarters,
        loss_after=left.loss_after,
        anchor_loss=left.anchor_loss,
    )
    if not left.step:
        return Learned(nothing, metrics=metrics)
    return Learned(Update(left.step, encoding, q), rehearsed, metrics)


def _told(base: Base, recipe: Recipe, lesson: Lesson, memory: Memory) -> tuple[Lesson | None, tuple[Noted, ...]]:
    """A statement as a question and its answer, both as the base words them when it has just been told."""
    text = lesson.messages[-1].content
    if text not in memory.told:
        memory.told[text] = told(base, text, recipe.question_prompt)
    made = memory.told[text]
    if made is None:
        return None, ()
    return Lesson((Message("user", made[0]),), made[1], "answer"), (Noted(*made),)


# --- the rows of a step -----------------------------------------------------------------------------------


def _lesson_rows(base: Base, recipe: Recipe, lesson: Lesson, memory: Memory) -> list[Row]:
    """The lesson's own row first, then its rewordings."""
    if lesson.kind == "words":
        return [words_row(base, lesson.messages, recipe.longest_row, recipe.own_words_ratio)]
    texts = worded(base, recipe, memory, lesson.messages[-1].content).others
    asked = [lesson.messages, *(in_words(lesson.messages, text) for text in texts)]
    rows = [answer_row(base, messages, lesson.answer, recipe.longest_row) for messages in asked]
    if lesson.kind == "avoid":
        rows = [replace(row, avoid=True) for row in rows]
    return [replace(rows[0], weight=recipe.lesson_ratio), *rows[1:]]


def _worst_first(base: Base, state: NDArray[np.int64], rows: Sequence[tuple[Row, bytes]]) -> list[Said]:
    """The rows that the fork says worst now first."""
    how = _how_said(base, state, [row for row, _ in rows])
    said = [Said(row, record_id, *one) for (row, record_id), one in zip(rows, how, strict=True)]
    return sorted(said, key=lambda one: -one.nats)


def _drifted(base: Base, recipe: Recipe, state: NDArray[np.int64], anchors: Sequence[Row]) -> bool:
    """Whether the fork is further from its base on the anchor rows than the recipe lets it be."""
    if not recipe.practice_drift or not anchors:
        return False
    away = [nats for nats, _ in _how_said(base, state, anchors)]
    return sum(away) / len(away) > recipe.practice_drift_nats


def _how_said(base: Base, state: NDArray[np.int64], rows: Sequence[Row]) -> list[tuple[float, bool]]:
    """Of each row the nats a token that the fork loses, and whether every token of it is the likeliest."""
    if not rows:
        return []
    sizes = [len(row.tokens) - row.begin for row in rows]
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        each, right = (one.cpu().split(sizes) for one in judged(base, pack(rows, base)))
    return [(float(nats.mean()), bool(likeliest.all())) for nats, likeliest in zip(each, right, strict=True)]
