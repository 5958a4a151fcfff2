"""A person with a fork: asks, corrects, states, changes a fact, and is asked what became of it.

`bench/learning.py` says in its first lines what happens when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from lives.fork import Chat, Fork, user
from lives.tally import Tally
from numpy.random import Generator, default_rng

from modelfork.base import Base
from modelfork.demo.general import general_questions
from modelfork.demo.people import Fact, Person, invent, is_unknown, says
from modelfork.demo.words import DRAWS
from modelfork.interaction import Interaction, Message
from modelfork.recipe import Recipe

ROUNDS, LATER_ROUNDS, UNSEEN = 4, 12, 3
WATCHED = (2, 5, 10, 20, 30, 40)  # interactions after which "I don't know" is looked at


@dataclass(frozen=True, slots=True)
class Asked:
    """A fact, the words it is corrected in, and other words."""

    fact: Fact
    same: str
    unseen: tuple[str, ...]


def choose_questions(rng: Generator, fact: Fact) -> Asked:
    phrasings = fact.questions("held-out")
    order = [phrasings[int(at)] for at in rng.permutation(len(phrasings))[: 1 + UNSEEN]]
    return Asked(fact, order[0], tuple(order[1:]))


def ask_facts(fork: Fork, asked: Sequence[Asked], tally: Tally, figure: str) -> None:
    texts = [(one, "same", one.same) for one in asked] + [(one, "unseen", text) for one in asked for text in one.unseen]
    answers = fork.ask([user(text) for _, _, text in texts])
    for (one, kind, _), answer in zip(texts, answers, strict=True):
        tally.add(f"{figure} {kind}", [says(answer, one.fact.value)])


def ask_unknown(fork: Fork, person: Person, rng: Generator, tally: Tally, when: str) -> None:
    missing = [person.missing(rng).questions("held-out") for _ in range(30)]
    answers = fork.ask([user(phrasings[int(rng.integers(len(phrasings)))]) for phrasings in missing])
    tally.add(f"{when} unknown", [is_unknown(answer) for answer in answers])


def ask_skills(fork: Fork, person: Person, rng: Generator, tally: Tally, when: str) -> None:
    told = {fact.name for fact in person.facts}
    pool = general_questions("held-out")
    general = [pool[int(at)] for at in rng.permutation(len(pool))[:30]]
    answers = fork.ask([user(text) for text, _ in general])
    tally.add(
        f"{when} general",
        [any(says(answer, word) for word in words) for answer, (_, words) in zip(answers, general, strict=True)],
    )
    ask_unknown(fork, person, rng, tally, when)
    chats: list[Chat] = []
    wanted: list[Fact] = []
    for _ in range(5):
        others = [fact for fact in invent(rng, 20).facts if fact.name not in told][:5]
        prompt = Message("system", " ".join(fact.statement(rng, "they") for fact in others))
        for fact in others:
            chats.append((prompt, Message("user", fact.question(rng, "held-out"))))
            wanted.append(fact)
    answers = fork.ask(chats)
    tally.add(f"{when} prompt", [says(answer, fact.value) for answer, fact in zip(answers, wanted, strict=True)])


def turn(fork: Fork, one: Asked, tally: Tally) -> Interaction:
    asked = Interaction(user(one.same), fork.ask([user(one.same)])[0])
    fork.take(asked, tally)
    return asked


def correct(fork: Fork, one: Asked, asked: Interaction, tally: Tally) -> None:
    fork.take(replace(asked, correction=one.fact.answer, refers_to=fork.count.to_bytes(16, "big")), tally)


def change(fork: Fork, asked: Sequence[Asked], rng: Generator, tally: Tally) -> None:
    """What was true is true no more: is the new value said, and is the old one still?"""
    for old in asked:
        new = replace(old, fact=Fact(old.fact.relation, DRAWS[old.fact.relation.values](rng, "held-out")))
        for times in ("once", "twice"):
            correct(fork, new, turn(fork, new, tally), tally)
            ask_facts(fork, [new], tally, f"changed {times}")
            ask_facts(fork, [old], tally, f"changed {times}, old value")


def state_facts(fork: Fork, asked: Sequence[Asked], rng: Generator, tally: Tally) -> None:
    """Each fact is only said, in a sentence of the person's."""
    for one in asked:
        said = user(one.fact.statement(rng))
        fork.take(Interaction(said, fork.ask([said])[0]))
        ask_facts(fork, [one], tally, "stated, at once")
    ask_facts(fork, asked, tally, "stated")


def ask_again(fork: Fork, asked: Sequence[Asked], rng: Generator, tally: Tally, watch: Callable[[], None]) -> None:
    """A round: all facts in another order, corrected where the answer is wrong."""
    for at in rng.permutation(len(asked)):
        one = asked[int(at)]
        again = turn(fork, one, tally)
        if not says(again.answer, one.fact.value):
            correct(fork, one, again, tally)
        watch()


def live(base: Base, recipe: Recipe, long: int, seed: int, number: int) -> Tally:
    """One person's fork from genesis, and two forks beside it; the first `long` of a seed live through 160."""
    rng = default_rng([seed, number])
    person = invent(rng)
    asked = [choose_questions(rng, fact) for fact in person.facts]
    told = {fact.name for fact in person.facts}
    later = [choose_questions(rng, fact) for fact in invent(rng, 35).facts if fact.name not in told][: len(asked)]
    everything = Person((*person.facts, *(one.fact for one in later)))
    tally = Tally()
    fork = Fork(base, recipe, np.zeros(base.cores.dimension, np.int64))
    interactions = 0

    def watch() -> None:
        nonlocal interactions
        interactions += 1
        if interactions in WATCHED:
            ask_unknown(fork, person, default_rng([seed, number, 2]), tally, f"watched {interactions}")

    ask_facts(fork, asked, tally, "before")
    ask_skills(fork, person, default_rng([seed, number, 1]), tally, "before")
    for one in asked:
        correct(fork, one, turn(fork, one, tally), tally)
        ask_facts(fork, [one], tally, "at once")
        watch()
    ask_facts(fork, asked, tally, "after 10")
    ask_skills(fork, person, default_rng([seed, number, 1]), tally, "after 10")
    for _ in range(ROUNDS - 1):
        ask_again(fork, asked, rng, tally, watch)
    ask_facts(fork, asked, tally, "after 40")
    ask_skills(fork, person, default_rng([seed, number, 1]), tally, "after 40")
    state_facts(Fork(base, recipe, np.zeros(base.cores.dimension, np.int64)), asked, rng, tally)
    change(replace(fork, memory=deepcopy(fork.memory)), asked[:3], rng, tally)
    if number >= long:
        return tally
    for one in later:
        correct(fork, one, turn(fork, one, tally), tally)
    for _ in range(LATER_ROUNDS - 1):
        ask_again(fork, later, rng, tally, watch)
    ask_facts(fork, [*asked, *later], tally, "after 160")
    ask_facts(fork, asked, tally, "earliest")
    ask_skills(fork, everything, default_rng([seed, number, 1]), tally, "after 160")
    return tally
