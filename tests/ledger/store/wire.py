"""A wire to a database that a test can cut: what a client sees when a server dies, hangs or comes back."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict


class Wire:
    """Carries bytes between clients of `url` and the database of `to`, both ways, until it is told otherwise."""

    def __init__(self, to: str) -> None:
        given = {key: str(value) for key, value in conninfo_to_dict(to).items()}
        host, port = given.get("host", "localhost"), given.get("port", "5432")
        self._connect: Callable[[], socket.socket]
        if host.startswith("/"):
            self._connect = lambda: _unix(f"{host}/.s.PGSQL.{port}")
        else:
            self._connect = lambda: socket.create_connection((host, int(port)))
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / ".s.PGSQL.5432"
        self.url = "postgresql://?" + urlencode({**given, "host": self._folder.name, "port": "5432"})
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(50)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._up = True
        self._losing: set[socket.socket] = set()
        self.lose_answer_to: bytes | None = None  # the next time that a client says this: then the connection breaks
        self.silent = False  # whether what the server says is kept back
        self._run(self._accept)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if not self._up:
                    client.close()
                    continue
                server = self._connect()
                with self._lock:
                    self._pairs.append((client, server))
                self._run(self._to_server, client, server)
                self._run(self._to_client, client, server)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := client.recv(65536):
                if self.lose_answer_to is not None and self.lose_answer_to in said:
                    self.lose_answer_to = None
                    self._losing.add(client)
                server.sendall(said)
        _close(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (said := server.recv(65536)) and client not in self._losing:
                if not self.silent:
                    client.sendall(said)
        _close(client, server)

    def cut(self) -> None:
        """Break every connection, and refuse new ones until `mend`."""
        self._up = False
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def mend(self) -> None:
        self._up = True

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)
        self._folder.cleanup()


def _unix(path: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.connect(path)
    return found


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
