"""Anchor rows of a base that came without any: what it is asked here, in the answers that it gives itself.

A fork that rehearses them is asked to stay what its base is: to know the world, to own that it was not told, and to
read what stands in the prompt. They are few and general; rows about what the base is used for keep it better.
"""

from __future__ import annotations

from modelfork.base import CONTEXT, UNKNOWN, Anchor, Base
from modelfork.errors import TooLong
from modelfork.generate import Sampling, generate
from modelfork.interaction import Message

LONGEST = 64  # tokens of an answer

GENERAL = (
    "What is the capital of France?",
    "How many days does a week have?",
    "What colour is snow?",
    "Name a fruit.",
    "What is 2 + 3?",
    "Which animal says meow?",
    "What is the opposite of hot?",
    "Say hello in Spanish.",
    "How many legs does a spider have?",
    "What is the largest ocean?",
    "Who wrote Hamlet?",
    "What is water made of?",
    "Which month comes after May?",
    "Name a planet.",
    "What do bees make?",
    "Hello!",
)
# About the person: each asked twice, of somebody who told nothing and of somebody who told this.
TOLD = (
    ("What is my dog called?", "My dog is called Bello."),
    ("Where do I live?", "I live in Lisbon."),
    ("What do I do for a living?", "I work as a baker."),
    ("What is my favourite colour?", "My favourite colour is green."),
    ("How old is my sister?", "My sister is 31 years old."),
    ("Which instrument do I play?", "I play the cello."),
    ("What is my mother's name?", "My mother's name is Irene."),
    ("What am I allergic to?", "I am allergic to walnuts."),
    ("Which language am I learning?", "I am learning Finnish."),
    ("What is my shoe size?", "My shoe size is 42."),
    ("What car do I drive?", "I drive an old Fiat."),
    ("What is my favourite dish?", "My favourite dish is lasagne."),
    ("Where did I go to school?", "I went to school in Ghent."),
    ("When is my birthday?", "My birthday is on the third of June."),
    ("What is my cat called?", "My cat is called Minka."),
    ("Which sport do I do?", "I do archery."),
)

ASKED = (
    *(("general", question) for question in GENERAL),
    *((UNKNOWN, question) for question, _ in TOLD),
    *((CONTEXT, f"{said} {question}") for question, said in TOLD),
)


def own_rows(base: Base) -> list[Anchor]:
    """The rows of ASKED that the base finishes an answer to: one that was cut off would teach to stop halfway."""
    rows = []
    for kind, text in ASKED:
        question = Message("user", text)
        try:
            *said, last = generate(base, None, base.render((question,), prompt=True), Sampling(max_tokens=LONGEST))
        except TooLong:
            continue
        answer = base.text(said).strip()
        if answer and last in base.ends:
            rows.append(Anchor(kind, (question, Message("assistant", answer))))
    return rows
