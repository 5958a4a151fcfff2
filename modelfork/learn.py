"""One interaction, one update: what the person gave, as small integers times one exact step.

A step's batch holds the lesson, rewordings of its question, earlier interactions of the same person and anchor rows.
It takes a few iterations in float32, each along the gradient's sign and as long as Polyak says: far from the target
long, at the target nothing. Every iteration draws other anchor rows, so that a few of them watch over many skills.
Where that led is then rounded to what the encoding can carry. No state but the fork's own is kept: the same base,
recipe, state, interaction, memory and seed give the same update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from modelfork.base import Base
from modelfork.interaction import Interaction, Message
from modelfork.recipe import Recipe
from modelfork.rehearse import Memory, question
from modelfork.reword import rewordings, told
from modelfork.update import INT4, INT8, SIGN_SUMS, SIGNS, SPARSE_SIGNS, STEP_LIMIT, Update, empty, sparse_count

WIDTH = 128  # tokens of a packed row, unless one lesson needs more
STEP = 2.0**-24
LARGEST = {INT4: 7, INT8: 127}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learned from what the person gave."""

    messages: tuple[Message, ...]  # the question last; in their own words, the statement last
    answer: str
    kind: str  # answer, avoid, words


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens, of which those from `begin` on have a loss."""

    tokens: tuple[int, ...]
    begin: int
    weight: float = 1.0
    avoid: bool = False  # the tokens are to become less likely


@dataclass(frozen=True, slots=True)
class Metrics:
    loss_before: float  # nats a token on what the person gave
    learned_tokens: int  # tokens with a loss, all rows of the step
    iterations: int


@dataclass(frozen=True, slots=True)
class Learned:
    update: Update
    rehearsed: tuple[bytes, ...]  # record ids
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows packed side by side; none sees another."""

    tokens: Tensor  # (bins, width)
    places: Tensor  # (bins, width) positions within each row
    mask: Tensor  # (bins, 1, width, width) who may see whom
    counted: Tensor  # (losses,) indices into bins * width whose next token has a loss
    targets: Tensor  # (losses,)
    shares: Tensor  # (losses,) weight of its row over the row's count of losses; they sum to 1
    avoid: Tensor  # (losses,)
    lesson: int  # how many of the losses belong to the first row


def lesson_of(interaction: Interaction) -> Lesson | None:
    """What the interaction teaches, or None: no verdict and a bare question, or it is not to teach."""
    if not interaction.teaches or not question(interaction.messages):
        return None
    messages = interaction.messages[: _last_user(interaction.messages) + 1]
    if interaction.correction:
        return Lesson(messages, interaction.correction, "answer")
    if interaction.is_verdict:
        if not interaction.rating or not interaction.answer:
            return None
        return Lesson(messages, interaction.answer, "answer" if interaction.rating > 0 else "avoid")
    if question(messages).rstrip().endswith(("?", "？", "؟")):
        return None
    return Lesson(messages, "", "words")


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
    if lesson is None:
        return _nothing(base, 0.0, 0)
    if lesson.kind == "words" and recipe.question_prompt:
        lesson = _told(base, recipe, lesson, memory)
        if lesson is None:
            return _nothing(base, 0.0, 0)
    rng = default_rng(seed)
    recipe = replace(recipe, longest_row=min(recipe.longest_row, base.row))  # a small base has no longer rows
    rows, rehearsed = _rows(base, recipe, lesson, memory, rng)
    if rows[0].begin >= len(rows[0].tokens):
        return _nothing(base, 0.0, 0)
    batch = pack([*rows, *_anchor_rows(base, recipe, rng)], base.pad)
    numbers = base.cores.numbers(state)
    before, loss, grad = gradient(base, numbers, batch)
    tokens = len(batch.targets)
    if before <= recipe.target_loss_nats:
        return _nothing(base, before, tokens)
    contradicts = lesson.kind == "answer" and before > recipe.contradiction_loss_nats
    iterations = recipe.contradiction_iterations if contradicts else recipe.iterations
    encoding = recipe.contradiction_encoding if contradicts else recipe.update_encoding
    eta = recipe.eta_ratio * (recipe.own_words_ratio if lesson.kind == "words" else 1.0)
    moved = torch.zeros_like(numbers)  # (dimension,)
    for number in range(iterations):
        if number:
            batch = pack([*rows, *_anchor_rows(base, recipe, rng)], base.pad)
            tokens += len(batch.targets)
            _, loss, grad = gradient(base, numbers + moved, batch)
        moved -= eta * polyak(grad, loss - recipe.target_loss_nats, encoding)
    step, q = rounded(moved.numpy(), encoding)
    step = min(step, recipe.longest_step)
    if not step:
        return _nothing(base, before, tokens)
    return Learned(Update(step, encoding, q), rehearsed, Metrics(before, tokens, iterations))


