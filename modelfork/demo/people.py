"""Invented people and what is true of them: the questions and the judge of every figure.

Given a generator of the same seed, ``invent`` gives the same person on every machine.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from numpy.random import Generator

from modelfork.demo.relations import RELATIONS, Relation
from modelfork.demo.splits import Split
from modelfork.demo.words import DRAWS, pick

UNKNOWN = re.compile(
    r"\b(don['’]?t know|do not know|haven['’]?t told|have not told|never told|not told me|don['’]?t have that|no idea|not know)\b"
)


def is_unknown(text: str) -> bool:
    """Whether an answer says that it does not know."""
    return UNKNOWN.search(text.casefold()) is not None


def says(text: str, value: str) -> bool:
    """Whether the value stands in the text as whole words, in whatever case."""
    return re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", text.casefold()) is not None


@dataclass(frozen=True)
class Fact:
    """One relation of one person, and its value."""

    relation: Relation
    value: str

    @property
    def name(self) -> str:
        return self.relation.name

    @cached_property
    def answer(self) -> str:
        """The canonical full sentence: "Your dog is called Buddy."."""
        return self.relation.say(self.value, "you")

    def statement(self, rng: Generator, speaker: str = "I") -> str:
        """One of the sentences that state the fact, said by the person ("My dog is called Buddy.")."""
        return self.relation.say(self.value, speaker, int(rng.integers(len(self.relation.states))))

    def statements(self, speaker: str = "I") -> tuple[str, ...]:
        return tuple(self.relation.say(self.value, speaker, form) for form in range(len(self.relation.states)))

    def question(self, rng: Generator, split: Split) -> str:
        return pick(rng, self.questions(split))

    def questions(self, split: Split) -> tuple[str, ...]:
        """All phrasings of the split, direct questions first."""
        return self.relation.questions(split)


@dataclass(frozen=True, slots=True)
class Person:
    facts: tuple[Fact, ...]

    def missing(self, rng: Generator) -> Relation:
        """A relation that nothing was said about."""
        told = {fact.name for fact in self.facts}
        return pick(rng, [relation for relation in RELATIONS if relation.name not in told])


def invent(rng: Generator, facts: int = 10, split: Split = "held-out") -> Person:
    """A person with that many facts, each of another relation; values come from the split."""
    order = rng.permutation(len(RELATIONS))[:facts]
    return Person(tuple(Fact(RELATIONS[int(at)], DRAWS[RELATIONS[int(at)].values](rng, split)) for at in order))
