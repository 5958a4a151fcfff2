"""The adapter in front of a real node: what it reads, what it sends, and how it names what goes wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.anchor.anchoring import Scene, scene


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, "--no-mining") as made:
        yield made


def test_a_checkpoint_goes_through_to_final(here: Scene) -> None:
    worker = here.worker()
    sent = worker.turn(here.log.public())
    assert (sent.pending, sent.anchored, sent.waiting) == (5, 0, None)
    here.node.mine()
    here.finish(worker)
    assert here.sizes() == [5]
