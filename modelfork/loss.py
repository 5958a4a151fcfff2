"""What a batch costs a fork, and the slope of that."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from modelfork.base import Base
from modelfork.rows import Batch


def hidden_states(base: Base, batch: Batch) -> Tensor:
    """What the model has where a counted token is to follow (losses, hidden), with the cores that run now."""
    hidden: Tensor = base.model.model(
        input_ids=batch.tokens, attention_mask=base.mask(batch.mask), position_ids=batch.places, use_cache=False
    ).last_hidden_state
    return hidden.reshape(-1, hidden.shape[-1])[batch.counted]


def _logits(base: Base, hidden: Tensor) -> Tensor:
    logits: Tensor = base.model.lm_head(hidden).float()
    cap = getattr(base.model.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits  # Gemma


def losses(base: Base, batch: Batch) -> Tensor:
    """The loss of every counted token (losses,), in nats, with the cores that run now.

    Of a row with `own` it is the divergence from what the base itself would say: KL(base || fork), 0 where they agree.
    """
    return _losses(base, batch, _chances(base, batch))


def judged(base: Base, batch: Batch) -> tuple[Tensor, Tensor]:
    """The losses, and whether each of these tokens is the one that is likeliest there (losses,)."""
    given = _chances(base, batch)
    return _losses(base, batch, given), given.argmax(-1) == batch.targets


def _chances(base: Base, batch: Batch) -> Tensor:
    """Their logarithms (losses, vocabulary)."""
    return torch.log_softmax(_logits(base, hidden_states(base, batch)), -1)


def _losses(base: Base, batch: Batch, given: Tensor) -> Tensor:
    each = functional.nll_loss(given, batch.targets, reduction="none")
    if batch.own is not None:
        with torch.no_grad():
            wanted = torch.log_softmax(_logits(base, batch.own), -1)
        away = functional.kl_div(given[batch.anchored], wanted, reduction="none", log_target=True).sum(-1)
        each = each.masked_scatter(batch.anchored, away)
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
