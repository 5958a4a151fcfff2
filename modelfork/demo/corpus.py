"""Windows of real conversations, from a CSV in the form of Synthetic-Persona-Chat.

Columns: the personas of both speakers, and the dialogue as lines that begin with ``User 1:`` or ``User 2:``.
The second speaker is the assistant; its persona is the system prompt of most windows, so that what it says
of itself reads as told, and does not teach the base to invent.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from numpy.random import Generator

from modelfork.demo.grammar import Chat, Turn, assistant, system, user
from modelfork.demo.splits import Split, fraction

VALIDATION = 0.05
WEIGHT = 0.3  # real talk cannot be predicted: at full weight its noise was half of all that the model was told
_WINDOW = 8  # turns

Conversation = tuple[str, tuple[str, ...]]  # the assistant's persona, and what was said, users first


def conversations(path: Path, split: Split) -> tuple[Conversation, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(made for row in list(csv.reader(file))[1:] for made in _parse(row, split))


def _parse(row: list[str], split: Split) -> Iterator[Conversation]:
    persona, dialogue = " ".join(row[1].split()), row[2]
    if (fraction("talk:" + dialogue) < VALIDATION) != (split == "held-out"):
        return
    lines = [line.strip() for line in dialogue.splitlines()]
    said: list[str] = []
    for at, line in enumerate(lines):
        speaker = f"User {at % 2 + 1}:"
        if not line.startswith(speaker):  # somebody spoke twice, or the line is broken: keep what came before
            break
        said.append(line.removeprefix(speaker).strip())
    if len(said) >= 2 and all(said):
        yield persona, tuple(said)


def window(rng: Generator, talks: tuple[Conversation, ...]) -> Chat:
    """Some turns in a row of one conversation, from a user's turn on."""
    persona, said = talks[int(rng.integers(len(talks)))]
    start = 2 * int(rng.integers(max(1, (len(said) - 2) // 2)))
    turns: list[Turn] = [system(persona)] if rng.random() < 0.7 else []
    for at, text in enumerate(said[start : start + _WINDOW]):
        turns.append(user(text) if at % 2 == 0 else assistant(text, WEIGHT))
    return Chat("corpus", tuple(turns))
