"""Many forks on one process: each is opened, chats, learns, is evicted for others, and is opened again.

Run as a program it prints JSON: what was resident when the first tenth had gone through and at the end, and how many
forks came back from a snapshot. `python -m tests.journeys.many_forks FOLDER BASE FORKS`
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ledger.main import open_house
from modelfork import live
from modelfork.forks import ForkManager
from modelfork.generate import Sampling
from modelfork.history import key_finder
from modelfork.interaction import Interaction, Message
from modelfork.main import open_base, open_snapshots
from modelfork.replay import replay
from modelfork.snapshots import Snapshots

MOST_LIVE = 8
LONG = "so " * 3000  # what a fork is told: all of it kept by mistake would show


def number(count: int) -> bytes:
    return count.to_bytes(16, "big")


def live_through(folder: Path, base: Path, forks: int, at: Callable[[int], None]) -> dict[str, int]:
    """Two rounds over all forks, a chat in the first; `at` is called after each turn of one. Every digest is compared,
    at the end with a replay that knows no snapshot."""
    log, keystore, now = open_house(folder / "data", folder / "keys")
    random = np.random.default_rng(1).bytes
    model, recipe = open_base(base, 1)
    quick = replace(
        recipe, rewordings=0, question_prompt="", iterations=1, contradiction_iterations=1, longest_iterations=1,
        anchors=0, rehearsed=1, longest_row=64,
    )  # fmt: skip
    snapshots = Counted(open_snapshots(folder / "data", random))
    manager = ForkManager(log, keystore, model, quick, now, random, MOST_LIVE, snapshots)
    made = [manager.create("app") for _ in range(forks)]
    digests: dict[str, bytes] = {}
    for turn, fork in enumerate([*made, *made]):
        if fork in digests:
            assert fork not in manager.live
            assert manager.state(fork).digest == digests[fork]
        if turn < forks:
            asked = (Message("user", f"Who? {fork}"),)
            manager.take_turn(fork, number(turn), asked, Sampling(max_tokens=2), True, lambda _: None)
        told = (Message("system", LONG), Message("user", f"Who is {fork} {turn}?"))
        recorded = manager.record(fork, number(1_000_000 + turn), Interaction(told, "no", correction=f"It is {fork}."))
        assert recorded.learned
        digests[fork] = manager.state(fork).digest
        assert len(manager.live) <= MOST_LIVE
        at(turn)
    for fork in made:
        read = replay(log.read(fork), log.payloads, key_finder(keystore, fork), log.origin)
        assert (read.state.digest, read.records, read.checked) == (digests[fork], 3, 3)
    log.close()
    keystore.close()
    return {"from_snapshots": snapshots.found, "distinct": len(set(digests.values()))}


class Counted(Snapshots):
    """Counts those that were found."""

    def __init__(self, of: Snapshots) -> None:
        super().__init__(of._folder, of._random)
        self.found = 0

    def load(self, *given: object, **more: object):  # type: ignore[no-untyped-def]
        found = super().load(*given, **more)  # type: ignore[arg-type]
        self.found += found is not None
        return found


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def main(folder: str, base: str, forks: str) -> None:
    live.EVERY = 2
    seen: list[int] = []

    def at(turn: int) -> None:
        if turn in (int(forks) // 5, 2 * int(forks) - 1):
            seen.append(resident())

    found = live_through(Path(folder), Path(base), int(forks), at)
    print(json.dumps({**found, "warm": seen[0], "end": seen[1]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
