"""``python -m modelfork.demo.score DIR``: what a base can do, in phrasings and about people it never met.

Everything asked here is of the held-out split. ``--check CARD`` says whether each figure is within three
points of the one on a model card, and fails if not.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator, default_rng
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from modelfork.demo.folder import Messages, answers, load, plain
from modelfork.demo.general import general_questions
from modelfork.demo.grammar import REWORD, chat
from modelfork.demo.model import loss
from modelfork.demo.people import Fact, invent, is_unknown, says
from modelfork.demo.relations import RELATIONS
from modelfork.demo.tokens import batches, encode, pack
from modelfork.demo.words import DRAWS, pick

SEED = 77
TOLERANCE = 3.0

Message = dict[str, str]


def said(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def percent(right: Iterable[bool]) -> float:
    made = list(right)
    return round(100 * sum(made) / len(made), 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """A loaded base, and how many cases each figure takes (1.0 is what the card uses)."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    size: float = 1.0

    def cases(self, full: int) -> int:
        return max(8, round(full * self.size))

    def answers(self, chats: Sequence[Messages], temperature: float = 0.0) -> list[str]:
        return answers(self.model, self.tokenizer, chats, temperature)


def grammar_loss(bench: Bench) -> float:
    """Over fresh chats of the train split."""
    rng = default_rng([SEED, 0])
    rows = pack(encode(plain(bench.tokenizer), [chat(rng) for _ in range(bench.cases(500))]), 256)
    summed = weight = 0.0
    with torch.inference_mode():
        for batch in batches(rows, min(8, len(rows)), np.arange(len(rows))):
            total, weights = loss(bench.model, batch, bench.model.device.type)
            summed, weight = summed + float(total), weight + float(weights)
    return round(summed / weight, 4)


def general(bench: Bench) -> float:
    questions = general_questions("held-out")
    questions = questions[:: max(1, round(len(questions) / bench.cases(len(questions))))]
    given = bench.answers([[said("user", question)] for question, _ in questions])
    return percent(
        any(says(answer, word) for word in words) for answer, (_, words) in zip(given, questions, strict=True)
    )


def unknown(bench: Bench) -> float:
    rng = default_rng([SEED, 1])
    asked = [pick(rng, pick(rng, RELATIONS).questions("held-out")) for _ in range(bench.cases(400))]
    return percent(is_unknown(answer) for answer in bench.answers([[said("user", question)] for question in asked]))


