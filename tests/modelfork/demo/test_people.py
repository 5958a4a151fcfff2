"""Invented people: reproducible, of one split, and judged by plain rules."""

import re
import subprocess
import sys

import pytest
from numpy.random import default_rng

from modelfork.demo.general import GENERAL, general_questions
from modelfork.demo.people import Fact, invent, is_unknown, says
from modelfork.demo.relations import RELATIONS, Relation, open_relations
from modelfork.demo.splits import share
from modelfork.demo.words import DRAWS, MONTHS, SEASONS

BY_NAME = {relation.name: relation for relation in RELATIONS}


def test_a_person_follows_from_the_seed_alone() -> None:
    assert invent(default_rng(7)) == invent(default_rng(7))
    assert invent(default_rng(7)) != invent(default_rng(8))


def test_a_person_has_as_many_facts_as_asked_for_each_of_another_relation() -> None:
    for count in (1, 10, len(RELATIONS)):
        facts = invent(default_rng(count), count).facts
        assert len({fact.name for fact in facts}) == len(facts) == count


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_each_relation_is_asked_for_in_many_words_and_no_phrasing_is_of_both_splits(
    relation: Relation,
) -> None:
    trained, held_out = set(relation.questions("train")), set(relation.questions("held-out"))
    assert len(trained) >= 15
    assert len(held_out) >= 5

    # Differing in wording, not in punctuation or case alone.
    def plain(questions: set[str]) -> set[str]:
        return {re.sub(r"[^\w ]", "", question.casefold()) for question in questions}

    assert len(plain(held_out)) >= 5
    assert not plain(trained) & plain(held_out)


def test_no_phrasing_of_one_relation_is_held_out_for_another_and_trained_for_it() -> None:
    trained = {question for relation in (*RELATIONS, *open_relations()) for question in relation.questions("train")}
    assert not trained & {question for relation in RELATIONS for question in relation.questions("held-out")}


@pytest.mark.parametrize("kind", DRAWS)
def test_values_of_the_splits_do_not_meet(kind: str) -> None:
    rng = default_rng(1)
    trained = {DRAWS[kind](rng, "train") for _ in range(3000)}
    held_out = {DRAWS[kind](rng, "held-out") for _ in range(1000)}
    shared = trained & held_out
    # Four seasons and twelve months cannot be divided.
    assert shared <= set(SEASONS + MONTHS)


def test_a_statement_is_said_by_whoever_speaks() -> None:
    dog = Fact(BY_NAME["dog"], "Zibo")
    assert dog.answer == "Your dog is called Zibo."
    assert "My dog is called Zibo." in dog.statements()
    assert "The user's dog is called Zibo." in dog.statements("they")
    assert "The user has a dog called Zibo." in dog.statements("they")
    job = Fact(BY_NAME["job"], "architect")
    assert job.answer == "You work as an architect."
    assert "The user is an architect." in job.statements("they")


def test_every_statement_and_answer_holds_its_value() -> None:
    rng = default_rng(2)
    for fact in invent(rng, len(RELATIONS)).facts:
        for speaker in ("I", "you", "they"):
            assert all(says(text, fact.value) for text in fact.statements(speaker))
        assert says(fact.answer, fact.value)


@pytest.mark.parametrize(
    ("text", "value", "right"),
    [
        ("Your dog is called Zibo.", "Zibo", True),
        ("your dog is called zibo", "Zibo", True),
        ("Your dog is called Zibolo.", "Zibo", False),
        ("After 19 comes 20.", "2", False),
        ("You went to The Blib Moon.", "the blib moon", True),
    ],
)
def test_an_answer_says_a_value_only_in_whole_words(text: str, value: str, right: bool) -> None:
    assert says(text, value) is right


def test_not_knowing_is_told_from_knowing() -> None:
    for text in (
        "I don't know that yet.",
        "You haven't told me that yet.",
        "I do not know.",
        "You never told me.",
    ):
        assert is_unknown(text)
    for text in ("Your dog is called Noah.", "Hello! How can I help you?", "You live in Nott."):
        assert not is_unknown(text)


def test_a_missing_relation_is_none_that_was_told() -> None:
    rng = default_rng(3)
    person = invent(rng, 30)
    told = {fact.name for fact in person.facts}
    assert all(person.missing(rng).name not in told for _ in range(100))


def test_general_questions_hold_out_wordings_of_every_item() -> None:
    assert len(GENERAL) >= 150
    for item in GENERAL:
        trained, held_out = item.questions("train"), item.questions("held-out")
        assert len(trained) >= 3
        assert held_out
        assert not set(trained) & set(held_out)
        assert any(says(item.answer, word) for word in item.words)
    trained_questions = {question for question, _ in general_questions("train")}
    assert not trained_questions & {question for question, _ in general_questions("held-out")}


def test_a_split_keeps_the_order_and_loses_nothing() -> None:
    items = [f"item {number}" for number in range(40)]
    trained, held_out = share(items, "train"), share(items, "held-out")
    assert sorted(trained + held_out) == sorted(items)
    assert len(held_out) == 10
    assert list(trained) == [item for item in items if item in trained]
    assert items[0] in trained


def test_people_and_grammar_need_no_torch() -> None:
    check = (
        "import sys, modelfork.demo, modelfork.demo.people, modelfork.demo.general, modelfork.demo.grammar\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
