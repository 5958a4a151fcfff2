"""The cores inside a frozen model: y = W x + B C A x, where only C, r x r numbers a projection, is a user's.

Two ways to run. *Merged*: one user for the whole batch. W + B C A is computed once, so a token costs what it costs the
base, and a gradient with respect to C needs two thin products more, never a full one. *By rows*: every row of the
batch has cores of its own, so that one batch serves many users; [W; A] is one product.

Cores, A and B are float32 whatever the base is in. In a base of bfloat16, or of four bits, nothing is merged, for W
would round a user's small numbers away: B C A x is computed in float32 beside W x, for one user or many.

The base's weights are never written. One model is one set of switches, so one thread uses it at a time: `running`
takes it in order of arrival, and whoever computes in small pieces lets others in between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from modelfork.errors import Unsuited
from modelfork.fairlock import FairLock
from modelfork.layout import Layout

UNIT = 2.0**-24  # what 1 in a state means, before the segment's scale


@dataclass(frozen=True, slots=True)
class Merged:
    """One user's cores for every row: a core and W + B C A for each adapted projection, in layout order."""

    cores: tuple[Tensor, ...]  # (rank, rank) each
    weights: tuple[Tensor, ...]  # (out, in) each; W itself where the base is not in float32


@dataclass(frozen=True, slots=True)
class ByRow:
    """Cores of a user for each row of the batch, in layout order."""

    cores: tuple[Tensor, ...]  # (batch, rank, rank) each


Running = Merged | ByRow | None


