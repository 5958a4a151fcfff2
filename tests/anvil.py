"""A real EVM node on this machine: the anvil of contracts/package-lock.json, or one on the PATH."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PACKAGED = Path(__file__).parent.parent / "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
_START_WITHIN = 30.0  # seconds


def _binary() -> str:
    found = str(_PACKAGED) if _PACKAGED.exists() else shutil.which("anvil")
    if found is None:
        raise RuntimeError("anvil: expected one in contracts/node_modules (run .ci/setup) or on the PATH")
    return found


class Anvil:
    """One node with chain id 31337, ten funded accounts, safe = latest - 1 and finalized = latest - 2."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.options = options
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with no more state than `options` say. A second start after `stop` is the same port."""
        command = [_binary(), "--port", str(self.port), "--slots-in-an-epoch", "1", "--silent"]
        if "--hardfork" not in self.options:
            command += ["--hardfork", "prague"]
        self._process = subprocess.Popen([*command, *self.options])
        deadline = time.monotonic() + _START_WITHIN
        while True:
            try:
                self.call("eth_chainId")
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"anvil: did not answer at {self.url} (exit {self._process.poll()})") from None
                time.sleep(0.02)
            else:
                return

    def stop(self, keep: bool = False) -> None:
        """Kill it: its state is lost. To `keep` it, where `--state FILE` says, it is asked to end."""
        if self._process is not None:
            self._process.terminate() if keep else self._process.kill()
            self._process.wait()
            self._process = None

    def call(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call, apart from the library under test. Raises RuntimeError with the node's own words."""
        asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self.url, asked, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            told = json.load(answer)
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']['message']}")
        return told["result"]

    def mine(self, blocks: int = 1) -> None:
        self.call("anvil_mine", hex(blocks))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(*options: str) -> Iterator[Anvil]:
    """A node for the length of the block. `--no-mining` leaves it to the test when a block comes."""
    node = Anvil(*options)
    node.start()
    try:
        yield node
    finally:
        node.stop()
