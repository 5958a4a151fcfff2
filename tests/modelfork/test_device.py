"""On a device that is not the CPU everything comes out as on the CPU, and what is kept of a fork is here."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel

from modelfork.base import CONTEXT, UNKNOWN, Anchor, Base, load_base, prepare_base
from modelfork.batcher import Batcher
from modelfork.errors import Malformed, Unsuited
from modelfork.generate import Sampling, generate, generate_batch
from modelfork.interaction import Interaction, Message
from modelfork.kfac import kfac_basis
from modelfork.learn import learn, practise
from modelfork.recipe import ONE, default_recipe
from modelfork.rehearse import Memory
from modelfork.settings import read_settings
from modelfork.topics import topics
from tests.modelfork.conftest import RANK
from tests.modelfork.elsewhere import DEVICE, Elsewhere, elsewhere

QUESTION = (Message("user", "What is my dog called?"),)
CORRECTION = Interaction(QUESTION, "No idea.", correction="Max.", refers_to=b"r" * 16)
SAMPLED = Sampling(temperature=0.8, top_p=0.9, seed=4, max_tokens=6)


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """The one that both have: a fused one rounds otherwise."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


@pytest.fixture
def here(tiny_base: Path) -> Base:
    return load_base(tiny_base)


@pytest.fixture
def there(tiny_base: Path, here: Base) -> Iterator[Base]:
    with elsewhere():
        yield load_base(tiny_base, device=DEVICE)


def some_states(base: Base, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(3).integers(-(2**21), 2**21, (count, base.cores.dimension))


def told() -> Memory:
    memory = Memory()
    for at, (asked, answer) in enumerate([("Where do I live?", "In Rome."), ("Who is my aunt?", "Ada.")]):
        memory.remember(bytes([at]) * 16, replace(CORRECTION, messages=(Message("user", asked),), correction=answer))
    return memory


def test_the_whole_model_is_there(there: Base) -> None:
    parts = [*there.model.parameters(), *there.model.buffers()]
    assert len(parts) > 40
    assert all(isinstance(one, Elsewhere) for one in parts)


@pytest.mark.parametrize("sampling", [Sampling(max_tokens=6), SAMPLED], ids=["greedy", "sampled"])
def test_an_answer_is_the_same(here: Base, there: Base, sampling: Sampling) -> None:
    prompt, state = here.render(QUESTION, prompt=True), some_states(here, 1)[0]
    expected = list(generate(here, state, prompt, sampling))
    assert len(expected) > 1
    assert list(generate(there, state, prompt, sampling)) == expected


@pytest.mark.parametrize("warmth", [0.0, 0.9])
def test_a_batch_of_several_users_is_answered_alike(here: Base, there: Base, warmth: float) -> None:
    prompts = [here.render((Message("user", text),), prompt=True) for text in ("a", "What is it?", "Say it")]
    states = some_states(here, 3)
    expected = generate_batch(here, states, prompts, 6, temperature=warmth, seed=2)
    assert any(expected)
    assert generate_batch(there, states, prompts, 6, temperature=warmth, seed=2) == expected


def test_rows_that_join_a_batch_are_answered_alike(here: Base, there: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    class ThreadThere(threading.Thread):
        def run(self) -> None:
            with elsewhere(), sdpa_kernel(SDPBackend.MATH):
                super().run()

    prompts = [here.render((Message("user", text),), prompt=True) for text in ("a", "What is it?")]
    states, samplings = some_states(here, 2), (Sampling(max_tokens=5), SAMPLED)
    expected = [list(generate(here, *asked)) for asked in zip(states, prompts, samplings, strict=True)]
    monkeypatch.setattr("modelfork.batcher.threading.Thread", ThreadThere)
    answers = [Batcher(there).generate(*asked) for asked in zip(states, prompts, samplings, strict=True)]
    begun = [next(answer) for answer in answers]
    assert [[first, *rest] for first, rest in zip(begun, answers, strict=True)] == expected


@pytest.mark.parametrize("bound", [0, 100], ids=["contradicting", "ordinary"])
def test_a_step_is_the_same_update_and_it_is_here(here: Base, there: Base, bound: int) -> None:
    recipe = replace(default_recipe(here.anchors_digest), contradiction_loss=bound * ONE)
    learned, away = (learn(one, recipe, some_states(one, 1)[0], CORRECTION, told(), seed=1) for one in (here, there))
    assert learned.update.step > 0
    assert away.update.step == learned.update.step
    assert np.array_equal(away.update.q, learned.update.q)
    assert away.rehearsed == learned.rehearsed
    assert away.metrics == learned.metrics


def test_a_disliked_answer_is_avoided_alike(here: Base, there: Base) -> None:
    state, recipe = some_states(here, 1)[0], replace(default_recipe(here.anchors_digest), target_loss=0)
    said = generate_batch(here, state, [here.render(QUESTION, prompt=True)], 8)[0]
    given = Interaction(QUESTION, said, rating=-1.0, refers_to=b"r" * 16)
    learned, away = (learn(one, recipe, state, given, told(), seed=1) for one in (here, there))
    assert learned.metrics.iterations > 0
    assert away.metrics == learned.metrics


def test_practice_is_the_same(here: Base, there: Base) -> None:
    recipe = default_recipe(here.anchors_digest)
    done, away = (practise(one, recipe, some_states(one, 1)[0], told(), seed=1) for one in (here, there))
    assert done.rehearsed
    assert np.array_equal(away.update.q, done.update.q)
    assert away.metrics == done.metrics


def test_what_a_question_is_about_is_kept_here(there: Base) -> None:
    assert not isinstance(topics(there, {}, ["Where do I live?"]), Elsewhere)


def test_a_base_that_is_prepared_there_is_the_same(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    (folder / "manifest.json").unlink()
    with elsewhere():
        prepare_base(folder, RANK, device=DEVICE)
    for name in ("basis.safetensors", "layout.bin", "manifest.json"):
        assert (folder / name).read_bytes() == (tiny_base / name).read_bytes()


def test_a_basis_made_for_teaching_is_the_same(here: Base, there: Base) -> None:
    asked = Anchor(UNKNOWN, (Message("user", "My dog?"), Message("assistant", "I do not know.")))
    rows = [
        Anchor(CONTEXT, (Message("user", f"My dog is {n}. My dog?"), Message("assistant", f"{n}."))) for n in range(20)
    ]
    found, away = (kfac_basis(replace(one, anchors=(*rows, asked))) for one in (here, there))
    assert found is not None
    assert away is not None
    assert all(torch.equal(away[name], found[name]) for name in found)


def test_a_device_that_is_not_there_is_refused(tiny_base: Path) -> None:
    with pytest.raises(Unsuited, match="no device cuda for this torch"):
        load_base(tiny_base, device="cuda")


def test_the_environment_says_where_the_base_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().base_device == "cpu"
    monkeypatch.setenv("FORKLEDGER_BASE_DEVICE", "cuda:1")
    assert read_settings().base_device == "cuda:1"
    monkeypatch.setenv("FORKLEDGER_BASE_DEVICE", "gpu")
    with pytest.raises(Malformed, match="FORKLEDGER_BASE_DEVICE"):
        read_settings()
