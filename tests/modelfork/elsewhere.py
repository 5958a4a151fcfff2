"""A device that is not the CPU, for tests on machines that have none.

What is on it has its numbers here and says that it is elsewhere: it mixes with no tensor of the CPU, and gives its
numbers to nobody who does not fetch them, as on a GPU. It calls itself `meta`, which autograd takes without a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}  # from one device to another


class Elsewhere(Tensor):
    """A tensor on the device. `here` has its numbers."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(DEVICE),
            requires_grad=here.requires_grad,
        )
        made.here = here
        return made

    def tolist(self) -> Any:
        return self.here.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees what is made on the device out of nothing, or of tensors of the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Made(TorchFunctionMode):
    """`torch.tensor` makes what is on a device where no mode can see it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.tensor:
            device = given.pop("device", "cpu")
            return func(*args, **given).to(device)
        return func(*args, **given)


@contextmanager
def elsewhere() -> Iterator[None]:
    """In here `torch` has the device."""
    mode = _Mode()  # type: ignore[no-untyped-call]
    with _Made(), mode, mock.patch.object(torch.inference_mode, "__enter__", _without_gradients):
        yield


def _without_gradients(mode: Any) -> None:
    """What inference mode promises and no more: its tensors cannot be wrapped."""
    mode._inference_mode_context = torch.set_grad_enabled(not mode.mode)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves = tree_leaves((args, kwargs))
    given = [one for one in leaves if isinstance(one, Tensor)]
    away = [one for one in given if isinstance(one, Elsewhere)]
    for one in given:
        assert isinstance(one, Elsewhere) or one.device.type == "cpu", f"{func}: {one.device} without numbers"
        if away and not isinstance(one, Elsewhere) and one.dim() and func not in MOVES:
            raise AssertionError(f"{func}: a tensor of the CPU among those of the device")
    if away and any(isinstance(one, torch.Generator) for one in leaves):
        raise AssertionError(f"{func}: a generator of the CPU for tensors of the device")
    if func is aten._fused_sdp_choice.default:
        return 0  # the one that is made of plain products
    asked = [one for one in leaves if isinstance(one, torch.device)]
    onto = asked[0].type == DEVICE if asked else isinstance(args[0], Elsewhere) if func in MOVES else bool(away)
    inner_args, inner_kwargs = tree_map(_here, (args, kwargs))
    made = func(*inner_args, **inner_kwargs)
    if func._schema.is_mutable:
        return kwargs.get("out", args[0])  # its numbers were changed in place
    return tree_map(lambda one: Elsewhere(one) if isinstance(one, Tensor) else one, made) if onto else made


def _here(one: Any) -> Any:
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.here if isinstance(one, Elsewhere) else one
