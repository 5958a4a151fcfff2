"""What a writer records is what a reader opens, and nothing else opens it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger
from ledger.errors import BadSignature
from ledger.wire.v1 import record_pb2
from modelfork import update as updates
from modelfork.errors import Malformed, Unsuited
from modelfork.interaction import Interaction, Message
from modelfork.recording import (
    Metrics,
    Particulars,
    Writer,
    as_recorded,
    build_record,
    keep_opened,
    open_interaction,
    open_update,
    read_opened,
    view,
)
from tests.modelfork.written import (
    DIMENSION,
    LAYOUT,
    ORIGIN,
    RECIPE,
    SAID,
    Fork,
    drawn_update,
    open_ledger,
    particulars,
)

ROOT = b"r" * 32
OWNER = ledger.keys.SigningKey(b"o" * 32)
CREATED = ledger.entry.ForkCreated(
    "4b1d6c1e-1111-4111-8111-111111111111", OWNER.public, ledger.entry.SELF, LAYOUT, RECIPE, bytes(32), DIMENSION
)
WRITER = Writer(ORIGIN, CREATED, OWNER, ROOT)


class Random:
    """Bytes that never come twice."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, length: int) -> bytes:
        self.given += 1
        return self.given.to_bytes(length, "big")


def build(said: Interaction = SAID, encoding: int = updates.SIGNS, **changes: Any) -> tuple[Any, Any, Any]:
    """A record, its body, its key."""
    fields: dict[str, Any] = {
        "writer": WRITER, "number": 7, "record_id": bytes(range(16)), "interaction": said,
        "update": drawn_update(np.random.default_rng(3), encoding), "state_digest": b"s" * 32,
        "particulars": particulars(), "random": Random(),
    }  # fmt: skip
    record, salt = build_record(**{**fields, **changes})
    return record, ledger.record.admit(record), ledger.vault.record_key(ROOT, salt, 7)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
interactions = st.builds(
    Interaction,
    messages=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts), max_size=4).map(
        tuple
    ),
    answer=texts,
    correction=texts,
    rating=st.none() | st.floats(-1, 1),
    comment=texts,
    refers_to=st.sampled_from([b"", bytes(16), b"x" * 16]),
    teaches=st.booleans(),
    finish_reason=st.sampled_from(["stop", "length", "disconnected"]),
)


@given(interactions, st.sampled_from(updates.ENCODINGS))
def test_an_interaction_is_opened_as_it_was_recorded(said: Interaction, encoding: int) -> None:
    record, body, key = build(said, encoding)
    opened, told = open_interaction(body, record.payloads, key, ORIGIN)
    assert opened == as_recorded(said)
    assert replace(opened, rating=None) == replace(said, rating=None)
    assert (opened.rating is None) == (said.rating is None)
    assert opened.rating == pytest.approx(said.rating) if said.rating else not opened.rating
    assert told == particulars()
    assert as_recorded(opened) == opened


@given(interactions)
def test_what_was_opened_is_kept_in_one_piece_and_read_as_it_was(said: Interaction) -> None:
    kept = keep_opened(said, particulars())
    assert read_opened(kept) == (as_recorded(said), particulars())
    for spoiled in (b"", kept[:2], kept[:-1], kept + b"\0"):
        with pytest.raises(Malformed):
            read_opened(spoiled)


@pytest.mark.parametrize("encoding", updates.ENCODINGS)
def test_an_update_is_opened_as_it_was_recorded(encoding: int) -> None:
    record, body, key = build(encoding=encoding)
    expected = drawn_update(np.random.default_rng(3), encoding)
    opened = open_update(body, record.payloads, key, ORIGIN)
    assert (opened.step, opened.encoding) == (expected.step, encoding) == (body.step, body.update_encoding)
    assert np.array_equal(opened.q, expected.q)
    assert (3 in record.payloads) == (encoding != updates.EMPTY)


def test_a_record_states_what_its_writer_was_given() -> None:
    record, body, key = build()
    assert (body.interaction_number, body.record_id, body.fork_id) == (7, bytes(range(16)), CREATED.fork_id)
    assert (body.layout_digest, body.recipe_digest, body.update_dimension) == (LAYOUT, RECIPE, DIMENSION)
    assert body.state_commitment == ledger.vault.state_commitment(key.commit_key, b"s" * 32)
    message = ledger.keys.signed_message(ledger.entry.USER_TRAINING_RECORD, ORIGIN, record.body)
    ledger.keys.check_signature(OWNER.public, record.signatures[0], message)


