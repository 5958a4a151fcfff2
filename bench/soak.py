"""Mixed load at 70% of capacity, for an hour: `python bench/soak.py`. Exits 1 on an error or on growth.

A real `forkledger serve` over the demo base. First some clients ask as fast as they are answered: that is capacity.
Then what they ask comes at 70% of that rate, whether the one before was answered or not: chats, streamed chats,
corrections, interactions generated elsewhere, looks at forks and history, evidence; and once a minute an audit of the
whole log.
At the end the log is audited and every fork replayed: each acknowledged record is there, each state the one shown.

An error is any answer but 2xx, a stream that does not end with [DONE], an audit or replay that finds something.
Growth is memory of the server at the end above that of the third minute, beyond what `--growth` allows.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import httpx

from ledger.audit import audit
from ledger.main import open_house
from ledger.store.sqlite import open_read_only

SHARE = 0.7  # of capacity
MIX = {"chat": 40, "stream": 20, "correction": 12, "interaction": 12, "look": 10, "evidence": 6}
CLIENTS, FORKS = 8, 16
STARTED_WITHIN = 180  # seconds


class Service:
    """`forkledger serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.data, self.keys = folder / "data", folder / "keys"
        log, keystore, _ = open_house(self.data, self.keys)
        self.api_key = keystore.add_app("soak")[1]
        log.close()
        keystore.close()
        # With an arena of malloc's for each thread, what was freed in one stays there: growth would drown in that.
        own = {"FORKLEDGER_TORCH_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self.environment = {**os.environ, **own}
        self.log = folder / "server.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ledger", "serve", "--port", "0", *self.places], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = time.monotonic() + STARTED_WITHIN
        while not (found := re.search(r"running on (http://\S+)", self.log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise SystemExit(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.1)
        self.url = found[1].rstrip('",}')

    @property
    def places(self) -> list[str]:
        return ["--data", str(self.data), "--keys", str(self.keys)]

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.api_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)

    def resident(self) -> float:
        """MiB of the process in memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20


class Load:
    """What is asked, by whom, and what came of it. One lock around the counts."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.lock = threading.Lock()
        self.errors: list[str] = []
        self.taken: dict[str, list[float]] = defaultdict(list)  # seconds, of this minute
        self.recorded: Counter[str] = Counter()  # acknowledged records, by fork
        self.last: dict[str, tuple[str, int]] = {}  # by fork: an answer to judge, and its leaf
        self.numbers = random.Random(7)
        with service.client() as http:
            self.forks = [http.post("/v1/forks", json={}).raise_for_status().json()["fork_id"] for _ in range(FORKS)]

    def draw(self) -> tuple[str, str, int]:
        """A kind, a fork and a number. Drawn under the lock, so that a run can be repeated."""
        with self.lock:
            kind = self.numbers.choices(list(MIX), list(MIX.values()))[0]
            return kind, self.numbers.choice(self.forks), self.numbers.randrange(10**6)

    def ask(self, http: httpx.Client, kind: str, fork: str, number: int, since: float) -> None:
        """Ask once. What it took is counted from `since`, when it was to be asked."""
        try:
            getattr(self, f"_{kind}")(http, fork, number)
        except Exception as error:
            said = error.response.text[:200] if isinstance(error, httpx.HTTPStatusError) else ""
            with self.lock:
                self.errors.append(f"{kind}: {type(error).__name__} {error} {said}")
            return
        with self.lock:
            self.taken[kind].append(time.monotonic() - since)

    def _note(self, fork: str, recorded: dict[str, object]) -> None:
        with self.lock:
            self.recorded[fork] += 1
            self.last[fork] = (str(recorded["record_id"]), int(str(recorded["leaf_index"])))

    def _chat(self, http: httpx.Client, fork: str, number: int) -> None:
        body = {"model": fork, "messages": said(f"What is {number} called?"), "max_tokens": 16}
        self._note(fork, http.post("/v1/chat/completions", json=body).raise_for_status().json()["forkledger"])

    def _stream(self, http: httpx.Client, fork: str, number: int) -> None:
        body = {"model": fork, "messages": said(f"Who is {number}?"), "max_tokens": 16, "stream": True}
        lines = []
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                answer.read()
            answer.raise_for_status()
            lines = [line for line in answer.iter_lines() if line]
        if lines[-1] != "data: [DONE]":
            raise RuntimeError(f"the stream ended with {lines[-1][:200]}")
        self._note(fork, json.loads(lines[-2].removeprefix("data: "))["forkledger"])

    def _correction(self, http: httpx.Client, fork: str, number: int) -> None:
        if fork not in self.last:
            return self._chat(http, fork, number)
        body = {"record_id": self.last[fork][0], "correction": f"It is {number}."}
        self._note(fork, http.post(f"/v1/forks/{fork}/verdicts", json=body).raise_for_status().json())

    def _interaction(self, http: httpx.Client, fork: str, number: int) -> None:
        body = {"messages": said(f"Where is {number}?"), "answer": "I don't know.", "rating": 0.5}
        self._note(fork, http.post(f"/v1/forks/{fork}/interactions", json=body).raise_for_status().json())

    def _look(self, http: httpx.Client, fork: str, number: int) -> None:
        http.get(f"/v1/forks/{fork}").raise_for_status()
        http.get(f"/v1/forks/{fork}/history", params={"limit": 20, "after": number % 20}).raise_for_status()

    def _evidence(self, http: httpx.Client, fork: str, number: int) -> None:
        if fork not in self.last:
            return self._look(http, fork, number)
        http.get("/checkpoint").raise_for_status()
        http.get("/v1/log/evidence", params={"leaf": self.last[fork][1]}).raise_for_status()


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def workers(count: int, work: Callable[[httpx.Client], bool], service: Service) -> list[threading.Thread]:
    """Threads with a client each, that work until `work` says False."""

    def run() -> None:
        with service.client() as http:
            while work(http):
                pass

    started = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in started:
        thread.start()
    return started


def capacity(load: Load, seconds: float) -> float:
    """Requests a second that some clients get answered when each asks again at once."""
    end = time.monotonic() + seconds

    def work(http: httpx.Client) -> bool:
        load.ask(http, *load.draw(), since=time.monotonic())
        return time.monotonic() < end

    began = time.monotonic()
    for thread in workers(CLIENTS, work, load.service):
        thread.join()
    done = sum(map(len, load.taken.values()))
    load.taken.clear()
    return done / (time.monotonic() - began)


def soak(load: Load, rate: float, minutes: float) -> list[float]:
    """Ask at `rate` for so long; print a line a minute. Returns the memory at the end of each, in MiB."""
    due: queue.Queue[float | None] = queue.Queue()

    def work(http: httpx.Client) -> bool:
        since = due.get()
        if since is not None:
            load.ask(http, *load.draw(), since=since)
        return since is not None

    threads = workers(4 * CLIENTS, work, load.service)
    memory: list[float] = []
    began, asked = time.monotonic(), 0
    while (now := time.monotonic()) < began + 60 * minutes:
        while asked < (now - began) * rate:
            due.put(began + asked / rate)
            asked += 1
        if now - began >= 60 * (len(memory) + 1):
            memory.append(load.service.resident())
            report(load, len(memory), memory[-1], due.qsize())
            expect_clean(load)
        time.sleep(min(0.05, 1 / rate))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join(300)
    memory.append(load.service.resident())
    return memory


def report(load: Load, minute: int, memory: float, behind: int) -> None:
    with load.lock:
        taken, load.taken = load.taken, defaultdict(list)
        errors = len(load.errors)
    every = sorted(second for each in taken.values() for second in each)
    if not every:
        print(f"minute {minute}: nothing was answered, {errors} errors, {memory:.0f} MiB", flush=True)
        return
    medians = ", ".join(f"{kind} {statistics.median(taken[kind]):.2f}" for kind in MIX if taken.get(kind))
    print(
        f"minute {minute}: {len(every)} answered, {behind} waiting, {errors} errors, {memory:.0f} MiB; "
        f"p50 {statistics.median(every):.2f} s, p99 {every[int(len(every) * 0.99)]:.2f} s; medians {medians}",
        flush=True,
    )


def expect_clean(load: Load) -> None:
    store = open_read_only(load.service.data / "ledger.db")
    try:
        if not audit(store, None, None, lambda *_: None).clean:
            load.errors.append("audit: the log is not clean")
    finally:
        store.close()


def expect_recorded(load: Load) -> None:
    """Every acknowledged record is there, and a replay comes to the state that is shown."""
    shown = {}
    with load.service.client() as http:
        for fork in load.forks:
            shown[fork] = http.get(f"/v1/forks/{fork}").raise_for_status().json()
            if shown[fork]["interactions"] < load.recorded[fork]:
                load.errors.append(f"fork {fork}: fewer records than were acknowledged")
    done = subprocess.run(
        [sys.executable, "-m", "ledger", "replay", str(load.service.data / "ledger.db"), "--keys",
         str(load.service.keys), "--json"],
        env=load.service.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        load.errors.append(f"replay: {done.stderr[:300]}")
        return
    for found in json.loads(done.stdout):
        if found["state_digest"] != shown[found["fork_id"]]["state_digest"]:
            load.errors.append(f"fork {found['fork_id']}: replay comes to another state")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--measure", type=float, default=60, help="seconds that capacity is measured for")
    parser.add_argument("--growth", type=float, default=64, help="MiB")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            load = Load(service)
            possible = capacity(load, given.measure)
            print(f"capacity {possible:.2f} requests a second with {CLIENTS} clients, {FORKS} forks", flush=True)
            if load.errors:
                raise SystemExit(f"errors at capacity: {load.errors[:5]}")
            memory = soak(load, SHARE * possible, given.minutes)
            report(load, len(memory), memory[-1], 0)
            expect_clean(load)
            expect_recorded(load)
        finally:
            service.process.terminate()
            service.process.wait(60)
    grown = memory[-1] - memory[min(2, len(memory) - 1)]
    records, errors = sum(load.recorded.values()), len(load.errors)
    print(f"{given.minutes:g} minutes at {SHARE:.0%}: {records} records, {errors} errors, grown {grown:.0f} MiB")
    for error in load.errors[:20]:
        print(f"  {error}")
    if load.errors or grown > given.growth:
        sys.exit(1)


if __name__ == "__main__":
    main()
