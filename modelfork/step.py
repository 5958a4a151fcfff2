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
        signs *= torch.from_numpy(_largest(grad.cpu().numpy())).to(grad.device)
    length = float((grad * signs).sum())  # its 1-norm, over what is gone along
    return signs * (max(excess, 0.0) / length if length > 0 else 0.0)


def rounded(moved: NDArray[np.float32], encoding: int) -> tuple[int, NDArray[np.int8]]:
    """Step k and q (dimension,) of the encoding, so that k * 2^-24 * q is close to where the iterations led.

    No step where that is nowhere, or no number.
    """
    size = np.abs(moved)
    if not size.any() or not np.isfinite(size).all():
        return 0, np.zeros(len(moved), np.int8)
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
    whole = float(size.mean()) if encoding == SIGN_SUMS else float(size.max()) / LARGEST[encoding]
    return [whole * part / 20 for part in range(4, 25)]


def _largest(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the numbers (dimension,) SPARSE_SIGNS carries; the earlier of equals."""
    size, count = np.abs(numbers), sparse_count(len(numbers))
    least = np.partition(size, -count)[-count]  # a sort of all takes five times as long
    kept: NDArray[np.bool_] = size > least
    kept[np.flatnonzero(size == least)[: count - int(kept.sum())]] = True
    return kept


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
