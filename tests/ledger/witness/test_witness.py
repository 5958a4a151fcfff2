"""A witness never cosigns two checkpoints that do not go together: split views, races, copies, in any order."""

from __future__ import annotations

import itertools
import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import note
from ledger.checkpoint import Checkpoint
from ledger.cosign import Ed25519Cosigner, MlDsa44Signer
from ledger.errors import (
    BadProof,
    BadSignature,
    LedgerError,
    Malformed,
    NotFound,
    SplitView,
    StaleSize,
    Unavailable,
)
from ledger.merkle import check_consistency
from ledger.note import Ed25519Signer
from ledger.witness.keys import WitnessKeys
from ledger.witness.memory import SPLIT_VIEW, UNPROVEN_GROWTH, Memory
from ledger.witness.request import AddCheckpoint
from ledger.witness.witness import Witness
from tests.ledger.witness.house import LOG_KEY, NOW, ORIGIN, History, cosigned, history, keys, witness_in

HONEST = history()
FORK = history(shared=5)  # the first five leaves are those of HONEST
SEEN = 7  # what the witness cosigned of HONEST when a fork is shown to it


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    with witness_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def has_seen(witness: Witness) -> Witness:
    witness.add_checkpoint(HONEST.asks(0, SEEN))
    return witness


def latest(witness: Witness) -> Checkpoint | None:
    return witness.logs()[ORIGIN]


# --- growth ---


def test_growth_is_cosigned_with_both_keys_at_the_time_of_the_clock(witness: Witness) -> None:
    for old, size in itertools.pairwise([0, 1, 2, 3, 7, 8, 21, 40]):
        answer = witness.add_checkpoint(HONEST.asks(old, size))
        assert cosigned(answer, HONEST.tree(size)) == [NOW, NOW]
        assert latest(witness) == HONEST.tree(size)
    assert witness.alarms() == []


def test_the_same_checkpoint_is_cosigned_again_with_a_newer_time(tmp_path: Path) -> None:
    with witness_in(tmp_path) as first:
        first.add_checkpoint(HONEST.asks(0, SEEN))
    later = keys(now=NOW + 60)
    with witness_in(tmp_path, later) as again:
        answer = again.add_checkpoint(HONEST.asks(SEEN, SEEN))
    assert cosigned(answer, HONEST.tree(SEEN), later) == [NOW + 60, NOW + 60]


def test_an_empty_log_is_cosigned_and_grows(witness: Witness) -> None:
    assert cosigned(witness.add_checkpoint(HONEST.asks(0, 0)), HONEST.tree(0))
    assert cosigned(witness.add_checkpoint(HONEST.asks(0, 0)), HONEST.tree(0))
    assert cosigned(witness.add_checkpoint(HONEST.asks(0, 3)), HONEST.tree(3))


def test_a_log_may_sign_with_each_of_its_keys_or_with_all(witness: Witness) -> None:
    ml_dsa = MlDsa44Signer(ORIGIN, bytes(32), lambda: 0)
    with pytest.raises(BadSignature):
        witness.add_checkpoint(HONEST.asks(0, 3, ml_dsa))
    witness.add_log(ml_dsa.vkey)
    assert witness.add_checkpoint(HONEST.asks(0, 3, ml_dsa))
    assert witness.add_checkpoint(HONEST.asks(3, 4, LOG_KEY))
    assert witness.add_checkpoint(HONEST.asks(4, 5, ml_dsa, LOG_KEY))


def test_logs_do_not_get_in_one_another_s_way(has_seen: Witness) -> None:
    other = Ed25519Signer("other.example/log", bytes(32))
    has_seen.add_log(other.vkey)
    tree = FORK.tree(3, other.name)
    signed = note.sign(tree.encode(), [other])
    assert cosigned(has_seen.add_checkpoint(AddCheckpoint(0, (), signed).encode()), tree)
    assert has_seen.logs() == {ORIGIN: HONEST.tree(SEEN), other.name: tree}


def test_a_witness_keeps_no_signature_but_the_log_s_own(witness: Witness) -> None:
    stranger = Ed25519Signer("stranger.example/x", bytes([5]) * 32)
    signed = HONEST.signed(3) + note.Signature(stranger.name, stranger.key_id, stranger.sign(b"anything")).encode()
    assert witness.add_checkpoint(AddCheckpoint(0, (), signed).encode())
    with witness._memory.turn() as turn:
        assert turn.latest(ORIGIN) == (HONEST.tree(3), HONEST.signed(3))


# --- what is refused; nothing is remembered of it ---


def test_an_unknown_log_is_not_found_whoever_signed(has_seen: Witness) -> None:
    other = Ed25519Signer("other.example/log", bytes(32))
    signed = note.sign(HONEST.tree(3, other.name).encode(), [other])
    with pytest.raises(NotFound):
        has_seen.add_checkpoint(AddCheckpoint(0, (), signed).encode())


