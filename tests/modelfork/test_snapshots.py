"""A snapshot saves time and nothing else: what is damaged or foreign is passed over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import ledger
from ledger.errors import Malformed, Refused
from modelfork import snapshots
from modelfork.replay import Replayed, replay
from tests.modelfork.written import ORIGIN, Fork, open_ledger

KEY = bytes(range(32))


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


def heads(fork: Fork) -> dict[int, bytes]:
    return {entry.version: ledger.merkle.leaf_hash(stored.data) for stored, entry in fork.entries()}


def load(fork: Fork, folder: Path, key: bytes = KEY) -> Replayed | None:
    return snapshots.load(folder, key, ORIGIN, fork.fork_id, heads(fork).get)


def save(fork: Fork, folder: Path, entries: int | None = None) -> Path:
    part = replay(fork.entries()[:entries], fork.log.payloads, fork.key_of, ORIGIN)
    return snapshots.save(folder, KEY, part, fork.random(24))


def test_replay_from_a_snapshot_comes_to_the_state_of_replay_from_genesis(fork: Fork, folder: Path) -> None:
    save(fork, folder, 3)
    start = load(fork, folder)
    assert start is not None
    assert (start.state.version, start.records, start.checked) == (3, 2, 2)
    result, whole = fork.replay(start), fork.replay()
    assert result.state.digest == whole.state.digest == fork.state.digest
    assert (result.head, result.records, result.checked, result.fork) == (whole.head, 4, 4, whole.fork)


def test_the_newest_snapshot_stays_alone(fork: Fork, folder: Path) -> None:
    save(fork, folder, 3)
    left = folder / fork.fork_id / "0-left.unfinished"
    left.write_bytes(b"by a process that died")
    newest = save(fork, folder)
    assert list((folder / fork.fork_id).iterdir()) == [newest]
    loaded = load(fork, folder)
    assert loaded is not None
    assert loaded.state.version == 5


def test_nothing_readable_lies_on_the_disk(fork: Fork, folder: Path) -> None:
    data = save(fork, folder).read_bytes()
    for plain in (fork.state.vector.tobytes()[:64], fork.fork_id.encode(), fork.state.digest, fork.state.layout_digest):
        assert plain not in data
    assert fork.state.digest.hex() not in str(list(folder.rglob("*")))


def test_no_snapshot_is_no_start(fork: Fork, folder: Path) -> None:
    assert load(fork, folder) is None
    save(fork, folder)
    snapshots.drop(folder, fork.fork_id)
    snapshots.drop(folder, fork.fork_id)
    assert load(fork, folder) is None


def test_a_damaged_snapshot_is_passed_over(fork: Fork, folder: Path) -> None:
    path = save(fork, folder)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"x", bytes([whole[0] ^ 1]) + whole[1:], whole[:100] + b"?" + whole[101:]):
        path.write_bytes(damaged)
        assert load(fork, folder) is None
    path.write_bytes(whole)
    assert load(fork, folder) is not None


def test_an_older_snapshot_serves_where_the_newer_is_damaged(fork: Fork, folder: Path) -> None:
    older = save(fork, folder, 3)
    kept = older.read_bytes()
    newer = save(fork, folder)
    older.write_bytes(kept)
    newer.write_bytes(b"damaged")
    start = load(fork, folder)
    assert start is not None
    assert start.state.version == 3


def test_a_foreign_snapshot_is_passed_over(fork: Fork, folder: Path) -> None:
    path = save(fork, folder)
    other = Fork(fork.log, seed=9)
    # under another key; of another fork; of another log; under another name
    assert load(fork, folder, bytes(32)) is None
    (folder / other.fork_id).mkdir()
    (folder / other.fork_id / path.name).write_bytes(path.read_bytes())
    assert load(other, folder) is None
    assert snapshots.load(folder, KEY, "other.example/log", fork.fork_id, heads(fork).get) is None
    path.rename(path.with_name(path.name.replace(path.stem[-4:], "0000")))
    assert load(fork, folder) is None


def test_a_snapshot_of_entries_that_the_ledger_does_not_hold_is_passed_over(fork: Fork, folder: Path) -> None:
    save(fork, folder)
    short = {version: head for version, head in heads(fork).items() if version < 5}
    assert snapshots.load(folder, KEY, ORIGIN, fork.fork_id, short.get) is None
    assert snapshots.load(folder, KEY, ORIGIN, fork.fork_id, {**heads(fork), 5: bytes(32)}.get) is None


def test_a_fork_id_is_no_path(fork: Fork, folder: Path) -> None:
    with pytest.raises(Malformed):
        snapshots.load(folder, KEY, ORIGIN, "../elsewhere", heads(fork).get)
    with pytest.raises(Refused):
        snapshots.save(folder, b"short", fork.replay(), bytes(24))