def test_lengths_tell_little() -> None:
    sizes = set()
    for rehearsed, user in ((0, ""), (1, "someone"), (7, "someone else")):
        told = Particulars(user, 1_700_000_000_000_000, 7, rehearsed=(bytes(16),) * rehearsed)
        record, _, _ = build(particulars=told)
        sizes.add((len(record.body), len(record.payloads[3]), len(record.payloads[4])))
    assert len(sizes) == 1
    assert len(build()[0].payloads[3]) == ledger.vault.OVERHEAD + updates.packed_size(updates.SIGNS, DIMENSION)


def test_every_attempt_takes_fresh_randomness() -> None:
    random = Random()
    (first, _, one), (second, _, two) = build(random=random), build(random=random)
    assert one != two
    assert not set(first.payloads.values()) & set(second.payloads.values())


def test_nothing_that_was_said_is_readable_in_a_record() -> None:
    record, _, _ = build()
    data = ledger.record.encode_record(record)
    for text in ("Hund", "Rex", "weiß", "someone", "of course"):
        assert text.encode() not in data
    assert "o" * 32 not in repr(WRITER)
    assert "r" * 32 not in repr(WRITER)


def test_another_key_or_place_opens_nothing() -> None:
    record, body, key = build()
    for opening in (open_interaction, open_update):
        with pytest.raises(Unsuited, match="not the key"):
            opening(body, record.payloads, ledger.vault.record_key(ROOT, bytes(32), 7), ORIGIN)
        with pytest.raises(BadSignature):
            opening(body, record.payloads, key, "other.example/log")
        with pytest.raises(BadSignature):
            opening(replace(body, record_id=bytes(16)), record.payloads, key, ORIGIN)
        with pytest.raises(Malformed, match="not here"):
            opening(body, {}, key, ORIGIN)
        with pytest.raises(Malformed, match="digest"):
            opening(body, {kind: payload + b"x" for kind, payload in record.payloads.items()}, key, ORIGIN)


@pytest.mark.parametrize(
    "changes",
    [
        {"said": replace(SAID, rating=float("nan"))},
        {"said": replace(SAID, rating=1.5)},
        {"said": replace(SAID, refers_to=b"short")},
        {"record_id": b"short"},
        {"state_digest": b"short"},
        {"particulars": replace(particulars(), rehearsed=(b"short",))},
        {"particulars": replace(particulars(), seed=-1)},
        {"particulars": replace(particulars(), created_at=2**64)},
        {"particulars": replace(particulars(), metrics=Metrics(learned_tokens=-1))},
    ],
)
def test_what_has_no_place_in_a_record_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        build(**changes)


def test_a_writer_has_its_forks_key_and_dimension() -> None:
    with pytest.raises(Unsuited, match="owner's key"):
        Writer(ORIGIN, CREATED, ledger.keys.SigningKey(bytes(32)), ROOT)
    with pytest.raises(Unsuited, match=f"{DIMENSION} numbers"):
        build(update=updates.empty(DIMENSION + 1))


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (replace(SAID, rating=1.0), record_pb2.VERDICT_CORRECTED),
        (replace(SAID, correction="", rating=0.5), record_pb2.VERDICT_LIKED),
        (replace(SAID, correction="", rating=-0.5), record_pb2.VERDICT_DISLIKED),
        (replace(SAID, correction="", rating=0.0), record_pb2.VERDICT_UNSPECIFIED),
        (replace(SAID, correction=""), record_pb2.VERDICT_UNSPECIFIED),
    ],
)
def test_a_view_shows_all_twelve_fields(fork: Fork, said: Interaction, verdict: int) -> None:
    record = fork.learn(said=said)
    stored, entry = fork.entries()[-1]
    payloads = fork.log.payloads(stored.leaf_index)
    body = ledger.record.decode_body(entry.body)
    shown = view(entry, payloads, fork.key_of(body))
    assert (shown.user_id, shown.fork_id, shown.interaction_number) == ("someone", fork.fork_id, 1)
    assert [shown.encrypted_input, shown.encrypted_output, shown.encrypted_gradient] == [payloads[k] for k in (1, 2, 3)]
    assert shown.learning_rate == body.step * 2.0**-24
    assert (shown.feedback.verdict, shown.feedback.refers_to) == (verdict, said.refers_to)
    assert shown.feedback.HasField("rating") == (said.rating is not None)
    assert (shown.metrics.loss_before, shown.metrics.iterations) == (1.5, 3)
    assert shown.signature == record.signatures[0].raw
    assert (shown.record_id, shown.seed, shown.state_version) == (body.record_id, 2**64 - 1, 4)
    keyless = view(entry, {})
    assert (keyless.user_id, keyless.encrypted_input, keyless.HasField("feedback")) == ("", b"", False)
    assert keyless.record_id == body.record_id


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Fork]:
    log = open_ledger(tmp_path / "ledger.sqlite")
    yield Fork(log)
    log.store.close()
