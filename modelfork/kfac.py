"""A basis from the base's anchor rows: where teaching pulls most for the harm that it does.

A projection y = W x gets from a row that teaches the gradient sum g x^T over its tokens. What moving W by dW does to
everything else is, by K-FAC (Martens and Grosse, 2015), tr(dW^T G dW C): C is the second moment of the inputs x, G that
of the gradients g, on answers that the base draws itself. In coordinates in which both are the identity all directions
do equal harm; there A and B span the principal directions of the gradients that teach. Equal steps along the numbers of
a core are then steps of about equal harm, which a step by sign wants.

Teaching is to say of a question without its facts what the base says with them; nothing but the anchor rows is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelfork.base import CONTEXT, UNKNOWN, Anchor, Base
from modelfork.interaction import Message
from modelfork.rows import Row, answer_row

T = TypeVar("T")

FEWEST = 16  # rows that teach; with fewer there is no telling what teaching is like
MOST = 300  # rows of each kind that are looked at
DAMPING = 0.1  # of a second moment's mean eigenvalue, added to all: what was hardly seen is not free of harm
ROOM = 1 << 30  # numbers of the second moments of all projections: 4 GB


@dataclass(slots=True)
class Moments:
    """What was seen of one projection: sums over rows, each (in, in) or (out, out)."""

    module: nn.Module
    inputs: Tensor  # of x x^T, of what is kept
    outputs: Tensor  # of g g^T
    taught_inputs: Tensor  # of D^T D, where D = sum g x^T of one row that teaches
    taught_outputs: Tensor  # of D D^T
    x: Tensor = field(default_factory=lambda: torch.empty(0))  # (tokens, in) of the row that runs now
    g: Tensor = field(default_factory=lambda: torch.empty(0))  # (tokens, out)


def kfac_basis(base: Base, seed: int = 0) -> dict[str, Tensor] | None:
    """`<name>.a` (rank, in) and `<name>.b` (out, rank) in float16 for each core of the layout, or None where the
    anchor rows are too few or the model too wide for it. The model is in float32.
    """
    teaching = list(_evenly([row for anchor in base.anchors for row in _untold(base, anchor)]))
    kept = [_row(base, anchor.messages) for anchor in _evenly(base.anchors)]
    if len(teaching) < FEWEST or _numbers(base) > ROOM:
        return None
    ranks = {segment.name: segment.rows for segment in base.layout.segments}
    found = _moments(base, list(ranks), kept, teaching, torch.Generator().manual_seed(seed))
    basis: dict[str, Tensor] = {}
    for name, moments in found.items():
        a, b = _directions(moments, ranks[name])
        basis[name + ".a"], basis[name + ".b"] = a.contiguous().half().cpu(), b.contiguous().half().cpu()
    return basis


def _directions(moments: Moments, rank: int) -> tuple[Tensor, Tensor]:
    """A and B; together as large as the SVD of the weights has them, so that a step means about as much."""
    for_x, for_g = _whitening(moments.inputs), _whitening(moments.outputs)
    a = _principal(for_x @ moments.taught_inputs @ for_x, rank).T @ for_x  # (rank, in)
    b = for_g @ _principal(for_g @ moments.taught_outputs @ for_g, rank)  # (out, rank)
    weight = moments.module.get_parameter("weight").float()
    size = torch.linalg.svdvals(weight)[:rank].norm()
    return a * (rank**0.5 / a.norm()), b * (size / b.norm())


def _whitening(second: Tensor) -> Tensor:
    """M^-1/2, damped."""
    values, vectors = torch.linalg.eigh(second.double())
    values = values.clamp(min=0)
    power: Tensor = (vectors * (values + DAMPING * values.mean()).rsqrt()) @ vectors.T
    return power.float()


def _principal(second: Tensor, rank: int) -> Tensor:
    """(size, rank), the largest first."""
    vectors: Tensor = torch.linalg.eigh(second.double()).eigenvectors  # the smallest first
    return vectors.flip(1)[:, :rank].float()


# --- what is looked at --------------------------------------------------------------------------------------


def _row(base: Base, messages: Sequence[Message]) -> Row:
    return answer_row(base, messages[:-1], messages[-1].content, base.row)


def _untold(base: Base, anchor: Anchor) -> Iterator[Row]:
    """The row of an anchor with facts, without them: a system message left out, or a statement before the question."""
    *before, answer = anchor.messages
    if before[0].role == "system" and len(before) > 1:
        yield _row(base, (*before[1:], answer))
    elif anchor.kind == CONTEXT:
        for other in base.anchors:
            question = other.messages[0].content
            if other.kind == UNKNOWN and before[-1].content.endswith(" " + question):
                yield _row(base, (Message("user", question), answer))
                return


def _evenly(rows: Sequence[T]) -> Sequence[T]:
    return rows[:: max(1, -(-len(rows) // MOST))]


def _numbers(base: Base) -> int:
    """Of all second moments."""
    shapes = [base.model.get_submodule(segment.name).weight.shape for segment in base.layout.segments]
    return sum(2 * (rows * rows + columns * columns) for rows, columns in shapes)


# --- one pass a row -----------------------------------------------------------------------------------------


def _moments(
    base: Base, names: Sequence[str], kept: Iterable[Row], teaching: Iterable[Row], generator: torch.Generator
) -> dict[str, Moments]:
    found = {name: _nothing_seen(base.model.get_submodule(name)) for name in names}
    with base.cores.running(None), _watched(base, found.values()):
        for row in kept:
            logits = _logits(base, row)
            drawn = torch.multinomial(torch.softmax(logits.detach().cpu(), -1), 1, generator=generator)[:, 0]
            functional.cross_entropy(logits, drawn.to(base.device), reduction="sum").backward()
            for one in found.values():
                one.inputs += one.x.T @ one.x
                one.outputs += one.g.T @ one.g
        for row in teaching:
            functional.cross_entropy(_logits(base, row), base.placed([row.tokens[row.begin :]])[0]).backward()
            for one in found.values():
                one.taught_inputs += one.x.T @ (one.g @ one.g.T) @ one.x
                one.taught_outputs += one.g.T @ (one.x @ one.x.T) @ one.g
    return found


def _nothing_seen(module: nn.Module) -> Moments:
    weight = module.get_parameter("weight")
    (rows, columns), where = weight.shape, weight.device
    inputs, outputs = torch.zeros(columns, columns, device=where), torch.zeros(rows, rows, device=where)
    return Moments(module, inputs, outputs, inputs.clone(), outputs.clone())


def _logits(base: Base, row: Row) -> Tensor:
    """(losses, vocabulary)"""
    logits: Tensor = base.model(input_ids=base.placed([row.tokens]), use_cache=False).logits
    return logits[0, row.begin - 1 : -1].float()


@contextmanager
def _watched(base: Base, moments: Iterable[Moments]) -> Iterator[None]:
    """Keep what goes into each projection, and the gradient of what comes out."""

    def seen(one: Moments, x: Tensor, y: Tensor) -> None:
        def given(g: Tensor) -> None:
            one.g = g[0].float()

        one.x = x[0].detach().float()
        y.register_hook(given)

    hooks = [one.module.register_forward_hook(lambda _, inputs, y, one=one: seen(one, inputs[0], y)) for one in moments]
    # The model is frozen: gradients begin where its first layer does.
    hooks.append(base.model.get_input_embeddings().register_forward_hook(lambda _, __, y: y.requires_grad_()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
