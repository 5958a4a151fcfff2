"""A data folder with its keys, and the server processes that work on it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ledger.audit import Report, audit
from ledger.main import open_house
from ledger.store.sqlite import open_read_only


@dataclass(frozen=True)
class Place:
    folder: Path
    base: Path | None  # None: the base that is shipped

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def file(self) -> Path:
        return self.data / "ledger.db"

    @property
    def environment(self) -> dict[str, str]:
        # One thread each: two threads of two processes on two busy cores spend their time waiting for one another.
        named = {
            "FORKLEDGER_DATA": str(self.data),
            "FORKLEDGER_KEYS": str(self.keys),
            "COLUMNS": "200",
            "FORKLEDGER_TORCH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        return {**os.environ, **named} | ({"FORKLEDGER_BASE": str(self.base)} if self.base else {})

    def command(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run `forkledger` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "ledger", *words],
            env=self.environment, input=given, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def new_app(self, name: str = "an app") -> str:
        log, keystore, _ = open_house(self.data, self.keys)
        api_key = keystore.add_app(name)[1]
        log.store.close()
        keystore.close()
        return api_key

    def audit(self) -> Report:
        store = open_read_only(self.file)
        try:
            return audit(store, None, None, lambda *_: None)
        finally:
            store.close()

    def replayed(self, fork: str) -> dict[str, Any]:
        """What `forkledger replay` makes of a fork, in a process of its own."""
        done = self.command("replay", str(self.file), "--fork", fork, "--keys", str(self.keys), "--json")
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)
        return dict(found)


class Server:
    """`forkledger serve` in a process of its own, on a port that the system picks."""

    def __init__(self, place: Place, *words: str) -> None:
        number = len(list(place.folder.glob("server-*.log")))
        self.log = place.folder / f"server-{number}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ledger", "serve", "--port", "0", *words],
                env=place.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.url = ""

    def wait(self) -> Server:
        end = time.monotonic() + 120
        while not (found := re.search(r"running on (http://\S+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.05)
        self.url = found[1]
        return self

    def client(self, api_key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {api_key}"}, timeout=120)

    def kill(self) -> None:
        """As if the power went."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def terminate(self) -> int:
        """As a service manager stops it. Returns the exit code."""
        self.process.terminate()
        return self.process.wait(60)
