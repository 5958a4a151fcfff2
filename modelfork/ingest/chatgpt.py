"""A conversation of a ChatGPT data export: a tree of messages, of which one path was the conversation in the end.

Nobody publishes a schema. `docs/ingest.md` says what is read, as exports up to 2026 have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelfork.errors import Malformed
from modelfork.ingest.turns import Fault, Found, turns_of
from modelfork.ingest.values import list_of, number_of, object_of, parse, text_of
from modelfork.interaction import Message

_SPOKEN = ("user", "assistant")
_TEXTS = ("text", "multimodal_text")
_SHOWN = (None, "final")  # channels; the others are on the way to an answer


def begun_at(data: bytes) -> float:
    """When a conversation began, in seconds since 1970; 0 where it does not say. Raises Malformed."""
    began = object_of(parse(data), "conversation").get("create_time")
    return 0.0 if began is None else number_of(began, "create_time")


def read_conversation(place: str, data: bytes) -> Iterator[Found]:
    """The turns on the path from the root of the tree to its current node."""
    try:
        messages = _path(object_of(parse(data), "conversation"))
    except Malformed as error:
        yield Fault(place, str(error))
        return
    yield from turns_of(place, messages)


def _path(conversation: dict[str, Any]) -> list[Message]:
    tree = object_of(conversation.get("mapping"), "mapping")
    at: str | None = text_of(conversation.get("current_node"), "current_node")
    seen: set[str] = set()
    found: list[Message] = []
    while at is not None:
        if at in seen:
            raise Malformed("mapping: expected a tree, found a node that is its own ancestor")
        if at not in tree:
            raise Malformed("mapping: expected every parent and the current node in it, found one missing")
        seen.add(at)
        node = object_of(tree[at], "mapping: a node")
        if node.get("message") is not None:
            found += _read_message(object_of(node["message"], "message"))
        at = None if node.get("parent") is None else text_of(node["parent"], "parent")
    return found[::-1]


def _read_message(message: dict[str, Any]) -> list[Message]:
    """The message, unless the person did not see it in the conversation, or it is no text."""
    role = text_of(object_of(message.get("author"), "author").get("role"), "author.role")
    metadata = object_of(message.get("metadata") or {}, "metadata")
    hidden = metadata.get("is_visually_hidden_from_conversation") is True or message.get("weight") == 0
    to_a_tool = message.get("recipient") not in (None, "all")
    if role not in _SPOKEN or hidden or to_a_tool or message.get("channel") not in _SHOWN:
        return []
    content = object_of(message.get("content"), "content")
    if content.get("content_type") not in _TEXTS:
        return []
    parts = list_of(content.get("parts"), "content.parts")
    return [Message(role, "\n\n".join(text for part in parts if (text := _text(part)).strip()))]


def _text(part: Any) -> str:
    """Of a part, what was written or said: images and the like have none."""
    if isinstance(part, str):
        return part
    spoken = object_of(part, "content.parts: a part that is no text")
    return text_of(spoken.get("text"), "text") if spoken.get("content_type") == "audio_transcription" else ""
