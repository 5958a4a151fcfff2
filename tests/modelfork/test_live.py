"""A fork that was read from a snapshot is the fork that was replayed, and the one that never left the memory."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledger
from ledger.main import open_house
from modelfork import live
from modelfork.interaction import Interaction, Message
from modelfork.live import LiveFork
from modelfork.recording import Writer, build_record
from modelfork.rehearse import Memory
from modelfork.replay import advance, genesis, replay
from modelfork.snapshots import Snapshots
from modelfork.update import SIGNS
from tests.modelfork.written import DIMENSION, LAYOUT, RECIPE, drawn_update, particulars

FORK = "0c1d8f0e-2b6a-4d6f-9c53-7d5f3a1b9e42"
Q = "What is my dog called?"

# What the memory keeps of these, drops and replaces is `rehearse`'s; here it only has to come out the same.
SAID = [
    Interaction((Message("user", Q),), "No idea.", correction="Rex."),
    Interaction((Message("user", "Hello, how are you?"),), "Well."),
    Interaction((Message("user", "My cat is called Tom."),), "I see."),
    Interaction((Message("user", "Who am I?"),), "You are Ann.", rating=1.0),
    Interaction((Message("user", Q),), "Rex.", correction="Bello.", refers_to=(1).to_bytes(16, "big")),
    Interaction((Message("user", "Is it late?"),), "Yes.", rating=0.0),
    Interaction((Message("user", "Who am I?"),), "You are Ann.", rating=-1.0),
    Interaction((Message("user", "Is it secret?"),), "Yes.", correction="No.", teaches=False),
    Interaction((Message("system", "Be brief."), Message("user", "And my car?")), "", correction="A blue one."),
    Interaction((Message("user", "Say nothing."),), "", rating=0.3),
]


class House:
    """One fork in service custody, as its own process would write it, and processes that open it."""

    def __init__(self, folder: Path, seed: int = 7) -> None:
        self.folder = folder
        self.log, self.keystore, _ = open_house(folder / "data", folder / "keys")
        self.random = np.random.default_rng(seed).bytes
        self.numbers = np.random.default_rng(seed + 1)
        self.state = genesis(LAYOUT, DIMENSION)
        self.count = 0
        begun = self.keystore.app_of_fork(FORK) is not None
        keys = self.keystore.fork_keys(FORK) if begun else self.keystore.make_fork_keys(FORK, "app")
        created = ledger.entry.ForkCreated(
            FORK, keys.owner.public, ledger.entry.SERVICE, LAYOUT, RECIPE, self.state.digest, DIMENSION
        )
        body = ledger.entry.encode_fork_created(created)
        message = ledger.keys.signed_message(ledger.entry.FORK_CREATED, self.log.origin, body)
        signature = keys.owner.sign(message)
        self.log.create_fork(ledger.entry.SignedControl(ledger.entry.FORK_CREATED, body, (signature,)))
        self.writer = Writer(self.log.origin, created, keys.owner, keys.root)

    def close(self) -> None:
        self.log.close()
        self.keystore.close()

    def write(self, many: int = 1) -> None:
        for _ in range(many):
            said = SAID[self.count % len(SAID)]
            self.count += 1
            update = drawn_update(self.numbers, SIGNS)
            self.state = advance(self.state, self.state.version + 1, update)
            record, salt = build_record(
                self.writer, self.count, self.count.to_bytes(16, "big"), said, update, self.state.digest,
                particulars(), self.random,
            )  # fmt: skip
            commitment = ledger.record.decode_body(record.body).key_commitment
            self.keystore.keep_salt(FORK, commitment, salt)
            self.log.append(record)

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "snapshots").glob("*/*"))

    def open(self, snapshots: bool = True) -> LiveFork:
        kept = Snapshots(self.folder / "snapshots", self.random) if snapshots else None
        return LiveFork(self.log, self.keystore, FORK, kept)

    def leave_snapshot(self) -> None:
        fork = self.open()
        fork.caught_up()
        fork.keep()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(live, "EVERY", 4)
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of the entries that were replayed."""
    versions: list[int] = []

    def noted(entries: Any, *given: Any, **more: Any) -> Any:
        def each() -> Iterator[Any]:
            for stored, entry in entries:
                versions.append(entry.version)
                yield stored, entry

        return replay(each(), *given, **more)

    monkeypatch.setattr("modelfork.live.replay", noted)
    return versions


def inside(memory: Memory) -> dict[str, object]:
    """All that a memory holds, whatever fields it has, in its order."""
    return {name: list(kept.items()) if isinstance(kept, dict) else kept for name, kept in vars(memory).items()}


def expect_same(one: LiveFork, other: LiveFork) -> None:
    (ours, writer), (theirs, _) = one.caught_up(), other.caught_up()
    assert ours.state.digest == theirs.state.digest
    assert (ours.state.version, ours.head, ours.records) == (theirs.state.version, theirs.head, theirs.records)
    assert writer.fork == ours.fork == theirs.fork
    assert inside(one.memory) == inside(other.memory)


@pytest.mark.parametrize("before", range(4, 26, 3))
def test_from_a_snapshot_and_what_came_since_it_is_the_fork_that_was_replayed(
    house: House, before: int, replayed: list[int]
) -> None:
    house.write(before)
    house.leave_snapshot()
    house.write(3)
    replayed.clear()
    opened = house.open()
    opened.caught_up()
    assert replayed == [before + 2, before + 3, before + 4]
    expect_same(opened, house.open(snapshots=False))
    assert opened.caught_up()[0].state.digest == house.state.digest


