"""Rows of tokens, some of which have a loss, and how rows share a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from modelfork.base import Base
from modelfork.interaction import Message

WIDTH = 128  # tokens of a packed row, unless one lesson needs more


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens, of which those from `begin` on have a loss."""

    tokens: tuple[int, ...]
    begin: int
    weight: float = 1.0
    avoid: bool = False  # the tokens are to become less likely
    own: Tensor | None = None  # (losses, hidden) what the base itself has there: the fork is to say the same


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
    anchored: Tensor  # (losses,) whether it is one of a row with `own`
    own: Tensor | None  # (anchored losses, hidden)
    taught: float  # the share of the rows without `own`


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


def pack(rows: Sequence[Row], base: Base) -> Batch:
    """Longest first into bins of one width: short rows share a bin, no row sees another, its positions are its own.

    Made on the CPU and put where the model is.
    """
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
    tokens = np.full((len(space), width), base.pad, np.int64)
    places = np.zeros((len(space), width), np.int64)
    owner = np.full((len(space), width), -1, np.int64)
    counted: list[int] = []
    targets: list[int] = []
    shares: list[float] = []
    avoid: list[bool] = []
    anchored: list[bool] = []
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
        anchored += [row.own is not None] * losses
    own = [row.own for row in rows if row.own is not None]
    seen = (owner[:, :, None] == owner[:, None, :]) & np.tri(width, dtype=bool)
    return Batch(
        tokens=torch.from_numpy(tokens).to(base.device),
        places=torch.from_numpy(places).to(base.device),
        mask=torch.from_numpy(seen[:, None]).to(base.device),
        counted=torch.tensor(counted, device=base.device),
        targets=torch.tensor(targets, device=base.device),
        shares=torch.tensor(shares, dtype=torch.float32, device=base.device),
        avoid=torch.tensor(avoid, device=base.device),
        lesson=len(rows[0].tokens) - rows[0].begin,
        anchored=torch.tensor(anchored, device=base.device),
        own=torch.cat(own) if own else None,
        taught=sum(row.weight for row in rows if row.own is None) / whole,
    )
