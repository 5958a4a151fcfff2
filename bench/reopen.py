"""Opening an evicted fork of 1,000 records beside one ordinary learn step: `python bench/reopen.py`.

Three ways in turn, on the demo base, in one thread:

snapshot   the evicted fork read from its snapshot, and the entries since replayed: state and rehearsal memory
replay     the same fork without a snapshot, every record checked and opened
learn      `learn()` whole, an ordinary step, its rewordings made before

The records are corrections of invented facts, written by the service's own path with drawn updates, for a thousand real
steps would take half an hour. Medians of the ratios of neighbouring runs. Floor: snapshot / learn below 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.random import default_rng

from ledger.main import open_house
from modelfork import forks
from modelfork.base import Base, load_base
from modelfork.demo.people import invent
from modelfork.forks import ForkManager
from modelfork.interaction import Interaction, Message
from modelfork.learn import Learned, learn
from modelfork.recipe import Recipe, default_recipe
from modelfork.recording import Metrics
from modelfork.rehearse import Memory
from modelfork.settings import DEMO_BASE
from modelfork.snapshots import Snapshots
from modelfork.update import SIGN_SUMS, Update


def corrections(count: int) -> list[Interaction]:
    rng = default_rng(31)
    people = [fact for _ in range(-(-count // 10)) for fact in invent(rng, 10).facts]
    return [
        Interaction((Message("user", f"{fact.question(rng, 'held-out')} ({at})"),), "I don't know.", fact.answer)
        for at, fact in enumerate(people[:count])
    ]


def write(manager: ForkManager, said: list[Interaction]) -> str:
    numbers = default_rng(5)
    metrics = Metrics(loss_before=1.5, learned_tokens=1000, iterations=10)

    def drawn(base: Base, recipe: Recipe, state: object, *_: object) -> Learned:
        q = numbers.choice(np.array([-3, -1, 1, 3], np.int8), base.cores.dimension)
        return Learned(Update(1000, SIGN_SUMS, q), (bytes(16),) * recipe.rehearsed, metrics)

    fork = manager.create("bench")
    with mock.patch.object(forks, "learn", drawn):
        for at, one in enumerate(said):
            manager.record(fork, at.to_bytes(16, "big"), one)
    return fork


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def learning(base: Base, recipe: Recipe) -> Callable[[], object]:
    recipe = replace(recipe, contradiction_iterations=recipe.iterations, contradiction_encoding=recipe.update_encoding)
    memory, lessons = Memory(), corrections(recipe.rehearsed + 1)
    for at, lesson in enumerate(lessons[:-1]):
        memory.remember(bytes([at]) * 16, lesson)
    state = np.zeros(base.cores.dimension, np.int64)
    return lambda: learn(base, recipe, state, lessons[-1], memory, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = load_base(DEMO_BASE)
    recipe = default_recipe(base.anchors_digest)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, keystore, now = open_house(folder / "data", folder / "keys")
        random = default_rng(6).bytes
        with_snapshots, without = (
            ForkManager(log, keystore, base, recipe, now, random, snapshots=kept)
            for kept in (Snapshots(folder / "snapshots", random), None)
        )
        fork = write(with_snapshots, corrections(given.records))
        (file,) = (folder / "snapshots").glob("*/*")

        def opened(manager: ForkManager) -> bytes:
            manager.evict(fork)
            return manager.state(fork).digest

        assert opened(with_snapshots) == opened(without)
        step = learning(base, recipe)
        step()
        ways: dict[str, Callable[[], object]] = {
            "snapshot": lambda: opened(with_snapshots), "replay": lambda: opened(without), "learn": step,
        }  # fmt: skip
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(given.repeats):
            for way, work in ways.items():
                times[way].append(milliseconds(work))
        since, size = given.records + 1 - int(file.name[:20]), file.stat().st_size
        log.close()
        keystore.close()
    ratio = statistics.median(a / b for a, b in zip(times["snapshot"], times["learn"], strict=True))
    print(f"{given.records} records, {base.cores.dimension} numbers; the snapshot has {size} bytes, {since} came since")
    for way, taken in times.items():
        print(f"{way:9} {statistics.median(taken):8.1f} ms")
    print(f"snapshot / learn {ratio:.3f}   floor: below 1")
    if ratio >= 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
