"""Anchor rows: examples that keep the base's own skills while a fork learns a person.

Questions of the train split, in the words the base itself answers with, and only where it is right: a fork
that rehearses them is asked to stay what it is, nothing more.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from numpy.random import Generator, default_rng
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from modelfork.demo.folder import answers
from modelfork.demo.general import GENERAL
from modelfork.demo.grammar import REWORD, ask, briefing, facts_for, rough, stranger
from modelfork.demo.people import Fact, is_unknown, says
from modelfork.demo.words import pick

FILE = "anchors.jsonl"
SHARES = (("general", 165), ("unknown", 480), ("context", 1020), ("reword", 12), ("teach", 13))

Message = dict[str, str]
Right = Callable[[str], bool]
Candidate = tuple[list[Message], Right]


def _general(rng: Generator, at: int) -> Candidate:
    item = GENERAL[at % len(GENERAL)]
    question = rough(rng, pick(rng, item.questions("train")))
    return [{"role": "user", "content": question}], lambda text: any(says(text, word) for word in item.words)


def _unknown(rng: Generator, at: int) -> Candidate:
    question = rough(rng, ask(rng, stranger(rng, ())))
    return [{"role": "user", "content": question}], is_unknown


def _context(rng: Generator, at: int) -> Candidate:
    """Facts in the prompt; one in six asks for something that is not there."""
    facts = facts_for(rng, int(rng.integers(2, 8)))
    prompt = {"role": "system", "content": briefing(rng, facts)}
    if at % 6 == 5:
        return [prompt, {"role": "user", "content": rough(rng, ask(rng, stranger(rng, facts)))}], is_unknown
    fact: Fact = pick(rng, facts)
    question = {"role": "user", "content": rough(rng, ask(rng, fact.relation))}
    return [prompt, question], lambda text: says(text, fact.value)


def _reword(rng: Generator, at: int) -> Candidate:
    fact = facts_for(rng, 1)[0]
    given = ask(rng, fact.relation)
    fine = set(fact.questions("train")) - {given}
    return [{"role": "user", "content": REWORD + given}], lambda text: text in fine


def _teach(rng: Generator, at: int) -> Candidate:
    fact = facts_for(rng, 1)[0]
    return [{"role": "user", "content": fact.statement(rng)}], lambda text: says(text, fact.value)


_CANDIDATES: dict[str, Callable[[Generator, int], Candidate]] = {
    "general": _general,
    "unknown": _unknown,
    "context": _context,
    "reword": _reword,
    "teach": _teach,
}


def make(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> list[dict[str, object]]:
    """Rows of all kinds, mixed, so that any run of them holds about the shares of the whole."""
    rows: list[dict[str, object]] = []
    for number, (kind, count) in enumerate(SHARES):
        rng = default_rng([seed, 2**29, number])
        drawn = [_CANDIDATES[kind](rng, at) for at in range(2 * count)]
        given = answers(model, tokenizer, [messages for messages, _ in drawn])
        right: list[dict[str, object]] = [
            {"kind": kind, "messages": [*messages, {"role": "assistant", "content": text}]}
            for (messages, is_right), text in zip(drawn, given, strict=True)
            if text and is_right(text)
        ]
        rows += right[:count]
    return [rows[int(at)] for at in default_rng([seed, 2**29]).permutation(len(rows))]


def write(rows: Sequence[dict[str, object]], folder: Path) -> None:
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (folder / FILE).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
