"""Questions about one thing lie close however they are worded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modelfork.base import Base, load_base
from modelfork.recipe import default_recipe
from modelfork.settings import DEMO_BASE
from modelfork.topics import FEWEST, SEEN, topics

ASKED = ("What is my dog called?", "Where do I live?", "What is my hobby?", "What is my sister called?")
REWORDED = ("Tell me my dog's name.", "In which city do I live?", "Which hobby do I have?", "Tell me my sister's name.")


def test_the_same_thing_in_other_words_is_alike_and_another_thing_is_not(demo: Base) -> None:
    alike = topics(demo, {}, ASKED) @ topics(demo, {}, REWORDED).T > default_recipe(bytes(32)).same_topic_cosine
    assert torch.equal(alike, torch.eye(len(ASKED), dtype=torch.bool))


def test_what_a_text_is_about_does_not_depend_on_what_else_is_asked(demo: Base) -> None:
    other = load_base(DEMO_BASE)
    assert torch.equal(topics(demo, {}, ASKED)[2], topics(other, {}, [ASKED[2]])[0])


def test_what_was_computed_is_kept_where_the_caller_says(demo: Base) -> None:
    seen: dict[str, torch.Tensor] = {}
    first, again = topics(demo, seen, ASKED[:2]), topics(demo, seen, ASKED[1:3])
    assert set(seen) == set(ASKED[:3])
    assert torch.equal(first[1], again[0])


def test_a_base_with_few_anchor_rows_finds_nothing_alike(tiny_base: Path) -> None:
    base = load_base(tiny_base)
    assert len(base.anchors) < FEWEST
    assert not topics(base, {}, ASKED).any()


def test_each_question_of_an_anchor_row_goes_through_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_base(DEMO_BASE)
    questions = {anchor.messages[0].content for anchor in base.anchors if len(anchor.messages) == 2}
    passes = 0
    forward = base.model.model.forward

    def counted(*given: object, **more: object) -> object:
        nonlocal passes
        passes += 1
        return forward(*given, **more)

    monkeypatch.setattr(base.model.model, "forward", counted)
    topics(base, base.own.topics, sorted(questions))
    assert passes == len(questions)


def test_a_long_question_is_known_by_its_end(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = replace(load_base(tiny_base), context=1 << 20)
    looked_at = []
    forward = base.model.model.forward

    def counted(*given: object, input_ids: torch.Tensor, **more: object) -> object:
        looked_at.append(input_ids.shape[1])
        return forward(*given, input_ids=input_ids, **more)

    monkeypatch.setattr(base.model.model, "forward", counted)
    topics(base, {}, ["What is it? " * 1_000])
    assert max(looked_at) == SEEN
