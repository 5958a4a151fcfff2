"""Real processes on real folders, over the tiny base unless a journey says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journeys.server import Place, Server
from tests.modelfork.conftest import tiny_base

__all__ = ["tiny_base"]


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path) -> Place:
    return Place(tmp_path, tiny_base)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts a server process; whatever still runs at the end is killed."""
    started: list[Server] = []

    def start(place: Place, *words: str) -> Server:
        started.append(Server(place, *words))
        return started[-1].wait()

    yield start
    for server in started:
        server.kill()
