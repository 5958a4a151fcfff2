"""The basis from anchor rows: directions of teaching, in coordinates in which harm is the same everywhere."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modelfork.base import Anchor, Base, load_base
from modelfork.interaction import Message
from modelfork.kfac import DAMPING, _directions, _evenly, _moments, _row, _untold, kfac_basis
from tests.modelfork.conftest import RANK


def said(role: str, text: str) -> Message:
    return Message(role, text)


@pytest.fixture
def base(tiny_base: Path) -> Base:
    """With forty anchor rows more: facts in a system message."""
    found = load_base(tiny_base)
    told = tuple(
        Anchor("context", (said("system", f"My dog is {n}."), said("user", "My dog?"), said("assistant", f"{n}.")))
        for n in range(40)
    )
    return replace(found, anchors=(*found.anchors, *told))


def test_each_core_gets_directions_of_its_own_that_a_seed_repeats(base: Base) -> None:
    first, again = kfac_basis(base), kfac_basis(base)
    assert first is not None
    assert again is not None
    assert list(first) == [segment.name + end for segment in base.layout.segments for end in (".a", ".b")]
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        assert torch.isfinite(tensor).all()
        assert RANK in tensor.shape


def test_a_base_without_rows_that_teach_keeps_the_basis_of_its_weights(tiny_base: Path) -> None:
    assert kfac_basis(load_base(tiny_base)) is None


def test_equal_steps_along_a_core_do_equal_harm(base: Base) -> None:
    name = base.layout.segments[0].name
    rows = [_row(base, anchor.messages) for anchor in base.anchors]
    teaching = [row for anchor in base.anchors for row in _untold(base, anchor)]
    moments = _moments(base, [name], rows, teaching, torch.Generator().manual_seed(0))[name]
    a, b = _directions(moments, RANK)
    for second, directions in ((moments.inputs, a), (moments.outputs, b.T)):
        damped = second + DAMPING * second.diagonal().mean() * torch.eye(len(second))
        harm = directions @ damped @ directions.T
        harm /= harm.diagonal().mean()
        assert torch.allclose(harm, torch.eye(RANK), atol=1e-3)


def test_facts_are_left_out_of_the_row_that_teaches(base: Base) -> None:
    asked = (said("user", "Where do I live?"), said("assistant", "I do not know."))
    stated = (said("user", "I live in Rome. Where do I live?"), said("assistant", "In Rome."))
    other = replace(base, anchors=(Anchor("unknown", asked), Anchor("context", stated)))
    (row,) = [row for anchor in other.anchors for row in _untold(other, anchor)]
    assert row == _row(base, (asked[0], stated[1]))
    (row,) = _untold(base, base.anchors[-1])
    assert "dog is" not in base.text(row.tokens)
    assert "dog?" in base.text(row.tokens)


def test_the_model_is_left_as_it_was(base: Base) -> None:
    kfac_basis(base)
    assert not any(module._forward_hooks for module in base.model.modules())
    assert not any(weight.requires_grad for weight in base.model.parameters())


def test_of_many_rows_some_all_along_are_looked_at() -> None:
    assert list(_evenly(range(7))) == list(range(7))
    assert list(_evenly(range(600)))[-1] == 598
    assert len(_evenly(range(301))) == 151


def test_a_base_too_wide_for_its_second_moments_keeps_the_basis_of_its_weights(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelfork.kfac.ROOM", 1000)
    assert kfac_basis(base) is None
