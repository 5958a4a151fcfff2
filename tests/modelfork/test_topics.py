"""Questions about one thing lie close however they are worded."""

from pathlib import Path

import pytest
import torch
from numpy.random import default_rng

from modelfork.base import Base, load_base
from modelfork.demo.people import invent
from modelfork.recipe import default_recipe
from modelfork.settings import DEMO_BASE
from modelfork.topics import FEWEST, likeness, topics

ASKED = ("What is my dog called?", "Where do I live?", "What is my hobby?", "What is my sister called?")
REWORDED = ("Tell me my dog's name.", "In which city do I live?", "Which hobby do I have?", "Tell me my sister's name.")


def test_the_same_thing_in_other_words_is_alike_and_another_thing_is_not(demo: Base) -> None:
    alike = likeness(demo, {}, ASKED, REWORDED) > default_recipe(bytes(32)).same_topic_cosine
    assert torch.equal(alike, torch.eye(len(ASKED), dtype=torch.bool))


def test_what_the_demo_base_can_be_told_lies_apart_in_words_that_it_never_saw(demo: Base) -> None:
    # What is taken for another thing is neither rehearsed nor guarded: one pair in sixty was, and forks forgot by it.
    facts = {fact.name: fact for seed in range(3) for fact in invent(default_rng(seed), 35).facts}
    asked = [(name, text) for name, fact in facts.items() for text in fact.questions("held-out")[2::4]]
    texts = [text for _, text in asked]
    alike = likeness(demo, {}, texts, texts) > default_recipe(bytes(32)).same_topic_cosine
    same = torch.tensor([[one == other for other, _ in asked] for one, _ in asked])
    assert len(facts) == 35
    assert float(alike[same].float().mean()) > 0.99
    assert float(alike[~same].float().mean()) < 0.002


def test_what_a_text_is_about_does_not_depend_on_what_else_is_asked(demo: Base) -> None:
    other = load_base(DEMO_BASE)
    assert torch.equal(topics(demo, {}, ASKED)[2], topics(other, {}, [ASKED[2]])[0])


def test_what_was_computed_is_kept_where_the_caller_says(demo: Base) -> None:
    seen: dict[str, torch.Tensor] = {}
    likeness(demo, seen, ASKED[:2], ASKED[1:3])
    assert set(seen) == set(ASKED[:3])


def test_a_base_with_few_anchor_rows_finds_nothing_alike(tiny_base: Path) -> None:
    base = load_base(tiny_base)
    assert len(base.anchors) < FEWEST
    assert not likeness(base, {}, ASKED, ASKED).any()


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
