"""More forks than may live at once: they come and go, exact to the last bit, and the process does not grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelfork import live
from tests.journeys.many_forks import live_through

GROWTH = 12 << 20  # bytes: a thousand forks that stayed would take twice that


def test_tens_of_forks_come_and_go_and_come_back_exactly(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY", 2)
    told = live_through(tmp_path, tiny_base, 12, lambda _: None)
    assert told == {"from_snapshots": 12, "distinct": 12}


@pytest.mark.slow
def test_a_thousand_forks_come_and_go_in_flat_memory(tmp_path: Path, tiny_base: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.journeys.many_forks", str(tmp_path), str(tiny_base), "1000"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["from_snapshots"], told["distinct"]) == (1000, 1000)
    assert told["end"] - told["warm"] < GROWTH, told