def test_the_snapshot_of_a_fork_that_was_read_from_one_is_whole_again(house: House) -> None:
    for _ in range(6):
        house.write(5)
        house.leave_snapshot()
    expect_same(house.open(), house.open(snapshots=False))
    assert len(house.files) == 1


def test_a_snapshot_is_left_where_enough_came_since_the_last(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fork, versions = house.open(), []
    for _ in range(40):
        house.write()
        fork.caught_up()
        fork.keep()
        versions.append(int(house.files[0].name[:20]) if house.files else 0)
    assert versions[:9] == [0, 0, 4, 4, 4, 4, 8, 8, 8]
    monkeypatch.setattr(live, "EVERY", 1)
    left = []
    for _ in range(4):  # a sixteenth of 40 are 2
        house.write()
        house.leave_snapshot()
        left.append(int(house.files[0].name[:20]))
    assert left == [42, 42, 44, 44]


def test_a_fork_that_goes_on_in_memory_leaves_what_one_that_reads_leaves(house: House) -> None:
    stayed = house.open()
    stayed.caught_up()
    for _ in range(13):
        read, _ = stayed.caught_up()
        house.write()
        said, told = SAID[(house.count - 1) % len(SAID)], particulars()
        head = house.log.head(FORK)
        grown = replay(
            house.log.read(FORK, read.state.version), house.log.payloads, stayed._key_of, house.log.origin, read
        )
        assert grown.head == head.entry_hash
        stayed.go_on(grown, house.count.to_bytes(16, "big"), said, told)
        stayed.keep()
    expect_same(stayed, house.open())
    expect_same(house.open(), house.open(snapshots=False))


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [Path.unlink, spoil, lambda path: path.write_bytes(path.read_bytes()[:90])])
def test_without_a_whole_snapshot_the_fork_is_replayed(
    house: House, harm: Callable[[Path], object], replayed: list[int]
) -> None:
    house.write(9)
    house.leave_snapshot()
    harm(house.files[0])
    replayed.clear()
    opened = house.open()
    opened.caught_up()
    assert replayed == list(range(1, 11))
    expect_same(opened, house.open(snapshots=False))
    opened.keep()  # and there is one again
    expect_same(house.open(), opened)


@pytest.mark.parametrize("wrong", ["state", "head", "records", "fork", "version"])
def test_a_snapshot_that_the_ledger_contradicts_is_not_believed(
    house: House, wrong: str, monkeypatch: pytest.MonkeyPatch, replayed: list[int]
) -> None:
    """As a fault of ours would have written it: sealed and named as it should be."""
    house.write(9)
    save = Snapshots.save

    def faulty(self: Snapshots, key: Any, read: Any, *rest: Any) -> bool:
        changed: dict[str, Any] = {
            "state": {"state": replace(advance(read.state, 11, drawn_update(house.numbers, SIGNS)), version=10)},
            "head": {"head": bytes(32)},
            "records": {"records": read.records + 1},
            "fork": {"fork": replace(read.fork, recipe_digest=bytes(32))},
            "version": {"state": replace(read.state, version=9)},
        }
        return save(self, key, replace(read, **changed[wrong]), *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "save", faulty)
        house.leave_snapshot()
    assert len(house.files) == 1
    replayed.clear()
    opened = house.open()
    opened.caught_up()
    assert replayed == list(range(1, 11))
    assert opened.caught_up()[0].state.digest == house.state.digest


def test_a_snapshot_of_what_a_restored_ledger_does_not_hold_is_not_believed(house: House, tmp_path: Path) -> None:
    for name in ("data", "keys"):
        shutil.copytree(house.folder / name, tmp_path / "restored" / name)
    house.write(9)
    house.leave_snapshot()
    restored = House(tmp_path / "restored", seed=70)
    restored.write(2)
    shutil.copytree(house.folder / "snapshots", restored.folder / "snapshots")
    expect_same(restored.open(), restored.open(snapshots=False))
    restored.write(9)  # other records than those of the snapshot, under the same versions
    expect_same(restored.open(), restored.open(snapshots=False))
    assert restored.open().caught_up()[0].records == 11
    restored.close()


def test_a_disk_that_takes_no_snapshot_costs_no_more_than_the_snapshot(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    house.write(9)
    fork = house.open()
    fork.caught_up()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Snapshots, "save", full)
        fork.keep()
    assert "a snapshot could not be written: OSError" in caplog.text
    house.write(9)
    fork.caught_up()
    fork.keep()  # what taught before is forgotten: one without it would be wrong
    assert not house.files
    house.leave_snapshot()
    expect_same(house.open(), fork)


def test_what_taught_waits_in_memory_only_until_it_is_kept(house: House) -> None:
    house.write(20)
    fork, without = house.open(), house.open(snapshots=False)
    fork.caught_up()
    without.caught_up()
    assert without._since is None
    assert fork._since
    fork.keep()
    assert fork._since == []


def test_all_that_a_memory_takes_in_may_teach() -> None:
    """What is not kept in a snapshot must be nothing to the memory."""
    texts = ["What is it?", "It is so.", "", "?"]
    for text, answer, correction, rating, teaches in itertools.product(
        texts, ["", "Yes."], ["", "No."], [None, -1.0, 0.0, 0.5], [True, False]
    ):
        said = Interaction((Message("user", text),), answer, correction, rating, teaches=teaches)
        if not live.may_teach(said):
            memory = Memory()
            memory.remember(bytes(16), SAID[0])
            before = repr(inside(memory))
            memory.remember(b"x" * 16, said)
            assert repr(inside(memory)) == before, said
