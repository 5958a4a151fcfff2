"""The forks of a house are put together in one way, whichever command or service they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ledger.main import open_house
from modelfork import live
from modelfork.forks import ForkManager
from modelfork.interaction import Interaction, Message
from modelfork.main import open_manager
from modelfork.settings import ForkSettings

SAID = Interaction((Message("user", "What is it?"),), "A dog.")  # teaches nothing

Open = Callable[[Path | None], ForkManager]


@pytest.fixture
def opened(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr(live, "EVERY", 2)
    log, keystore, now = open_house(tmp_path / "data", tmp_path / "keys")
    settings = ForkSettings(base=tiny_base, live_forks=1, torch_threads=1)
    random = np.random.default_rng(5).bytes
    yield lambda data: open_manager(log, keystore, settings, now, random, data)
    log.close()
    keystore.close()


def left_by(manager: ForkManager, folder: Path) -> list[Path]:
    """The snapshots that are there when a fork has recorded three interactions."""
    fork = manager.create("an app")
    for at in range(3):
        manager.record(fork, at.to_bytes(16, "big"), SAID)
    return sorted(folder.glob("**/snapshots/*/*"))


def test_snapshots_are_left_in_the_folder_of_the_house_and_nowhere_without_one(opened: Open, tmp_path: Path) -> None:
    assert left_by(opened(None), tmp_path) == []
    (left,) = left_by(opened(tmp_path / "data"), tmp_path)
    assert left.is_relative_to(tmp_path / "data" / "snapshots")


def test_as_many_forks_are_kept_in_memory_as_the_settings_say(opened: Open) -> None:
    manager = opened(None)
    first, second = manager.create("an app"), manager.create("an app")
    for fork in (first, second):
        manager.state(fork)
    assert manager.live == (second,)
