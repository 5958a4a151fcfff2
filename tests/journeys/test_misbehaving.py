"""Clients that misbehave against a real server: others are served meanwhile, and what was sent is not kept."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.journeys.server import Place, Server

pytestmark = pytest.mark.slow

GROWTH = 48 << 20  # bytes: what a misbehaving client sends is more, or would be if it were kept
PATIENCE = 40  # seconds that an answer to somebody else may take, on two busy cores


def resident(server: Server) -> int:
    """Bytes of the server's process in memory."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Other:
    """Somebody else with an app and a fork of their own, who is to notice nothing."""

    def __init__(self, server: Server, api_key: str) -> None:
        self.http = server.client(api_key)
        self.http.timeout = httpx.Timeout(PATIENCE)
        self.fork = self.http.post("/v1/forks", json={}).raise_for_status().json()["fork_id"]
        self.turns = 0

    def is_served(self) -> None:
        assert self.http.get("/healthz").raise_for_status().json()
        self.turns += 1
        said = [{"role": "user", "content": f"Is it {self.turns}?"}]
        body = {"model": self.fork, "messages": said, "max_tokens": 4}
        recorded = self.http.post("/v1/chat/completions", json=body).raise_for_status().json()["forkledger"]
        told = self.http.get(f"/v1/forks/{self.fork}").raise_for_status().json()
        assert (told["version"], recorded["version"]) == (self.turns + 1, self.turns + 1)


class FewArenas(Place):
    """With an arena of malloc's for each thread, what was freed in one stays there: growth would drown in that."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"MALLOC_ARENA_MAX": "2"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Place:
    return FewArenas(tmp_path_factory.mktemp("misbehaving"), tiny_base)


@pytest.fixture(scope="module")
def keys(place: Place) -> list[str]:
    """API keys: of one who misbehaves, and of somebody else."""
    return [place.new_app("who misbehaves"), place.new_app("another")]


@pytest.fixture(scope="module")
def server(place: Place, keys: list[str]) -> Iterator[Server]:
    """One for all: it serves on after each of them."""
    found = Server(place)
    try:
        yield found.wait()
    finally:
        found.kill()


@pytest.fixture
def other(server: Server, keys: list[str]) -> Iterator[Other]:
    found = Other(server, keys[1])
    found.is_served()
    yield found
    found.is_served()
    found.http.close()


@contextmanager
def many(count: int, work: Callable[[int, threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(number, stop), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def connect(server: Server) -> socket.socket:
    found = urlsplit(server.url)
    return socket.create_connection((found.hostname, found.port), timeout=PATIENCE)


def head(path: str, api_key: str, length: int | None) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api_key}\r\n"
        f"content-type: application/json\r\n{size}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("door", ["chat", "interactions", "look"])
def test_one_that_floods_waits_for_itself(server: Server, keys: list[str], other: Other, door: str) -> None:
    with server.client(keys[0]) as http:
        fork = http.post("/v1/forks", json={}).raise_for_status().json()["fork_id"]
    seen: Counter[int] = Counter()

    def flood(number: int, stop: threading.Event) -> None:
        with server.client(keys[0]) as http:
            count = 0
            while not stop.is_set():
                count += 1
                asked = [{"role": "user", "content": f"What is {number} of {count} called?"}]
                if door == "chat":
                    sent = http.post("/v1/chat/completions", json={"model": fork, "messages": asked, "max_tokens": 8})
                elif door == "interactions" or not number % 8:
                    told = {"messages": asked, "answer": "no", "correction": f"It is {count}."}
                    sent = http.post(f"/v1/forks/{fork}/interactions", json=told)
                else:
                    sent = http.get(f"/v1/forks/{fork}")
                seen[sent.status_code] += 1

    with many(60, flood):
        time.sleep(1)
        other.is_served()
        before = resident(server)
        for _ in range(3):
            other.is_served()
        grown = resident(server) - before
    assert grown < GROWTH
    assert not {status for status in seen if status not in (200, 201, 429)}, seen


def test_one_that_never_reads_its_stream_stalls_nobody(server: Server, keys: list[str], other: Other) -> None:
    with server.client(keys[0]) as http:
        fork = http.post("/v1/forks", json={}).raise_for_status().json()["fork_id"]

        def stall(wave: int) -> int:
            """Thirty who do not read; bytes in memory once each is recorded all the same, and still not read."""
            with ExitStack() as stalled:
                for number in range(30):
                    said = [{"role": "user", "content": f"Tell me {wave} {number}"}]
                    body = json.dumps({"model": fork, "messages": said, "max_tokens": 64, "stream": True}).encode()
                    one = stalled.enter_context(connect(server))
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    one.sendall(head("/v1/chat/completions", keys[0], len(body)) + body)
                for _ in range(3):
                    other.is_served()
                end = time.monotonic() + 2 * PATIENCE
                while http.get(f"/v1/forks/{fork}").json()["interactions"] < 30 * (wave + 1):
                    assert time.monotonic() < end
                    time.sleep(0.5)
                return resident(server)

        first = stall(0)  # as many keys, values and threads as there will be
        assert stall(1) - first < GROWTH


def test_fifty_megabytes_are_not_read(server: Server, keys: list[str], other: Other) -> None:
    """Announced or not, in one line or in pieces, with a key or without."""
    before = resident(server)
    path = "/v1/chat/completions"
    for api_key, announced in ((keys[0], True), (keys[0], False), ("none", True), ("none", False)):
        length = 50 << 20
        with connect(server) as one:
            one.sendall(head(path, api_key, length if announced else None))
            sent, piece = 0, b"x" * 65536
            with suppress(OSError):  # cut off
                while sent < length:
                    one.sendall(piece if announced else b"10000\r\n" + piece + b"\r\n")
                    sent += len(piece)
            with one.makefile("rb") as answer:
                try:
                    status = answer.readline()
                except OSError:
                    status = b""  # the answer was lost with the connection
            assert not status or b" 413 " in status, status
        other.is_served()
        assert resident(server) - before < GROWTH
    line = b"GET /" + b"x" * (50 << 20)
    with connect(server) as one, suppress(OSError):
        one.sendall(line)
    other.is_served()
    assert resident(server) - before < GROWTH


def test_bodies_that_drip_hold_nobody_up(server: Server, keys: list[str], other: Other) -> None:
    """When they are given up is shown in tests/ledger/api/test_limits.py."""
    before = resident(server)
    with ExitStack() as held:
        dripping = [held.enter_context(connect(server)) for _ in range(100)]
        for one in dripping:
            one.sendall(head("/v1/chat/completions", keys[0], 100_000) + b'{"model": "')
        for _ in range(4):
            for one in dripping:
                one.sendall(b"x")
            other.is_served()
    assert resident(server) - before < GROWTH
