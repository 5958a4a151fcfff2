"""Every family of models does what the demo base does: cores steer it, zeros do not, a step learns, replay is exact."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM

from modelfork.base import Anchor, Base, load_base, prepare_base
from modelfork.cores import Merged
from modelfork.generate import Sampling, generate
from modelfork.interaction import Interaction, Message
from modelfork.kfac import kfac_basis
from modelfork.layout import cores_of
from modelfork.learn import learn
from modelfork.loss import losses
from modelfork.main import open_base
from modelfork.pretrained import Numbers
from modelfork.recipe import default_recipe
from modelfork.rehearse import Memory
from modelfork.replay import advance, genesis
from modelfork.rows import Row, answer_row, pack
from modelfork.settings import ForkSettings
from modelfork.update import pack as packed
from modelfork.update import unpack
from tests.modelfork.conftest import make_tiny_model

FAMILIES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("LlamaConfig", {}),
    "llama, its head its own": ("LlamaConfig", {"tie_word_embeddings": False}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "mistral": ("MistralConfig", {"sliding_window": 200}),
    "gemma": ("GemmaConfig", {"head_dim": 16}),
    "gemma2": (
        "Gemma2Config",
        {
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 200,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3": (
        "Gemma3TextConfig",
        {
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 200,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "phi3": ("Phi3Config", {}),
}
QUESTION = (Message("user", "What is my dog called?"),)
CORRECTION = Interaction(QUESTION, "No idea.", correction="Max.", refers_to=b"r" * 16)
IDS = torch.tensor([[1, 7, 9, 30, 200, 4, 90], [3, 3, 8, 60, 77, 1, 2]])


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    config_class, more = FAMILIES[request.param]
    make_tiny_model(folder, config_class, vocab_size=288, **more)  # more rows than tokens, as most have
    prepare_base(folder, 8)
    return folder


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base(folder)


def logits(base: Base, state: NDArray[np.int64] | None) -> torch.Tensor:
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        made: torch.Tensor = base.model(input_ids=IDS).logits
    return made


def test_every_projection_of_a_layer_has_a_core(base: Base) -> None:
    fused = base.model.config.model_type == "phi3"
    assert len(base.layout.segments) == 2 * (4 if fused else 7)


def test_zeros_are_the_model_itself_and_numbers_are_not(base: Base, folder: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    with torch.inference_mode():
        expected = plain(input_ids=IDS).logits
    zeros = np.zeros(base.cores.dimension, np.int64)
    assert torch.equal(logits(base, zeros), expected)
    some = np.random.default_rng(3).integers(-(2**22), 2**22, (2, base.cores.dimension))
    assert not torch.allclose(logits(base, some[0]), expected, atol=1e-2)
    torch.testing.assert_close(logits(base, some)[1], logits(base, some[1])[1], rtol=1e-4, atol=1e-4)


def test_a_basis_made_for_teaching_fits_the_cores_and_leaves_the_model_as_it_was(base: Base) -> None:
    told = tuple(
        Anchor("context", (Message("user", f"My dog is {n}. My dog?"), Message("assistant", f"{n}.")))
        for n in range(20)
    )
    asked = Anchor("unknown", (Message("user", "My dog?"), Message("assistant", "I do not know.")))
    before = logits(base, None)
    found = kfac_basis(replace(base, anchors=(*told, asked)))
    assert found is not None
    for segment in base.layout.segments:
        rows, columns = base.model.get_submodule(segment.name).weight.shape
        assert found[segment.name + ".a"].shape == (segment.rows, columns)
        assert found[segment.name + ".b"].shape == (rows, segment.rows)
    assert all(bool(torch.isfinite(tensor).all()) and bool(tensor.any()) for tensor in found.values())
    assert torch.equal(logits(base, None), before)


def test_rows_packed_side_by_side_have_the_loss_that_the_model_gives_each_alone(base: Base) -> None:
    rows = [answer_row(base, QUESTION, answer, 256) for answer in ("Max.", "It is called Bello, of course.")]
    with torch.inference_mode():
        found = losses(base, pack(rows, base))
        alone = torch.cat([_alone(base, row) for row in rows])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)


def test_a_step_lowers_the_loss_of_its_rows_and_its_replay_is_the_same_state(base: Base) -> None:
    recipe = replace(default_recipe(base.anchors_digest), rewordings=0, anchors=2)
    begun = genesis(base.layout_digest, base.cores.dimension)
    update = learn(base, recipe, begun.vector, CORRECTION, Memory(), seed=1).update
    after = advance(begun, 2, update)
    assert _loss(base, after.vector) < _loss(base, begun.vector) - 0.1
    read = unpack(update.encoding, update.dimension, update.step, packed(update))
    assert advance(genesis(base.layout_digest, base.cores.dimension), 2, read).digest == after.digest


def test_token_by_token_is_what_the_whole_gives(base: Base) -> None:
    prompt = base.render(QUESTION, prompt=True)
    made = list(generate(base, None, prompt, Sampling(max_tokens=4)))
    with torch.inference_mode():
        whole = base.model(input_ids=torch.tensor([prompt + made[:-1]])).logits[0]
    assert whole[len(prompt) - 1 :].argmax(-1).tolist() == made


@pytest.mark.parametrize("numbers", ["bfloat16", "nf4"])
def test_a_step_is_learned_in_fewer_bits(folder: Path, numbers: Numbers) -> None:
    base = load_base(folder, numbers)
    test_a_step_lowers_the_loss_of_its_rows_and_its_replay_is_the_same_state(base)
    states = np.random.default_rng(3).integers(-(2**20), 2**20, (2, base.cores.dimension))
    torch.testing.assert_close(logits(base, states)[1], logits(base, states[1])[1], rtol=0.1, atol=0.2)


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are stored in bfloat16, with biases, as Qwen2 has them."""
    folder = tmp_path_factory.mktemp("halved")
    make_tiny_model(folder, "Qwen2Config", vocab_size=288, dtype="bfloat16")
    stored = load_file(folder / "model.safetensors")
    save_file({name: part.bfloat16() for name, part in stored.items()}, folder / "model.safetensors", {"format": "pt"})
    prepare_base(folder, 8)
    return folder


