"""What an interaction teaches: a question and how it should be answered, or how not."""

from __future__ import annotations

from dataclasses import dataclass

from modelfork.interaction import Interaction, Message, asked_of, question


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learned from what the person gave."""

    messages: tuple[Message, ...]  # the question last; in their own words, the statement last
    answer: str
    kind: str  # answer, avoid, words


def lesson_of(interaction: Interaction) -> Lesson | None:
    """What the interaction teaches, or None: no verdict and a bare question, or it is not to teach."""
    if not interaction.teaches or not question(interaction.messages):
        return None
    messages = asked_of(interaction.messages)
    if interaction.correction.strip():
        return Lesson(messages, interaction.correction, "answer")
    if interaction.is_verdict:
        if not interaction.rating or not interaction.answer:
            return None
        return Lesson(messages, interaction.answer, "answer" if interaction.rating > 0 else "avoid")
    if question(messages).rstrip().endswith(("?", "？", "؟")):
        return None
    return Lesson(messages, "", "words")
