"""A conversation as turns: each question with its answer, what was said before as context, and what it is known by.

Chat templates take a user and an assistant in turns, after a system message if there is one. So an answer in several
pieces is one, an answer that nobody asked for is left out, and so is a question that was never answered.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from modelfork.interaction import LONGEST_TEXT, Interaction, Message

LONGEST_CONTEXT = 16_384  # characters of all that goes before a question
MOST_EARLIER = 100  # turns that do
NO_TEXT, NO_ANSWER = "no text of a person", "no answer"  # why a turn is left out


@dataclass(frozen=True, slots=True)
class Turn:
    """What can be recorded. `content` is a digest (32) of all that was said up to here and of the verdict: the same
    conversation has the same one wherever it stands in whatever file."""

    place: str
    interaction: Interaction
    content: bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A turn that there is nothing to record of, and why."""

    place: str
    why: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What could not be read: what was expected and what was found."""

    place: str
    wrong: str


Found = Turn | LeftOut | Fault


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the person thought of the last answer, and whether the turn may teach."""

    correction: str = ""
    rating: float | None = None
    comment: str = ""
    teaches: bool = True


@dataclass(frozen=True, slots=True)
class _Round:
    question: str
    answer: str


def turns_of(
    place: str, messages: Sequence[Message], verdict: Verdict | None = None, only_last: bool = False
) -> Iterator[Found]:
    """The turns of a conversation in order, or its last alone. The verdict is on the last."""
    system, rounds = _system(messages), _rounds(messages)
    known = hashlib.sha256(b"forkledger/ingest/v1\0" + _framed(system))
    earlier: list[_Round] = []
    for number, one in enumerate(rounds, 1):
        last = number == len(rounds)
        said = verdict if verdict and last else Verdict()
        where = place if only_last or len(rounds) == 1 else f"{place}, turn {number}"
        found: Found
        if fault := _fault(one, said):
            found = Fault(where, fault)
        elif left_out := _left_out(one, said):
            found = LeftOut(where, left_out)
        else:
            known.update(_framed(one.question) + _framed(one.answer))
            found = Turn(where, _interaction(system, earlier, one, said), _with_verdict(known.digest(), said))
            earlier.append(one)
        if last or not only_last:
            yield found
    if not rounds:
        yield LeftOut(place, NO_TEXT)


def record_id(root: bytes, fork_id: str, content: bytes, occurrence: int) -> bytes:
    """The 16 bytes that the `occurrence`-th turn with this content has in the fork, counted in its file from 1.

    Keyed with the fork's root: record ids are public, and nobody may test a guess of what was said against them.
    """
    message = b"\0".join((b"forkledger/ingest/v1", fork_id.encode(), content + occurrence.to_bytes(8, "big")))
    return hmac.digest(root, message, "sha256")[:16]


def _system(messages: Sequence[Message]) -> str:
    """What system messages say before the first question; later ones have no place in a template."""
    before = takewhile(lambda message: message.role == "system", messages)
    return "\n\n".join(message.content for message in before)


def _rounds(messages: Sequence[Message]) -> list[_Round]:
    asked: list[tuple[str, list[str]]] = []  # a question and the pieces of its answer
    for message in messages:
        if message.role == "user":
            asked.append((message.content, []))
        elif message.role == "assistant" and asked and message.content.strip():
            asked[-1][1].append(message.content)
    return [_Round(question, "\n\n".join(pieces)) for question, pieces in asked]


def _fault(one: _Round, said: Verdict) -> str:
    named = {"question": one.question, "answer": one.answer, "correction": said.correction, "comment": said.comment}
    for name, text in named.items():
        if len(text) > LONGEST_TEXT:
            return f"{name}: expected at most {LONGEST_TEXT:,} characters, found {len(text):,}"
        if not _encodable(text):
            return f"{name}: expected text that UTF-8 can hold, found half of a surrogate pair"
    if said.rating is not None and not one.answer and not said.correction:
        return "rating: expected an answer that it is of, found none"
    return ""


def _left_out(one: _Round, said: Verdict) -> str:
    if not one.question.strip():
        return NO_TEXT
    return "" if one.answer or said.correction else NO_ANSWER


def _interaction(system: str, earlier: Sequence[_Round], one: _Round, said: Verdict) -> Interaction:
    return Interaction(
        messages=(*_context(system, earlier), Message("user", one.question)),
        answer=one.answer,
        correction=said.correction,
        rating=said.rating,
        comment=said.comment,
        teaches=said.teaches,
    )


def _context(system: str, earlier: Sequence[_Round]) -> list[Message]:
    """The system message and the latest earlier turns, whole, as far as there is room."""
    begin: list[Message] = []
    room = LONGEST_CONTEXT
    if system.strip() and len(system) <= room and _encodable(system):
        begin = [Message("system", system)]
        room -= len(system)
    kept: list[Message] = []  # the latest first
    for one in islice(reversed(earlier), MOST_EARLIER):
        room -= len(one.question) + len(one.answer)
        if room < 0:
            break
        kept += [Message("assistant", one.answer), Message("user", one.question)]
    return begin + kept[::-1]


def _with_verdict(known: bytes, said: Verdict) -> bytes:
    rating = "" if said.rating is None else said.rating.hex()
    return hashlib.sha256(known + b"".join(map(_framed, (said.correction, rating, said.comment)))).digest()


def _framed(text: str) -> bytes:
    data = text.encode(errors="surrogatepass")
    return len(data).to_bytes(8, "big") + data


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
