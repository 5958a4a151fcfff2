"""What was said, by both, and the person's verdict: the plaintext of a record's input and output payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from modelfork.errors import Malformed
from modelfork.wire.v1 import interaction_pb2 as wire

LONGEST_TEXT = 65_536  # characters of one text: a message, an answer, a correction or a comment


@dataclass(frozen=True, slots=True)
class Message:
    """`role` is system, user or assistant."""

    role: str
    content: str


def question(messages: Sequence[Message]) -> str:
    """The last thing that the user said."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")


def asked_of(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages up to the last one of the user."""
    last = max(at for at, message in enumerate(messages) if message.role == "user")
    return tuple(messages[: last + 1])


@dataclass(frozen=True, slots=True)
class Noted:
    """What a statement was learned as, in the base's words."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Interaction:
    """One turn, or a verdict on an earlier one.

    `messages` is what the model was shown, the last user message last; `answer` what it said to that. In a verdict
    both are those of the interaction that `refers_to` names. `rating` is from -1 (bad) to 1 (good). `noted` is what a
    statement was learned as: it comes with the record, not from whoever sent the interaction.
    """

    messages: tuple[Message, ...]
    answer: str
    correction: str = ""
    rating: float | None = None
    comment: str = ""
    refers_to: bytes = b""
    teaches: bool = True
    finish_reason: str = "stop"
    noted: tuple[Noted, ...] = ()

    @property
    def is_verdict(self) -> bool:
        """Whether the person said what they think of the answer, in the same request or in a later one."""
        return bool(self.correction) or self.rating is not None


def encode_input(interaction: Interaction) -> bytes:
    return wire.InteractionInput(
        messages=[wire.Message(role=said.role, content=said.content) for said in interaction.messages],
        correction=interaction.correction,
        comment=interaction.comment,
        teaches=interaction.teaches,
    ).SerializeToString(deterministic=True)


def encode_output(interaction: Interaction) -> bytes:
    return wire.InteractionOutput(
        answer=interaction.answer,
        finish_reason=interaction.finish_reason,
        noted=[wire.Noted(question=one.question, answer=one.answer) for one in interaction.noted],
    ).SerializeToString(deterministic=True)


def decode(given: bytes, answered: bytes, rating: float | None, refers_to: bytes) -> Interaction:
    """Put an interaction together from its opened payloads; the verdict's rest comes from the particulars."""
    said, out = wire.InteractionInput(), wire.InteractionOutput()
    try:
        said.ParseFromString(given)
        out.ParseFromString(answered)
    except DecodeError:
        raise Malformed("interaction: the opened payloads do not parse as input and output") from None
    return Interaction(
        messages=tuple(Message(message.role, message.content) for message in said.messages),
        answer=out.answer,
        correction=said.correction,
        rating=rating,
        comment=said.comment,
        refers_to=refers_to,
        teaches=said.teaches,
        finish_reason=out.finish_reason,
        noted=tuple(Noted(one.question, one.answer) for one in out.noted),
    )
