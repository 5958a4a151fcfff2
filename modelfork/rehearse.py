"""The rehearsal memory of one fork: which earlier interactions a step learns again.

Rebuilt from the ledger by remembering the interactions in their order; nothing else is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from modelfork.interaction import Interaction, Message
from modelfork.lesson import lesson_of

K = TypeVar("K")
V = TypeVar("V")

MOST = 1_000  # things that a person told, kept to be rehearsed; a step looks at a few tens of them
LONGEST = 8_192  # characters of one of them: its question and answer, and as much of what went before as finds room

_AROUND = ".,;:!?…·¡¿\"'`´“”„‘’‚«»‹›()[]{}。、，；：！？「」『』（）،؛؟।"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a question should be answered with, and the record that says so."""

    record_id: bytes
    messages: tuple[Message, ...]  # what the model was shown, the question last
    answer: str


@dataclass(frozen=True, slots=True)
class Wording:
    """A question in other words that ask for the same, and what it is about."""

    others: tuple[str, ...]
    about: Tensor  # (hidden,), of length 1; 0 where the base cannot tell


def same(text: str) -> str:
    """Equal for questions that differ in case, spaces and the punctuation around words only: C, C++ and C# differ."""
    words = (word.strip(_AROUND) for word in text.casefold().split())
    return " ".join(word for word in words if word)


def _put_last(kept: dict[K, V], key: K, value: V) -> None:
    """The later goes last, and the first goes where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MOST:
        del kept[next(iter(kept))]


def _ending(messages: tuple[Message, ...], room: int) -> tuple[Message, ...]:
    """The last message and as many turns before it as have room; nothing where it has none itself."""
    kept = len(messages)
    for at in range(len(messages) - 1, -1, -1):
        room -= len(messages[at].content)
        if room < 0:
            break
        if messages[at].role != "assistant":  # a template may refuse an answer without its question
            kept = at
    return messages[kept:]


class Memory:
    """What is to be rehearsed, oldest first: the latest word on each question, and of those the `MOST` latest."""

    def __init__(self) -> None:
        self._kept: dict[str, Rehearsal] = {}  # by question
        self._judged: dict[bytes, str] = {}  # record of the judged answer -> its question
        # Caches of what the text alone decides: its rewordings; what the base makes of a statement.
        self.worded: dict[str, Wording] = {}
        self.told: dict[str, tuple[str, str] | None] = {}
        self.topics: dict[str, Tensor] = {}  # what a question is about, by its own words alone

    def __len__(self) -> int:
        return len(self._kept)

    def remember(self, record_id: bytes, interaction: Interaction) -> None:
        """Take in a recorded interaction: a correction or a liked answer is kept, a disliked one is dropped; a
        statement is kept as what was noted of it."""
        lesson = lesson_of(interaction)
        if lesson is None:
            return
        for cache in (self.worded, self.told, self.topics):
            if len(cache) > 2 * MOST:
                cache.clear()
        if lesson.kind == "words":
            for noted in interaction.noted:
                self._keep(record_id, (Message("user", noted.question),), noted.answer)
            return
        asked = same(lesson.messages[-1].content)
        judged = interaction.refers_to or record_id  # a verdict in the same request judges its own answer
        earlier = self._judged.get(judged)
        if lesson.kind == "avoid":
            for name in {asked, earlier}:
                if name is not None and name in self._kept and self._kept[name].answer == lesson.answer:
                    del self._kept[name]
            return
        if earlier is not None:
            self._kept.pop(earlier, None)
        _put_last(self._judged, judged, asked)
        self._keep(record_id, lesson.messages, lesson.answer)

    def _keep(self, record_id: bytes, messages: tuple[Message, ...], answer: str) -> None:
        asked, shown = same(messages[-1].content), _ending(messages, LONGEST - len(answer))
        self._kept.pop(asked, None)
        if shown:
            _put_last(self._kept, asked, Rehearsal(record_id, shown, answer))

    def without(self, *asked: str) -> list[Rehearsal]:
        """All that is kept about other questions, oldest first."""
        names = {same(text) for text in asked}
        return [kept for name, kept in self._kept.items() if name not in names]
