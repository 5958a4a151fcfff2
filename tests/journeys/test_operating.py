"""A server that is run as one is: probed, measured, read line by line, and stopped in the middle of its work."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ledger import checkpoint as checkpoints
from ledger.main import open_reader
from ledger.record import encode_batch, encode_record
from tests.journeys.database import Database
from tests.journeys.server import Place, Server
from tests.journeys.test_stream import expect_all_once, far_too_long, new_fork
from tests.ledger.written import Writer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Serve = Callable[[Place], Server]


def lines(server: Server) -> list[dict[str, Any]]:
    """What it wrote on standard error; on standard output there are two lines for people."""
    written = server.log.read_text().splitlines()
    people = [line for line in written if not line.startswith("{")]
    assert all(re.match(r"log key \(pin this\): |no app may call yet: ", line) for line in people), people
    return [json.loads(line) for line in written if line.startswith("{")]


def test_a_server_that_is_told_to_stop_under_load_publishes_all_that_it_acknowledged(
    place: Place, serve: Serve
) -> None:
    api_key = place.new_app()
    server = serve(place)
    writers = [new_fork(server, api_key, number) for number in range(4)]
    answers: list[dict[str, Any]] = []

    def load(writer: Writer) -> None:
        with server.client(api_key) as http:
            while True:
                try:
                    answer = http.post("/v1/records/batch", content=encode_batch([writer.next() for _ in range(20)]))
                except httpx.TransportError:
                    return  # it was closed between two requests, and then what was sent is not recorded
                answers.extend(answer.raise_for_status().json()["results"])

    loads = [threading.Thread(target=load, args=[writer]) for writer in writers]
    for each in loads:
        each.start()
    end = time.monotonic() + 60
    while len(answers) < 400:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert server.terminate() == 0
    for each in loads:
        each.join(60)
    assert all("receipt" in answer for answer in answers)
    # Not one that was recorded remained without its answer.
    expect_all_once(place, answers, len(answers), forks=len(writers))
    reader = open_reader(place.file)
    try:
        shown = (place.data / "public" / "checkpoint").read_bytes()
        covered = checkpoints.open_checkpoint(shown, reader.origin, [reader.log_verifier])
        assert covered.size == reader.size() == len(writers) + len(answers)
    finally:
        reader.store.close()


def test_a_probe_a_scrape_and_a_line_for_every_request_with_no_secret_in_any(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    writer = new_fork(server, api_key)
    record = encode_record(writer.next(said="secret-in-content"))
    stream = server.url.replace("http", "ws", 1) + "/v1/records/stream?key=secret-in-query"
    with server.client(api_key) as http:
        assert http.get("/readyz").json() == {"status": "ready", "reasons": [], "notes": []}
        http.post("/v1/records", content=record).raise_for_status()
        http.get("/v1/forks/secret-in-path/entries?x=secret-in-query", headers={"x-a": "secret-in-header"})
        http.post("/v1/chat/completions", json={"model": "secret-in-body", "messages": []})
        http.post("/v1/records", content=b"secret-in-body")
        told = http.get("/metrics").raise_for_status().text
    with connect(stream, additional_headers={"authorization": f"Bearer {api_key}"}) as opened:
        opened.send(b"secret-in-frame")
        opened.recv()
    with pytest.raises(Exception, match="401"):
        connect(stream, additional_headers={"authorization": "Bearer fl_secret-key"})
    with pytest.raises(ConnectionClosed):
        far_too_long(server.url, api_key)
    assert server.terminate() == 0
    found = lines(server)
    assert all({"time", "level", "logger", "message"} <= set(line) for line in found)
    requests = [(line["method"], line["route"], line["status"]) for line in found if "route" in line]
    for request in (
        ("GET", "/readyz", 200),
        ("POST", "/v1/records", 201),
        ("GET", "/v1/forks/{fork_id}/entries", 404),
        ("POST", "/v1/records", 400),
        ("WebSocket", "/v1/records/stream", 101),
        ("WebSocket", "/v1/records/stream", 401),
    ):
        assert request in requests
    for text in (server.log.read_text(), told):
        assert "secret" not in text
        assert api_key not in text
        assert writer.fork_id not in text
    # uvicorn takes an answer to a handshake other than 101 for none at all, and says so.
    assert {line["level"] for line in found if not line["logger"].startswith("uvicorn")} == {"info"}


def test_a_server_is_not_ready_while_its_database_is_down_and_ready_again_after(
    place: Place, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database().start()
    try:
        monkeypatch.setenv("FORKLEDGER_DATABASE_URL", database.url)
        server = serve(place)
        assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready", "reasons": [], "notes": []}
        database.kill()
        down = httpx.get(f"{server.url}/readyz", timeout=30)
        assert (down.status_code, len(down.json()["reasons"])) == (503, 1)
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert "forkledger_log_size" in httpx.get(f"{server.url}/metrics").text  # asks no database
        database.start()
        end = time.monotonic() + 60
        while httpx.get(f"{server.url}/readyz", timeout=30).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.5)
        assert server.terminate() == 0
    finally:
        database.close()
