"""A snapshot saves time and nothing else: what is damaged or foreign is passed over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ledger
from ledger.errors import Malformed
from modelfork import snapshots
from modelfork.interaction import Interaction, Message
from modelfork.replay import Replayed, replay
from modelfork.snapshots import Snapshot, Snapshots, Taught
from tests.modelfork.written import ORIGIN, SAID, Fork, open_ledger, particulars

KEY = ledger.vault.snapshot_key(bytes(range(32)))
SECRET = "Wie heißt mein Hund?"


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Fork]:
    log = open_ledger(tmp_path / "ledger.sqlite")
    fork = Fork(log)
    for _ in range(4):
        fork.learn()
    yield fork
    log.store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def kept(folder: Path) -> Snapshots:
    return Snapshots(folder, np.random.default_rng(3).bytes)


def taught(number: int) -> Taught:
    said = Interaction((Message("user", f"{SECRET} {number}"),), "Nein.", correction="Rex.", rating=-0.5)
    return Taught(bytes([number]) * 16, said, particulars())


def read(fork: Fork, entries: int | None = None) -> Replayed:
    return replay(fork.entries()[:entries], fork.log.payloads, fork.key_of, ORIGIN)


def save(
    kept: Snapshots, fork: Fork, entries: int | None = None, what: tuple[Taught, ...] = (), after: int = 0
) -> bool:
    return kept.save(KEY, read(fork, entries), what, after)


def load(kept: Snapshots, fork: Fork, holds: Callable[[Replayed], bool] = lambda _: True) -> Snapshot | None:
    return kept.load(KEY, ORIGIN, fork.fork_id, holds)


def files(folder: Path, fork: Fork) -> list[Path]:
    return sorted((folder / fork.fork_id).iterdir())


def test_replay_from_a_snapshot_comes_to_the_state_of_replay_from_genesis(fork: Fork, kept: Snapshots) -> None:
    assert save(kept, fork, 3)
    start = load(kept, fork)
    assert start is not None
    assert (start.replayed.state.version, start.replayed.records, start.replayed.checked) == (3, 2, 2)
    result, whole = fork.replay(start.replayed), fork.replay()
    assert result.state.digest == whole.state.digest == fork.state.digest
    assert (result.head, result.records, result.checked, result.fork) == (whole.head, 4, 4, whole.fork)


def test_what_taught_comes_back_whole_and_in_its_order(fork: Fork, kept: Snapshots) -> None:
    said = (taught(1), taught(2), Taught(b"r" * 16, SAID, particulars()))
    assert save(kept, fork, what=said)
    found = load(kept, fork)
    assert found is not None
    assert found.taught == said


def test_the_next_snapshot_takes_over_what_the_one_before_had_of_the_records(fork: Fork, kept: Snapshots) -> None:
    assert save(kept, fork, 2, (taught(1),))
    assert save(kept, fork, 4, (taught(2), taught(3)), after=2)
    assert save(kept, fork, 5, (), after=4)
    found = load(kept, fork)
    assert found is not None
    assert found.taught == (taught(1), taught(2), taught(3))


def test_without_the_one_before_there_is_no_next(fork: Fork, kept: Snapshots, folder: Path) -> None:
    """It would miss what taught before, and nobody would notice."""
    assert not save(kept, fork, 4, (taught(2),), after=2)
    save(kept, fork, 2, (taught(1),))
    (one,) = files(folder, fork)
    one.write_bytes(one.read_bytes()[:-1])
    assert not save(kept, fork, 4, (taught(2),), after=2)
    assert load(kept, fork) is None


def test_the_newest_snapshot_stays_alone(fork: Fork, kept: Snapshots, folder: Path) -> None:
    save(kept, fork, 3)
    (folder / fork.fork_id / "9-left.unfinished").write_bytes(b"by a process that died")
    for _ in range(4):
        save(kept, fork)
    (newest,) = files(folder, fork)
    assert newest.name.startswith(f"{5:020d}-")
    loaded = load(kept, fork)
    assert loaded is not None
    assert loaded.replayed.state.version == 5


def test_nothing_readable_lies_on_the_disk(fork: Fork, kept: Snapshots, folder: Path) -> None:
    save(kept, fork, what=(taught(1),))
    (path,) = files(folder, fork)
    state = fork.state
    for plain in (state.vector.tobytes()[:64], fork.fork_id.encode(), state.digest, state.layout_digest, b"Hund"):
        assert plain not in path.read_bytes()
    assert fork.state.digest.hex() not in str(list(folder.rglob("*")))
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_snapshot_is_no_start(fork: Fork, kept: Snapshots) -> None:
    assert load(kept, fork) is None
    save(kept, fork)
    kept.drop(fork.fork_id)
    kept.drop(fork.fork_id)
    assert load(kept, fork) is None


def test_a_damaged_snapshot_is_passed_over(fork: Fork, kept: Snapshots, folder: Path) -> None:
    save(kept, fork)
    (path,) = files(folder, fork)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"x", bytes([whole[0] ^ 1]) + whole[1:], whole[:100] + b"?" + whole[101:]):
        path.write_bytes(damaged)
        assert load(kept, fork) is None
    path.write_bytes(whole)
    assert load(kept, fork) is not None


def test_an_older_snapshot_serves_where_the_newer_is_damaged(fork: Fork, kept: Snapshots, folder: Path) -> None:
    save(kept, fork, 3)
    (older,) = files(folder, fork)
    bytes_of_older = older.read_bytes()
    save(kept, fork)
    (newer,) = files(folder, fork)
    older.write_bytes(bytes_of_older)
    newer.write_bytes(b"damaged")
    start = load(kept, fork)
    assert start is not None
    assert start.replayed.state.version == 3


def test_a_foreign_snapshot_is_passed_over(fork: Fork, kept: Snapshots, folder: Path) -> None:
    save(kept, fork)
    (path,) = files(folder, fork)
    other = Fork(fork.log, seed=9)
    # under another key; of another fork; of another log; under another name
    assert kept.load(ledger.vault.snapshot_key(bytes(32)), ORIGIN, fork.fork_id, lambda _: True) is None
    (folder / other.fork_id).mkdir()
    (folder / other.fork_id / path.name).write_bytes(path.read_bytes())
    assert load(kept, other) is None
    assert kept.load(KEY, "other.example/log", fork.fork_id, lambda _: True) is None
    path.rename(path.with_name(path.name.replace(path.stem[-4:], "0000")))
    assert load(kept, fork) is None


def test_what_says_another_length_than_it_has_is_passed_over(
    fork: Fork, kept: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an older program, or a fault of ours, would have written and sealed it."""
    encode = snapshots._encode_taught
    for spoil in (lambda one: encode(one)[:-1], lambda one: encode(one) + b"x", lambda _: b"x" * 7):
        with monkeypatch.context() as patch:
            patch.setattr(snapshots, "_encode_taught", spoil)
            assert save(kept, fork, what=(taught(1),))
        assert load(kept, fork) is None
    monkeypatch.setattr(snapshots, "_encode_replayed", lambda _: b"short")
    save(kept, fork)
    assert load(kept, fork) is None


