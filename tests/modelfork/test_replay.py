"""Replay comes to one state whatever the order, and says where and at which step it cannot."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger
from modelfork import update as updates
from modelfork.errors import Diverged, Malformed, Unsuited
from modelfork.replay import Replayed, State, advance, genesis, read_ahead, replay, state_digest, sum_updates
from modelfork.update import Update
from tests.modelfork.written import DIMENSION, LAYOUT, ORIGIN, Fork, drawn_update, open_ledger

VECTORS = Path(__file__).parents[1] / "vectors"
STATES: dict[str, Any] = json.loads((VECTORS / "state.json").read_text("utf-8"))
UPDATES: list[dict[str, Any]] = json.loads((VECTORS / "update.json").read_text("utf-8"))["updates"]

Entries = list[tuple[ledger.StoredEntry, ledger.entry.Entry]]
LAST = 4  # index of the last entry of the fork below: version 5, interaction 4


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Fork]:
    """A fork of four records: one of signs, one empty, one sparse, one of sums of signs; another fork in between."""
    log = open_ledger(tmp_path / "ledger.sqlite")
    fork, other = Fork(log, seed=1), Fork(log, seed=2)
    for encoding in (updates.SIGNS, updates.EMPTY, updates.SPARSE_SIGNS, updates.SIGN_SUMS):
        fork.learn(encoding)
        other.learn(encoding)
    yield fork
    log.store.close()


# --- one state ---


def test_a_fork_is_the_fold_of_its_records(fork: Fork) -> None:
    result = fork.replay()
    assert result.state.digest == fork.state.digest
    assert (result.state.version, result.records, result.checked) == (5, 4, 4)
    assert result.head == fork.log.head(fork.fork_id).entry_hash
    assert fork.replay(check_state=False).checked == 0


def test_a_replay_may_go_on_from_an_earlier_one(fork: Fork) -> None:
    half = replay(fork.entries()[:3], fork.log.payloads, fork.key_of, ORIGIN)
    before = half.state.digest
    on = fork.replay(start=half)
    whole = fork.replay()
    assert (on.state.digest, on.head, on.records, on.checked) == (whole.state.digest, whole.head, 4, 4)
    assert half.state.digest == before
    assert fork.replay(start=whole).state.digest == whole.state.digest


def test_payloads_read_ahead_are_the_same_payloads(fork: Fork) -> None:
    for _ in range(200):
        fork.learn()
    ahead = read_ahead(fork.log.store.payloads_of)
    result = replay(fork.log.read(fork.fork_id), ahead, fork.key_of, ORIGIN)
    assert result.state.digest == fork.state.digest
    for leaf in (7, 3, 3, 150, 151, 152, 153, 9, 10_000):
        assert ahead(leaf) == fork.log.payloads(leaf)


def test_states_are_those_of_the_vectors() -> None:
    layout = bytes.fromhex(STATES["layout_digest"])
    state = genesis(layout, 50)
    learned = [None, *(vector for vector in UPDATES if len(vector["q"]) == 50)]
    for vector, expected in zip(learned, STATES["states"], strict=True):
        if vector is not None:
            q = np.array(vector["q"], np.int8)
            state = advance(state, state.version + 1, Update(vector["step"], vector["encoding"], q))
        assert state.vector.tolist() == expected["state"]
        assert state.digest.hex() == expected["digest"]


@st.composite
def learned(draw: st.DrawFn) -> list[Update]:
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    encodings = draw(st.lists(st.sampled_from(updates.ENCODINGS), max_size=20))
    return [drawn_update(numbers, encoding) for encoding in encodings]


@given(learned(), st.randoms(use_true_random=False), st.integers(1, 8))
def test_order_and_batch_do_not_matter(some: list[Update], chance: Any, batch: int) -> None:
    one = state_digest(LAYOUT, sum_updates(DIMENSION, some))
    state = genesis(LAYOUT, DIMENSION)
    for update in some:
        state = advance(state, state.version + 1, update)
    assert state.digest == one
    mixed = list(some)
    chance.shuffle(mixed)
    parts = [sum_updates(DIMENSION, mixed[at : at + batch]) for at in range(0, len(mixed), batch)]
    chance.shuffle(parts)
    total = np.zeros(DIMENSION, np.int64)
    for part in parts:
        total += part
    assert state_digest(LAYOUT, total) == one


@given(learned())
def test_threads_do_not_matter(some: list[Update]) -> None:
    parts: list[Any] = [None, None, None]

    def work(at: int) -> None:
        parts[at] = sum_updates(DIMENSION, some[at::3])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(parts[0] + parts[1] + parts[2], sum_updates(DIMENSION, some))


def test_torch_comes_to_the_same_state() -> None:
    import torch

    numbers = np.random.default_rng(5)
    some = [drawn_update(numbers, encoding) for encoding in updates.ENCODINGS * 20]
    one = state_digest(LAYOUT, sum_updates(DIMENSION, some))
    total = torch.zeros(DIMENSION, dtype=torch.int64)
    for update in some:
        total += torch.from_numpy(update.q).to(torch.int64) * update.step
    assert state_digest(LAYOUT, total.numpy()) == one
    steps = torch.tensor([update.step for update in some], dtype=torch.int64)
    rows = torch.stack([torch.from_numpy(update.q).to(torch.int64) for update in some])
    assert state_digest(LAYOUT, (steps[:, None] * rows).sum(0).numpy()) == one


def test_the_largest_updates_neither_overflow_nor_round() -> None:
    most = Update(updates.STEP_LIMIT - 1, updates.INT8, np.array([127, -127], np.int8))
    assert sum_updates(2, [most] * 3).tolist() == [3 * 127 * (2**24 - 1), -3 * 127 * (2**24 - 1)]
    assert 127 * (2**24 - 1) < 2**31
    assert 127 * (2**24 - 1) * 2**32 < 2**63


def test_a_state_stays_as_it_is() -> None:
    state = genesis(LAYOUT, 3)
    advance(state, 2, Update(5, updates.SIGNS, np.ones(3, np.int8)))
    assert state.vector.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        state.vector[0] = 1
    with pytest.raises(Diverged, match="version 2"):
        advance(state, 3, updates.empty(3))
    with pytest.raises(Unsuited, match="3 numbers"):
        advance(state, 2, updates.empty(4))
    with pytest.raises(Unsuited, match="3 numbers"):
        sum_updates(3, [updates.empty(4)])
    with pytest.raises(Malformed):
        State(b"short", np.zeros(3, np.int64), 1)


# --- each step, broken alone ---


def run(fork: Fork, entries: Entries, payloads: Callable[[int], Any] | None = None) -> Replayed:
    return replay(entries, payloads or fork.log.payloads, fork.key_of, ORIGIN)


def at(entries: Entries, index: int, **changes: object) -> Entries:
    """The entries with one replaced, its bytes included; the chain behind it is left as it is."""
    stored, entry = entries[index]
    entry = replace(entry, **changes)  # type: ignore[arg-type]
    changed = (replace(stored, data=ledger.entry.encode_entry(entry)), entry)
    return [*entries[:index], changed, *entries[index + 1 :]]


def restated(fork: Fork, entries: Entries, index: int, **changes: object) -> Entries:
    """The entries with one body changed and signed again by the owner: a dishonest owner, an honest signature."""
    _, entry = entries[index]
    if entry.topic == ledger.entry.FORK_CREATED:
        created = replace(ledger.entry.decode_fork_created(entry.body), **changes)  # type: ignore[arg-type]
        body = ledger.entry.encode_fork_created(created)
    else:
        body = ledger.record.encode_body(replace(ledger.record.decode_body(entry.body), **changes))  # type: ignore[arg-type]
    message = ledger.keys.signed_message(entry.topic, ORIGIN, body)
    return at(entries, index, body=body, signatures=(fork.writer.owner_key.sign(message),))


def expect(version: int, step: str, attempt: Callable[[], object], fork_id: str) -> None:
    with pytest.raises(Diverged, match=step) as caught:
        attempt()
    assert caught.value.version == version
    assert f"fork {fork_id} version {version}" in str(caught.value)


OTHER = "4b1d6c1e-1111-4111-8111-111111111111"


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("origin", {"origin": "other.example/log"}),
        ("chain", {"previous": bytes(32)}),
        ("topic.*an unknown one", {"topic": "surprise/v1"}),
        ("topic.*rolled-back", {"topic": "rolled-back/v1"}),
        ("topic", {"topic": ledger.entry.FORK_CREATED}),
        ("one signature", {"signatures": ()}),
        ("authority", {"authority": 2}),
    ],
)
def test_an_entry_that_is_not_as_it_must_be_ends_the_replay(fork: Fork, step: str, changes: dict[str, object]) -> None:
    expect(5, step, lambda: run(fork, at(fork.entries(), LAST, **changes)), fork.fork_id)


def test_an_entry_of_another_fork_ends_the_replay(fork: Fork) -> None:
    expect(5, "place", lambda: run(fork, at(fork.entries(), LAST, fork_id=OTHER)), OTHER)


def test_a_missing_entry_ends_the_replay(fork: Fork) -> None:
    entries = fork.entries()
    expect(4, "place: expected version 3", lambda: run(fork, entries[:2] + entries[3:]), fork.fork_id)
    expect(2, "place: expected version 1", lambda: run(fork, entries[1:]), fork.fork_id)
    with pytest.raises(Diverged, match="got no entry"):
        run(fork, [])


def test_entries_in_another_order_end_the_replay(fork: Fork) -> None:
    entries = fork.entries()
    entries[2], entries[3] = entries[3], entries[2]
    expect(4, "place: expected version 3", lambda: run(fork, entries), fork.fork_id)


def test_changed_bytes_of_an_entry_break_the_chain_behind_it(fork: Fork) -> None:
    entries = fork.entries()
    stored, entry = entries[2]
    entries[2] = (replace(stored, data=stored.data + b"\x48\x01"), entry)
    expect(4, "chain", lambda: run(fork, entries), fork.fork_id)


def test_a_signature_by_another_key_or_over_another_body_ends_the_replay(fork: Fork) -> None:
    entries = fork.entries()
    entry = entries[LAST][1]
    thief = ledger.keys.SigningKey(bytes(32))
    message = ledger.keys.signed_message(entry.topic, ORIGIN, entry.body)
    for signature in (
        thief.sign(message),
        replace(thief.sign(message), key_id=entry.signatures[0].key_id),
        fork.writer.owner_key.sign(message + b"x"),
        fork.writer.owner_key.sign(ledger.keys.signed_message(entry.topic, "other.example/log", entry.body)),
    ):
        expect(5, "signature", lambda s=signature: run(fork, at(entries, LAST, signatures=(s,))), fork.fork_id)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("body: it names another fork", {"fork_id": OTHER}),
        ("interaction number: expected 4", {"interaction_number": 5}),
        ("interaction number: expected 4", {"interaction_number": 3}),
        ("layout", {"layout_digest": bytes(32)}),
        ("recipe", {"recipe_digest": bytes(32)}),
        ("dimension", {"update_dimension": DIMENSION + 1}),
        ("not the key", {"key_commitment": bytes(32)}),
        ("key scheme", {"key_scheme": 2}),
        ("payload 3: ciphertext does not open", {"record_id": bytes(16)}),
        ("expected 13 bytes of encoding", {"update_encoding": updates.SIGNS}),
        ("state", {"state_commitment": bytes(32)}),
        ("state", {"step": 12345}),
    ],
)
def test_a_false_statement_of_the_owner_ends_the_replay(fork: Fork, step: str, changes: dict[str, object]) -> None:
    expect(5, step, lambda: run(fork, restated(fork, fork.entries(), LAST, **changes)), fork.fork_id)


def test_a_false_empty_record_ends_the_replay(fork: Fork) -> None:
    entries = fork.entries()[:3]  # the third is empty
    expect(3, "key", lambda: run(fork, restated(fork, entries, 2, key_commitment=bytes(32))), fork.fork_id)
    expect(3, "state", lambda: run(fork, restated(fork, entries, 2, state_commitment=bytes(32))), fork.fork_id)


def test_without_the_check_of_states_the_sum_alone_is_made(fork: Fork) -> None:
    entries = restated(fork, fork.entries(), LAST, state_commitment=bytes(32))
    result = replay(entries, fork.log.payloads, fork.key_of, ORIGIN, check_state=False)
    assert result.state.digest == fork.state.digest


def test_a_payload_that_is_not_the_one_named_ends_the_replay(fork: Fork) -> None:
    leaf = fork.entries()[LAST][0].leaf_index
    whole = fork.log.payloads(leaf)
    flipped = whole[3][:-1] + bytes([whole[3][-1] ^ 1])
    for payloads, step in (
        ({}, "payload 3: it is not here"),
        ({**whole, 3: flipped}, "payload 3: its digest"),
        ({**whole, 3: whole[2]}, "payload 3: its digest"),
        (fork.log.payloads(leaf + 1), "payload 3: its digest"),
    ):
        given: dict[int, bytes] = dict(payloads)
        expect(
            5, step, lambda g=given: run(fork, fork.entries(), lambda i: g if i == leaf else fork.log.payloads(i)),  # type: ignore[misc]
            fork.fork_id,
        )  # fmt: skip


def test_an_update_that_does_not_unpack_ends_the_replay(fork: Fork) -> None:
    """Sealed and signed as it should be, but its padding bits are set."""
    entries = fork.entries()
    entry = entries[1][1]  # signs: 100 of them, so 4 bits of padding
    body = ledger.record.decode_body(entry.body)
    place = ledger.vault.Place(ORIGIN, fork.fork_id, body.record_id)
    sealed = ledger.vault.seal_payload(fork.key_of(body).subkey(3), 3, b"\xff" * 13, place, bytes(24))
    named = tuple((k, ledger.record.payload_digest(3, sealed) if k == 3 else d) for k, d in body.payloads)
    expect(
        2, "padding bits",
        lambda: run(fork, restated(fork, entries, 1, payloads=named)[:2], lambda _: {3: sealed}),
        fork.fork_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("genesis", {"genesis_digest": bytes(32)}),
        ("genesis", {"layout_digest": bytes(32)}),
        ("genesis", {"dimension": DIMENSION + 1}),
        ("another fork", {"fork_id": OTHER}),
        ("signature", {"owner_key": ledger.keys.SigningKey(bytes(32)).public}),
    ],
)
def test_a_false_first_entry_ends_the_replay(fork: Fork, step: str, changes: dict[str, object]) -> None:
    expect(1, step, lambda: run(fork, restated(fork, fork.entries()[:1], 0, **changes)), fork.fork_id)


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("topic", {"topic": ledger.entry.USER_TRAINING_RECORD}),
        ("chain", {"previous": b"x" * 32}),
        ("authority", {"authority": 2}),
        ("one signature", {"signatures": ()}),
    ],
)
def test_a_first_entry_that_is_not_as_it_must_be_ends_the_replay(
    fork: Fork, step: str, changes: dict[str, object]
) -> None:
    expect(1, step, lambda: run(fork, at(fork.entries()[:1], 0, **changes)), fork.fork_id)


def test_a_missing_key_ends_the_replay_and_names_the_place(fork: Fork) -> None:
    def no_key(body: ledger.record.Body) -> ledger.vault.RecordKey:
        raise ledger.errors.NotFound("key: destroyed")

    expect(2, "destroyed", lambda: replay(fork.entries(), fork.log.payloads, no_key, ORIGIN), fork.fork_id)


def test_a_start_of_another_log_or_another_history_is_refused(fork: Fork) -> None:
    half = replay(fork.entries()[:3], fork.log.payloads, fork.key_of, ORIGIN)
    with pytest.raises(Unsuited, match="of the log"):
        replay(fork.entries(3), fork.log.payloads, fork.key_of, "other.example/log", half)
    expect(4, "chain", lambda: fork.replay(replace(half, head=bytes(32))), fork.fork_id)
    expect(4, "interaction number", lambda: fork.replay(replace(half, records=7)), fork.fork_id)
    wrong = replace(half, state=State(LAYOUT, half.state.vector + 1, 3))
    expect(4, "state", lambda: fork.replay(wrong), fork.fork_id)
