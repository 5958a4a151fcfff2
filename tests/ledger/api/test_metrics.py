"""Figures that say what happened: each moves when its cause does, and by how much."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from ledger.api.app import create_app
from ledger.api.service import Service
from ledger.errors import BadProof, Busy, LedgerError, Unavailable
from ledger.sequencer import Sequencer
from tests.ledger.api.test_records import create, post
from tests.ledger.written import Writer


def figures(client: TestClient) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, in the order of their names."""
    answer = client.get("/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name.removeprefix("forkledger_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def turn(client: TestClient) -> None:
    """One turn of the publisher, now."""
    assert client.portal is not None
    app: Any = client.app
    client.portal.call(app.state.publishing.turn)


def test_the_log_and_what_is_published_are_counted(anyone: TestClient, http: TestClient, writer: Writer) -> None:
    turn(anyone)
    assert figures(anyone)[("entries_appended_total",)] == 0
    create(http, writer)
    for _ in range(3):
        assert post(http, writer.next()).status_code == 201
    turn(anyone)
    found = figures(anyone)
    assert found[("entries_appended_total",)] == found[("log_size",)] == found[("published_size",)] == 4
    assert found[("oldest_unpublished_seconds",)] == found[("queue",)] == found[("publish_failures_total",)] == 0
    assert found[("commit_delay_seconds_count",)] == 3  # of records; a control does not pass the queue of the doors
    assert found[("integration_delay_seconds_count",)] >= 1


def test_the_same_record_again_is_no_new_entry(anyone: TestClient, http: TestClient, writer: Writer) -> None:
    create(http, writer)
    record = writer.next()
    turn(anyone)
    before = figures(anyone)[("entries_appended_total",)]
    for _ in range(2):
        assert post(http, record).status_code == 201
    turn(anyone)
    assert figures(anyone)[("entries_appended_total",)] == before + 1


def test_what_is_refused_is_counted_by_its_code(anyone: TestClient, http: TestClient, writer: Writer) -> None:
    create(http, writer)
    writer.next()
    assert post(http, writer.next()).status_code == 409
    assert post(http, b"no record").status_code == 400
    found = figures(anyone)
    assert (found[("refused_total", "stale_number")], found[("refused_total", "malformed")]) == (1, 1)


@pytest.mark.parametrize(("error", "code"), [(Busy("full", 1.0), "busy"), (Unavailable("gone"), "unavailable")])
def test_a_request_that_is_turned_away_whole_counts_once(
    http: TestClient, writer: Writer, monkeypatch: pytest.MonkeyPatch, error: LedgerError, code: str
) -> None:
    create(http, writer)

    def submit(*_: object) -> Any:
        raise error

    monkeypatch.setattr(Sequencer, "submit", submit)
    assert post(http, writer.next()).status_code in (429, 503)
    assert figures(http)[("refused_total", code)] == 1


def test_a_turn_that_fails_is_counted_and_the_next_one_goes_on(
    anyone: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bytes:
        raise BadProof("changed")

    with monkeypatch.context() as patched:
        patched.setattr(service.publisher, "publish", fail)
        turn(anyone)
        assert figures(anyone)[("publish_failures_total",)] >= 1
    turn(anyone)
    assert anyone.app.state.publishing.failure is None  # type: ignore[attr-defined]


def test_requests_are_counted_by_route_and_status_and_timed(anyone: TestClient) -> None:
    for fork in ("one", "other"):
        anyone.get(f"/v1/forks/{fork}/entries")
    found = figures(anyone)
    assert found[("requests_total", "GET", "/v1/forks/{fork_id}/entries", "401")] == 2
    assert found[("request_seconds_count", "GET", "/v1/forks/{fork_id}/entries")] == 2


def test_two_services_in_one_process_count_apart(anyone: TestClient, service: Service) -> None:
    anyone.get("/nowhere")
    other = TestClient(create_app(service, lambda: None))
    assert ("requests_total", "GET", "none", "404") in figures(anyone)
    assert ("requests_total", "GET", "none", "404") not in figures(other)