class _MergedProjection(torch.autograd.Function):
    """y = x (W + B C A)^T with gradients for x and C alone; C is in the merged weight already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, core: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        return functional.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (given,) = gradients
        x, weight, a, b = ctx.saved_tensors
        g = given.reshape(-1, given.shape[-1])  # (tokens, out)
        for_x = (g @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        inner = x.reshape(-1, x.shape[-1]) @ a.T  # (tokens, rank)
        for_core = (g @ b).T @ inner  # (rank, rank)
        return for_x, for_core, None, None, None


def _merged_projection(x: Tensor, core: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    made: Tensor = _MergedProjection.apply(x, core, weight, a, b)  # type: ignore[no-untyped-call]
    return made


class Cored(nn.Module):
    """Stands where a linear projection stood, and holds its weight."""

    def __init__(self, linear: nn.Linear, a: Tensor, b: Tensor, switch: Switch, at: int) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        a, b = a.to(linear.weight.device), b.to(linear.weight.device)
        self.exact = linear.weight.dtype == torch.float32
        if self.exact:
            wide = torch.cat([linear.weight.detach(), a])  # (out + rank, in)
            linear.weight.data = wide[: self.out_features]  # the same numbers, held once
            a = wide[self.out_features :]
            self.register_buffer("wide", wide, persistent=False)
        self.weight = linear.weight
        self.bias: Tensor | None = linear.bias
        self.register_buffer("a", a, persistent=False)  # (rank, in)
        self.register_buffer("b", b, persistent=False)  # (out, rank)
        self.wide: Tensor
        self.a: Tensor
        self.b: Tensor
        self._switch = [switch]  # in a list: no module, and no part of the model's state
        self._plain = [linear]  # likewise; one of four bits alone knows how to multiply
        self._at = at

    def merged(self, core: Tensor) -> Tensor:
        if not self.exact:
            return self.weight.detach()
        return torch.addmm(self.weight.detach(), self.b, core @ self.a)  # (out, in)

    def _own(self, x: Tensor) -> Tensor:
        """What the base has there."""
        y: Tensor = self._plain[0](x)
        return y

    def forward(self, x: Tensor) -> Tensor:
        running, bias = self._switch[0].running, self.bias
        if running is None:
            return self._own(x)
        if not self.exact:
            core = running.cores[self._at]  # (rank, rank) or (batch, rank, rank)
            inner = functional.linear(x.float(), self.a) @ core.transpose(-2, -1)  # (batch, tokens, rank)
            y = self._own(x)
            return (y.float() + functional.linear(inner, self.b)).to(y.dtype)
        if isinstance(running, Merged):
            core, weight = running.cores[self._at], running.weights[self._at]
            if core.requires_grad and torch.is_grad_enabled():
                y = _merged_projection(x, core, weight, self.a, self.b)
            else:
                y = functional.linear(x, weight)
        else:
            both = functional.linear(x, self.wide)  # (batch, tokens, out + rank)
            inner = both[..., self.out_features :] @ running.cores[self._at].transpose(1, 2)  # (batch, tokens, rank)
            y = both[..., : self.out_features] + functional.linear(inner, self.b)
        return y if bias is None else y + bias


@dataclass(slots=True)
class Switch:
    """Which cores the model runs with now."""

    running: Running = None


class Cores:
    """All cores of one model."""

    def __init__(self, model: nn.Module, layout: Layout, basis: Mapping[str, Tensor]) -> None:
        """Put a `Cored` in the place of every projection that the layout names.

        `basis` holds `<name>.a` (rank, in) and `<name>.b` (out, rank) for each. Raises Unsuited where model, layout
        and basis do not fit together.
        """
        self.switch = Switch()
        self.lock = FairLock()  # around every use of the model; `running` takes it, and may be inside it
        self.dimension = layout.dimension
        self._shapes = [(segment.rows, segment.columns) for segment in layout.segments]
        self._sizes = [rows * columns for rows, columns in self._shapes]
        scales = [2.0**segment.scale for segment in layout.segments]
        numbers = np.repeat(np.array(scales, np.float32), self._sizes)
        self.scale = torch.from_numpy(numbers).to(next(model.parameters()).device)  # (dimension,)
        modules = dict(model.named_modules())
        self._modules: list[Cored] = []
        for at, segment in enumerate(layout.segments):
            linear, a, b = modules.get(segment.name), basis.get(segment.name + ".a"), basis.get(segment.name + ".b")
            if not isinstance(linear, nn.Linear) or a is None or b is None:
                raise Unsuited(f"cores: model and basis do not both have a projection {segment.name}")
            if a.shape != (segment.columns, linear.in_features) or b.shape != (linear.out_features, segment.rows):
                raise Unsuited(
                    f"cores: {segment.name} is {linear.out_features} x {linear.in_features} with a core of "
                    f"{segment.rows} x {segment.columns}; its basis has A {tuple(a.shape)} and B {tuple(b.shape)}"
                )
            parent, _, leaf = segment.name.rpartition(".")
            self._modules.append(Cored(linear, a.float().contiguous(), b.float().contiguous(), self.switch, at))
            setattr(modules[parent], leaf, self._modules[-1])

    def numbers(self, states: NDArray[np.int64]) -> Tensor:
        """States (..., dimension) as float32 in units of 2^24, where the model is: what gradients are taken of."""
        if states.shape[-1:] != (self.dimension,):
            raise Unsuited(f"cores: states of shape {states.shape}, expected {self.dimension} numbers each")
        return torch.from_numpy(states.astype(np.float32) * np.float32(UNIT)).to(self.scale.device)

    def merged(self, numbers: Tensor) -> Merged:
        """Of (dimension,) numbers; differentiable with respect to them."""
        flat = numbers * self.scale
        cores = tuple(part.view(shape) for part, shape in zip(flat.split(self._sizes), self._shapes, strict=True))
        with torch.no_grad():
            weights = tuple(module.merged(core) for module, core in zip(self._modules, cores, strict=True))
        return Merged(cores, weights)

    def by_row(self, numbers: Tensor) -> ByRow:
        """Of (batch, dimension) numbers."""
        flat = numbers * self.scale
        parts = zip(flat.split(self._sizes, dim=1), self._shapes, strict=True)
        return ByRow(tuple(part.reshape(-1, *shape) for part, shape in parts))

    def of(self, states: NDArray[np.int64] | None) -> Running:
        """None is the base itself; (dimension,) one user for all rows; (batch, dimension) a user a row."""
        if states is None:
            return None
        numbers = self.numbers(states)
        return self.merged(numbers) if states.ndim == 1 else self.by_row(numbers)

    @contextmanager
    def running(self, cores: Running) -> Iterator[None]:
        """Use the model with these cores, alone: other threads wait meanwhile, and get it in order of arrival."""
        with self.lock:
            before, self.switch.running = self.switch.running, cores
            try:
                yield
            finally:
                self.switch.running = before


def projections(model: nn.Module, leaves: Sequence[str]) -> list[tuple[str, nn.Linear]]:
    """The linear projections whose last name is one of `leaves`, in the model's own order."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in leaves
    ]
