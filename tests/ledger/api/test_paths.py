"""One path, one spelling."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ledger.api.service import Service
from tests.ledger.written import fill


@pytest.mark.parametrize(
    "path", ["/tile/0/000.p/8", "/tile/entries/000.p/8", "/checkpoint", "/v1/log/entries", "/healthz"]
)
def test_a_path_with_a_newline_at_its_end_is_another_path(anyone: TestClient, service: Service, path: str) -> None:
    fill(service.ledger)
    service.publisher.publish()
    assert anyone.get(path).status_code == 200
    for ending in ("%0a", "%0A%0a", "%0d%0a"):
        answer = anyone.get(path + ending)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), ending


def test_a_tile_path_with_a_newline_within_is_none(anyone: TestClient, service: Service) -> None:
    fill(service.ledger)
    service.publisher.publish()
    for path in ("/tile/0/000%0a.p/8", "/tile/0%0a/000.p/8", "/tile%0a/0/000.p/8"):
        assert anyone.get(path).status_code in (400, 404), path


def test_a_stream_s_path_too(http: TestClient) -> None:
    with http.websocket_connect("/v1/records/stream"):
        pass
    with pytest.raises(WebSocketDisconnect), http.websocket_connect("/v1/records/stream%0a"):
        pass
