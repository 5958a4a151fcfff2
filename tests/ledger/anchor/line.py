"""The line between a worker and its node: a proxy that loses answers, is cut, or says things that no node would."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Line:
    """`url` leads to the node. What happens on the way is set at any time."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.cut = False  # nothing gets through
        self.losing: set[str] = set()  # methods that reach the node, and whose answers are lost
        self.instead: Callable[[str], bytes | None] = lambda method: None  # what is answered, and the node not asked
        self.asked: list[str] = []  # every method, in order
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        line = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                method = json.loads(asked)["method"]
                line.asked.append(method)
                told = None if line.cut else line.instead(method) or self._forward(asked)
                if told is None or method in line.losing:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def _forward(self, asked: bytes) -> bytes:
                request = urllib.request.Request(line.node, asked, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=30) as answer:
                    told: bytes = answer.read()
                return told

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def line(node: str) -> Iterator[Line]:
    made = Line(node)
    try:
        yield made
    finally:
        made.close()
