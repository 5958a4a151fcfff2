"""Rewordings follow from the text alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelfork.base import Base, load_base
from modelfork.generate import generate_batch
from modelfork.interaction import Message
from modelfork.recipe import default_recipe
from modelfork.reword import normal, rewordings, told

PROMPT = "Say it otherwise: "


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base)


def test_the_same_text_has_the_same_rewordings_whatever_ran_before(base: Base) -> None:
    first = rewordings(base, "What is my dog called?", 4, 0, PROMPT)
    generate_batch(base, None, [base.render([Message("user", "x")], prompt=True)] * 3, 5, temperature=1.0, seed=9)
    assert rewordings(base, "What is my dog called?", 4, 0, PROMPT) == first
    assert 1 <= len(first) <= 4
    assert rewordings(base, "What is my dog called?", 4, 1, PROMPT) != first


def test_neither_the_text_nor_one_rewording_twice(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["what is my dog called", "My dog's name?", "my dog's  name", "", "How is he called?"]
    monkeypatch.setattr("modelfork.reword.generate_batch", lambda *_, **__: said)
    assert rewordings(base, "What is my dog called?", 5, 0, PROMPT) == ["My dog's name?", "How is he called?"]


def test_nothing_to_reword_and_no_room_to(base: Base) -> None:
    assert rewordings(base, "  ", 4, 0, PROMPT) == []
    assert rewordings(base, "Hello", 0, 0, PROMPT) == []
    assert rewordings(base, "Hello " * 100, 4, 0, PROMPT) == []


def test_a_long_text_is_not_asked_about_for_all_would_wait(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = replace(base, context=1 << 20)
    monkeypatch.setattr("modelfork.reword.generate_batch", lambda *_, **__: pytest.fail("it was asked"))
    assert rewordings(roomy, "Hello " * 1_000, 4, 0, PROMPT) == []
    assert told(roomy, "Hello " * 1_000, PROMPT) is None


@pytest.mark.parametrize(
    "said", ["My dog is called Buddy.", "My hobby is chess.", "I work as a teacher.", "I drive a Fiat."]
)
def test_a_statement_is_told_in_the_persons_own_word(demo: Base, said: str) -> None:
    noted = told(demo, said, default_recipe(demo.anchors_digest).question_prompt)
    assert noted is not None
    assert said.rstrip(".").split()[-1] in noted[1]


@pytest.mark.parametrize(
    "said",
    [
        "My mother is called Agnieszka.",  # the base spells her "Agn streetzka"
        "My dog is called Max now.",
        "I live in Berlin.",  # "You live in learning new."
        "My sister lives in Paris.",  # "Your sister is called play."
        "My favourite colour is blue.",  # "black"
        "I had a long day at work.",
    ],
)
def test_what_nobody_said_is_not_noted(demo: Base, said: str) -> None:
    assert told(demo, said, default_recipe(demo.anchors_digest).question_prompt) is None


def test_what_reads_equal_is_equal() -> None:
    assert normal(" What is  it?! ") == normal("what is it")
    assert normal("What is it?") != normal("What was it?")