def test_a_known_log_s_origin_under_another_log_s_key_is_no_signature(has_seen: Witness) -> None:
    other = Ed25519Signer("other.example/log", bytes(32))
    has_seen.add_log(other.vkey)
    forged = Ed25519Signer(ORIGIN, bytes([2]) * 32)
    body = AddCheckpoint(SEEN, tuple(HONEST.prove(SEEN, 9)), b"").encode()
    for signer in (other, forged):
        with pytest.raises(BadSignature):
            has_seen.add_checkpoint(body + note.sign(HONEST.tree(9).encode(), [signer]))
    assert latest(has_seen) == HONEST.tree(SEEN)


@given(st.data())
@settings(max_examples=100)
def test_no_changed_byte_is_cosigned_as_something_else(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder, witness_in(Path(folder)) as witness:
        witness.add_checkpoint(HONEST.asks(0, SEEN))
        body = bytearray(HONEST.asks(SEEN, 12))
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] ^= data.draw(st.integers(1, 255))
        try:
            answer = witness.add_checkpoint(bytes(body))
        except LedgerError:
            assert latest(witness) == HONEST.tree(SEEN)
        else:  # the key name of another signature line, say
            assert cosigned(answer, HONEST.tree(12))


def test_a_checkpoint_with_extension_lines_is_malformed(has_seen: Witness) -> None:
    signed = note.sign(HONEST.tree(9).encode() + b"extension\n", [LOG_KEY])
    with pytest.raises(Malformed):
        has_seen.add_checkpoint(AddCheckpoint(SEEN, tuple(HONEST.prove(SEEN, 9)), signed).encode())


def test_an_old_size_above_the_new_one_is_malformed(has_seen: Witness) -> None:
    with pytest.raises(Malformed):
        has_seen.add_checkpoint(AddCheckpoint(9, (), HONEST.signed(8)).encode())


@pytest.mark.parametrize("old", [0, 3, SEEN - 1, SEEN + 1])
def test_growth_from_elsewhere_names_the_size_that_was_cosigned(has_seen: Witness, old: int) -> None:
    with pytest.raises(StaleSize) as caught:
        has_seen.add_checkpoint(HONEST.asks(old, 12))
    assert caught.value.size == SEEN
    assert latest(has_seen) == HONEST.tree(SEEN)


def test_a_smaller_checkpoint_is_never_cosigned_again(has_seen: Witness) -> None:
    for old in (0, 3, SEEN - 1):
        with pytest.raises(StaleSize):
            has_seen.add_checkpoint(HONEST.asks(old, SEEN - 1))


def test_a_witness_that_cosigned_nothing_wants_growth_from_zero_without_a_proof(witness: Witness) -> None:
    with pytest.raises(StaleSize) as caught:
        witness.add_checkpoint(HONEST.asks(3, 5))
    assert caught.value.size == 0
    with pytest.raises(BadProof):
        witness.add_checkpoint(AddCheckpoint(0, (bytes(32),), HONEST.signed(5)).encode())
    assert (latest(witness), witness.alarms()) == (None, [])


@given(size=st.integers(SEEN + 1, 40), proof=st.lists(st.binary(min_size=32, max_size=32), max_size=8))
def test_growth_without_its_own_proof_is_not_cosigned(size: int, proof: list[bytes]) -> None:
    with TemporaryDirectory() as folder, witness_in(Path(folder)) as witness:
        witness.add_checkpoint(HONEST.asks(0, SEEN))
        with pytest.raises(BadProof):
            witness.add_checkpoint(AddCheckpoint(SEEN, tuple(proof), HONEST.signed(size)).encode())
        assert latest(witness) == HONEST.tree(SEEN)


def test_a_needless_proof_is_refused_and_no_evidence(has_seen: Witness) -> None:
    with pytest.raises(BadProof):
        has_seen.add_checkpoint(AddCheckpoint(SEEN, (bytes(32),), HONEST.signed(SEEN)).encode())
    assert has_seen.alarms() == []


# --- split views ---


