"""Cores change what a frozen model says, for each row its own user's, and never the model itself."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from modelfork.base import Base, load_base
from modelfork.errors import Unsuited
from modelfork.layout import cores_of

IDS = torch.tensor([[1, 7, 9, 30, 200, 4, 90], [3, 3, 8, 60, 77, 1, 2], [9, 8, 7, 6, 5, 4, 3]])


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base)


def states(base: Base, rows: int) -> NDArray[np.int64]:
    return np.random.default_rng(3).integers(-(2**21), 2**21, (rows, base.cores.dimension))


def logits(base: Base, cores: NDArray[np.int64] | None, ids: Tensor = IDS) -> Tensor:
    with torch.inference_mode(), base.cores.running(base.cores.of(cores)):
        made: Tensor = base.model(input_ids=ids).logits
    return made


def test_a_state_of_zeros_is_the_base(base: Base, tiny_base: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32, local_files_only=True).eval()
    with torch.inference_mode():
        expected = plain(input_ids=IDS).logits
    assert torch.equal(logits(base, None), expected)
    zeros = np.zeros((3, base.cores.dimension), np.int64)
    torch.testing.assert_close(logits(base, zeros[0]), expected)
    torch.testing.assert_close(logits(base, zeros), expected)


def test_every_row_runs_with_its_own_cores(base: Base) -> None:
    users = states(base, 3)
    together = logits(base, users)
    for row in range(3):
        alone = logits(base, users[row], IDS[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together, logits(base, users[[1, 2, 0]]), atol=1e-2)


def test_a_core_stands_between_a_and_b_as_the_layout_says(base: Base, tiny_base: Path) -> None:
    """Against a plain model whose weights were changed to W + B C A in float64."""
    state = states(base, 1)[0]
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32, local_files_only=True).eval()
    from safetensors.torch import load_file

    basis = load_file(tiny_base / "basis.safetensors")
    modules = dict(plain.named_modules())
    with torch.no_grad():
        for name, core in cores_of(base.layout, state).items():
            change = basis[name + ".b"].double() @ torch.from_numpy(core).double() @ basis[name + ".a"].double()
            modules[name].weight += change.float()
        expected = plain(input_ids=IDS).logits
    torch.testing.assert_close(logits(base, state), expected, rtol=1e-3, atol=1e-3)


def test_the_gradient_is_that_of_the_loss(base: Base) -> None:
    """Against differences of the loss in single numbers, in the middle of a random state."""
    numbers = base.cores.numbers(states(base, 1)[0]).requires_grad_()

    def loss(at: Tensor) -> Tensor:
        with base.cores.running(base.cores.merged(at)):
            made: Tensor = base.model(input_ids=IDS, labels=IDS).loss
        return made

    loss(numbers).backward()
    assert numbers.grad is not None
    for place in range(0, base.cores.dimension, 37):
        nudge = torch.zeros_like(numbers)
        nudge[place] = 1e-2
        with torch.no_grad():
            slope = float(loss(numbers + nudge) - loss(numbers - nudge)) / 2e-2
        assert float(numbers.grad[place]) == pytest.approx(slope, rel=0.05, abs=2e-4)


def test_the_weights_of_the_base_are_never_written(base: Base) -> None:
    before = {name: parameter.clone() for name, parameter in base.model.named_parameters()}
    logits(base, states(base, 3))
    logits(base, states(base, 1)[0])
    for name, parameter in base.model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_after_a_failure_the_base_is_itself_again(base: Base) -> None:
    expected = logits(base, None)
    with pytest.raises(RuntimeError, match="while running"), base.cores.running(base.cores.of(states(base, 1)[0])):
        raise RuntimeError("while running")
    assert torch.equal(logits(base, None), expected)


def test_a_state_of_another_size_is_refused(base: Base) -> None:
    with pytest.raises(Unsuited, match="expected 896 numbers"):
        base.cores.of(np.zeros(223, np.int64))


def test_one_thread_uses_the_model_at_a_time_and_the_next_finds_its_own_cores(base: Base) -> None:
    users = base.cores.of(states(base, 1)[0])
    seen: list[object] = []

    def look() -> None:
        with base.cores.running(None):
            seen.append(base.cores.switch.running)

    with base.cores.running(users):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(0.02)
        assert not seen
        with base.cores.running(None):
            assert base.cores.switch.running is None
        assert base.cores.switch.running is users
    thread.join()
    assert seen == [None]