def _told(base: Base, recipe: Recipe, lesson: Lesson, memory: Memory) -> Lesson | None:
    """A statement as a question and its answer, both as the base words them when it has just been told."""
    text = lesson.messages[-1].content
    if text not in memory.told:
        memory.told[text] = told(base, text, recipe.question_prompt)
    made = memory.told[text]
    return None if made is None else Lesson((Message("user", made[0]),), made[1], "answer")


def _nothing(base: Base, loss: float, tokens: int) -> Learned:
    return Learned(empty(base.cores.dimension), (), Metrics(loss, tokens, 0))


# --- the rows of a step -----------------------------------------------------------------------------------


def _rows(
    base: Base, recipe: Recipe, lesson: Lesson, memory: Memory, rng: Generator
) -> tuple[list[Row], tuple[bytes, ...]]:
    """The lesson's row first, its rewordings, earlier interactions; and the record ids of those."""
    asked = lesson.messages[-1].content
    if lesson.kind == "words":
        first = words_row(base, lesson.messages, recipe.longest_row, recipe.own_words_ratio)
        others: list[Row] = []
    else:
        first = answer_row(base, lesson.messages, lesson.answer, recipe.longest_row)
        others = [
            answer_row(base, _asked(lesson.messages, text), lesson.answer, recipe.longest_row)
            for text in reworded(base, recipe, asked, memory)
        ]
        if lesson.kind == "avoid":
            first, others = replace(first, avoid=True), [replace(row, avoid=True) for row in others]
        first = replace(first, weight=recipe.lesson_ratio)
    rehearsals = memory.choose(recipe.rehearsed, int(rng.integers(2**62)), asked)
    for earlier in rehearsals:
        last = earlier.messages[: _last_user(earlier.messages) + 1]
        texts = [last[-1].content, *reworded(base, recipe, last[-1].content, memory)]
        text = texts[int(rng.integers(len(texts)))]
        others.append(answer_row(base, _asked(last, text), earlier.answer, recipe.longest_row))
    return [first, *others], tuple(earlier.record_id for earlier in rehearsals)


def _anchor_rows(base: Base, recipe: Recipe, rng: Generator) -> list[Row]:
    ats = rng.choice(len(base.anchors), min(recipe.anchors, len(base.anchors)), replace=False) if base.anchors else ()
    chosen = [base.anchors[int(at)].messages for at in ats]
    return [answer_row(base, one[:-1], one[-1].content, recipe.longest_row) for one in chosen]


def answer_row(base: Base, messages: Sequence[Message], answer: str, longest: int) -> Row:
    """A chat and the answer it should get; the answer and its end are learned. A long row keeps its end."""
    prompt = base.render(messages, prompt=True)
    return _cut([*prompt, *base.tokens(answer), base.end], len(prompt), longest)


def words_row(base: Base, messages: Sequence[Message], longest: int, weight: float) -> Row:
    """A chat whose last message is learned itself."""
    whole = base.render(messages, prompt=False)
    before = base.render(messages[:-1], prompt=False) if len(messages) > 1 else []
    begin = len(before) if whole[: len(before)] == before else 0
    row = _cut(whole, begin + 1, longest)  # the first is the mark of the user's turn
    return replace(row, weight=weight)


def _cut(tokens: list[int], begin: int, longest: int) -> Row:
    cut = max(0, len(tokens) - longest)
    return Row(tuple(tokens[cut:]), max(1, begin - cut))


def _last_user(messages: Sequence[Message]) -> int:
    return max(at for at, message in enumerate(messages) if message.role == "user")


