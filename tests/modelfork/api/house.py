"""The whole service behind a real port, in this process."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
from fastapi import FastAPI
from websockets.sync.client import ClientConnection, connect

from ledger.api.server import Server
from ledger.keystore import KeyStore
from ledger.ledger import Ledger
from ledger.main import build_app, open_operator_keys
from modelfork.forks import ForkManager


@dataclass
class House:
    """A service on a data folder; `stop` and `start` again as often as wanted."""

    folder: Path
    drain: int = 20  # seconds
    app: FastAPI = field(init=False)
    url: str = field(init=False, default="")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, port: int = 0) -> House:
        self.app = build_app(self.data, open_operator_keys(self.data, self.folder / "keys", "example.org/log"))
        self._server = Server(self.app, "127.0.0.1", port, drain=self.drain)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            self._thread.join(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def ledger(self) -> Ledger:
        found: Ledger = self.app.state.service.ledger
        return found

    @property
    def keystore(self) -> KeyStore:
        found: KeyStore = self.app.state.service.keystore
        return found

    @property
    def manager(self) -> ForkManager:
        found: ForkManager = self.app.state.forks.manager
        return found

    def new_app(self, name: str = "an app") -> str:
        return self.keystore.add_app(name)[1]

    def client(self, api_key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {api_key}"}, timeout=60)

    def stream(self, api_key: str, max_queue: int | None = None, sock: socket.socket | None = None) -> ClientConnection:
        return connect(
            self.url.replace("http", "ws", 1) + "/v1/interactions/stream",
            additional_headers={"authorization": f"Bearer {api_key}"},
            compression=None,
            max_queue=max_queue,
            sock=sock,
        )

    def openai(self, api_key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key, max_retries=0)
