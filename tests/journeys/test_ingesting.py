"""A file of what was said elsewhere, brought by processes that are killed on the way, and beside a server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import LedgerError
from ledger.store.sqlite import open_read_only
from tests.journeys.server import Place, Server

pytestmark = pytest.mark.slow

TURNS = 60


def line(*texts: str) -> str:
    roles = ("user", "assistant")
    return json.dumps({"messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]}) + "\n"


@pytest.fixture
def chats(place: Place) -> Path:
    """Conversations of two turns, among them a line that is none."""
    path = place.folder / "chats.jsonl"
    lines = [line(f"Is it {n}?", "Yes.", f"And {n} then?", f"No {n}.") for n in range(TURNS // 2)]
    path.write_text("".join([*lines[:20], "nonsense\n", *lines[20:]]))
    return path


def entries(place: Place) -> int:
    try:
        store = open_read_only(place.file)
    except (LedgerError, OSError):
        return 0
    try:
        return store.size()
    finally:
        store.close()


def killed_at(place: Place, chats: Path, size: int) -> None:
    """Run the command, and kill it once the log has `size` entries."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger", "ingest", str(chats)],
        env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    end = time.monotonic() + 120
    while entries(place) < size:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was done before it was killed"


def told(place: Place, fork: str) -> list[tuple[str, str]]:
    done = place.command("history", fork, "--json")
    assert done.returncode == 0, done.stderr
    return [(one["said"], one["answer"]) for one in json.loads(done.stdout)[1:]]


def test_what_is_killed_on_the_way_goes_on_and_doubles_nothing(place: Place, chats: Path) -> None:
    for size in (5, 40):
        killed_at(place, chats, size)
    done = place.command("ingest", str(chats), "--json")
    assert (done.returncode, done.stderr) == (1, "")
    stock = json.loads(done.stdout)
    assert stock["there"] >= 39
    assert (stock["there"] + stock["recorded"], stock["faults"]) == (TURNS, 1)
    pairs = [((f"Is it {n}?", "Yes."), (f"And {n} then?", f"No {n}.")) for n in range(TURNS // 2)]
    assert told(place, stock["fork"]) == [turn for pair in pairs for turn in pair]
    assert place.audit().clean
    assert place.replayed(stock["fork"])["records"] == TURNS


def test_a_fork_that_a_server_serves_takes_a_file_and_a_chat_at_once(
    place: Place, chats: Path, serve: Callable[..., Server]
) -> None:
    api_key = place.new_app()
    server = serve(place)
    with server.client(api_key) as client:
        fork = client.post("/v1/forks", json={}).json()["fork_id"]
        process = subprocess.Popen(
            [sys.executable, "-m", "ledger", "ingest", str(chats), "--fork", fork],
            env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        spoken = 0
        while process.poll() is None:
            body = {"messages": [{"role": "user", "content": f"Am I number {spoken}?"}], "answer": "Yes."}
            assert client.post(f"/v1/forks/{fork}/interactions", json=body).status_code == 201
            spoken += 1
        _, errors = process.communicate()
        assert process.returncode == 1, errors
        state = client.get(f"/v1/forks/{fork}").json()
    assert state["interactions"] == TURNS + spoken
    assert server.terminate() == 0
    both = told(place, fork)
    assert len(both) == len(set(both)) == TURNS + spoken
    assert [question for question, _ in both if question.startswith("Am I")] == [
        f"Am I number {n}?" for n in range(spoken)
    ]
    assert place.replayed(fork)["state_digest"] == state["state_digest"]


MEASURED = """
import sys, tracemalloc
tracemalloc.start()
from ledger.cli import main
sys.argv = ["forkledger", "ingest", sys.argv[1], "--dry-run"]
try:
    main()
finally:
    print(tracemalloc.get_traced_memory()[1])
"""


def looked_at(place: Place, path: Path) -> tuple[str, str, int]:
    """What a dry run said on both ways out, and the most memory that it held, in bytes."""
    command = [sys.executable, "-c", MEASURED, str(path)]
    done = subprocess.run(command, env=place.environment, capture_output=True, text=True, check=False)
    said, largest = done.stdout.splitlines()
    return said, done.stderr, int(largest)


def test_a_line_of_fifty_megabytes_is_skipped_and_never_held(place: Place) -> None:
    path = place.folder / "chats.jsonl"
    path.write_text(line("a?", "Yes.") + "nonsense\n" + line("b?", "Yes."))
    said, _, before = looked_at(place, path)
    long = b'{"messages": "' + b"x" * (50 << 20) + b'"}\n'
    path.write_bytes(line("a?", "Yes.").encode() + long + line("b?", "Yes.").encode())
    again, faults, after = looked_at(place, path)
    assert said == again == "a new fork: 2 to record; 1 could not be read; nothing was written"
    assert faults == "line 2: expected at most 16,777,216 bytes, found more\n"
    assert after - before < 40 << 20


def test_a_ledger_in_postgresql_takes_a_file_once(
    place: Place, chats: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKLEDGER_DATABASE_URL", postgres_url)
    stocks = [
        json.loads(place.command("ingest", str(chats), "--json", *more).stdout)
        for more in (("--dry-run",), (), ("--dry-run",), ())
    ]
    counted = [(stock["new"], stock["recorded"], stock["there"]) for stock in stocks]
    assert counted == [(TURNS, 0, 0), (TURNS, TURNS, 0), (0, 0, TURNS), (0, 0, TURNS)]
    assert not place.file.exists()
    assert len(told(place, stocks[1]["fork"])) == TURNS
