"""A base whose weights have four bits is taught and asked like any other. bitsandbytes does it, here on the CPU."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from modelfork import pretrained
from modelfork.base import Base, load_base
from modelfork.batcher import Batcher
from modelfork.errors import Unsuited
from modelfork.generate import Sampling
from modelfork.interaction import Interaction, Message
from modelfork.learn import learn
from modelfork.loss import losses
from modelfork.recipe import default_recipe
from modelfork.rehearse import Memory
from modelfork.replay import advance, genesis
from modelfork.rows import answer_row, pack
from modelfork.settings import DEMO_BASE

QUESTION = (Message("user", "What is my dog called?"),)
CORRECTION = Interaction(QUESTION, "No idea.", correction="Your dog is called Max.", refers_to=b"r" * 16)
IDS = torch.tensor([[1, 7, 9, 30, 200, 4, 90], [3, 3, 8, 60, 77, 1, 2]])


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(DEMO_BASE, "nf4")


def logits(base: Base, states: NDArray[np.int64] | None) -> torch.Tensor:
    with torch.inference_mode(), base.cores.running(base.cores.of(states)):
        made: torch.Tensor = base.model(input_ids=IDS).logits
    return made


def lost(base: Base, state: NDArray[np.int64]) -> float:
    """Nats a token on what the correction says."""
    batch = pack([answer_row(base, QUESTION, CORRECTION.correction, 256)], base)
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        return float(losses(base, batch).mean())


def test_projections_are_held_in_four_bits_a_number_and_the_head_is_not(base: Base) -> None:
    for segment in base.layout.segments:
        module = base.model.get_submodule(segment.name)
        assert module.weight.dtype == torch.uint8
        assert 2 * module.weight.numel() == module.in_features * module.out_features
    assert base.model.lm_head.weight.dtype == torch.bfloat16
    assert base.cores.numbers(np.zeros(base.cores.dimension, np.int64)).dtype == torch.float32


def test_zeros_are_the_quantised_model_itself(base: Base) -> None:
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    plain = AutoModelForCausalLM.from_pretrained(
        DEMO_BASE, dtype=torch.bfloat16, quantization_config=how, device_map={"": "cpu"}, local_files_only=True
    ).train()  # there is no dropout in it; as in `read_model`, weights are not packed for answers alone
    with torch.inference_mode():
        expected = plain(input_ids=IDS).logits
    assert torch.equal(logits(base, None), expected)
    assert torch.equal(logits(base, np.zeros(base.cores.dimension, np.int64)), expected)


def test_a_user_beside_others_has_what_they_have_alone(base: Base) -> None:
    states = np.random.default_rng(3).integers(-(2**18), 2**18, (2, base.cores.dimension))
    alone = logits(base, states[1])[1]
    assert not torch.allclose(alone, logits(base, None)[1], atol=0.5)
    torch.testing.assert_close(logits(base, states)[1], alone, rtol=0.05, atol=0.2)  # of bfloat16's eight bits


def test_a_fork_is_the_same_fork_whatever_its_base_is_held_in(base: Base) -> None:
    assert load_base(DEMO_BASE).layout_digest == base.layout_digest


def test_a_correction_is_learned_and_said(base: Base) -> None:
    recipe = replace(default_recipe(base.anchors_digest), rewordings=0, anchors=4)
    begun = genesis(base.layout_digest, base.cores.dimension)
    learned = learn(base, recipe, begun.vector, CORRECTION, Memory(), seed=1)
    after = advance(begun, 2, learned.update)
    assert lost(base, after.vector) < lost(base, begun.vector) / 4
    tokens = Batcher(base).generate(after.vector, base.render(QUESTION, prompt=True), Sampling(max_tokens=20))
    assert "Max" in base.text(list(tokens))


def test_no_compiled_kernel_is_fetched_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    """bitsandbytes would, on a CPU that has AVX512-BF16."""
    (tmp_path / "kernels.py").write_text("def get_kernel(*_, **__): open('fetched', 'w')")
    load = f"import pathlib, modelfork.base as b; b.load_base(pathlib.Path({str(DEMO_BASE)!r}), 'nf4')"
    found = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(DEMO_BASE.parents[2])])}
    done = subprocess.run([sys.executable, "-c", load], cwd=tmp_path, env=found, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["kernels.py"]


def test_without_bitsandbytes_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    with pytest.raises(Unsuited, match=r"nf4 needs bitsandbytes; install forkledger\[quantised\]"):
        load_base(DEMO_BASE, "nf4")
