"""A fork without a log: it learns, remembers and answers as one of the service's does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from lives.tally import Tally
from numpy.typing import NDArray

from modelfork.base import Base, load_base
from modelfork.generate import generate_batch
from modelfork.interaction import Interaction, Message
from modelfork.learn import learn, practise
from modelfork.lesson import lesson_of
from modelfork.recipe import Recipe
from modelfork.rehearse import Memory
from modelfork.update import EMPTY, Update

State = NDArray[np.int64]
Chat = tuple[Message, ...]


@cache
def opened(folder: Path) -> Base:
    """Once a process, on one thread: two processes do more than two threads."""
    torch.set_num_threads(1)
    return load_base(folder)


@dataclass(slots=True)
class Fork:
    """A state, its memory, and the recipe that moves it."""

    base: Base
    recipe: Recipe
    state: State
    memory: Memory = field(default_factory=Memory)
    count: int = 0

    def take(self, interaction: Interaction, tally: Tally | None = None) -> Update:
        """Learn, add, remember; with a tally, count the record and time a correction."""
        began = time.perf_counter()
        seed, lesson = 1_000_003 * (self.count + 1), lesson_of(interaction)
        if lesson is None:
            learned = practise(self.base, self.recipe, self.state, self.memory, seed)
        else:
            learned = learn(self.base, self.recipe, self.state, interaction, self.memory, seed)
        if tally is not None:
            tally.updates.append((learned.update.encoding, learned.metrics.iterations))
            tally.practised += lesson is None and learned.update.encoding != EMPTY
            if interaction.correction:
                tally.corrections += 1
                tally.learn_ms.append(1000 * (time.perf_counter() - began))
        self.state = self.state + learned.update.step * learned.update.q.astype(np.int64)
        self.count += 1
        self.memory.remember(self.count.to_bytes(16, "big"), replace(interaction, noted=learned.noted))
        return learned.update

    def ask(self, chats: Sequence[Chat]) -> list[str]:
        """Answers to chats; those of like length share a batch."""
        prompts = [self.base.render(chat, prompt=True) for chat in chats]
        order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
        answers = [""] * len(prompts)
        for begin in range(0, len(order), 48):
            ats = order[begin : begin + 48]
            made = generate_batch(self.base, self.state, [prompts[at] for at in ats], 24)
            for at, answer in zip(ats, made, strict=True):
                answers[at] = answer
        return answers


def user(text: str) -> Chat:
    return (Message("user", text),)
