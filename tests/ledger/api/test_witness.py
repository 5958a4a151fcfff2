"""The HTTP of a witness: every status of c2sp.org/tlog-witness 1.0.0, and what anybody may read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ledger import note
from ledger.api.witness import create_app
from ledger.cosign import MlDsa44Signer
from ledger.note import Ed25519Signer
from ledger.witness.memory import Memory
from ledger.witness.request import LONGEST_REQUEST, AddCheckpoint
from ledger.witness.witness import Witness
from tests.ledger.witness.house import LOG_KEY, NOW, ORIGIN, cosigned, history, keys

HONEST, FORK = history(), history(shared=5)
SEEN = 7
OTHER = Ed25519Signer("other.example/log", bytes(32))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "witness.db")


@pytest.fixture
def client(memory: Memory) -> Iterator[TestClient]:
    witness = Witness(keys(), memory, lambda: NOW)
    witness.add_log(LOG_KEY.vkey)
    witness.add_checkpoint(HONEST.asks(0, SEEN))
    with TestClient(create_app(witness)) as opened:
        yield opened


def test_growth_is_answered_with_cosignature_lines_alone(client: TestClient) -> None:
    answer = client.post("/add-checkpoint", content=HONEST.asks(SEEN, 12))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert cosigned(answer.content, HONEST.tree(12)) == [NOW, NOW]
    # As the standard says: the answer behind the request's note is a note again, with all signatures.
    verifiers = [LOG_KEY.verifier, *(signer.verifier for signer in keys().signers)]
    assert len(note.open_note(HONEST.signed(12) + answer.content, verifiers).signatures) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (lambda: b"", 400),
        (lambda: b"old 7\n" + HONEST.signed(12), 400),
        (lambda: b"old 07\n\n" + HONEST.signed(12), 400),
        (lambda: b"old 7\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + HONEST.signed(12), 400),
        (lambda: b"old 7\n\n" + HONEST.tree(12).encode(), 400),  # not signed at all
        (lambda: b"old 7\n\n" + note.sign(HONEST.tree(12).encode() + b"more\n", [LOG_KEY]), 400),
        (lambda: AddCheckpoint(13, (), HONEST.signed(12)).encode(), 400),
        (lambda: b"old 7\n\n" + note.sign(HONEST.tree(12).encode(), [OTHER]), 403),
        (lambda: b"old 7\n\n" + note.sign(HONEST.tree(12).encode(), [Ed25519Signer(ORIGIN, bytes(32))]), 403),
        (lambda: AddCheckpoint(13, (), note.sign(HONEST.tree(12).encode(), [OTHER])).encode(), 403),
        (lambda: b"old 7\n\n" + note.sign(HONEST.tree(12, OTHER.name).encode(), [OTHER]), 404),
        (lambda: AddCheckpoint(SEEN, (), HONEST.signed(12)).encode(), 422),
        (lambda: AddCheckpoint(SEEN, tuple(HONEST.prove(6, 12)), HONEST.signed(12)).encode(), 422),
        (lambda: AddCheckpoint(SEEN, (bytes(32),), HONEST.signed(SEEN)).encode(), 422),
        (lambda: FORK.asks(SEEN, 12), 422),
        (lambda: b"old 7\n\n" + b"x" * LONGEST_REQUEST, 413),
    ],
)
def test_what_is_not_cosigned_has_the_standard_s_status(
    client: TestClient, body: Callable[[], bytes], status: int
) -> None:
    answer = client.post("/add-checkpoint", content=body())
    assert answer.status_code == status
    assert "—" not in answer.text
    assert client.get("/v1/witness").json()["logs"][0]["size"] == SEEN


@pytest.mark.parametrize(
    "body",
    [
        lambda: HONEST.asks(0, 12),
        lambda: HONEST.asks(6, 12),
        lambda: HONEST.asks(8, 12),
        lambda: HONEST.asks(0, 3),  # smaller than what was cosigned
        lambda: FORK.asks(0, 12),
        lambda: FORK.asks(SEEN, SEEN),  # a split view
        lambda: FORK.asks(0, SEEN),  # and one from elsewhere
    ],
)
def test_a_conflict_names_the_size_that_was_cosigned_last(client: TestClient, body: Callable[[], bytes]) -> None:
    answer = client.post("/add-checkpoint", content=body())
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "text/x.tlog.size"
    assert answer.content == b"7\n"


def test_the_longest_request_that_a_log_can_need_fits(client: TestClient) -> None:
    ml_dsa = MlDsa44Signer(ORIGIN, bytes(32), lambda: 0)
    body = AddCheckpoint(1, (bytes(32),) * 63, HONEST.signed(12, LOG_KEY, ml_dsa)).encode()
    assert len(body) < LONGEST_REQUEST
    assert client.post("/add-checkpoint", content=body).status_code == 409


def test_a_body_of_unannounced_length_is_capped_too(client: TestClient) -> None:
    pieces = (b"x" * 1024 for _ in range(17))
    assert client.post("/add-checkpoint", content=pieces).status_code == 413


def test_only_a_post_is_taken(client: TestClient) -> None:
    assert client.get("/add-checkpoint").status_code == 405


def test_a_memory_that_is_in_the_way_is_the_witness_s_fault(client: TestClient, memory: Memory) -> None:
    memory._connection.execute("UPDATE latest SET note=?", [b"damaged"])
    assert client.post("/add-checkpoint", content=HONEST.asks(SEEN, 12)).status_code == 503


def test_anybody_may_see_the_keys_and_what_was_cosigned(client: TestClient) -> None:
    assert client.get("/v1/witness").json() == {
        "name": "witness.example/w1",
        "vkeys": keys().vkeys,
        "logs": [{"origin": ORIGIN, "size": SEEN, "root": HONEST.tree(SEEN).root.hex()}],
    }
    assert client.get("/healthz").json() == {"status": "ok", "name": "witness.example/w1"}


def test_anybody_may_see_the_evidence_and_check_it(client: TestClient) -> None:
    assert client.get("/v1/witness/alarms").json() == {"alarms": []}
    client.post("/add-checkpoint", content=FORK.asks(SEEN, SEEN))
    client.post("/add-checkpoint", content=FORK.asks(SEEN, SEEN))
    (alarm,) = client.get("/v1/witness/alarms").json()["alarms"]
    assert (alarm["kind"], alarm["origin"], alarm["size"], alarm["times"]) == ("split-view", ORIGIN, SEEN, 2)
    assert alarm["root"] == FORK.tree(SEEN).root.hex()
    opened = [note.open_note(alarm[which].encode(), [LOG_KEY.verifier]).text for which in ("known", "offered")]
    assert opened == [HONEST.tree(SEEN).encode(), FORK.tree(SEEN).encode()]


def test_the_end_of_the_service_closes_the_memory(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "witness.db")
    with TestClient(create_app(Witness(keys(), memory, lambda: NOW))):
        pass
    with pytest.raises(sqlite3.ProgrammingError):
        memory._connection.execute("SELECT 1")