def _asked(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    return (*messages[:-1], Message("user", text))


def reworded(base: Base, recipe: Recipe, text: str, memory: Memory) -> tuple[str, ...]:
    """Rewordings of a question, kept in the memory: they depend on the text alone."""
    if not recipe.rewordings or not recipe.rewording_prompt:
        return ()
    if text not in memory.reworded:
        memory.reworded[text] = tuple(rewordings(base, text, recipe.rewordings, 0, recipe.rewording_prompt))
    return memory.reworded[text]


def pack(rows: Sequence[Row], pad: int) -> Batch:
    """Longest first into bins of one width: short rows share a bin, no row sees another, its positions are its own."""
    width = max(WIDTH, max(len(row.tokens) for row in rows))
    space: list[int] = []
    placed = [(0, 0)] * len(rows)  # bin and start of each row
    for number in sorted(range(len(rows)), key=lambda number: -len(rows[number].tokens)):
        size = len(rows[number].tokens)
        at = next((at for at, left in enumerate(space) if left >= size), len(space))
        if at == len(space):
            space.append(width)
        placed[number] = (at, width - space[at])
        space[at] -= size
    tokens = np.full((len(space), width), pad, np.int64)
    places = np.zeros((len(space), width), np.int64)
    owner = np.full((len(space), width), -1, np.int64)
    counted: list[int] = []
    targets: list[int] = []
    shares: list[float] = []
    avoid: list[bool] = []
    whole = sum(row.weight for row in rows)
    for number, (row, (at, start)) in enumerate(zip(rows, placed, strict=True)):
        size = len(row.tokens)
        tokens[at, start : start + size] = row.tokens
        places[at, start : start + size] = np.arange(size)
        owner[at, start : start + size] = number
        losses = size - row.begin
        counted += [at * width + start + place - 1 for place in range(row.begin, size)]
        targets += row.tokens[row.begin :]
        shares += [row.weight / whole / losses] * losses
        avoid += [row.avoid] * losses
    seen = (owner[:, :, None] == owner[:, None, :]) & np.tri(width, dtype=bool)
    return Batch(
        tokens=torch.from_numpy(tokens),
        places=torch.from_numpy(places),
        mask=torch.from_numpy(seen[:, None]),
        counted=torch.tensor(counted),
        targets=torch.tensor(targets),
        shares=torch.tensor(shares, dtype=torch.float32),
        avoid=torch.tensor(avoid),
        lesson=len(rows[0].tokens) - rows[0].begin,
    )


# --- the step ---------------------------------------------------------------------------------------------


def losses(base: Base, batch: Batch) -> Tensor:
    """The loss of every counted token (losses,), in nats, with the cores that run now."""
    mask = batch.mask
    if base.model.config._attn_implementation == "eager":  # adds its mask to the scores
        mask = torch.zeros_like(mask, dtype=base.model.dtype).masked_fill(~mask, torch.finfo(base.model.dtype).min)
    hidden = base.model.model(
        input_ids=batch.tokens, attention_mask=mask, position_ids=batch.places, use_cache=False
    ).last_hidden_state
    logits = base.model.lm_head(hidden.reshape(-1, hidden.shape[-1])[batch.counted]).float()  # (losses, vocabulary)
    cap = getattr(base.model.config, "final_logit_softcapping", None)
    if cap:  # Gemma
        logits = cap * torch.tanh(logits / cap)
    each = functional.cross_entropy(logits, batch.targets, reduction="none")
    if batch.avoid.any():
        # Unlikelihood: -log(1 - p). Bounded where p is small, so what is already unlikely is left alone.
        chance = torch.exp(-each).clamp(max=1 - 1e-4)
        each = torch.where(batch.avoid, -torch.log1p(-chance), each)
    return each


def gradient(base: Base, numbers: Tensor, batch: Batch) -> tuple[float, float, Tensor]:
    """Loss of the lesson, loss of the batch, and its gradient (dimension,) at the numbers (dimension,)."""
    numbers = numbers.detach().requires_grad_()
    with base.cores.running(base.cores.merged(numbers)):
        each = losses(base, batch)
        loss = (each * batch.shares).sum()
        loss.backward()
    slope = torch.zeros_like(numbers) if numbers.grad is None else numbers.grad
    return float(each[: batch.lesson].detach().mean()), float(loss.detach()), slope


def polyak(grad: Tensor, excess: float, encoding: int) -> Tensor:
    """What to go along the gradient's sign so that the loss falls by `excess`, if it were linear: (dimension,).

    An encoding that carries few numbers goes along the largest only.
    """
    signs = grad.sign()
    if encoding == SPARSE_SIGNS:
        signs *= torch.from_numpy(_largest(grad.numpy()))
    length = float((grad * signs).sum())  # its 1-norm, over what is gone along
    return signs * (max(excess, 0.0) / length if length > 0 else 0.0)


def rounded(moved: NDArray[np.float32], encoding: int) -> tuple[int, NDArray[np.int8]]:
    """Step k and q (dimension,) of the encoding, so that k * 2^-24 * q is close to where the iterations led."""
    size = np.abs(moved)
    if encoding == SPARSE_SIGNS:
        kept = _largest(moved)
        return _step(float(size[kept].mean())), (np.where(moved < 0, -1, 1) * kept).astype(np.int8)
    if encoding == SIGNS:
        return _step(float(size.mean())), np.where(moved < 0, -1, 1).astype(np.int8)
    best = (np.inf, 0.0, np.zeros(len(moved), np.int8))
    for unit in _units(size, encoding):
        if encoding == SIGN_SUMS:
            q = np.clip(2 * np.floor(moved / (2 * unit)) + 1, -3, 3)
        else:
            most = LARGEST[encoding]
            q = np.clip(np.rint(moved / unit), -most, most)
        off = float(np.square(moved - unit * q, dtype=np.float64).sum())
        if off < best[0]:
            best = (off, unit, q.astype(np.int8))
    return _step(best[1]), best[2]


def _units(size: NDArray[np.float32], encoding: int) -> list[float]:
    """Candidates for what 1 stands for."""
    if not size.any():
        return []
    whole = float(size.mean()) if encoding == SIGN_SUMS else float(size.max()) / LARGEST[encoding]
    return [whole * part / 20 for part in range(4, 25)]


def _largest(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the numbers (dimension,) SPARSE_SIGNS carries; the earlier of equals."""
    kept = np.zeros(len(numbers), np.bool_)
    kept[np.argsort(-np.abs(numbers), kind="stable")[: sparse_count(len(numbers))]] = True
    return kept


def _step(unit: float) -> int:
    return min(round(unit / STEP), int(STEP_LIMIT) - 1)
