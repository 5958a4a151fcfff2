"""Other words for what a person asked, so that a fork learns an answer and not one string; what a statement answers.

From the base itself, asked by the recipe's prompt: nothing here knows a language or a grammar. A pure function of
base, prompt, text and count: all samples of one text are one batch of a fixed shape, so they never depend on what
else is computed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from modelfork.base import Base
from modelfork.errors import TooLong
from modelfork.generate import generate_batch
from modelfork.interaction import Message

TEMPERATURE = 0.9
LONGEST = 40  # tokens of what is made
LONGEST_ASKED = (
    256  # tokens of what is asked: a longer text is not asked about, sixteen of it at once would hold up all
)


def normal(text: str) -> str:
    """A text without case, punctuation at its ends, and doubled spaces: equal for what reads equal."""
    return " ".join(text.casefold().split()).strip(" .,;:!?¿¡…\"'")


def told(base: Base, text: str, prompt: str) -> tuple[str, str] | None:
    """A question that the statement answers, and what the base answers to it once it was told; None where being told
    makes no difference, as with a request, and of a long text.

    None too where the answer is not the person's: it has nothing that was said and not asked, or a word that was
    neither said nor asked and that the base does not use of everybody (a small base spells a name wrong).
    """
    said = Message("user", text)
    if len(base.render((Message("user", prompt + text),), prompt=True)) > LONGEST_ASKED:
        return None
    try:
        noted, asked = _greedy(base, [(said,), (Message("user", prompt + text),)])
        question = Message("user", asked)
        knowing, ignorant = _greedy(base, [(said, Message("assistant", noted), question), (question,)])
    except TooLong:
        return None
    if not asked or not knowing or normal(knowing) == normal(ignorant):
        return None
    given, known, said_now = _words(knowing), _words(asked), _words(text)
    theirs = (given & said_now) - known and given <= said_now | known | _of_everybody(base)
    return (asked, knowing) if theirs else None


def _of_everybody(base: Base) -> frozenset[str]:
    """Words that the base uses in several of its anchor rows' answers, such as "your"; a name is in few."""
    if base.own.words is None:
        counted = Counter(word for anchor in base.anchors for word in _words(anchor.messages[-1].content))
        least = max(2, len(base.anchors) // 500)
        base.own.words = frozenset(word for word, count in counted.items() if count >= least)
    return base.own.words


def _words(text: str) -> set[str]:
    return set("".join(sign if sign.isalnum() else " " for sign in text.casefold()).split())


def _greedy(base: Base, chats: Sequence[Sequence[Message]]) -> list[str]:
    return generate_batch(base, None, [base.render(chat, prompt=True) for chat in chats], LONGEST)


def rewordings(base: Base, text: str, count: int, seed: int, prompt: str) -> list[str]:
    """At most `count` rewordings of the text, without duplicates and without the text itself; none of a long one."""
    if count < 1 or not text.strip():
        return []
    asked = base.render([Message("user", prompt + text)], prompt=True)
    if len(asked) > LONGEST_ASKED:
        return []
    drawn = int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big", signed=False) + text.encode()).digest()[:7], "big")
    try:
        made = generate_batch(base, None, [asked] * count, LONGEST, temperature=TEMPERATURE, seed=drawn)
    except TooLong:
        return []
    kept: dict[str, str] = {}
    for one in made:
        if normal(one) and normal(one) != normal(text):
            kept.setdefault(normal(one), one)
    return list(kept.values())
