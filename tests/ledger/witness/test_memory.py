"""The memory of a witness: what was kept is there, whoever else writes, and what is damaged cosigns nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.cosign import Ed25519Cosigner, MlDsa44Signer
from ledger.errors import Malformed, NotFound, Unavailable
from ledger.note import Ed25519Signer
from ledger.witness import memory as memories
from ledger.witness.memory import SPLIT_VIEW, UNPROVEN_GROWTH, Memory
from tests.ledger.witness.house import LOG_KEY, NOW, ORIGIN, history

TREE = history()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = Memory(tmp_path / "witness.db")
    opened.add_log(LOG_KEY.vkey)
    yield opened
    opened.close()


def test_what_was_kept_is_there_for_who_opens_the_file_next(memory: Memory, tmp_path: Path) -> None:
    with memory.turn() as turn:
        assert turn.latest(ORIGIN) is None
        turn.keep(TREE.tree(3), TREE.signed(3))
    other = Memory(tmp_path / "witness.db")
    try:
        assert other.logs() == {ORIGIN: TREE.tree(3)}
        with other.turn() as turn:
            assert turn.latest(ORIGIN) == (TREE.tree(3), TREE.signed(3))
    finally:
        other.close()


def test_a_turn_that_failed_changed_nothing(memory: Memory) -> None:
    def fails() -> None:
        with memory.turn() as turn:
            turn.keep(TREE.tree(3), TREE.signed(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert memory.logs() == {ORIGIN: None}
    with memory.turn() as turn:  # and the next turn is not in its way
        turn.keep(TREE.tree(2), TREE.signed(2))
    assert memory.logs() == {ORIGIN: TREE.tree(2)}


def test_a_turn_waits_for_another_process_s(memory: Memory, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "witness.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    memory._connection.execute("PRAGMA busy_timeout=50")
    with pytest.raises(Unavailable), memory.turn():
        raise AssertionError("two turns at once")
    other.execute("ROLLBACK")
    other.close()
    with memory.turn():
        pass


def test_commits_are_synced_to_the_disk(memory: Memory) -> None:
    assert memory._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert memory._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_log_may_have_several_keys_and_is_listed_once(memory: Memory) -> None:
    second = MlDsa44Signer(ORIGIN, bytes(32), lambda: 0)
    assert memory.add_log(second.vkey) == memory.add_log(second.vkey) == ORIGIN
    with memory.turn() as turn:
        assert {verifier.vkey for verifier in turn.verifiers(ORIGIN)} == {LOG_KEY.vkey, second.vkey}
        with pytest.raises(NotFound):
            turn.verifiers("other.example/log")
    memory.add_log(Ed25519Signer("a.example/log", bytes(32)).vkey)
    assert list(memory.logs()) == ["a.example/log", ORIGIN]


def test_a_cosigner_s_key_is_no_log_s(memory: Memory) -> None:
    with pytest.raises(Malformed):
        memory.add_log(Ed25519Cosigner(ORIGIN, bytes(32), lambda: 0).vkey)


def test_the_same_evidence_is_kept_once_and_counted(memory: Memory) -> None:
    fork = history(shared=0)
    with memory.turn() as turn:
        assert turn.alarm(SPLIT_VIEW, fork.tree(3), fork.signed(3), TREE.signed(3), NOW)
        assert not turn.alarm(SPLIT_VIEW, fork.tree(3), fork.signed(3), TREE.signed(3), NOW + 5)
        assert turn.alarm(SPLIT_VIEW, fork.tree(4), fork.signed(4), TREE.signed(4), NOW + 9)
    first, second = memory.alarms()
    assert (first.size, first.times, first.first_seen, first.known, first.offered) == (
        3, 2, NOW, TREE.signed(3), fork.signed(3)
    )  # fmt: skip
    assert (second.size, second.times, second.first_seen) == (4, 1, NOW + 9)


def test_unproven_growth_does_not_fill_the_disk_nor_crowd_out_a_split_view(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memories, "MOST_UNPROVEN", 3)
    fork = history(shared=0)
    with memory.turn() as turn:
        for size in range(3, 13):
            turn.alarm(UNPROVEN_GROWTH, fork.tree(size), fork.signed(size), TREE.signed(2), NOW)
        turn.alarm(SPLIT_VIEW, fork.tree(2), fork.signed(2), TREE.signed(2), NOW)
    assert [(alarm.kind, alarm.size) for alarm in memory.alarms()] == [
        (UNPROVEN_GROWTH, 3), (UNPROVEN_GROWTH, 4), (UNPROVEN_GROWTH, 5), (SPLIT_VIEW, 2)
    ]  # fmt: skip


def test_growth_that_is_proven_after_all_is_no_evidence_any_more(memory: Memory) -> None:
    with memory.turn() as turn:
        turn.alarm(UNPROVEN_GROWTH, TREE.tree(5), TREE.signed(5), TREE.signed(2), NOW)
        turn.keep(TREE.tree(5), TREE.signed(5))
    assert memory.alarms() == []


@pytest.mark.parametrize(
    "damage", [b"", b"damaged", TREE.signed(3)[:-90], TREE.signed(3).replace(b"log.example", b"x.example")]
)
def test_a_damaged_memory_cosigns_nothing(memory: Memory, damage: bytes) -> None:
    with memory.turn() as turn:
        turn.keep(TREE.tree(3), TREE.signed(3))
    memory._connection.execute("UPDATE latest SET note=?", [damage])
    with pytest.raises(Unavailable), memory.turn() as turn:
        turn.latest(ORIGIN)
    with pytest.raises(Unavailable):
        memory.logs()


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("not a database, by far: " * 100)
    with pytest.raises(Malformed, match=r"other\.db"):
        Memory(tmp_path / "other.db")
