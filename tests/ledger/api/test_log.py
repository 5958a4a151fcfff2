"""The public log over HTTP, checked with nothing but the key that was pinned."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from starlette.testclient import TestClient

from ledger import checkpoint as checkpoints
from ledger import merkle, note
from ledger.api.service import Service
from ledger.errors import BadProof
from ledger.ledger import Inclusion, check_inclusion
from tests.ledger.written import LOG_KEY, ORIGIN, RECEIPT_KEY, datastore, fill


def read(client: TestClient, path: str) -> Any:
    return client.get(path).raise_for_status().json()


@pytest.fixture
def verifier(anyone: TestClient) -> note.Ed25519Verifier:
    keys = read(anyone, "/v1/log/keys")
    assert keys == {"origin": ORIGIN, "log": LOG_KEY.vkey, "receipt": RECEIPT_KEY.vkey}
    return note.Ed25519Verifier.from_vkey(keys["log"])


def test_an_empty_log_has_a_signed_checkpoint_and_nothing_to_prove(
    anyone: TestClient, verifier: note.Ed25519Verifier
) -> None:
    signed = anyone.get("/v1/log/checkpoint").raise_for_status().content
    assert checkpoints.open_checkpoint(signed, ORIGIN, [verifier]).size == 0
    assert anyone.get("/v1/log/proofs/inclusion?leaf=0").status_code == 404
    assert read(anyone, "/v1/log/entries") == {"first": 0, "entries": []}


def test_every_entry_is_proved_under_the_checkpoint(
    anyone: TestClient, service: Service, verifier: note.Ed25519Verifier
) -> None:
    fill(service.ledger)
    listed = [base64.b64decode(one) for one in read(anyone, "/v1/log/entries")["entries"]]
    assert len(listed) == service.ledger.size() == 8
    for leaf, data in enumerate(listed):
        found = read(anyone, f"/v1/log/proofs/inclusion?leaf={leaf}")
        proof = [bytes.fromhex(node) for node in found["proof"]]
        proved = Inclusion(leaf, data, proof, found["checkpoint"].encode())
        assert check_inclusion(proved, ORIGIN, verifier).size == 8
        assert base64.b64decode(found["entry"]) == data
        with pytest.raises(BadProof):
            check_inclusion(Inclusion(leaf, data + b"\0", proof, found["checkpoint"].encode()), ORIGIN, verifier)


def test_growth_is_proved_between_any_two_checkpoints(
    anyone: TestClient, service: Service, verifier: note.Ed25519Verifier
) -> None:
    (writer,) = fill(service.ledger, forks=1, records=0)
    seen = []
    for _ in range(3):
        service.ledger.append(writer.next())
        signed = anyone.get("/v1/log/checkpoint").raise_for_status().content
        seen.append(checkpoints.open_checkpoint(signed, ORIGIN, [verifier]))
    assert [checkpoint.size for checkpoint in seen] == [2, 3, 4]
    for old in seen:
        found = read(anyone, f"/v1/log/proofs/consistency?old={old.size}")
        newest = checkpoints.open_checkpoint(found["checkpoint"].encode(), ORIGIN, [verifier])
        assert newest == seen[-1]
        proof = [bytes.fromhex(node) for node in found["proof"]]
        merkle.check_consistency(old.size, newest.size, old.root, newest.root, proof)
    assert anyone.get("/v1/log/proofs/consistency?old=5").status_code == 404


def test_the_checkpoint_has_its_c2sp_place_too(anyone: TestClient) -> None:
    assert anyone.get("/checkpoint").content == anyone.get("/v1/log/checkpoint").content
    assert anyone.get("/checkpoint").headers["content-type"].startswith("text/plain")


def test_entries_come_in_pages(anyone: TestClient, service: Service) -> None:
    fill(service.ledger)
    whole = read(anyone, "/v1/log/entries")["entries"]
    assert read(anyone, "/v1/log/entries?first=3&limit=2") == {"first": 3, "entries": whole[3:5]}
    assert read(anyone, "/v1/log/entries?first=1000")["entries"] == []


@pytest.mark.parametrize(
    "path",
    [
        "entries?first=-1", "entries?first=x", "entries?limit=0", "entries?limit=501", f"entries?first={2**63}",
        "proofs/inclusion", "proofs/inclusion?leaf=-1", f"proofs/inclusion?leaf={2**63}", "proofs/inclusion?leaf=1e3",
        "proofs/consistency", "proofs/consistency?old=-1", f"proofs/consistency?old={2**64}",
    ],
)  # fmt: skip
def test_a_question_of_the_wrong_form_is_refused(anyone: TestClient, path: str) -> None:
    refused = anyone.get(f"/v1/log/{path}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")


def test_an_unknown_path_and_a_wrong_method_get_an_error_object_too(anyone: TestClient) -> None:
    assert anyone.get("/v1/nowhere").json()["error"]["code"] == "not_found"
    refused = anyone.delete("/v1/log/checkpoint")
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")


def test_healthz_answers(anyone: TestClient) -> None:
    assert read(anyone, "/healthz") == {"status": "ok", "origin": ORIGIN}


def test_a_history_that_was_changed_under_it_is_never_signed_again(
    anyone: TestClient, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    writers = fill(service.ledger)
    first = anyone.get("/v1/log/checkpoint").raise_for_status().content
    with datastore(service.ledger).transaction(commit=True) as cursor:
        cursor.execute("UPDATE hashes SET hash=zeroblob(32)")
    service.ledger.append(writers[0].next())
    caplog.set_level(logging.CRITICAL)  # the loop that publishes says so every second
    refused = anyone.get("/v1/log/checkpoint")
    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "bad_proof")
    assert service.ledger.checkpoint() == first