def context(bench: Bench, facts: int) -> float:
    """Each fact of a prompt is asked for, alone, in held-out words."""
    rng = default_rng([SEED, 2, facts])
    chats: list[list[Message]] = []
    wanted: list[Fact] = []
    for _ in range(bench.cases(400 // facts)):
        person = invent(rng, facts)
        prompt = " ".join(fact.statement(rng, "they") for fact in person.facts)
        for fact in person.facts:
            chats.append([said("system", prompt), said("user", fact.question(rng, "held-out"))])
            wanted.append(fact)
    return percent(says(answer, fact.value) for answer, fact in zip(bench.answers(chats), wanted, strict=True))


def not_in_context(bench: Bench) -> float:
    """Facts that the prompt of five others does not hold."""
    rng = default_rng([SEED, 3])
    chats = []
    for _ in range(bench.cases(200)):
        person = invent(rng, 5)
        prompt = " ".join(fact.statement(rng, "they") for fact in person.facts)
        asked = pick(rng, person.missing(rng).questions("held-out"))
        chats.append([said("system", prompt), said("user", asked)])
    return percent(is_unknown(answer) for answer in bench.answers(chats))


def _taught(rng: Generator, fact: Fact) -> tuple[list[Message], Fact]:
    """A fact stated, corrected or changed in the chat."""
    noted = said("assistant", f"Got it, {fact.answer[0].lower()}{fact.answer[1:]}")
    if fact.answer.startswith(fact.value):
        noted = said("assistant", f"Got it, {fact.answer}")
    kind = int(rng.integers(3))
    if kind == 0:
        return [said("user", fact.statement(rng)), noted], fact
    if kind == 1:
        question = said("user", fact.question(rng, "held-out"))
        return [
            question,
            said("assistant", "I don't know that yet."),
            said("user", fact.statement(rng)),
            noted,
        ], fact
    before = Fact(fact.relation, DRAWS[fact.relation.values](rng, "held-out"))
    told = said("assistant", f"Got it, {before.answer[0].lower()}{before.answer[1:]}")
    return [
        said("user", before.statement(rng)),
        told,
        said("user", "Correction: " + fact.statement(rng)),
        noted,
    ], fact


def teaching(bench: Bench) -> float:
    """Two facts told in a chat; the first is asked for in held-out words."""
    rng = default_rng([SEED, 4])
    chats: list[list[Message]] = []
    wanted: list[Fact] = []
    for _ in range(bench.cases(250)):
        first, second = invent(rng, 2).facts
        turns, fact = _taught(rng, first)
        chats.append([*turns, *_taught(rng, second)[0], said("user", fact.question(rng, "held-out"))])
        wanted.append(fact)
    return percent(says(answer, fact.value) for answer, fact in zip(bench.answers(chats), wanted, strict=True))


def acknowledging(bench: Bench) -> float:
    """A fact as the first words of a chat: the answer repeats its value."""
    rng = default_rng([SEED, 5])
    facts = [pick(rng, invent(rng, 1).facts) for _ in range(bench.cases(200))]
    given = bench.answers([[said("user", fact.statement(rng))] for fact in facts])
    return percent(says(answer, fact.value) for answer, fact in zip(given, facts, strict=True))


def _plain(text: str) -> str:
    return re.sub(r"[^\w' ]", "", text.casefold()).strip()


def rewording(bench: Bench, samples: int = 4) -> tuple[float, float]:
    """Held-out questions and statements, reworded at temperature 1.

    The share of rewordings that are a phrasing of the same relation (with the same value) and other words
    than those given; and, of each ``samples``, the share that are so *and* differ from one another.
    """
    rng = default_rng([SEED, 6])
    torch.manual_seed(SEED)
    chats: list[list[Message]] = []
    allowed: list[tuple[str, frozenset[str]]] = []
    for at in range(bench.cases(150)):
        fact = pick(rng, invent(rng, 1).facts)
        if at % 4 == 3:
            given, fine = fact.statement(rng), fact.statements()
        else:
            given = fact.question(rng, "held-out")
            fine = fact.questions("train") + fact.questions("held-out")
        allowed += [(_plain(given), frozenset(map(_plain, fine)))] * samples
        chats += [[said("user", REWORD + given)]] * samples
    texts = [_plain(text) for text in bench.answers(chats, temperature=1.0)]
    kept = [text in fine and text != given for text, (given, fine) in zip(texts, allowed, strict=True)]
    distinct = []
    for start in range(0, len(texts), samples):
        good = {texts[at] for at in range(start, start + samples) if kept[at]}
        distinct += [at < len(good) for at in range(samples)]
    return percent(kept), percent(distinct)


def scores(bench: Bench) -> dict[str, float]:
    """All figures; percent, but for the loss."""
    keeps, distinct = rewording(bench)
    return {
        "grammar loss": grammar_loss(bench),
        "general questions": general(bench),
        "unknown, nothing told": unknown(bench),
        "unknown, five other facts in the prompt": not_in_context(bench),
        "facts read in a prompt of 5": context(bench, 5),
        "facts read in a prompt of 10": context(bench, 10),
        "statement acknowledged": acknowledging(bench),
        "taught in the chat": teaching(bench),
        "rewording keeps the meaning": keeps,
        "rewording distinct and right": distinct,
    }


def on_card(card: str) -> dict[str, float]:
    """The figures of a model card: its first JSON block."""
    found = re.search(r"```json\n(.*?)```", card, re.DOTALL)
    if found is None:
        raise ValueError("the card holds no JSON block of scores")
    read = json.loads(found[1])
    return {str(name): float(value) for name, value in read.items()}


def misses(measured: dict[str, float], card: dict[str, float]) -> list[str]:
    """The figures that are more than three points below the card's (the loss: three hundredths above it)."""
    return [
        name
        for name, promised in card.items()
        if (
            measured[name] > promised + TOLERANCE / 100
            if name.endswith("loss")
            else measured[name] < promised - TOLERANCE
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m modelfork.demo.score", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", type=Path, metavar="CARD", help="a README.md to compare with")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    measured = scores(Bench(*load(given.folder, given.device)))
    result: dict[str, object] = {"scores": measured}
    missed: list[str] = []
    if given.check:
        missed = misses(measured, on_card(given.check.read_text(encoding="utf-8")))
        result |= {"card": "kept" if not missed else "missed", "missed": missed}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
