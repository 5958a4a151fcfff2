"""Evidence over HTTP holds for whoever pinned the log's key, and needs no API key."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from ledger import checkpoint as checkpoints
from ledger import tlogproof
from ledger.api.service import Service
from ledger.checkpoint import Checkpoint
from ledger.errors import BadProof
from ledger.evidence import check_evidence
from tests.ledger.written import LOG_KEY, ORIGIN, Writer, fill


def accept(signed: bytes) -> Checkpoint:
    return checkpoints.open_checkpoint(signed, ORIGIN, [LOG_KEY.verifier])


def test_evidence_of_every_leaf_holds(anyone: TestClient, service: Service) -> None:
    fill(service.ledger, records=2)
    for leaf in range(service.ledger.size()):
        response = anyone.get(f"/v1/log/evidence?leaf={leaf}")
        assert (response.status_code, response.headers["content-type"]) == (200, "application/octet-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert check_evidence(response.content, accept).leaf_index == leaf


def test_the_tlog_proof_of_every_leaf_holds_for_its_entry_and_no_other(anyone: TestClient, service: Service) -> None:
    fill(service.ledger, records=2)
    for leaf in range(service.ledger.size()):
        response = anyone.get(f"/v1/log/tlog-proof?leaf={leaf}").raise_for_status()
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        proof = tlogproof.parse(response.content)
        assert tlogproof.check(proof, service.ledger.entry_at(leaf).data, accept).size == 6
        with pytest.raises(BadProof):
            tlogproof.check(proof, service.ledger.entry_at((leaf + 1) % 6).data, accept)


def test_an_entry_just_acknowledged_has_evidence(anyone: TestClient, service: Service) -> None:
    (writer,) = fill(service.ledger, forks=1, records=1)
    for version in (3, 4):
        service.ledger.append(writer.next())
        data = anyone.get(f"/v1/forks/{writer.fork_id}/evidence?version={version}").raise_for_status().content
        shown = check_evidence(data, accept)
        assert (shown.entry.fork_id, shown.entry.version) == (writer.fork_id, version)


def test_a_record_is_named_by_its_id_too(anyone: TestClient, service: Service) -> None:
    (_, writer) = fill(service.ledger)
    path = f"/v1/forks/{writer.fork_id}/evidence"
    named = anyone.get(path, params={"record": writer.record_id(2).hex()}).raise_for_status()
    assert named.content == anyone.get(path, params={"version": 3}).content
    shown = check_evidence(named.content, accept)
    assert shown.record is not None
    assert shown.record.record_id == writer.record_id(2)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/log/evidence", 400),
        ("/v1/log/evidence?leaf=-1", 400),
        ("/v1/log/evidence?leaf=9223372036854775808", 400),
        ("/v1/log/evidence?leaf=x", 400),
        ("/v1/log/evidence?leaf=2", 404),
        ("/v1/log/tlog-proof?leaf=-1", 400),
        ("/v1/log/tlog-proof?leaf=2", 404),
        ("/v1/forks/FORK/evidence", 422),
        ("/v1/forks/FORK/evidence?version=1&record=00", 422),
        ("/v1/forks/FORK/evidence?version=0", 400),
        ("/v1/forks/FORK/evidence?version=3", 404),
        ("/v1/forks/FORK/evidence?record=no+hex", 400),
        ("/v1/forks/FORK/evidence?record=", 404),
        ("/v1/forks/FORK/evidence?record=00", 404),
        ("/v1/forks/not-a-fork/evidence?version=1", 400),
        (f"/v1/forks/{Writer(7).fork_id}/evidence?version=1", 404),
    ],
)
def test_what_is_not_there_or_not_well_asked_is_refused(
    anyone: TestClient, service: Service, path: str, status: int
) -> None:
    (writer,) = fill(service.ledger, forks=1, records=1)
    response = anyone.get(path.replace("FORK", writer.fork_id))
    assert (response.status_code, set(response.json())) == (status, {"error"})