@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
def test_a_base_in_bfloat16_has_cores_in_float32(halved: Path, numbers: Numbers) -> None:
    base = load_base(halved, numbers)
    dtype = getattr(torch, numbers)
    assert base.model.dtype == dtype
    plain = AutoModelForCausalLM.from_pretrained(halved, dtype=dtype, local_files_only=True).eval()
    with torch.inference_mode():
        expected = plain(input_ids=IDS).logits
    assert torch.equal(logits(base, None), expected)
    assert torch.equal(logits(base, np.zeros(base.cores.dimension, np.int64)), expected)
    some = np.random.default_rng(3).integers(-(2**22), 2**22, (2, base.cores.dimension))
    assert base.cores.numbers(some).dtype == torch.float32
    assert not torch.allclose(logits(base, some[0]), expected, atol=0.1)
    near = 1e-4 if numbers == "float32" else 0.1
    torch.testing.assert_close(logits(base, some)[1], logits(base, some[1])[1], rtol=near, atol=near)
    test_a_step_lowers_the_loss_of_its_rows_and_its_replay_is_the_same_state(base)


def test_in_bfloat16_a_core_is_added_in_float32_and_no_weight_is_copied_for_a_user(halved: Path) -> None:
    base = load_base(halved, "bfloat16")
    state = np.random.default_rng(3).integers(-(2**20), 2**20, base.cores.dimension)
    name = "model.layers.0.mlp.up_proj"
    module, basis = base.model.get_submodule(name), load_file(halved / "basis.safetensors")
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    running = base.cores.of(state)
    assert isinstance(running, Merged)
    assert any(weight.data_ptr() == module.weight.data_ptr() for weight in running.weights)
    with torch.inference_mode(), base.cores.running(running):
        found = module(x)
    core = torch.from_numpy(cores_of(base.layout, state)[name])
    moved = x.float() @ basis[name + ".a"].float().T @ core.T @ basis[name + ".b"].float().T
    expected = (functional.linear(x, module.weight).float() + moved).bfloat16()
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)  # the last of its eight bits
    assert not torch.equal(found, functional.linear(x, module.weight))


def test_the_environment_says_what_the_base_computes_in(halved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLEDGER_BASE_NUMBERS", "bfloat16")
    base, _ = open_base(halved, torch.get_num_threads(), ForkSettings().base_numbers)
    assert base.model.dtype == torch.bfloat16
    monkeypatch.setenv("FORKLEDGER_BASE_NUMBERS", "int4")
    with pytest.raises(ValidationError, match="bfloat16"):
        ForkSettings()


def _alone(base: Base, row: Row) -> torch.Tensor:
    """The losses of one row by the model's own forward pass."""
    made = base.model(input_ids=torch.tensor([row.tokens])).logits[0, row.begin - 1 : -1]
    return functional.cross_entropy(made, torch.tensor(row.tokens[row.begin :]), reduction="none")


def _loss(base: Base, state: NDArray[np.int64]) -> float:
    """Nats a token on what the correction says."""
    batch = pack([answer_row(base, QUESTION, "Max.", 256)], base)
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        return float(losses(base, batch).mean())
