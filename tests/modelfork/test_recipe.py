"""A recipe has one spelling and one digest."""

from dataclasses import replace
from typing import Any

import pytest

from modelfork.errors import Malformed
from modelfork.recipe import ONE, decode_recipe, default_recipe, encode_recipe, recipe_digest

RECIPE = default_recipe(b"a" * 32)


def test_a_recipe_is_read_back_as_it_was_written() -> None:
    asked = replace(RECIPE, rewording_prompt="Sag es anders: ", own_words_weight=3)
    assert decode_recipe(encode_recipe(asked)) == asked


def test_any_other_number_is_another_recipe() -> None:
    digests = {recipe_digest(encode_recipe(RECIPE))}
    for name in RECIPE.__slots__:
        value = getattr(RECIPE, name)
        other = b"z" * 32 if isinstance(value, bytes) else value + "x" if isinstance(value, str) else value - 1
        changed: dict[str, Any] = {name: other}
        digests.add(recipe_digest(encode_recipe(replace(RECIPE, **changed))))
    assert len(digests) == 1 + len(RECIPE.__slots__)


def test_ratios_are_exact() -> None:
    recipe = replace(RECIPE, target_loss=ONE // 2, eta=ONE + 1, contradiction_loss=3 * ONE, own_words_weight=1)
    assert recipe.target_loss_nats == 0.5
    assert recipe.eta_ratio == 1 + 2**-16
    assert recipe.contradiction_loss_nats == 3
    assert recipe.own_words_ratio == 2**-16


@pytest.mark.parametrize(
    "changed",
    [
        {"anchors_digest": b"short"},
        {"longest_step": 1 << 24},
        {"context_share": 0},
        {"context_share": ONE},
        {"drift_context_share": 0},
        {"drift_context_share": ONE},
        {"update_encoding": 0},
        {"update_encoding": 99},
        {"contradiction_encoding": 0},
    ],
)
def test_what_is_no_recipe_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        replace(RECIPE, **changed)  # type: ignore[arg-type]


def test_a_second_spelling_is_refused() -> None:
    data = encode_recipe(RECIPE)
    for other in (data + data, data + b"\xa0\x06\x01", data[:-1], b"\xff"):
        with pytest.raises(Malformed):
            decode_recipe(other)
