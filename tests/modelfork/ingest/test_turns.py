"""A conversation as turns: what is recorded of it, with which context, and what it is known by."""

from __future__ import annotations

from uuid import uuid4

import pytest

from modelfork.ingest.turns import (
    LONGEST_CONTEXT,
    MOST_EARLIER,
    NO_ANSWER,
    NO_TEXT,
    Fault,
    Found,
    LeftOut,
    Turn,
    Verdict,
    record_id,
    turns_of,
)
from modelfork.interaction import LONGEST_TEXT, Interaction, Message


def said(*texts: str) -> list[Message]:
    """User and assistant in turns; `S:` and `A:` before a text name another role."""
    roles = {"S:": "system", "A:": "assistant", "U:": "user"}
    return [
        Message(roles.get(text[:2], ("user", "assistant")[at % 2]), text[2:] if text[:2] in roles else text)
        for at, text in enumerate(texts)
    ]


def found(*texts: str, verdict: Verdict | None = None, only_last: bool = False) -> list[Found]:
    return list(turns_of("line 7", said(*texts), verdict, only_last))


def turns(*texts: str, verdict: Verdict | None = None, only_last: bool = False) -> list[Turn]:
    return [one for one in found(*texts, verdict=verdict, only_last=only_last) if isinstance(one, Turn)]


def test_every_question_with_its_answer_is_a_turn_and_what_came_before_is_its_context() -> None:
    first, second = turns("Hi.", "Hello!", "My dog is Rex.", "Nice.")
    assert first.interaction == Interaction((Message("user", "Hi."),), "Hello!")
    assert second.interaction == Interaction(tuple(said("Hi.", "Hello!", "My dog is Rex.")), "Nice.")
    assert [first.place, second.place] == ["line 7, turn 1", "line 7, turn 2"]


def test_the_last_turn_alone_has_the_rest_for_its_context_and_the_line_for_its_place() -> None:
    (only,) = turns("Hi.", "Hello!", "Who?", "Me.", only_last=True)
    assert only.interaction == turns("Hi.", "Hello!", "Who?", "Me.")[-1].interaction
    assert only.place == "line 7"


def test_an_answer_in_pieces_is_one_and_one_that_nobody_asked_for_is_none() -> None:
    (only,) = turns("A:Welcome.", "U:Hi.", "A:One.", "A:  ", "A:Two.")
    assert only.interaction == Interaction((Message("user", "Hi."),), "One.\n\nTwo.")


def test_a_question_without_an_answer_is_left_out_and_is_nobodys_context() -> None:
    left, turn = found("U:Are you there?", "U:Hi.", "A:Hello!")
    assert left == LeftOut("line 7, turn 1", NO_ANSWER)
    assert isinstance(turn, Turn)
    assert turn.interaction == turns("Hi.", "Hello!")[0].interaction
    assert turn.content == turns("Hi.", "Hello!")[0].content


@pytest.mark.parametrize("texts", [(), ("S:Be kind.",), ("A:Welcome.",), (" \n", "What is in this picture?")])
def test_where_a_person_said_nothing_there_is_nothing_to_record(texts: tuple[str, ...]) -> None:
    assert found(*texts) == [LeftOut("line 7", NO_TEXT)]


def test_what_the_system_says_first_stands_first_and_what_it_says_later_nowhere() -> None:
    first, second = turns("S:Be kind.", "S:Be brief.", "U:Hi.", "A:Hello!", "S:Be gone.", "U:Bye.", "A:Bye!")
    begin = Message("system", "Be kind.\n\nBe brief.")
    assert first.interaction.messages == (begin, Message("user", "Hi."))
    assert second.interaction.messages == (begin, *said("Hi.", "Hello!", "Bye."))


def test_the_context_is_the_latest_whole_turns_that_fit() -> None:
    third = LONGEST_CONTEXT // 3
    *_, last = turns("a" * third, "bb", "c" * third, "d" * third, "Who?", "Me.")
    assert [message.content[0] for message in last.interaction.messages] == ["c", "d", "W"]
    *_, last = turns("S:" + "s" * (third + 2), "U:" + "c" * third, "A:" + "d" * third, "U:Who?", "A:Me.")
    assert [message.content[0] for message in last.interaction.messages] == ["s", "W"]
    *_, last = turns("S:" + "s" * (LONGEST_CONTEXT + 1), "U:Who?", "A:Me.")
    assert [message.role for message in last.interaction.messages] == ["user"]


def test_the_context_has_a_bounded_number_of_turns() -> None:
    *_, last = turns(*["a", "b"] * 300, "Who?", "Me.")
    assert len(last.interaction.messages) == 2 * MOST_EARLIER + 1