@pytest.mark.parametrize("old", [SEEN, 0, 5])
def test_another_root_at_the_same_size_is_refused_alarmed_and_kept_as_evidence(
    has_seen: Witness, old: int, caplog: pytest.LogCaptureFixture
) -> None:
    for times in (1, 2):
        with caplog.at_level(logging.ERROR, "forkledger.witness"), pytest.raises(SplitView) as caught:
            has_seen.add_checkpoint(FORK.asks(old, SEEN))
        assert caught.value.size == SEEN
        (alarm,) = has_seen.alarms()
        assert (alarm.origin, alarm.kind, alarm.size, alarm.times) == (ORIGIN, SPLIT_VIEW, SEEN, times)
    assert latest(has_seen) == HONEST.tree(SEEN)
    # Whoever has the log's key can see from the two notes alone that it signed both.
    known, offered = (note.open_note(each, [LOG_KEY.verifier]).text for each in (alarm.known, alarm.offered))
    assert (known, offered) == (HONEST.tree(SEEN).encode(), FORK.tree(SEEN).encode())
    fields = vars(caplog.records[-1])
    assert caplog.records[-1].levelno == logging.ERROR
    assert fields["event"] == SPLIT_VIEW
    assert (fields["origin"], fields["known_size"], fields["offered_size"]) == (ORIGIN, SEEN, SEEN)
    assert fields["known_root"] == HONEST.tree(SEEN).root.hex()
    assert fields["offered_root"] == FORK.tree(SEEN).root.hex()


@pytest.mark.parametrize("size", [8, 9, 12, 40])
def test_a_larger_fork_is_refused_and_both_notes_are_kept(has_seen: Witness, size: int) -> None:
    with pytest.raises(BadProof):
        has_seen.add_checkpoint(FORK.asks(SEEN, size))
    assert latest(has_seen) == HONEST.tree(SEEN)
    (alarm,) = has_seen.alarms()
    assert (alarm.kind, alarm.known, alarm.offered) == (UNPROVEN_GROWTH, HONEST.signed(SEEN), FORK.signed(size))


def test_a_larger_fork_is_refused_where_the_old_tree_is_a_full_one(witness: Witness) -> None:
    witness.add_checkpoint(HONEST.asks(0, 8))  # then the proof starts from the root that the witness has
    with pytest.raises(BadProof):
        witness.add_checkpoint(FORK.asks(8, 12))
    assert latest(witness) == HONEST.tree(8)


def test_a_smaller_fork_is_refused(has_seen: Witness) -> None:
    with pytest.raises(StaleSize):
        has_seen.add_checkpoint(FORK.asks(5, 6))
    assert latest(has_seen) == HONEST.tree(SEEN)


def test_a_log_restored_from_a_backup_cannot_grow_another_way(tmp_path: Path) -> None:
    with witness_in(tmp_path) as witness:
        witness.add_checkpoint(HONEST.asks(0, 5))  # the backup is of this time
        witness.add_checkpoint(HONEST.asks(5, SEEN))
        for size in range(5, 40):
            for old in {5, 6, SEEN, size}:
                if old <= size:
                    with pytest.raises(LedgerError):
                        witness.add_checkpoint(FORK.asks(old, size))
        assert latest(witness) == HONEST.tree(SEEN)
        assert {alarm.kind for alarm in witness.alarms()} == {SPLIT_VIEW, UNPROVEN_GROWTH}
        assert cosigned(witness.add_checkpoint(HONEST.asks(SEEN, 8)), HONEST.tree(8))  # the true log goes on


def test_a_witness_whose_memory_is_an_old_copy_does_cosign_a_fork(tmp_path: Path) -> None:
    """Why the memory belongs into no backup, and why a policy asks for more than one witness."""
    with witness_in(tmp_path) as witness:
        witness.add_checkpoint(HONEST.asks(0, 5))
    shutil.copytree(tmp_path, tmp_path / "old")
    with witness_in(tmp_path) as witness:
        witness.add_checkpoint(HONEST.asks(5, SEEN))
    with witness_in(tmp_path / "old") as witness:
        assert cosigned(witness.add_checkpoint(FORK.asks(5, SEEN)), FORK.tree(SEEN))


def test_a_client_that_holds_an_old_checkpoint_notices_the_fork_that_a_forgetful_witness_cosigned() -> None:
    held, shown = HONEST.tree(SEEN), FORK.tree(12)
    for history_shown in (FORK, HONEST):  # no proof leads from what it holds to the fork, whoever makes it
        with pytest.raises(BadProof):
            check_consistency(SEEN, 12, held.root, shown.root, history_shown.prove(SEEN, 12))
    check_consistency(SEEN, 12, held.root, HONEST.tree(12).root, HONEST.prove(SEEN, 12))


# --- at once ---


def test_of_a_checkpoint_and_a_larger_one_at_once_the_smaller_never_comes_last(tmp_path: Path) -> None:
    """The race of the standard: N and N+K both shown from the same size, to one memory, from many threads."""
    with witness_in(tmp_path) as one, witness_in(tmp_path) as two:
        for base in range(0, 36, 3):
            together = threading.Barrier(4, timeout=60)

            def ask(which: Witness, size: int, base: int = base, together: threading.Barrier = together) -> int | None:
                body = HONEST.asks(base, size)
                together.wait()
                try:
                    which.add_checkpoint(body)
                except StaleSize:
                    return None
                return size

            asked = [(one, base + 1), (one, base + 3), (two, base + 1), (two, base + 3)]
            with ThreadPoolExecutor(4) as pool:
                given = list(pool.map(ask, *zip(*asked, strict=True)))
            # Each was shown from `base`: only one of the two sizes can have been cosigned.
            (size,) = {each for each in given if each is not None}
            assert latest(one) == latest(two) == HONEST.tree(size)
            if size == base + 1:
                one.add_checkpoint(HONEST.asks(size, base + 3))


