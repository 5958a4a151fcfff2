"""From a slope to small integers times one exact step, and the guard that tries them before they count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelfork.base import Base
from modelfork.cores import UNIT
from modelfork.loss import losses
from modelfork.rows import Batch
from modelfork.update import INT4, INT8, SIGN_SUMS, SIGNS, SPARSE_SIGNS, STEP_LIMIT, sparse_count

LARGEST = {INT4: 7, INT8: 127}
WHOLE, LONGEST = 4, 6  # quarters of the step as it was computed, and the most of it that the guard tries


def polyak(grad: Tensor, excess: float, encoding: int) -> Tensor:
    """What to go along the gradient's sign so that the loss falls by `excess`, if it were linear: (dimension,).

    An encoding that carries few numbers goes along the largest only.
    """
    signs = grad.sign()
    if encoding == SPARSE_SIGNS:
        signs *= _largest(grad)
    length = float((grad * signs).sum())  # its 1-norm, over what is gone along
    return signs * (max(excess, 0.0) / length if length > 0 else 0.0)


def rounded(moved: Tensor, encoding: int) -> tuple[int, NDArray[np.int8]]:
    """Step k and q (dimension,) of the encoding, so that k * 2^-24 * q is close to where the iterations led.

    No step where they led nowhere, or to what is no number.
    """
    size = moved.abs()
    if not moved.any() or not torch.isfinite(moved).all():
        return 0, np.zeros(len(moved), np.int8)
    if encoding in (SIGNS, SPARSE_SIGNS):
        kept = _largest(moved) if encoding == SPARSE_SIGNS else torch.ones_like(moved, dtype=torch.bool)
        return _step(float(size[kept].mean())), _as_q(torch.where(moved < 0, -1, 1) * kept)
    whole = size.mean() if encoding == SIGN_SUMS else size.max() / LARGEST[encoding]
    units = whole * torch.arange(4, 25, device=moved.device) / 20  # candidates for what 1 stands for
    tried = [_in_units(moved, unit, encoding) for unit in units]
    off = torch.stack([(moved - unit * q).double().square().sum() for unit, q in zip(units, tried, strict=True)])
    best = int(off.argmin())
    return _step(float(units[best])), _as_q(tried[best])


def _in_units(moved: Tensor, unit: Tensor, encoding: int) -> Tensor:
    """The numbers of the encoding that come closest."""
    if encoding == SIGN_SUMS:
        return (2 * torch.floor(moved / (2 * unit)) + 1).clamp(-3, 3)
    most = LARGEST[encoding]
    return torch.round(moved / unit).clamp(-most, most)


def _as_q(numbers: Tensor) -> NDArray[np.int8]:
    return numbers.to("cpu", torch.int8).numpy()


def _largest(numbers: Tensor) -> Tensor:
    """Which of the numbers (dimension,) SPARSE_SIGNS carries; the earlier of equals."""
    order = numbers.abs().argsort(descending=True, stable=True)
    return torch.zeros_like(numbers, dtype=torch.bool).index_fill_(0, order[: sparse_count(len(numbers))], True)


def _step(unit: float) -> int:
    return min(round(unit / UNIT), int(STEP_LIMIT) - 1)


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard left of a step. `quarters` is its length, 4 as it was computed and 0 undone."""

    step: int
    quarters: int
    loss_after: float  # nats a token on what the person gave
    anchor_loss: float  # nats a token: how far the fork then is from its base on the anchor rows


def guarded(
    base: Base,
    state: NDArray[np.int64],
    step: int,
    q: NDArray[np.int8],
    batch: Batch,
    before: float,
    limit: float,
    longest: int,
) -> Guarded:
    """Try a step at several lengths, on anchor rows that it was not computed from.

    Of the lengths that make what was given likelier than it was (`before`, nats a token), and leave the fork no
    further from its base on the anchor rows than `limit` nats a token, or no further than it is, one is kept: as it
    is, longer while that has less loss over all rows, else shorter while that has. Where none does the step is undone.
    No step that is tried is above `longest`.
    """
    step = min(step, longest)

    @cache
    def tried(quarters: int) -> tuple[float, Guarded]:
        left = step * quarters // WHOLE
        with torch.inference_mode(), base.cores.running(base.cores.of(state + left * q.astype(np.int64))):
            each = losses(base, batch)
        away = each[batch.anchored]
        harm = float(away.mean()) if len(away) else 0.0
        return float((each * batch.shares).sum()), Guarded(left, quarters, float(each[: batch.lesson].mean()), harm)

    def loss(quarters: int) -> float:
        """Infinite where the length does not serve."""
        whole, one = tried(quarters)
        near = one.anchor_loss <= limit or one.anchor_loss <= tried(0)[1].anchor_loss
        return whole if one.loss_after < before and near else math.inf

    kept = WHOLE
    while kept < LONGEST and step * (kept + 1) // WHOLE <= longest and loss(kept + 1) < loss(kept):
        kept += 1
    while 1 < kept <= WHOLE and (loss(kept) == math.inf or loss(kept - 1) < loss(kept)):
        kept -= 1
    return tried(kept if loss(kept) < math.inf else 0)[1]
