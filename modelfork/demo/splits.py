"""What is trained on and what is only measured: two splits that any machine draws alike."""

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeVar

Split = Literal["train", "held-out"]
T = TypeVar("T")


def fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone (Python's own ``hash`` changes with every process)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def share(items: Sequence[T], split: Split, held_out: float = 0.25) -> tuple[T, ...]:
    """The items of one split, in their order.

    By rank of hash, not by hash alone: each list, however short, keeps its share on both sides. The first
    item, by habit the plainest wording, is always trained.
    """
    ranked = sorted(items[1:], key=lambda item: fraction(str(item)))
    kept = set(ranked[: max(1, round(len(ranked) * held_out))])
    return tuple(item for item in items if (item in kept) == (split == "held-out"))
