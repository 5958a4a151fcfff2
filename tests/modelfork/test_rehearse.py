"""The memory holds the latest word on every question, and the same after every replay."""

from dataclasses import replace

import pytest

from modelfork.interaction import Interaction, Message, Noted, question
from modelfork.rehearse import LONGEST, MOST, Memory, same


def verdict(asked: str, answer: str, number: int, **given: object) -> Interaction:
    said: dict[str, object] = {"correction": "", "refers_to": bytes([number]) * 16, **given}
    return Interaction((Message("user", asked),), answer, **said)  # type: ignore[arg-type]


def kept(memory: Memory) -> list[str]:
    return [rehearsal.answer for rehearsal in memory.without("")]


def taught(*interactions: Interaction) -> Memory:
    memory = Memory()
    for number, interaction in enumerate(interactions):
        memory.remember(number.to_bytes(16, "big"), interaction)
    return memory


def test_corrections_and_liked_answers_are_kept() -> None:
    memory = taught(
        verdict("What is my dog called?", "No idea.", 1, correction="Max."),
        verdict("And my cat?", "Mia.", 2, rating=1.0),
    )
    assert kept(memory) == ["Max.", "Mia."]


@pytest.mark.parametrize(
    "nothing",
    [
        Interaction((Message("user", "What is my dog called?"),), "Max."),
        verdict("What is my dog called?", "Max.", 1),
        verdict("What is my dog called?", "Max.", 1, rating=0.0, comment="hm"),
        verdict("What is my dog called?", "Max.", 1, rating=-1.0),
        verdict("What is my dog called?", "Max.", 1, correction="Rex.", teaches=False),
        verdict("What is my dog called?", "", 1, rating=1.0),
        verdict("What is my dog called?", "", 1, rating=1.0, correction=" \n"),
        verdict("", "No idea.", 1, correction="Max."),
        Interaction((Message("system", "Be kind."),), "No idea.", correction="Max."),
    ],
)
def test_what_says_nothing_about_the_right_answer_is_not_kept(nothing: Interaction) -> None:
    assert len(taught(nothing)) == 0


def test_what_says_nothing_about_the_right_answer_replaces_nothing() -> None:
    told = verdict("What is my dog called?", "No idea.", 1, correction="Max.")
    assert kept(taught(told, verdict("What is my dog called?", "", 2, rating=1.0))) == ["Max."]
    assert kept(taught(told, verdict("What is my dog called?", "No.", 2, correction=" "))) == ["Max."]


def test_the_latest_word_on_a_question_replaces_the_earlier() -> None:
    memory = taught(
        verdict("What is my dog called?", "No idea.", 1, correction="Max."),
        verdict("And my cat?", "No idea.", 2, correction="Mia."),
        verdict("what is  my dog called", "Max.", 3, correction="Rex."),
    )
    assert kept(memory) == ["Mia.", "Rex."]
    assert [one.record_id[-1] for one in memory.without("")] == [1, 2]


def test_a_second_verdict_on_one_answer_replaces_the_first_though_words_differ() -> None:
    memory = taught(
        verdict("What is my dog called?", "No idea.", 7, correction="Max."),
        verdict("My dog's name, please?", "No idea.", 7, correction="Rex."),
    )
    assert kept(memory) == ["Rex."]


def test_an_answer_that_is_disliked_later_is_dropped_and_another_is_not() -> None:
    liked = verdict("What is my dog called?", "Max.", 1, rating=1.0)
    assert kept(taught(liked, verdict("What is my dog called?", "Max.", 2, rating=-1.0))) == []
    assert kept(taught(liked, verdict("What is my dog called?", "Rex.", 2, rating=-1.0))) == ["Max."]


def test_what_is_kept_about_other_questions_leaves_out_the_question_itself() -> None:
    memory = taught(*(verdict(f"Question {n}?", "No idea.", n, correction=f"{n}.") for n in range(4)))
    assert [one.answer for one in memory.without("question 3")] == ["0.", "1.", "2."]


