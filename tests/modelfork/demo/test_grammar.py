"""The chats of the grammar, as data: what is weighted, what is right, what is never trained on."""

import re
from collections.abc import Callable

import pytest
from numpy.random import Generator, default_rng

from modelfork.demo.general import general_questions
from modelfork.demo.grammar import MIX, Chat, chat, context, general, question_of, reword, rough, teach
from modelfork.demo.people import is_unknown
from modelfork.demo.relations import RELATIONS


def _many(count: int, seed: int = 1) -> list[Chat]:
    rng = default_rng(seed)
    return [chat(rng) for _ in range(count)]


def test_the_same_seed_gives_the_same_chats() -> None:
    assert _many(50) == _many(50)


def test_chats_alternate_and_end_with_the_assistant() -> None:
    for drawn in _many(500):
        roles = [turn.role for turn in drawn.turns]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(turn.text for turn in drawn.turns)


def test_every_answer_counts_but_one_that_the_next_turn_corrects() -> None:
    unweighted = 0
    for drawn in _many(2000):
        for at, turn in enumerate(drawn.turns):
            if turn.role == "assistant" and turn.weight == 0:
                unweighted += 1
                assert drawn.kind == "teach"
                assert drawn.turns[at + 1].role == "user"
            elif turn.role == "assistant":
                assert turn.weight == 1
            elif turn.role == "system":
                assert turn.weight == 0
            else:
                assert 0 < turn.weight < 0.5
    assert unweighted > 20


def test_no_held_out_question_is_ever_asked() -> None:
    held_out = {question for relation in RELATIONS for question in relation.questions("held-out")}
    held_out |= {question for question, _ in general_questions("held-out")}
    # One word alone ("hello") may be held out in one punctuation and trained in another.
    asked = {turn.text for drawn in _many(4000) for turn in drawn.turns if turn.role == "user"}
    assert not asked & held_out


def test_with_nothing_told_a_personal_question_is_answered_by_not_knowing() -> None:
    rng = default_rng(2)
    worldly = {question.casefold() for question, _ in general_questions("train")}
    for _ in range(300):
        drawn = general(rng)
        for question, answer in zip(drawn.turns[-2::-2], drawn.turns[::-2], strict=False):
            if question.text.casefold() in worldly:
                assert not is_unknown(answer.text)
        answers = [turn.text for turn in drawn.turns if turn.role == "assistant"]
        assert any(map(is_unknown, answers)) == (drawn.kind == "unknown")


def test_in_a_prompt_most_questions_are_answered_from_it() -> None:
    rng = default_rng(3)
    answers = [turn.text for _ in range(300) for turn in context(rng).turns if turn.role == "assistant"]
    share = sum(map(is_unknown, answers)) / len(answers)
    assert 0.15 < share < 0.35


def test_after_a_change_the_latest_value_is_the_answer() -> None:
    rng = default_rng(4)
    seen = 0
    for _ in range(2000):
        turns = teach(rng, most=1).turns
        values = [
            re.search(r"called (\w+)\.$", turn.text)
            for turn in turns
            if turn.text.startswith("Got it, your dog is called")
        ]
        last = [turn for turn in turns if turn.text.startswith("Your dog is called")]
        if len(values) >= 2 and values[-1] and last and last[-1] is turns[-1]:
            seen += 1
            assert values[-1][1].casefold() in last[-1].text.casefold()
    assert seen


@pytest.mark.parametrize("make", [reword, question_of])
def test_rewordings_are_other_words(make: Callable[[Generator], Chat]) -> None:
    rng = default_rng(5)
    for _ in range(500):
        given, made = make(rng).turns
        assert not given.text.endswith(": " + made.text)


def test_rough_typing_keeps_most_of_the_letters() -> None:
    rng = default_rng(6)
    for _ in range(300):
        text = rough(rng, "What is my favourite colour?")
        assert len(text) >= len("what is my favorite colo")


def test_the_mix_is_a_share() -> None:
    assert sum(weight for _, weight in MIX) == pytest.approx(1)
