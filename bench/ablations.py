"""What a fork's recall owes to the rank, to which projections have cores, and to the number of phrasings of a fact:
`python bench/ablations.py`.

The people, questions and judge of `learning.py`, but taught offline, so that every variant has the same: twenty facts
of a person at once, 120 steps of ten facts (each in one of the phrasings that it is taught in, all in turn) and of the
anchor rows that the default recipe draws, held to the base's own chances with the recipe's weights. The cores are
float32; a step goes along the gradient's sign, as long as Polyak says, as the forks' own does, shorter over the last
third. No rewordings, no rounding, no guard: this measures what fits.

The phrasings that a fact is taught in are of the grammar's training split. Asked afterwards: the first of them, three
phrasings of the held-out split, and the kept skills. Each basis is computed from the base's weights. Every variant
meets the same people, the same anchor rows and the same seeds; intervals are those of `learning.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from lives.fork import Fork, State, opened, user
from lives.life import UNSEEN, Asked, ask_facts, ask_skills
from lives.tally import Tally, interval, share
from numpy.random import Generator, default_rng
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from modelfork import basis
from modelfork.base import Base, Own
from modelfork.cores import UNIT, Cores
from modelfork.demo.people import Person, invent
from modelfork.layout import Layout, Segment
from modelfork.loss import gradient
from modelfork.recipe import Recipe, default_recipe
from modelfork.rows import Row, answer_row, pack
from modelfork.settings import DEMO_BASE
from modelfork.skills import skills
from modelfork.step import polyak
from modelfork.update import SIGNS

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
FACTS, STEPS, AT_ONCE = 20, 120, 10
SHORTER_FROM = 0.7  # of the steps

Basis = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Variant:
    """Cores of one rank on some projections; a fact taught in so many phrasings."""

    rank: int = 16
    leaves: tuple[str, ...] = ALL
    phrasings: int = 15


VARIANTS = (
    *(Variant(rank=rank) for rank in (4, 8, 16, 24, 32)),
    Variant(leaves=ATTENTION),
    Variant(rank=21, leaves=ATTENTION),  # about as many numbers as rank 16 on all projections
    *(Variant(phrasings=count) for count in (1, 5, 30)),
)


def fresh_model(folder: Path) -> nn.Module:
    """The base's model without cores."""
    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval().requires_grad_(False)


def with_cores(base: Base, model: nn.Module, found: Basis) -> Base:
    """The base with other cores: those that this basis has."""
    names = [name.removesuffix(".a") for name in found if name.endswith(".a")]
    segments = tuple(Segment(name, len(found[name + ".a"]), len(found[name + ".a"]), 0) for name in names)
    layout = Layout(base.layout.base_digest, hashlib.sha256(repr(segments).encode()).digest(), segments)
    return replace(base, model=model, cores=Cores(model, layout, found), layout=layout, own=Own())


def of_variant(base: Base, folder: Path, variant: Variant) -> Base:
    model = fresh_model(folder)
    found = basis.compute(model, variant.rank)
    kept = {name: part for name, part in found.items() if name.rsplit(".", 2)[1] in variant.leaves}
    return with_cores(base, model, kept)


def facts_of(rng: Generator, phrasings: int) -> tuple[list[Asked], list[tuple[str, ...]]]:
    """A person's facts as they are asked, and the phrasings that each is taught in."""
    asked, taught = [], []
    for fact in invent(rng, FACTS).facts:
        known, unseen = fact.questions("train"), fact.questions("held-out")
        taught.append(tuple(known[int(at)] for at in rng.permutation(len(known))[:phrasings]))
        others = tuple(unseen[int(at)] for at in rng.permutation(len(unseen))[:UNSEEN])
        asked.append(Asked(fact, taught[-1][0], others))
    return asked, taught


def in_turn(rng: Generator, rows: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """Every fact once, in an order drawn anew each time, in its next phrasing."""
    for round_ in count():
        for at in rng.permutation(len(rows)):
            yield rows[at][round_ % len(rows[at])]


def taught_offline(
    base: Base, recipe: Recipe, asked: Sequence[Asked], taught: Sequence[Sequence[str]], rng: Generator
) -> State:
    """The state that the steps lead to, from the base itself."""
    rows = [
        [answer_row(base, user(text), one.fact.answer, recipe.longest_row) for text in texts]
        for one, texts in zip(asked, taught, strict=True)
    ]
    facts = in_turn(rng, rows)
    drawn = skills(base, recipe, {}, [one.same for one in asked])
    numbers = torch.zeros(base.cores.dimension)
    for step in range(STEPS):
        batch = pack([*islice(facts, AT_ONCE), *drawn.draw(rng)], base)
        _, loss, grad = gradient(base, numbers, batch)
        eta = recipe.eta_ratio * min(1.0, (STEPS - step) / (STEPS * (1 - SHORTER_FROM)))
        numbers = numbers - eta * polyak(grad, loss - batch.taught * recipe.target_loss_nats, SIGNS)
    return np.rint(numbers.double().numpy() / UNIT).astype(np.int64)


def measured(base: Base, asked: Sequence[Asked], state: State, rng: Generator, tally: Tally, when: str) -> None:
    """Recall, and the kept skills."""
    fork = Fork(base, default_recipe(base.anchors_digest), state)
    ask_facts(fork, asked, tally, when)
    ask_skills(fork, Person(tuple(one.fact for one in asked)), rng, tally, when)


def untaught(base: Base, case: tuple[int, int]) -> Tally:
    tally = Tally()
    asked, _ = facts_of(default_rng([*case, 0]), 1)
    measured(base, asked, np.zeros(base.cores.dimension, np.int64), default_rng([*case, 1]), tally, "before")
    return tally


def one_person(base: Base, recipe: Recipe, phrasings: int, case: tuple[int, int], before: Tally) -> Tally:
    tally = deepcopy(before)
    asked, taught = facts_of(default_rng([*case, 0]), phrasings)
    state = taught_offline(base, recipe, asked, taught, default_rng([*case, 2]))
    measured(base, asked, state, default_rng([*case, 1]), tally, "taught")
    return tally


COLUMNS = (
    ("taught same", ""),
    ("taught unseen", ""),
    ("taught general", "before general"),
    ("taught unknown", "before unknown"),
    ("taught prompt", "before prompt"),
)


def line(variant: Variant, numbers: int, tallies: Sequence[Tally]) -> str:
    cells = []
    for figure, before in COLUMNS:
        low, high = interval(tallies, figure, before)
        cells.append(f"{share(tallies, figure, before):.1f}% ({low:.0f} to {high:.0f})")
    kind = "attention" if variant.leaves == ATTENTION else "all"
    return f"| {variant.rank} | {kind} | {numbers:,} | {variant.phrasings} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, default=DEMO_BASE)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seed", type=int, default=31)
    given = parser.parse_args()
    base = opened(given.base)
    recipe = default_recipe(base.anchors_digest)
    began = time.perf_counter()
    cases = [(given.seed, number) for number in range(given.people)]
    before = [untaught(base, case) for case in cases]
    print('| rank | cores on | numbers | phrasings | same words | unseen | general | "I don\'t know" | prompt |')
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for variant in VARIANTS:
        cored = of_variant(base, given.base, variant)
        tallies = [
            one_person(cored, recipe, variant.phrasings, case, known) for case, known in zip(cases, before, strict=True)
        ]
        print(line(variant, cored.cores.dimension, tallies), flush=True)
    took = time.perf_counter() - began
    print(f"\n{given.people} people of {FACTS} facts, {STEPS} steps; skills of before. {took:.0f} s")


if __name__ == "__main__":
    main()