def test_a_verdict_is_on_the_last_answer() -> None:
    verdict = Verdict("Good for Rex.", -0.5, "wrong dog", teaches=False)
    first, last = turns("Hi.", "Hello!", "My dog is Rex.", "Nice.", verdict=verdict)
    assert not first.interaction.is_verdict
    assert first.interaction.teaches
    expected = Interaction(last.interaction.messages, "Nice.", "Good for Rex.", -0.5, "wrong dog", teaches=False)
    assert last.interaction == expected


def test_a_correction_needs_no_answer_and_a_rating_does() -> None:
    (turn,) = turns("Who?", verdict=Verdict("Rex.", 1.0))
    assert (turn.interaction.answer, turn.interaction.correction) == ("", "Rex.")
    assert found("Who?", verdict=Verdict(rating=1.0)) == [
        Fault("line 7", "rating: expected an answer that it is of, found none")
    ]


LONG = "x" * (LONGEST_TEXT + 1)


@pytest.mark.parametrize(
    ("texts", "verdict", "field"),
    [
        ((LONG, "Me."), None, "question"),
        (("Who?", LONG), None, "answer"),
        (("Who?", "Me."), Verdict(LONG), "correction"),
        (("Who?", "Me."), Verdict(comment=LONG), "comment"),
        (("Who\ud800?", "Me."), None, "question"),
        (("Who?", "Me\udfff."), None, "answer"),
        (("Who?", "Me."), Verdict("\ud800"), "correction"),
    ],
)
def test_a_text_that_no_record_could_hold_is_a_fault(
    texts: tuple[str, ...], verdict: Verdict | None, field: str
) -> None:
    (fault,) = found(*texts, verdict=verdict)
    assert isinstance(fault, Fault)
    assert fault.wrong.startswith(f"{field}: expected ")
    assert "found half of a surrogate pair" in fault.wrong or "found 65,537" in fault.wrong


def test_a_turn_at_fault_leaves_the_others_and_is_not_their_context() -> None:
    first, fault, third = found("Hi.", "Hello!", "Who\ud800?", "Me.", "Bye.", "Bye!")
    assert isinstance(first, Turn)
    assert isinstance(fault, Fault)
    assert isinstance(third, Turn)
    assert third.interaction.messages == tuple(said("Hi.", "Hello!", "Bye."))


def test_a_system_message_that_utf_8_cannot_hold_is_no_context() -> None:
    (turn,) = turns("S:\ud800", "U:Who?", "A:Me.")
    assert turn.interaction.messages == (Message("user", "Who?"),)


def test_a_conversation_that_went_on_is_known_by_the_same_as_far_as_it_went() -> None:
    before = turns("Hi.", "Hello!", "Who?", "Me.")
    after = turns("Hi.", "Hello!", "Who?", "Me.", "Bye.", "Bye!")
    assert [turn.content for turn in after[:2]] == [turn.content for turn in before]


def test_what_was_said_before_is_part_of_what_a_turn_is_known_by_even_where_it_is_no_context() -> None:
    long = "x" * LONGEST_CONTEXT
    (_, _, one), (_, _, other) = turns("a", "b", long, "c", "Who?", "Me."), turns("A", "b", long, "c", "Who?", "Me.")
    assert one.interaction == other.interaction
    assert one.content != other.content


def test_whatever_differs_is_known_by_something_else() -> None:
    plain = ("Who?", "Me.")
    every = [
        *turns(*plain), *turns("Who", "?Me."), *turns("", "Who?Me.", only_last=True), *turns("S:Who?", "U:", "A:Me."),
        *turns("S:Be kind.", "U:Who?", "A:Me."), *turns("Hi.", "Hello!", *plain, only_last=True),
        *turns(*plain, verdict=Verdict("Rex.")), *turns(*plain, verdict=Verdict(comment="Rex.")),
        *turns(*plain, verdict=Verdict(rating=1.0)), *turns(*plain, verdict=Verdict(rating=0.0)),
    ]  # fmt: skip
    contents = {turn.content for turn in every}
    assert len(contents) == len(every) == 8


def test_a_record_id_follows_from_fork_content_and_how_often_it_was_said_and_from_a_secret() -> None:
    fork, other = str(uuid4()), str(uuid4())
    given = [
        (bytes(32), fork, bytes(32), 1), (b"\1" * 32, fork, bytes(32), 1), (bytes(32), other, bytes(32), 1),
        (bytes(32), fork, b"\1" * 32, 1), (bytes(32), fork, bytes(32), 2),
    ]  # fmt: skip
    ids = [record_id(*one) for one in given]
    assert len(set(ids)) == len(given)
    assert ids == [record_id(*one) for one in given]
    assert {len(one) for one in ids} == {16}