def test_a_statement_is_kept_as_what_was_noted_of_it_and_a_later_word_replaces_it() -> None:
    noted = (Noted("What is my dog called?", "Your dog is called Max."),)
    said = Interaction((Message("user", "My dog is called Max."),), "Okay.", noted=noted)
    assert kept(taught(said)) == ["Your dog is called Max."]
    assert taught(said).without("")[0].messages == (Message("user", "What is my dog called?"),)
    corrected = verdict("What is my dog called?", "Max.", 1, correction="Rex.")
    assert kept(taught(said, corrected)) == ["Rex."]
    assert kept(taught(corrected, said)) == ["Your dog is called Max."]
    assert kept(taught(replace(said, teaches=False))) == []


def test_questions_are_the_same_but_for_case_spaces_and_punctuation() -> None:
    assert same("  What is MY (dog's) name ?! ") == same("“what is my dog's name.”")
    assert same("Wie heißt sie?") == same("wie heisst sie")
    assert same("my dog") != same("my cat")
    assert question((Message("user", "a"), Message("assistant", "b"), Message("user", "c"))) == "c"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What do I use C++ for?", "What do I use C for?"),
        ("What do I use C++ for?", "What do I use C# for?"),
        ("5 + 3?", "5 - 3?"),
        ("मेरा दिल कहाँ है?", "मेरी दाल कहाँ है?"),
        ("What is 😀?", "What is 😡?"),
    ],
)
def test_signs_that_mean_something_make_another_question(one: str, other: str) -> None:
    assert same(one) != same(other)


def test_of_a_long_conversation_only_its_end_is_kept() -> None:
    turns = [
        Message(role, f"{number} " + "x" * 1_000) for number in range(10) for role in ("user", "assistant")
    ]  # fmt: skip
    said = Interaction((Message("system", "Be kind."), *turns, Message("user", "Who?")), "?", correction="Max.")
    (one,) = taught(said).without("")
    assert one.messages[-1] == Message("user", "Who?")
    assert one.messages[0].role == "user"
    assert one.messages == said.messages[-len(one.messages) :]
    assert LONGEST - 3_000 < sum(len(message.content) for message in one.messages) <= LONGEST
    short = replace(said, messages=(said.messages[0], *said.messages[-3:]))
    assert taught(short).without("")[0].messages == short.messages


def test_what_is_too_long_is_not_kept_nor_what_it_replaces() -> None:
    told = verdict("What is my dog called?", "No idea.", 1, correction="Max.")
    assert kept(taught(told, verdict("What is my dog called?", "Max.", 1, correction="x" * LONGEST))) == []
    assert kept(taught(verdict("x" * LONGEST, "No idea.", 1, correction="Max."))) == []


def test_corrections_that_come_with_their_own_turn_do_not_replace_each_other() -> None:
    memory = taught(
        verdict("What is my dog called?", "No idea.", 0, correction="Max.", refers_to=b""),
        verdict("What is my cat called?", "No idea.", 0, correction="Mia.", refers_to=b""),
    )
    assert kept(memory) == ["Max.", "Mia."]


def test_a_memory_of_a_long_life_keeps_the_latest_and_no_more() -> None:
    memory = Memory()
    for number in range(MOST + 5):
        text = f"What is thing {number} called?"
        memory.told[text] = None
        memory.remember(
            number.to_bytes(16, "big"),
            Interaction((Message("user", text),), "No idea.", correction=f"{number}.", refers_to=number.to_bytes(16)),
        )
    assert kept(memory) == [f"{number}." for number in range(5, MOST + 5)]
    for number in range(5 * MOST):
        memory.told[str(number)] = None
        memory.remember(bytes(16), Interaction((Message("user", str(number)),), ""))
        assert len(memory.told) <= 2 * MOST + 1


def test_a_verdict_on_an_answer_of_long_ago_still_replaces_what_its_question_says() -> None:
    memory = taught(verdict("What is my dog called?", "No idea.", 1, correction="Max."))
    for number in range(MOST - 1):
        memory.remember(
            number.to_bytes(16, "big"),
            Interaction((Message("user", f"And {number}?"),), "", correction="No.", refers_to=number.to_bytes(16)),
        )
    memory.remember(bytes(16), verdict("What is my dog called?", "Max.", 1, correction="Rex."))
    assert len(memory) == MOST
    assert "Max." not in kept(memory)
