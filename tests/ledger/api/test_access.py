"""A line for each request, which names the route and nothing of what was asked or sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ledger.logs import JsonLines
from tests.ledger.api.test_records import create, post
from tests.ledger.written import Writer


@pytest.fixture
def log() -> Iterator[StringIO]:
    """All that anything logs, at every level, as the service writes it; save the test's own client."""
    heard, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(heard), root.level
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not record.name.startswith("httpx"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield heard
    root.removeHandler(handler)
    root.setLevel(level)


def lines(log: StringIO) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in read if line["logger"] == "forkledger.access"]


def test_each_request_is_a_line_with_method_route_status_and_time(
    anyone: TestClient, http: TestClient, writer: Writer, log: StringIO
) -> None:
    create(http, writer)
    http.get(f"/v1/forks/{writer.fork_id}/entries?after=0")
    anyone.get(f"/v1/forks/{writer.fork_id}/entries")
    anyone.get("/nowhere/at/all")
    anyone.delete("/checkpoint")
    found = lines(log)
    assert [(line["method"], line["route"], line["status"]) for line in found] == [
        ("POST", "/v1/controls", 201),
        ("GET", "/v1/forks/{fork_id}/entries", 200),
        ("GET", "/v1/forks/{fork_id}/entries", 401),
        ("GET", "none", 404),
        ("DELETE", "/checkpoint", 405),
    ]
    assert all(0 <= line["ms"] < 60_000 for line in found)


def test_a_stream_is_a_line_when_it_ends(http: TestClient, anyone: TestClient, log: StringIO) -> None:
    with http.websocket_connect("/v1/records/stream"):
        pass
    with pytest.raises(WebSocketDisconnect), anyone.websocket_connect("/v1/records/stream"):
        pass
    found = [(line["method"], line["route"], line["status"]) for line in lines(log)]
    assert found == [("WebSocket", "/v1/records/stream", 101), ("WebSocket", "/v1/records/stream", 401)]


def test_a_method_that_is_none_is_not_repeated(anyone: TestClient, log: StringIO) -> None:
    anyone.request("SECRETWORD", "/checkpoint")
    assert [line["method"] for line in lines(log)] == ["OTHER"]
    assert "SECRETWORD" not in log.getvalue()
    assert "SECRETWORD" not in anyone.get("/metrics").text


def test_nothing_that_was_asked_or_sent_is_logged_or_counted(
    app_client: Callable[[str], TestClient], anyone: TestClient, writer: Writer, log: StringIO
) -> None:
    http = app_client("an app")
    api_key = http.headers["authorization"].removeprefix("Bearer ")
    create(http, writer)
    said = writer.next(said="what only the owner may read")
    assert post(http, said).status_code == 201
    for client in (http, anyone):
        client.get("/v1/forks/secret-in-path/entries?after=secret-in-query")
        client.get("/secret-in-path?secret-in-query=1", headers={"x-a": "secret-in-header", "cookie": "secret=1"})
        client.post("/v1/records", content=b"secret-in-body", headers={"authorization": "Bearer fl_secret-key"})
        client.post("/v1/records", content=b"secret-in-body")
        client.post("/v1/records/batch", content=b"secret-in-body")
        client.post("/v1/controls", content=b"secret-in-body")
        client.get("/v1/log/proofs/inclusion?leaf=secret-in-query")
    with http.websocket_connect("/v1/records/stream?secret-in-query=1") as stream:
        stream.send_bytes(b"secret-in-frame")
        stream.receive_json()
        stream.send_text("secret-in-frame")
        stream.receive_json()
    for where, told in (("log", log.getvalue()), ("metrics", anyone.get("/metrics").text)):
        for secret in ("secret", api_key, writer.fork_id, said.body.hex(), "only the owner"):
            assert secret not in told, (where, secret)
    assert len(lines(log)) >= 16
