"""What a person's facts cost and give in the fork, in the prompt, and retrieved into it: `python bench/facts.py`.

The same invented people, facts and questions on all sides, and the same base. Each fact is asked in three phrasings
that the base never saw, greedily, judged by whether the value stands in the answer:

fork       each fact corrected once, and a second time where the answer is still wrong; the question alone is asked
prompt     all facts stand in the system prompt
retrieved  the three facts nearest to the question do, by TF-IDF over words; no model takes part in finding them

Tokens are those of the prompt. Latency is from the question to the last token of the answer, one at a time, median.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from lives.fork import Chat, Fork, opened, user
from lives.life import Asked, choose_questions, correct, turn
from lives.tally import Tally
from numpy.random import default_rng

from modelfork.demo.people import invent, says
from modelfork.generate import Sampling, generate
from modelfork.interaction import Message
from modelfork.recipe import default_recipe
from modelfork.rehearse import same
from modelfork.settings import DEMO_BASE

NEAREST = 3


def nearest(question: str, statements: Sequence[str]) -> list[str]:
    """The statements that share most with the question: TF-IDF, normed by length; the earlier of equals."""
    counts = [Counter(same(statement).split()) for statement in statements]
    rare = {word: math.log(len(counts) / sum(word in one for one in counts)) + 1 for one in counts for word in one}

    def score(one: Counter[str]) -> float:
        length = math.sqrt(sum((count * rare[word]) ** 2 for word, count in one.items()))
        return sum(one[word] * rare[word] ** 2 for word in set(same(question).split()) & one.keys()) / length

    order = sorted(range(len(counts)), key=lambda at: -score(counts[at]))
    return [statements[at] for at in sorted(order[:NEAREST])]


def with_facts(statements: Sequence[str], text: str) -> Chat:
    return (Message("system", " ".join(statements)), *user(text))


def taught(fork: Fork, asked: Sequence[Asked]) -> None:
    for times in range(2):
        for one in asked:
            said = turn(fork, one, Tally())
            if not times or not says(said.answer, one.fact.value):
                correct(fork, one, said, Tally())


def seconds(fork: Fork, chat: Chat) -> float:
    began = time.perf_counter()
    prompt = fork.base.render(chat, prompt=True)
    list(generate(fork.base, fork.state, prompt, Sampling(max_tokens=24)))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, default=DEMO_BASE)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--facts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=21)
    given = parser.parse_args()
    base = opened(given.base)
    recipe = default_recipe(base.anchors_digest)
    sides = ("fork", "prompt", "retrieved")
    right, tokens, times = ({side: [] for side in sides} for _ in range(3))
    for number in range(given.people):
        rng = default_rng([given.seed, number])
        person = invent(rng, given.facts)
        asked = [choose_questions(rng, fact) for fact in person.facts]
        statements = [fact.statement(rng, "they") for fact in person.facts]
        genesis = np.zeros(base.cores.dimension, np.int64)
        bare, fork = Fork(base, recipe, genesis), Fork(base, recipe, genesis)
        taught(fork, asked)
        chats: dict[str, tuple[Fork, Callable[[str], Chat]]] = {
            "fork": (fork, user),
            "prompt": (bare, lambda text, all_=statements: with_facts(all_, text)),
            "retrieved": (bare, lambda text, all_=statements: with_facts(nearest(text, all_), text)),
        }
        texts = [(one, text) for one in asked for text in one.unseen]
        for side, (teller, chat_of) in chats.items():
            made = [chat_of(text) for _, text in texts]
            answers = teller.ask(made)
            right[side] += [says(answer, one.fact.value) for answer, (one, _) in zip(answers, texts, strict=True)]
            tokens[side] += [len(base.render(chat, prompt=True)) for chat in made]
        for _, text in texts[:6]:  # side by side, so that a busy moment meets all of them
            for side, (teller, chat_of) in chats.items():
                times[side].append(seconds(teller, chat_of(text)))
        sys.stderr.write(f"{number + 1} of {given.people} people\n")
    print("| facts in the | recall | tokens a query | latency ms |\n| --- | --- | --- | --- |")
    for side in sides:
        recall, count = 100 * statistics.mean(right[side]), statistics.mean(tokens[side])
        print(f"| {side} | {recall:.1f}% | {count:.0f} | {1000 * statistics.median(times[side]):.1f} |")
    print(f"\n{given.people} people of {given.facts} facts, {len(right['fork'])} questions a side, one thread")


if __name__ == "__main__":
    main()
