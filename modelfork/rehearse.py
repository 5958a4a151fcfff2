"""The rehearsal memory of one fork: which earlier interactions a step learns again.

Rebuilt from the ledger by remembering the interactions in their order; nothing else is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from modelfork.interaction import Interaction, Message, question

K = TypeVar("K")
V = TypeVar("V")

MOST = 1_000  # things that a person told, kept to be rehearsed; a step looks at a few tens of them


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
    """Equal for questions that differ in case, spaces and punctuation only."""
    kept = "".join(sign if sign.isalnum() else " " for sign in text.casefold())
    return " ".join(kept.split())


def _put_last(kept: dict[K, V], key: K, value: V) -> None:
    """The later goes last, and the first goes where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MOST:
        del kept[next(iter(kept))]


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
        if not interaction.teaches:
            return
        for cache in (self.worded, self.told, self.topics):
            if len(cache) > 2 * MOST:
                cache.clear()
        if not interaction.is_verdict:
            for noted in interaction.noted:
                self._keep(same(noted.question), record_id, (Message("user", noted.question),), noted.answer)
            return
        asked = same(question(interaction.messages))
        judged = interaction.refers_to or record_id  # a verdict in the same request judges its own answer
        earlier = self._judged.get(judged)
        rating = interaction.rating or 0.0
        if interaction.correction:
            answer = interaction.correction
        elif rating > 0:
            answer = interaction.answer
        elif rating < 0:
            for name in {asked, earlier}:
                if name is not None and name in self._kept and self._kept[name].answer == interaction.answer:
                    del self._kept[name]
            return
        else:
            return
        if earlier is not None:
            self._kept.pop(earlier, None)
        _put_last(self._judged, judged, asked)
        self._keep(asked, record_id, interaction.messages, answer)

    def _keep(self, asked: str, record_id: bytes, messages: tuple[Message, ...], answer: str) -> None:
        _put_last(self._kept, asked, Rehearsal(record_id, messages, answer))

    def without(self, *asked: str) -> list[Rehearsal]:
        """All that is kept about other questions, oldest first."""
        names = {same(text) for text in asked}
        return [kept for name, kept in self._kept.items() if name not in names]