def test_a_snapshot_that_does_not_hold_against_the_ledger_is_passed_over(fork: Fork, kept: Snapshots) -> None:
    save(kept, fork)
    assert load(kept, fork, lambda _: False) is None

    def missing(_: Replayed) -> bool:
        raise ledger.errors.NotFound("version 5: not in this ledger")

    assert load(kept, fork, missing) is None
    assert load(kept, fork, lambda found: found.head == read(fork).head) is not None


def test_one_that_would_be_too_large_is_not_written(
    fork: Fork, kept: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LARGEST", 2000)
    assert save(kept, fork, 3)
    assert not save(kept, fork, 5, tuple(map(taught, range(20))), after=3)
    found = load(kept, fork)
    assert found is not None
    assert found.replayed.state.version == 3


def test_the_folder_stays_within_its_bound_and_what_was_used_last_stays(fork: Fork, folder: Path) -> None:
    forks = [fork, *(Fork(fork.log, seed=seed) for seed in range(1, 8))]
    for other in forks[1:]:
        other.learn()
    save(Snapshots(folder, np.random.default_rng(3).bytes), fork)
    (one,) = files(folder, fork)
    size = one.stat().st_size
    kept = Snapshots(folder, np.random.default_rng(4).bytes, most_bytes=6 * size)  # it finds one there
    for at, other in enumerate(forks[1:]):
        assert save(kept, other)
        for path in files(folder, other):
            os.utime(path, ns=(at + 1, at + 1))
        os.utime(one, ns=(0, 0))
        load(kept, fork)  # in use all the time
        assert sum(path.stat().st_size for path in folder.glob("*/*")) <= 6 * size
    assert load(kept, fork) is not None
    assert load(kept, forks[-1]) is not None
    assert load(kept, forks[1]) is None
    assert not (folder / forks[1].fork_id).exists()


def test_a_fork_id_is_no_path(kept: Snapshots) -> None:
    with pytest.raises(Malformed):
        kept.load(KEY, ORIGIN, "../elsewhere", lambda _: True)
    with pytest.raises(Malformed):
        kept.drop("../elsewhere")
