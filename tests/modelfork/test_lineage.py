"""The active updates of a fork follow from its entries alone, and an unknown topic ends the reading."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import ledger
from modelfork.errors import Diverged
from modelfork.lineage import ActiveUpdate, active_updates
from modelfork.update import EMPTY, SIGNS
from tests.modelfork.written import Fork, open_ledger


@pytest.fixture
def entries(tmp_path: Path) -> Iterator[list[ledger.entry.Entry]]:
    log = open_ledger(tmp_path / "ledger.sqlite")
    fork = Fork(log)
    for encoding in (SIGNS, EMPTY, SIGNS):
        fork.learn(encoding)
    yield [entry for _, entry in fork.entries()]
    log.store.close()


def test_today_every_recorded_update_is_active(entries: list[ledger.entry.Entry]) -> None:
    ids = [ledger.record.decode_body(entry.body).record_id for entry in entries[1:]]
    expected = [ActiveUpdate(version, version - 1, record_id) for version, record_id in enumerate(ids, 2)]
    assert active_updates(entries) == tuple(expected)
    assert active_updates(entries[:1]) == active_updates([]) == ()


@pytest.mark.parametrize("topic", ["surprise/v1", *sorted(ledger.entry.RESERVED_TOPICS), ledger.entry.FORK_CREATED])
def test_an_entry_of_unknown_effect_ends_the_reading(entries: list[ledger.entry.Entry], topic: str) -> None:
    entries[2] = replace(entries[2], topic=topic)
    with pytest.raises(Diverged, match="version 3: topic") as caught:
        active_updates(entries)
    assert caught.value.version == 3


def test_entries_are_read_in_order_and_of_one_fork(entries: list[ledger.entry.Entry]) -> None:
    foreign = [*entries[:2], replace(entries[2], fork_id="4b1d6c1e-1111-4111-8111-111111111111")]
    for wrong in (entries[1:], [entries[0], *entries[2:]], foreign):
        with pytest.raises(Diverged, match="place"):
            active_updates(wrong)
