"""A conversation of a ChatGPT export: the path that was shown in the end, and on it what both sides said in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from modelfork.errors import Malformed
from modelfork.ingest.chatgpt import begun_at, read_conversation
from modelfork.ingest.turns import NO_TEXT, Fault, Found, LeftOut, Turn
from modelfork.interaction import Interaction, Message
from modelfork.recording import as_recorded
from tests.modelfork.ingest.exported import conversation, message, talk
from tests.modelfork.ingest.strange import nearly


def read(value: Any) -> list[Found]:
    return list(read_conversation("conversation 3", json.dumps(value).encode()))


def interactions(value: Any) -> list[Interaction]:
    return [one.interaction for one in read(value) if isinstance(one, Turn)]


def test_the_messages_from_the_root_to_the_current_node_are_the_conversation() -> None:
    first, second = interactions(talk("Hi.", "Hello!", "Who?", "Me."))
    assert first == Interaction((Message("user", "Hi."),), "Hello!")
    assert second.messages == (Message("user", "Hi."), Message("assistant", "Hello!"), Message("user", "Who?"))


def test_a_branch_that_was_given_up_is_not_read() -> None:
    edited = talk("My dog is Rex.", "Nice.")
    edited["mapping"]["old"] = {"message": message("user", "My dog is Tom."), "parent": "n0", "children": ["older"]}
    edited["mapping"]["older"] = {"message": message("assistant", "Good."), "parent": "old", "children": []}
    edited["mapping"]["n0"]["children"] = ["old", "n1"]
    assert [one.messages[-1].content for one in interactions(edited)] == ["My dog is Rex."]


@pytest.mark.parametrize(
    "unseen",
    [
        message("system", "You are kind."),
        message("tool", "42"),
        message("user", "I am 30.", metadata={"is_visually_hidden_from_conversation": True}),
        message("user", "I am 30.", weight=0.0),
        message("user", content={"content_type": "user_editable_context", "user_profile": "I am 30."}),
        message("assistant", "search(30)", recipient="browser"),
        message("assistant", "Let me think.", channel="commentary"),
        message("assistant", content={"content_type": "thoughts", "thoughts": []}),
        message("assistant", content={"content_type": "code", "text": "print(30)"}),
        message("assistant", ""),
        None,
    ],
)
def test_what_the_person_did_not_see_as_words_is_not_read(unseen: dict[str, Any] | None) -> None:
    shown = interactions(conversation(message("user", "Who?"), unseen, message("assistant", "Me.", channel="final")))
    assert shown == [Interaction((Message("user", "Who?"),), "Me.")]


def test_of_parts_what_was_written_or_said_is_taken() -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    spoken = {"content_type": "audio_transcription", "text": "Who is this?", "direction": "in"}
    asked = message("user", content={"content_type": "multimodal_text", "parts": [picture, "Look.", spoken]})
    alone = message("user", content={"content_type": "multimodal_text", "parts": [picture]})
    assert (
        interactions(conversation(asked, message("assistant", "Rex.")))[0].messages[0].content
        == "Look.\n\nWho is this?"
    )
    assert read(conversation(alone, message("assistant", "A dog."))) == [LeftOut("conversation 3", NO_TEXT)]


def test_a_conversation_says_when_it_began_or_counts_as_the_oldest() -> None:
    assert begun_at(json.dumps(talk(began=12.5)).encode()) == 12.5
    assert begun_at(json.dumps(talk(began=None)).encode()) == 0
    with pytest.raises(Malformed, match="create_time: expected a number, found text"):
        begun_at(b'{"create_time": "soon"}')


def changed(*path: str, to: Any) -> dict[str, Any]:
    whole = talk("secret", "secret")
    at: Any = whole
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = to
    return whole


NODE = ("mapping", "n1")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("secret", "conversation: expected an object, found text"),
        (changed("mapping", to=["secret"]), "mapping: expected an object, found a list"),
        (changed("current_node", to=None), "current_node: expected text, found nothing"),
        (changed("current_node", to="secret"), "mapping: expected every parent and the current node in it"),
        (changed(*NODE, "parent", to="secret"), "mapping: expected every parent and the current node in it"),
        (changed(*NODE, "parent", to="n2"), "mapping: expected a tree, found a node that is its own ancestor"),
        (changed(*NODE, "parent", to=["secret"]), "parent: expected text, found a list"),
        (changed(*NODE, to="secret"), "mapping: a node: expected an object, found text"),
        (changed(*NODE, "message", to="secret"), "message: expected an object, found text"),
        (changed(*NODE, "message", to={}), "author: expected an object, found nothing"),
        (changed(*NODE, "message", "author", to={"role": 1}), "author.role: expected text, found a number"),
        (changed(*NODE, "message", "metadata", to="secret"), "metadata: expected an object, found text"),
        (changed(*NODE, "message", "content", to=None), "content: expected an object, found nothing"),
        (changed(*NODE, "message", "content", "parts", to="secret"), "content.parts: expected a list, found text"),
        (changed(*NODE, "message", "content", "parts", to=[["secret"]]), "content.parts: a part that is no text"),
    ],
)
def test_what_is_no_conversation_is_a_fault_without_its_content(value: Any, said: str) -> None:
    (fault,) = read(value)
    assert isinstance(fault, Fault)
    assert fault.wrong.startswith(said)
    assert "secret" not in fault.wrong


def test_values_that_cannot_be_compared_are_no_reason_to_stop() -> None:
    odd = conversation(message("user", "Who?", channel=["x"], weight={}, recipient={}), message("assistant", "Me."))
    assert read(odd) == [LeftOut("conversation 3", NO_TEXT)]


@given(nearly(talk("Hi.", "Hello!")))
def test_whatever_a_conversation_is_it_gives_turns_that_can_be_recorded_or_faults(value: Any) -> None:
    for one in read(value):
        if isinstance(one, Turn):
            as_recorded(one.interaction)
