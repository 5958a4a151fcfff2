"""Rule 6 at its hardest: the process dies before any one call to the chain or the outbox, and another one takes over.

What it did up to there has happened, so dying before each call is dying after each as well.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.anchor.outbox import EvmAnchor
from tests.ledger.anchor.anchoring import GWEI, STUCK, Scene, scene

WRITES = {"keep", "send", "settle"}


class Crash(BaseException):
    """The process is gone: nothing may catch it."""


class Steps:
    """Counts the calls of a worker, and dies before one of them."""

    def __init__(self, fatal: int | None = None) -> None:
        self.calls: list[str] = []
        self._fatal = fatal

    def take(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self._fatal:
            raise Crash(name)


class Counted:
    """A chain or an outbox, each call of which is a step."""

    def __init__(self, real: Any, steps: Steps) -> None:
        self._real = real
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._steps.take(name)
            return found(*arguments, **named)

        return call


Story = Callable[[Scene, EvmAnchor], None]


def two_checkpoints(here: Scene, worker: EvmAnchor) -> None:
    """Sent, mined, and the next one sent, mined and final."""
    worker.turn(here.log.public(5))
    here.node.mine()
    worker.turn(here.log.public(8))
    for _ in range(4):
        here.node.mine()
        worker.turn(here.log.public(8))


def stuck(here: Scene, worker: EvmAnchor) -> None:
    """Sent, outbid by a base fee, sent again for more, and mined."""
    worker.turn(here.log.public(5))
    here.node.call("anvil_setNextBlockBaseFeePerGas", hex(30 * GWEI))
    here.node.mine()
    here.wait(STUCK)
    worker.turn(here.log.public(8))
    for _ in range(4):
        here.node.mine()
        worker.turn(here.log.public(8))


def reorganised(here: Scene, worker: EvmAnchor) -> None:
    """Two anchors in two blocks, both taken back, and sent again."""
    worker.turn(here.log.public(5))
    here.node.mine()
    worker.turn(here.log.public(8))
    here.node.mine()
    worker.turn(here.log.public(8))
    here.node.call("anvil_reorg", 2, [])
    for _ in range(5):
        worker.turn(here.log.public(8))
        here.node.mine()


def play(here: Scene, story: Story, number: int, fatal: int | None) -> list[str]:
    """The story on the chain as it was at first, with an outbox of its own. Returns the calls up to the crash."""
    here.node.call("anvil_dropAllTransactions")
    assert here.node.call("evm_revert", hex(number))
    here.node.call("evm_snapshot")
    here.outbox = here.open_outbox(f"{story.__name__}-{number}.db")
    steps = Steps(fatal)
    worker = here.worker(Counted(here.chain(), steps), Counted(here.outbox, steps))
    try:
        story(here, worker)
    except Crash:
        here.node.mine()
    return steps.calls


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, "--no-mining") as made:
        made.log.grow(3)
        made.node.call("evm_snapshot")
        yield made


@pytest.mark.parametrize("story", [two_checkpoints, stuck, reorganised])
def test_a_crash_before_or_after_anything_is_kept_or_sent_changes_nothing(here: Scene, story: Story) -> None:
    whole = play(here, story, 0, None)
    fatal = sorted({place + after for place, name in enumerate(whole) if name in WRITES for after in (0, 1)})
    assert {"keep", "send", "settle"} <= set(whole)
    for number, place in enumerate(fatal, 1):
        expect_recovery(here, story, number, place, whole)


@pytest.mark.slow
def test_a_crash_between_any_two_steps_changes_nothing(here: Scene) -> None:
    """Those that only read included. After some hundred reverts anvil loses blocks that a reorganisation needs, so this
    is told of one story only."""
    whole = play(here, two_checkpoints, 0, None)
    for place in range(len(whole)):
        expect_recovery(here, two_checkpoints, place + 1, place, whole)


def expect_recovery(here: Scene, story: Story, number: int, place: int, whole: list[str]) -> None:
    before = whole[:place]
    assert play(here, story, number, place)[:place] == before, "the story is told the same way each time"
    here.finish()
    assert set(here.sizes()) <= {5, 8}, f"after a crash in {story.__name__} before call {place}, {whole[place]}"
    if "keep" not in before:
        assert here.sizes() == [8]  # nothing was signed for the first: only the newest is anchored
