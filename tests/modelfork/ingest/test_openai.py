"""OpenAI-style lines: which turns each form gives, and what is said of one that is of no form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from modelfork.ingest.openai import read_chat
from modelfork.ingest.turns import NO_ANSWER, Fault, Found, LeftOut, Turn
from modelfork.interaction import Interaction, Message
from modelfork.recording import as_recorded
from tests.modelfork.ingest.strange import nearly

ASKED = {"role": "user", "content": "Who is Rex?"}
ANSWERED = {"role": "assistant", "content": "A dog."}
QUESTION = (Message("user", "Who is Rex?"),)


def read(line: Any) -> list[Found]:
    return list(read_chat("line 7", line if isinstance(line, bytes) else json.dumps(line).encode()))


def interactions(line: Any) -> list[Interaction]:
    found = read(line)
    assert all(isinstance(one, Turn) for one in found), found
    return [one.interaction for one in found if isinstance(one, Turn)]


def test_a_conversation_gives_each_of_its_turns() -> None:
    both = interactions({"messages": [ASKED, ANSWERED, ASKED, ANSWERED], "n": 1, "model": "x", "tools": []})
    assert both[0] == Interaction(QUESTION, "A dog.")
    assert both[1] == Interaction((*QUESTION, Message("assistant", "A dog."), *QUESTION), "A dog.")


def test_a_turn_with_a_verdict_gives_one() -> None:
    line = {
        "messages": [ASKED, ANSWERED, ASKED],
        "answer": "A cat.",
        "rating": -1,
        "correction": "Mine.",
        "comment": "No",
    }
    (only,) = interactions(line)
    assert only.messages == (*QUESTION, Message("assistant", "A dog."), *QUESTION)
    assert (only.answer, only.rating, only.correction, only.comment) == ("A cat.", -1.0, "Mine.", "No")


def test_a_verdict_beside_a_conversation_is_on_its_last_answer() -> None:
    first, last = interactions({"messages": [ASKED, ANSWERED, ASKED, ANSWERED], "rating": 0.5})
    assert (first.rating, last.rating) == (None, 0.5)


def test_a_verdict_that_says_nothing_is_none() -> None:
    (only,) = interactions({"messages": [ASKED, ANSWERED], "rating": None, "correction": " \n", "comment": None})
    assert not only.is_verdict


def test_a_request_with_its_response_gives_the_turn_that_it_was() -> None:
    request = {"model": "x", "messages": [{"role": "developer", "content": "Be kind."}, ASKED, ANSWERED, ASKED]}
    response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "A dog."}}, {"message": 3}]}
    (only,) = interactions({"request": request, "response": response, "rating": 1})
    assert [message.role for message in only.messages] == ["system", "user", "assistant", "user"]
    assert (only.answer, only.rating, only.teaches) == ("A dog.", 1.0, True)


def test_what_was_not_to_be_kept_teaches_nothing() -> None:
    assert not interactions({"messages": [ASKED], "answer": "A dog.", "store": False})[0].teaches
    response = {"choices": [{"message": ANSWERED}]}
    assert not interactions({"request": {"messages": [ASKED], "store": False}, "response": response})[0].teaches
    assert interactions({"request": {"messages": [ASKED], "store": None}, "response": response})[0].teaches


@pytest.mark.parametrize(
    "response",
    [None, {"error": {"message": "rate limit"}}, {"choices": [{"message": {"role": "assistant", "content": None}}]}],
)
def test_a_request_that_failed_or_called_a_tool_is_left_out(response: Any) -> None:
    assert read({"request": {"messages": [ASKED]}, "response": response}) == [LeftOut("line 7", NO_ANSWER)]


def test_tools_are_not_heard() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    told = [{"role": "tool", "content": "42"}, {"role": "function", "content": {"any": "thing"}}]
    assert interactions({"messages": [ASKED, called, *told, ANSWERED]}) == [Interaction(QUESTION, "A dog.")]


def test_of_parts_the_text_is_taken() -> None:
    parts = [
        {"type": "text", "text": "Who is "},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "Rex?"},
    ]
    assert interactions({"messages": [{"role": "user", "content": parts}, ANSWERED]})[0].messages == QUESTION


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "expected JSON"),
        ([], "line: expected an object, found a list"),
        ({}, "messages: expected a list, found nothing"),
        ({"messages": "secret"}, "messages: expected a list, found text"),
        ({"messages": [ASKED, "secret"]}, "messages[1]: expected an object, found text"),
        ({"messages": [{"content": "secret"}]}, "messages[0].role: expected text, found nothing"),
        (
            {"messages": [{"role": "secret", "content": ""}]},
            "messages[0].role: expected one of system, developer, user",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content: expected text, found nothing"),
        (
            {"messages": [{"role": "user", "content": {"secret": 1}}]},
            "messages[0].content: expected text, found an object",
        ),
        (
            {"messages": [{"role": "user", "content": ["secret"]}]},
            "messages[0].content[0]: expected an object, found text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text: expected text, found a number",
        ),
        ({"messages": [ASKED], "answer": 1}, "answer: expected text, found a number"),
        ({"messages": [ASKED, ANSWERED], "answer": "secret"}, "messages: expected a user message at the end"),
        ({"messages": [], "answer": "secret"}, "messages: expected a user message at the end"),
        ({"messages": [ASKED, ANSWERED], "rating": "secret"}, "rating: expected a number, found text"),
        ({"messages": [ASKED, ANSWERED], "rating": True}, "rating: expected a number, found true or false"),
        ({"messages": [ASKED, ANSWERED], "rating": 42}, "rating: expected a number from -1 to 1"),
        ({"messages": [ASKED], "rating": 1}, "rating: expected an answer that it is of"),
        ({"messages": [ASKED, ANSWERED], "correction": ["secret"]}, "correction: expected text, found a list"),
        ({"messages": [ASKED, ANSWERED], "store": "secret"}, "store: expected true or false, found text"),
        ({"request": "secret"}, "request: expected an object, found text"),
        ({"request": {}}, "request.messages: expected a list, found nothing"),
        ({"request": {"messages": [ASKED]}, "response": {}}, "response.choices: expected a list, found nothing"),
        ({"request": {"messages": [ASKED]}, "response": {"choices": []}}, "response.choices: expected one or more"),
        (
            {"request": {"messages": [ASKED]}, "response": {"choices": [{}]}},
            "response.choices[0].message[0]: expected an object, found nothing",
        ),
    ],
)
def test_a_line_of_no_form_is_a_fault_that_names_the_field_and_nothing_of_the_content(line: Any, said: str) -> None:
    (fault,) = read(line)
    assert isinstance(fault, Fault)
    assert fault.place == "line 7"
    assert fault.wrong.startswith(said)
    assert "secret" not in fault.wrong
    assert "42" not in fault.wrong


WHOLE = {
    "messages": [{"role": "system", "content": "Be kind."}, ASKED, ANSWERED, ASKED],
    "answer": "A cat.",
    "rating": 0.5,
    "correction": "Mine.",
    "store": True,
    "request": {"messages": [ASKED], "store": False},
    "response": {
        "error": None,
        "choices": [{"message": {"role": "assistant", "content": [{"type": "text", "text": "A"}]}}],
    },
}


@given(nearly(WHOLE))
def test_whatever_a_line_is_it_gives_turns_that_can_be_recorded_or_faults(line: Any) -> None:
    for one in read(line):
        if isinstance(one, Turn):
            assert one.interaction.messages[-1].role == "user"
            as_recorded(one.interaction)
