"""A log, its contract on a real node that mines when the test says so, and the line to that node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.anchor.anchoring import Scene, scene
from tests.ledger.anchor.line import Line, line


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, "--no-mining") as made:
        yield made


@pytest.fixture
def wire(here: Scene) -> Iterator[Line]:
    with line(here.url) as made:
        here.url = made.url
        yield made
