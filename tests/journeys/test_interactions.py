"""Interactions that stream into a service which is killed, flooded, stalled and sent a line of 50 MB."""

from __future__ import annotations

import itertools
import json
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from modelfork.api.app import TEACHING_THREADS
from tests.journeys.server import Place, Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Serve = Callable[..., Server]
INTERACTIONS = 240
KILLS = 4


def interaction(number: int, **more: Any) -> str:
    asked = [{"role": "user", "content": f"Who is {number}?"}]
    said = {"key": str(number), "user": f"user {number % 6}", "messages": asked, "answer": "Nobody."}
    return json.dumps(said | ({"correction": f"It is {number}."} if number % 5 == 0 else {}) | more)


def opened(server: Server, api_key: str) -> ClientConnection:
    return connect(
        server.url.replace("http", "ws", 1) + "/v1/interactions/stream",
        additional_headers={"authorization": f"Bearer {api_key}"}, compression=None, max_queue=None,
        close_timeout=1, ping_interval=None,
    )  # fmt: skip


def stream_until_killed(server: Server, api_key: str, answered: dict[str, dict[str, Any]], stop_after: int) -> None:
    """Send what was not answered, keep each answer by its key, and kill the server once there are so many."""
    left = [number for number in range(INTERACTIONS) if str(number) not in answered]
    with opened(server, api_key) as stream:
        for number in left:
            stream.send(interaction(number))
        for _ in left:
            told = json.loads(stream.recv(240))
            assert "receipt" in told, told
            assert told["key"] not in answered
            answered[told["key"]] = told
            if len(answered) == stop_after:
                server.kill()


def test_what_was_answered_survives_every_kill_and_the_rest_is_sent_again_once(place: Place, serve: Serve) -> None:
    moments = random.Random(5)
    api_key = place.new_app()
    server = serve(place)
    answered: dict[str, dict[str, Any]] = {}
    for _ in range(KILLS):
        with pytest.raises(ConnectionClosed):
            stream_until_killed(server, api_key, answered, len(answered) + moments.randint(10, 40))
        report = place.audit()
        assert report.clean, report.faults
        server = serve(place)
    stream_until_killed(server, api_key, answered, stop_after=-1)
    assert sorted(answered, key=int) == [str(number) for number in range(INTERACTIONS)]
    with server.client(api_key) as http:
        forks = {user: fork_of(http, f"user {user}") for user in range(6)}
        for user, fork in forks.items():
            told = http.get(f"/v1/forks/{fork}/history", params={"limit": 500}).json()["history"][1:]
            mine = [number for number in range(INTERACTIONS) if number % 6 == user]
            assert [one["said"] for one in told] == [f"Who is {number}?" for number in mine]  # in their order
            assert [one["record_id"] for one in told] == [answered[str(number)]["record_id"] for number in mine]
            assert place.replayed(fork)["records"] == len(mine)
    assert server.terminate() == 0
    assert place.audit().clean


def fork_of(http: httpx.Client, user: str) -> str:
    return str(http.post("/v1/forks", json={"user": user}).raise_for_status().json()["fork_id"])


def resident(server: Server) -> int:
    """MiB of memory that the process has had at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@contextmanager
def raw(server: Server, api_key: str) -> Iterator[socket.socket]:
    """A WebSocket whose frames a test writes by hand, as no client would."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(
            f"GET /v1/interactions/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {api_key}\r\n\r\n".encode()
        )
        assert line.recv(12) == b"HTTP/1.1 101"
        yield line


def header(length: int) -> bytes:
    return b"\x81\xff" + length.to_bytes(8, "big") + bytes(4)  # text, masked with zeros


def test_a_line_of_50_mb_is_refused_and_memory_stays_flat_and_who_stalls_holds_nobody_up(
    place: Place, serve: Serve
) -> None:
    api_key = place.new_app()
    server = serve(place)
    with opened(server, api_key) as stream, ExitStack() as stalled:
        stream.send(interaction(0))
        assert "receipt" in json.loads(stream.recv(240))
        before = resident(server)
        for _ in range(20):  # a frame that began and never ends
            line = stalled.enter_context(raw(server, api_key))
            line.sendall(header(1 << 20) + b'{"key": "')
        for announced in (50 << 20, 7 << 20):  # far too long: refused by its length alone; too long: once it is here
            with raw(server, api_key) as line:
                if announced > 8 << 20:
                    with pytest.raises((ConnectionResetError, BrokenPipeError)):
                        push(line, announced)
                else:
                    push(line, announced)
                stream.send(interaction(announced))
                assert "receipt" in json.loads(stream.recv(240))
        with server.client(api_key) as http:
            fork = fork_of(http, "user 0")
            for path in ("interactions", "interactions/batch"):
                refused = http.post(f"/v1/forks/{fork}/{path}", content=chunks(50))
                assert refused.status_code == 413
        assert resident(server) - before < 40
    assert server.terminate() == 0
    assert place.audit().clean


def push(line: socket.socket, announced: int) -> None:
    line.sendall(header(announced))
    for _ in range(announced >> 16):
        line.sendall(b"x" * (1 << 16))


def chunks(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes):
        yield b"x" * (1 << 20)


def test_a_client_that_floods_waits_for_itself_and_others_are_served_in_between(place: Place, serve: Serve) -> None:
    flooding, quiet = place.new_app("flooding"), place.new_app("quiet")
    server = serve(place)
    with opened(server, quiet) as stream, ExitStack() as going:
        floods = [going.enter_context(opened(server, flooding)) for _ in range(4)]
        for number in range(800):
            floods[number % 4].send(interaction(number, user=f"user {number % 50}", correction="So many."))
        for flood in floods:
            assert "receipt" in json.loads(flood.recv(240))
        leaves = []
        for number in range(8):
            stream.send(interaction(number, user="quiet"))
            told = json.loads(stream.recv(240))
            assert told["queued"] == told["waiting"] == 0
            leaves.append(told["leaf_index"])
        in_between = [after - before for before, after in itertools.pairwise(leaves)]
        assert max(in_between) <= 3 * TEACHING_THREADS, in_between  # forks made and interactions that were under way
        waiting = json.loads(floods[0].recv(240))["queued"]
        assert waiting > 100, "the flood was over before it could harm anybody"
    assert server.terminate() == 0
    assert place.audit().clean
