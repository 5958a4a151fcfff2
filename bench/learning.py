"""What a fork learns from single interactions, and what it keeps: `python bench/learning.py`.

Invented people; phrasings and values are of the split that the demo base never saw. Greedy decoding, judged by whether
the value stands in the answer. One recorded update an interaction:

1-10        for each of ten facts: the person asks, is answered, and corrects, whatever the answer was; the fact is
            asked again at once, in the same words and in three other phrasings
11-40       three rounds of the ten: the person asks in the same words, and corrects when the answer is wrong; a right
            answer gets no verdict
41-160      (the first five of a seed) ten other facts, likewise: each corrected once, then eleven rounds. The first ten
            are not spoken of any more
changed     in the fork as it was after 40, three of the facts get another value; each is asked and corrected twice
stated      in a fork of its own, each fact is only stated once, never asked before; asked at once, and all at the end

Every question is recorded too, as a service records it that has nobody else to teach (an empty update, or practice of
what was forgotten), and so is every correction. Asking again to measure is not recorded.

Kept skills are measured on the same fork: general questions; facts never given (the answer should be "I don't know");
facts read from a prompt of five, of relations that the person said nothing about.

Intervals are of 95%, by drawing people again with replacement (2,000 times): what another 51 people would give.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from lives.fork import opened
from lives.life import WATCHED, live
from lives.tally import Tally, interval, share
from plots.lines import drawn

from modelfork.recipe import Recipe, default_recipe
from modelfork.settings import DEMO_BASE
from modelfork.update import EMPTY, packed_size

WITHOUT_TEXT = 590 + 328 + 72  # entry, particulars payload, and the update payload's frame around the packed update
FINAL = (11, 12, 13)  # seeds of the table; the recipe was chosen on people of other seeds

GOALS: tuple[tuple[str, str, str, float | None], ...] = (
    ("asked again at once, same question", "at once same", "", 95),
    ("asked again at once, unseen phrasings", "at once unseen", "", 60),
    ("ten facts corrected once, same question", "after 10 same", "", 85),
    ("ten facts corrected once, unseen phrasings", "after 10 unseen", "", 50),
    ("after 40 interactions, same question", "after 40 same", "", 98),
    ("after 40 interactions, unseen phrasings", "after 40 unseen", "", 75),
    ("after 160, all twenty facts, same question", "after 160 same", "", 100),
    ("after 160, all twenty facts, unseen phrasings", "after 160 unseen", "", 90),
    ("after 160, the first ten, not spoken of for 120, same question", "earliest same", "", 90),
    ("after 160, the first ten, not spoken of for 120, unseen phrasings", "earliest unseen", "", None),
    ("a changed fact's new value after one correction, same question", "changed once same", "", None),
    ("a changed fact's new value after one correction, unseen phrasings", "changed once unseen", "", None),
    ("a changed fact's new value after two corrections, same question", "changed twice same", "", 90),
    ("a changed fact's new value after two corrections, unseen phrasings", "changed twice unseen", "", 90),
    ("its old value then, unseen phrasings", "changed twice, old value unseen", "", None),
    ("general questions after 10, of before", "after 10 general", "before general", None),
    ("general questions after 40, of before", "after 40 general", "before general", 99),
    ("general questions after 160, of before", "after 160 general", "before general", 99),
    ('"I don\'t know" after 10, of before', "after 10 unknown", "before unknown", None),
    ('"I don\'t know" after 40, of before', "after 40 unknown", "before unknown", 90),
    ('"I don\'t know" after 160, of before', "after 160 unknown", "before unknown", 90),
    ("facts read in the prompt after 10, of before", "after 10 prompt", "before prompt", None),
    ("facts read in the prompt after 40, of before", "after 40 prompt", "before prompt", 90),
    ("facts read in the prompt after 160, of before", "after 160 prompt", "before prompt", 90),
    ("fact only stated, at once, same question", "stated, at once same", "", None),
    ("fact only stated, at once, unseen phrasings", "stated, at once unseen", "", None),
    ("ten facts only stated, same question", "stated same", "", None),
    ("ten facts only stated, unseen phrasings", "stated unseen", "", None),
)


def work(folder: Path, recipe: Recipe, long: int, case: tuple[int, int]) -> Tally:
    return live(opened(folder), recipe, long, *case)


def sizes(tally: Tally, dimension: int, ordinary: int) -> dict[str, float]:
    """Bytes of a record without text: over all records, and over those that learned, ordinary or contradicting."""
    learned = [encoding for encoding, _ in tally.updates if encoding != EMPTY]
    large = [encoding for encoding, rounds in tally.updates if encoding != EMPTY and rounds > ordinary]
    small = [encoding for encoding, rounds in tally.updates if encoding != EMPTY and rounds <= ordinary]

    def median(encodings: Sequence[int]) -> float:
        frame = {EMPTY: 590 + 328}
        each = [frame.get(encoding, WITHOUT_TEXT) + packed_size(encoding, dimension) for encoding in encodings]
        return statistics.median(each) if each else 0

    return {
        "records": len(tally.updates),
        "corrections": tally.corrections,
        "practised": tally.practised,
        "learned": len(learned) - tally.practised,
        "contradicting": len(large),
        "bytes median": median([encoding for encoding, _ in tally.updates]),
        "bytes ordinary": median(small),
        "bytes contradicting": median(large),
    }


def curves(people: Sequence[Tally]) -> dict[str, list[tuple[float, float]]]:
    """By name: interactions and percent."""
    told = [(10.0, "after 10"), (40.0, "after 40"), (160.0, "after 160")]
    return {
        "same question": [(at, share(people, f"{when} same", "")) for at, when in told],
        "unseen phrasings": [(at, share(people, f"{when} unseen", "")) for at, when in told],
        "general questions": [(0.0, 100.0), *((at, share(people, f"{w} general", "before general")) for at, w in told)],
        "facts in the prompt": [(0.0, 100.0), *((at, share(people, f"{w} prompt", "before prompt")) for at, w in told)],
        "I don't know": [
            (0.0, 100.0),
            *((float(at), share(people, f"watched {at} unknown", "before unknown")) for at in WATCHED),
            (160.0, share(people, "after 160 unknown", "before unknown")),
        ],
    }


def table(people: Sequence[Tally], dimension: int, ordinary: int) -> tuple[str, dict[str, float]]:
    lines = ["| figure | measured | 95% | goal |", "| --- | --- | --- | --- |"]
    figures: dict[str, float] = {}
    for title, figure, before, goal in GOALS:
        if not any(figure in one.asked for one in people):
            continue  # nobody lived so long
        value, (low, high) = share(people, figure, before), interval(people, figure, before)
        figures[title] = round(value, 1)
        met = "reported" if goal is None else f"{goal:.0f}%{'' if value >= goal else ' **missed**'}"
        lines.append(f"| {title} | {value:.1f}% | {low:.1f} to {high:.1f} | {met} |")
    watched = {at: share(people, f"watched {at} unknown", "before unknown") for at in WATCHED}
    at = min(watched, key=lambda one: watched[one])
    figures["lowest unknown"] = round(watched[at], 1)
    met = "75%" + ("" if watched[at] >= 75 else " **missed**")
    low, high = interval(people, f"watched {at} unknown", "before unknown")
    lines.append(
        f'| "I don\'t know" at its lowest, after {at} interactions, of before | {watched[at]:.1f}% | '
        f"{low:.1f} to {high:.1f} | {met} |"
    )
    total = Tally()
    for one in people:
        total.join(one)
    counted = sizes(total, dimension, ordinary)
    for name, title, bound in (
        ("median of all records", "bytes median", 1500),
        ("median of ordinary updates", "bytes ordinary", 1500),
        ("median of contradicting corrections", "bytes contradicting", 4500),
    ):
        missed = " **missed**" if counted[title] > bound else ""
        lines.append(f"| bytes without text, {name} | {counted[title]:,.0f} | | at most {bound:,}{missed} |")
    counted["learn ms median"] = round(statistics.median(total.learn_ms), 1)
    for figure in ("before general", "before unknown", "before prompt", "before same", "before unseen"):
        figures[figure] = round(share(people, figure, ""), 1)
    for at, value in watched.items():
        figures[f"unknown after {at}"] = round(value, 1)
    lines.append(
        f"\n{len(people)} people, {counted['records']:.0f} records, {counted['corrections']:.0f} corrections, "
        f"{counted['learned']:.0f} learned, {counted['contradicting']:.0f} of them contradicting; "
        f"{counted['practised']:.0f} turns without a lesson practised; "
        f"a correction took {counted['learn ms median']} ms on one thread. "
        f"Before: general {figures['before general']}%, unknown {figures['before unknown']}%, "
        f"prompt {figures['before prompt']}%, the facts themselves {figures['before same']}%."
    )
    return "\n".join(lines), figures | counted


def changed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with `name=value` settings; ratios as floats of 2^16."""
    for setting in settings:
        name, _, value = setting.partition("=")
        known = asdict(recipe)[name]
        if isinstance(known, str):
            recipe = replace(recipe, **{name: value})
        else:
            recipe = replace(recipe, **{name: round(float(value) * 65536) if "." in value else int(value)})
    return recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, default=DEMO_BASE)
    parser.add_argument("--people", type=int, default=17, help="for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(FINAL))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="change the recipe")
    parser.add_argument("--long", type=int, default=5, help="of these, who live on to 160 interactions")
    parser.add_argument("--plot", type=Path, help="draw the curves of docs/learning.md into this SVG file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    base = opened(given.base)
    recipe = changed(default_recipe(base.anchors_digest), given.set)
    began = time.perf_counter()
    cases = [(seed, number) for seed in given.seeds for number in range(given.people)]
    people = []
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for done, tally in enumerate(pool.map(partial(work, given.base, recipe, given.long), cases), 1):
            people.append(tally)
            sys.stderr.write(f"{done} of {len(cases)} people\n")
    text, figures = table(people, base.cores.dimension, recipe.iterations)
    figures["seconds"] = round(time.perf_counter() - began)
    if given.plot:
        given.plot.write_text(drawn(curves(people)), encoding="utf-8")
    sys.stdout.write(json.dumps(figures) + "\n" if given.json else text + f"\n{figures['seconds']:.0f} s\n")


if __name__ == "__main__":
    main()
