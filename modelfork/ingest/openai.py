"""OpenAI-style chats, one JSON object a line: conversations, single turns with a verdict, requests with responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelfork.errors import Malformed
from modelfork.ingest.turns import Fault, Found, Verdict, turns_of
from modelfork.ingest.values import list_of, number_of, object_of, parse, text_of, truth_of
from modelfork.interaction import Message

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_TOOLS = ("tool", "function")  # what these say was not said by a person or to one


def read_chat(place: str, data: bytes) -> Iterator[Found]:
    """The turns of one line.

    {"messages"} is a conversation, and every question in it that has an answer is a turn. With "answer" beside it, or
    as {"request", "response"}, it is one turn, and what was said before is its context.
    """
    try:
        chat = object_of(parse(data), "line")
        only_last = "answer" in chat or "request" in chat
        messages, verdict = _logged(chat) if "request" in chat else _messages(chat), _verdict(chat)
    except Malformed as error:
        yield Fault(place, str(error))
        return
    yield from turns_of(place, messages, verdict, only_last)


def _messages(chat: dict[str, Any]) -> list[Message]:
    messages = _read_messages(chat.get("messages"), "messages")
    if "answer" in chat:
        if not messages or messages[-1].role != "user":
            raise Malformed("messages: expected a user message at the end, before `answer`")
        messages.append(Message("assistant", text_of(chat["answer"], "answer")))
    return messages


def _logged(chat: dict[str, Any]) -> list[Message]:
    """A request to chat completions and the first choice of its response; a request that failed has no answer."""
    request = object_of(chat["request"], "request")
    messages = _read_messages(request.get("messages"), "request.messages")
    if chat.get("response") is None:
        return messages
    response = object_of(chat["response"], "response")
    if response.get("error") is not None:
        return messages
    choices = list_of(response.get("choices"), "response.choices")
    if not choices:
        raise Malformed("response.choices: expected one or more, found none")
    choice = object_of(choices[0], "response.choices[0]")
    return [*messages, *_read_messages([choice.get("message")], "response.choices[0].message")]


def _verdict(chat: dict[str, Any]) -> Verdict:
    rating = number_of(chat["rating"], "rating") if chat.get("rating") is not None else None
    if rating is not None and not -1 <= rating <= 1:
        raise Malformed("rating: expected a number from -1 to 1, found another")
    asked = chat.get("request", chat)
    return Verdict(
        correction=_optional_text(chat, "correction"),
        rating=rating,
        comment=_optional_text(chat, "comment"),
        teaches=truth_of(asked["store"], "store") if asked.get("store") is not None else True,
    )


def _optional_text(chat: dict[str, Any], name: str) -> str:
    text = text_of(chat[name], name) if chat.get(name) is not None else ""
    return text if text.strip() else ""


def _read_messages(value: Any, name: str) -> list[Message]:
    messages = []
    for at, one in enumerate(list_of(value, name)):
        where = f"{name}[{at}]"
        message = object_of(one, where)
        role = text_of(message.get("role"), f"{where}.role")
        if role in _TOOLS:
            continue
        if role not in _ROLES:
            known = ", ".join((*_ROLES, *_TOOLS))
            raise Malformed(f"{where}.role: expected one of {known}, found another")
        if role == "assistant" and message.get("content") is None:
            continue  # it called a tool
        messages.append(Message(_ROLES[role], _text(message.get("content"), f"{where}.content")))
    return messages


def _text(content: Any, where: str) -> str:
    """The text of a message; of parts, the text parts."""
    if not isinstance(content, list):
        return text_of(content, where)
    parts = [object_of(part, f"{where}[{at}]") for at, part in enumerate(content)]
    return "".join(
        text_of(part.get("text"), f"{where}[{at}].text") for at, part in enumerate(parts) if part.get("type") == "text"
    )
