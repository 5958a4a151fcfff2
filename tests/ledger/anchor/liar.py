"""A node between an auditor and a real one, which answers as it likes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.anvil import Anvil

Lie = Callable[[str, list[Any], Any], Any]
"""Given method, parameters and the true result, the one that is sent."""


class Liar(ThreadingHTTPServer):
    """Tells the truth until it has a `lie`. An answer of bytes is sent as it is, one of an int is that HTTP status."""

    daemon_threads = True

    def __init__(self, node: Anvil) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.node = node
        self.lie: Lie = lambda method, parameters, result: result
        self.asked: list[tuple[str, list[Any]]] = []


class Error(dict[str, Any]):
    """An answer with an error in the place of a result."""


class _Handler(BaseHTTPRequestHandler):
    server: Liar

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method, parameters = call["method"], call["params"]
        self.server.asked.append((method, parameters))
        try:
            said = self.server.lie(method, parameters, self.server.node.call(method, *parameters))
        except RuntimeError as error:
            said = Error(code=-32000, message=str(error))
        part = "error" if isinstance(said, Error) else "result"
        body = said if isinstance(said, bytes) else json.dumps({"jsonrpc": "2.0", "id": 1, part: said}).encode()
        self.send_response(said if isinstance(said, int) else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def between(node: Anvil) -> Iterator[Liar]:
    with Liar(node) as liar:
        thread = threading.Thread(target=liar.serve_forever, args=(0.01,))
        thread.start()
        yield liar
        liar.shutdown()
        thread.join()
