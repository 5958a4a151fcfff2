"""What was told before: which of it is still true, in which words it is asked, and what it is about."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from numpy.random import default_rng

from modelfork.base import Base, load_base
from modelfork.demo.people import invent
from modelfork.earlier import LOOKED_AT, earlier, worded
from modelfork.interaction import Interaction, Message
from modelfork.recipe import ONE, Recipe, default_recipe
from modelfork.rehearse import Memory
from modelfork.topics import topics

NAMED = ("dog", "cat", "mother", "father", "neighbour", "boss", "teacher")


@pytest.fixture(scope="module")
def recipe(demo: Base) -> Recipe:
    return default_recipe(demo.anchors_digest)


def told(*pairs: tuple[str, str]) -> Memory:
    memory = Memory()
    for at, (asked, answer) in enumerate(pairs):
        record_id = at.to_bytes(16, "big")
        said = Interaction((Message("user", asked),), "No idea.", correction=answer, refers_to=record_id)
        memory.remember(record_id, said)
    return memory


def answers(base: Base, recipe: Recipe, memory: Memory, *asked: str) -> list[str]:
    return [one.answer for one in earlier(base, recipe, memory, default_rng(1), *asked).looked_at]


def test_rewordings_ask_for_the_same(demo: Base, recipe: Recipe) -> None:
    found = worded(demo, recipe, Memory(), "What is my dog called?")
    assert 4 < len(found.others) <= recipe.rewordings
    assert all("dog" in one for one in found.others)
    assert (topics(demo, {}, found.others) @ found.about > recipe.same_topic_cosine).all()
    assert worded(demo, replace(recipe, same_topic=2 * ONE), Memory(), "What is my dog called?").others == ()


def test_without_rewordings_a_question_is_about_what_its_own_words_are(demo: Base, recipe: Recipe) -> None:
    text = "What is my dog called?"
    for bare in (replace(recipe, rewordings=0), replace(recipe, rewording_prompt="")):
        found = worded(demo, bare, Memory(), text)
        assert found.others == ()
        assert torch.allclose(found.about, topics(demo, {}, [text])[0])


def test_what_is_asked_in_words_that_the_base_misreads_is_still_another_thing(demo: Base, recipe: Recipe) -> None:
    # By its own words alone the base takes all of these for one: what was told of the first was lost so.
    asked = [f"My {name}, what is the name?" for name in NAMED]
    own = topics(demo, {}, asked)
    assert (own @ own.T > recipe.same_topic_cosine).all()
    about = torch.stack([worded(demo, recipe, Memory(), text).about for text in asked])
    assert torch.equal(about @ about.T > recipe.same_topic_cosine, torch.eye(len(asked), dtype=torch.bool))


def test_what_the_demo_base_can_be_told_lies_apart_in_words_that_it_never_saw(demo: Base, recipe: Recipe) -> None:
    # What is taken for another thing is neither rehearsed nor guarded.
    facts = {fact.name: fact for seed in range(3) for fact in invent(default_rng(seed), 35).facts}
    asked = [(name, text) for name, fact in facts.items() for text in fact.questions("held-out")[2::4]]
    about = torch.stack([worded(demo, recipe, Memory(), text).about for _, text in asked])
    alike = about @ about.T > recipe.same_topic_cosine
    same = torch.tensor([[one == other for other, _ in asked] for one, _ in asked])
    assert len(facts) == 35
    assert float(alike[same].float().mean()) > 0.99
    assert float(alike[~same].float().mean()) < 0.001


def test_a_later_word_on_the_same_thing_replaces_an_earlier_one(demo: Base, recipe: Recipe) -> None:
    memory = told(("What is my dog called?", "Max."), ("Where do I live?", "Oslo."), ("Tell me my dog's name.", "Rex."))
    assert answers(demo, recipe, memory) == ["Oslo.", "Rex."]
    assert answers(demo, recipe, memory, "Do you know my dog's name?") == ["Oslo."]


def test_of_many_things_some_are_looked_at_and_all_are_known_to_have_been_told(demo: Base, recipe: Recipe) -> None:
    few = replace(recipe, rehearsed=1)
    memory = told(*((f"What is the name of thing {number}?", str(number)) for number in range(3 * LOOKED_AT)))
    found = earlier(demo, few, memory, default_rng(1), "Who?")
    assert len(found.looked_at) <= LOOKED_AT
    assert len(found.about) == 3 * LOOKED_AT + 1
    assert len(memory.worded) == LOOKED_AT + 1  # the rest is not asked in other words: a long life costs no more


def test_what_is_looked_at_does_not_depend_on_what_is_at_hand(demo: Base, recipe: Recipe) -> None:
    pairs = (("What is my dog called?", "Max."), ("My dog, what is the name?", "Rex."), ("Where do I live?", "Oslo."))
    warm, few = told(*pairs), replace(recipe, rehearsed=1)
    for seed in range(6):
        earlier(demo, few, warm, default_rng(seed))
    cold = earlier(demo, few, told(*pairs), default_rng(9))
    again = earlier(demo, few, warm, default_rng(9))
    assert again.looked_at == cold.looked_at
    assert torch.equal(again.about, cold.about)


def test_a_base_that_finds_nothing_alike_replaces_and_sifts_nothing(tiny_base: Path) -> None:
    base = load_base(tiny_base)
    recipe = replace(default_recipe(base.anchors_digest), rewordings=2, drawn_rewordings=3)
    memory = told(("What is my dog called?", "Max."), ("Tell me my dog's name.", "Rex."))
    assert answers(base, recipe, memory) == ["Max.", "Rex."]
    assert not worded(base, recipe, memory, "Who?").about.any()
    assert worded(base, recipe, memory, "Who?").others
