"""The basis: for every adapted projection the frozen A and B that a core stands between.

Computed once, stored, hashed and never derived again: a singular value decomposition differs between machines.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelfork.cores import projections
from modelfork.errors import Unsuited

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
FUSED = ("qkv_proj", "gate_up_proj")  # Phi-3 has them as one product each, so one core stands for all of its parts


def compute(model: nn.Module, rank: int) -> dict[str, Tensor]:
    """`<name>.a` (rank, in) and `<name>.b` (out, rank) in float16 for each adapted projection.

    W is about B A: A holds the right singular vectors, B the left ones times their singular values (LoRA-XS).
    Raises Unsuited where the model has none of the projections or one is narrower than the rank.
    """
    found = projections(model, ADAPTED + FUSED)
    if not found:
        raise Unsuited(f"basis: the model has none of the projections {', '.join(ADAPTED + FUSED)}")
    basis: dict[str, Tensor] = {}
    for name, linear in found:
        if min(linear.weight.shape) < rank:
            raise Unsuited(f"basis: {name} is {tuple(linear.weight.shape)}, too narrow for rank {rank}")
        if not torch.isfinite(linear.weight).all():
            raise Unsuited(f"basis: {name} has numbers that are not finite")
        left, values, right = torch.linalg.svd(linear.weight.detach().float(), full_matrices=False)
        basis[name + ".a"] = right[:rank].contiguous().half().cpu()
        basis[name + ".b"] = (left[:, :rank] * values[:rank]).contiguous().half().cpu()
    return basis
