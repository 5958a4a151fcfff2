"""A log's website that means harm: what it sends is bounded in bytes and in time before anything is believed."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ledger.errors import Unavailable
from ledger.logsource import Website

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def site() -> Iterator[Callable[[Answer], Website]]:
    servers: list[ThreadingHTTPServer] = []

    def serve(answer: Answer) -> Website:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        website = Website(f"http://127.0.0.1:{servers[-1].server_port}")
        website.pause = 0
        return website

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_is_packed_is_not_unpacked(site: Callable[[Answer], Website]) -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))

    def answer(asked: BaseHTTPRequestHandler) -> None:
        assert asked.headers["accept-encoding"] == "identity"
        asked.send_response(200)
        asked.send_header("content-encoding", "gzip, gzip")
        asked.end_headers()
        asked.wfile.write(bomb)

    website = site(answer)
    with pytest.raises(Unavailable, match="content-encoding"):
        website.read("checkpoint", 1000)
    website.close()


def test_what_drips_is_given_up(site: Callable[[Answer], Website]) -> None:
    def answer(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(200)
        asked.end_headers()
        try:
            for _ in range(100):
                asked.wfile.write(b"x")
                asked.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass  # it was given up

    website = site(answer)
    website.most_seconds = 0.2
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="took more than"):
        website.read("checkpoint", 1000)
    assert time.monotonic() - begun < 4
    website.close()