def test_the_time_is_read_while_nothing_larger_can_be_cosigned(tmp_path: Path) -> None:
    """A cosignature says that nothing larger was seen until its time: read after the turn, that could be false."""
    other = sqlite3.connect(tmp_path / "witness.db", isolation_level=None, timeout=0)
    looked: list[bool] = []

    def clock() -> int:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            looked.append(True)
        else:
            other.execute("ROLLBACK")
            looked.append(False)
        return NOW

    ticking = WitnessKeys(Ed25519Cosigner("w", bytes(32), clock), MlDsa44Signer("w", bytes(32), clock))
    with witness_in(tmp_path, ticking) as witness:
        witness.add_checkpoint(HONEST.asks(0, 3))
        witness.add_checkpoint(HONEST.asks(3, 3))
    other.close()
    assert looked == [True] * 4


def race(folder: str, fork: bool, start: object, answers: object) -> None:
    """In a process of its own: shows one history, step by step, from whatever size the witness names."""
    mine = FORK if fork else HONEST
    given: list[tuple[int, bytes]] = []
    with witness_in(Path(folder)) as witness:
        start.wait(60)  # type: ignore[attr-defined]
        old, size = 5, 6
        while size <= 40:
            try:
                witness.add_checkpoint(mine.asks(old, size))
                given.append((size, mine.tree(size).root))
            except StaleSize as stale:
                old = stale.size
                size = max(size, old)
                continue
            except (SplitView, BadProof):
                break
            old, size = size, size + 1
    answers.put(given)  # type: ignore[attr-defined]


def test_two_processes_that_show_two_histories_never_both_get_cosignatures(tmp_path: Path) -> None:
    with witness_in(tmp_path) as witness:
        witness.add_checkpoint(HONEST.asks(0, 5))
    context = get_context("spawn")
    start, answers = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=race, args=(str(tmp_path), number % 2 == 1, start, answers)) for number in range(4)
    ]
    for process in processes:
        process.start()
    given = [pair for _ in processes for pair in answers.get(timeout=120)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert given
    roots = {root for _, root in given}
    assert roots <= {HONEST.tree(size).root for size in range(6, 41)} or roots <= {
        FORK.tree(size).root for size in range(6, 41)
    }


# --- any order ---

STEPS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.integers(0, 40), st.integers(0, 40), st.booleans()),
    min_size=1,
    max_size=25,
)
HISTORIES: tuple[History, ...] = (HONEST, FORK, history(shared=9, name="third"))


def consistent(one: tuple[History, int], two: tuple[History, int]) -> bool:
    """Whether a later tree only adds to an earlier one, by the leaves themselves."""
    (first, small), (second, _) = sorted((one, two), key=lambda pair: pair[1])
    return first.leaves[:small] == second.leaves[:small]


@given(STEPS)
@settings(max_examples=200)
def test_no_order_of_growth_and_forks_gets_cosignatures_that_do_not_go_together(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    cosigned_trees: list[tuple[History, int]] = []
    with TemporaryDirectory() as folder:
        opened = witness_in(Path(folder), knows=True)
        witness = opened.__enter__()
        for which, old, size, reopens in steps:
            shown = HISTORIES[which]
            if reopens:
                opened.__exit__(None, None, None)
                opened = witness_in(Path(folder))
                witness = opened.__enter__()
            # An adversary shows growth from where the witness stands, from where it likes, and with any proof.
            now = latest(witness)
            for start in {min(now.size if now else 0, size), min(old, size)}:
                try:
                    witness.add_checkpoint(shown.asks(start, size))
                except LedgerError:
                    continue
                cosigned_trees.append((shown, size))
        opened.__exit__(None, None, None)
    for one, two in itertools.combinations(cosigned_trees, 2):
        assert consistent(one, two)
    assert [size for _, size in cosigned_trees] == sorted(size for _, size in cosigned_trees)


# --- faults ---


def test_a_cosignature_that_could_not_be_remembered_is_never_given(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "witness.db")
    witness = Witness(keys(), memory, lambda: NOW)
    witness.add_log(LOG_KEY.vkey)
    memory._connection.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON latest BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(Unavailable):
        witness.add_checkpoint(HONEST.asks(0, 3))
    memory._connection.execute("DROP TRIGGER full")
    assert latest(witness) is None
    assert cosigned(witness.add_checkpoint(FORK.asks(0, 4)), FORK.tree(4))  # nothing was said about another tree
    witness.close()
