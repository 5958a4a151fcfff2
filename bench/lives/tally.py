"""What people's forks answered, counted by figure: shares, and how far chance reaches.

Intervals are of 95%, by drawing people again with replacement: what as many others would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

DRAWN_AGAIN = 2000


@dataclass(slots=True)
class Tally:
    """Right answers and questions, by figure."""

    right: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    updates: list[tuple[int, int]] = field(default_factory=list)  # encoding, iterations; in order
    corrections: int = 0
    practised: int = 0
    learn_ms: list[float] = field(default_factory=list)

    def add(self, figure: str, verdicts: Sequence[bool]) -> None:
        self.right[figure] = self.right.get(figure, 0) + sum(verdicts)
        self.asked[figure] = self.asked.get(figure, 0) + len(verdicts)

    def join(self, other: Tally) -> None:
        for figure in other.right:
            self.right[figure] = self.right.get(figure, 0) + other.right[figure]
            self.asked[figure] = self.asked.get(figure, 0) + other.asked[figure]
        self.updates += other.updates
        self.learn_ms += other.learn_ms
        self.corrections += other.corrections
        self.practised += other.practised


def share(people: Sequence[Tally], figure: str, before: str) -> float:
    """Percent over all of them who were asked; of what it was before, where that is named."""
    people = [one for one in people if figure in one.asked]

    def right(name: str) -> float:
        return sum(one.right[name] for one in people) / sum(one.asked[name] for one in people)

    return 100 * right(figure) / (max(right(before), 1e-9) if before else 1)


def interval(people: Sequence[Tally], figure: str, before: str) -> tuple[float, float]:
    """Of 95%: people drawn again with replacement."""
    people = [one for one in people if figure in one.asked]
    rng = default_rng(0)
    rows = rng.integers(len(people), size=(DRAWN_AGAIN, len(people)))

    def right(name: str) -> NDArray[np.float64]:
        hits = np.array([one.right[name] for one in people])[rows].sum(1)
        return hits / np.array([one.asked[name] for one in people])[rows].sum(1)

    drawn = 100 * right(figure) / (np.maximum(right(before), 1e-9) if before else 1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
