"""What a fork rehearses is decided by what was recorded, and the latest word on a question stands."""

from dataclasses import replace

from modelfork.interaction import Interaction, Message
from modelfork.rehearse import Memory, same


def turn(asked: str, answer: str = "I don't know.") -> Interaction:
    return Interaction((Message("user", asked),), answer)


def corrected(asked: str, correction: str, refers_to: bytes = b"") -> Interaction:
    return replace(turn(asked), correction=correction, refers_to=refers_to)


def answers(memory: Memory) -> list[str]:
    return [kept.answer for kept in memory.choose(100, seed=1)]


def test_a_turn_without_a_verdict_is_not_rehearsed() -> None:
    memory = Memory()
    memory.remember(b"1" * 16, turn("What is my dog called?"))
    assert len(memory) == 0


def test_the_latest_correction_of_a_question_stands() -> None:
    memory = Memory()
    memory.remember(b"1" * 16, corrected("What is my dog called?", "Buddy.", b"a" * 16))
    memory.remember(b"2" * 16, corrected("what is my dog called", "Max.", b"b" * 16))
    assert answers(memory) == ["Max."]


def test_a_second_correction_of_the_same_answer_replaces_the_first() -> None:
    memory = Memory()
    memory.remember(b"1" * 16, corrected("What is my dog called?", "Buddy.", b"a" * 16))
    memory.remember(b"2" * 16, corrected("And my dog's name?", "Max.", b"a" * 16))
    assert answers(memory) == ["Max."]


def test_corrections_that_come_with_their_own_turn_do_not_replace_each_other() -> None:
    memory = Memory()
    memory.remember(b"1" * 16, corrected("What is my dog called?", "Buddy."))
    memory.remember(b"2" * 16, corrected("What is my cat called?", "Zibo."))
    assert answers(memory) == ["Buddy.", "Zibo."]


def test_a_liked_answer_is_kept_and_dropped_again_when_it_is_disliked() -> None:
    memory = Memory()
    said = replace(turn("What is my dog called?", "Buddy."), refers_to=b"a" * 16)
    memory.remember(b"1" * 16, replace(said, rating=1.0))
    assert answers(memory) == ["Buddy."]
    memory.remember(b"2" * 16, replace(said, rating=-1.0))
    assert answers(memory) == []


def test_what_was_not_to_teach_is_not_rehearsed() -> None:
    memory = Memory()
    memory.remember(b"1" * 16, replace(corrected("What is my dog called?", "Buddy."), teaches=False))
    assert len(memory) == 0


def test_a_step_never_rehearses_the_question_that_it_learns() -> None:
    memory = Memory()
    memory.remember(b"1" * 16, corrected("What is my dog called?", "Buddy."))
    memory.remember(b"2" * 16, corrected("What is my cat called?", "Zibo."))
    chosen = memory.choose(100, seed=1, asked="what is my DOG called")
    assert [kept.record_id for kept in chosen] == [b"2" * 16]


def test_what_is_chosen_is_decided_by_the_seed() -> None:
    memory = Memory()
    for number in range(50):
        memory.remember(bytes([number]) * 16, corrected(f"Question {number}?", f"Answer {number}."))
    chosen = [kept.record_id for kept in memory.choose(6, seed=7)]
    assert chosen == [kept.record_id for kept in memory.choose(6, seed=7)]
    assert len(set(chosen)) == 6
    assert chosen != [kept.record_id for kept in memory.choose(6, seed=8)]


def test_questions_are_the_same_whatever_their_case_spaces_and_punctuation() -> None:
    assert same("What's  my dog called?") == same("what s MY dog called")
    assert same("What is my dog called?") != same("What is my cat called?")
