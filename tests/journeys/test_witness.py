"""Witness processes, killed, doubled and lied to: what they cosigned goes together."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from ledger import checkpoint, merkle, note
from ledger.cosign import cosigned_at, verifier_from_vkey
from ledger.errors import BadProof, BadSignature
from ledger.ledger import Ledger
from ledger.policy import parse as parse_policy
from ledger.publish import publish
from ledger.witness.client import State, Witness, Witnesses
from tests.ledger.witness.house import LOG_KEY, ORIGIN, History, history
from tests.ledger.written import LOG_KEY as LEDGER_KEY
from tests.ledger.written import Writer, fill, open_ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
KILLS = int(os.environ.get("FORKLEDGER_TEST_KILLS", "12"))
TIMEOUT = 20.0


def now() -> int:
    return int(time.time())


@dataclass
class Process:
    """`forkledger witness serve` in a process of its own, on a port that the system picks."""

    folder: Path
    name: str
    url: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ledger", "witness", *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def places(self) -> tuple[str, ...]:
        return ("--data", str(self.folder / "data"), "--keys", str(self.folder / "keys"))

    def start(self, *words: str) -> Process:
        log = self.folder / f"log-{len(self.started)}"
        with log.open("wb") as out:
            command = ["serve", *self.places, "--name", self.name, "--port", "0", *words]
            self.started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "ledger", "witness", *command],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
        end = time.monotonic() + 120
        while not (found := re.search(r"running on (http://\S+)", log.read_text())):
            assert self.started[-1].poll() is None, log.read_text()
            assert time.monotonic() < end, "the witness did not start"
            time.sleep(0.02)
        self.url = found[1]
        return self

    def kill(self) -> None:
        """As if the power went."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(30)

    def terminate(self) -> int:
        self.started[-1].terminate()
        return self.started[-1].wait(60)

    def described(self) -> dict[str, tuple[int, str | None]]:
        logs = httpx.get(f"{self.url}/v1/witness", trust_env=False).raise_for_status().json()["logs"]
        return {log["origin"]: (log["size"], log["root"]) for log in logs}

    def witness(self) -> Witness:
        vkeys = httpx.get(f"{self.url}/v1/witness", trust_env=False).raise_for_status().json()["vkeys"]
        return Witness(self.name, self.url, tuple(verifier_from_vkey(vkey) for vkey in vkeys))

    def alarms(self) -> tuple[int, list[dict[str, object]]]:
        done = self.command("alarms", "--data", str(self.folder / "data"), "--json")
        return done.returncode, json.loads(done.stdout)


New = Callable[[str], Process]


@pytest.fixture
def new(tmp_path: Path) -> Iterator[New]:
    """A witness by its name, not started yet; whatever runs at the end is killed."""
    made: list[Process] = []

    def make(name: str) -> Process:
        (tmp_path / name).mkdir()
        made.append(Process(tmp_path / name, name))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture
def asking() -> Iterator[Callable[..., Witnesses]]:
    opened: list[Witnesses] = []

    def ask(*witnesses: Witness) -> Witnesses:
        opened.append(Witnesses(witnesses, TIMEOUT, now))
        return opened[-1]

    yield ask
    for each in opened:
        each.close()


Asking = Callable[..., Witnesses]


def collected(witnesses: Witnesses, shown: History, size: int, old: int = 0) -> list[str]:
    return [line.name for line in witnesses.collect(shown.signed(size), old, lambda old: shown.prove(old, size))]


def test_a_witness_from_its_first_key_to_its_end(new: New, asking: Asking) -> None:
    honest, fork = history(), history(shared=5)
    witness = new("w1.example")
    printed = witness.command("keys", *witness.places, "--name", "w1.example").stdout.split()
    assert [verifier_from_vkey(vkey).name for vkey in printed] == ["w1.example", "w1.example"]

    witness.start()
    assert {verifier.key_id for verifier in witness.witness().verifiers} == {
        verifier_from_vkey(vkey).key_id for vkey in printed
    }
    witnesses = asking(witness.witness())
    assert collected(witnesses, honest, 7) == []
    assert witnesses.standings()["w1.example"].state is State.REFUSED  # it was told of no log

    added = witness.command("add-log", *witness.places, LOG_KEY.vkey)
    assert (added.returncode, ORIGIN in added.stdout) == (0, True), added.stderr
    before = now()
    lines = witnesses.collect(honest.signed(7), 0, lambda old: honest.prove(old, 7))
    assert [before <= cosigned_at(line.signature) <= now() for line in lines] == [True, True]
    assert witness.described() == {ORIGIN: (7, honest.tree(7).root.hex())}
    assert witness.alarms() == (0, [])

    assert collected(witnesses, fork, 7) == []
    assert witnesses.standings()["w1.example"].state is State.ALARM
    assert witness.terminate() == 0
    code, (alarm,) = witness.alarms()
    assert (code, alarm["kind"], alarm["origin"], alarm["size"]) == (1, "split-view", ORIGIN, 7)
    assert "split view" in (witness.folder / "log-0").read_text()

    witness.start("--log", LOG_KEY.vkey)
    again = asking(witness.witness())
    assert collected(again, fork, 7) == []
    assert collected(again, honest, 12) == ["w1.example", "w1.example"]


def test_what_cannot_be_opened_ends_with_3_and_says_why(new: New) -> None:
    witness = new("w1.example")
    assert witness.command("keys", *witness.places).returncode == 0
    (witness.folder / "data" / "witness.db").unlink()
    done = witness.command("keys", *witness.places)
    assert (done.returncode, "memory" in done.stderr) == (3, True)
    assert witness.command("alarms", "--data", str(witness.folder / "data")).returncode == 3
    assert new("w2.example").command("add-log", *witness.places, "no key").returncode == 3


@dataclass
class Crowd:
    """Threads that show a witness two histories at once and keep every cosignature that they got."""

    verifiers: tuple[note.Verifier, ...]
    histories: tuple[History, ...]
    urls: list[str]
    given: list[tuple[int, bytes]] = field(default_factory=list)  # size, root
    answers: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        drawn = random.Random(number)
        shown = self.histories[number % len(self.histories)]
        with httpx.Client(timeout=5, trust_env=False) as http:
            stands = 0
            while not self.stop.is_set():
                size = min(stands + drawn.randint(0, 2), len(shown.leaves))
                body = shown.asks(min(stands, size), size)
                try:
                    answer = http.post(f"{drawn.choice(self.urls)}/add-checkpoint", content=body)
                except httpx.HTTPError:  # it was killed
                    self.stop.wait(0.02)
                    continue
                self.answers += 1
                if answer.status_code == 200:
                    opened = note.open_note(shown.tree(size).encode() + b"\n" + answer.content, self.verifiers)
                    assert len(opened.signatures) == 2
                    self.given.append((size, shown.tree(size).root))
                    stands = size
                elif answer.status_code == 409:
                    stands = min(int(answer.content), len(shown.leaves))
                else:
                    assert answer.status_code == 422

    def expect_one_history(self) -> History:
        fits = [shown for shown in self.histories if all(shown.tree(size).root == root for size, root in self.given)]
        assert fits, "cosignatures over two histories"
        return fits[0]


LONG = (history(3000, shared=2), history(3000, shared=2, name="other"))


def crowded(crowd: Crowd, threads: int) -> list[threading.Thread]:
    running = [threading.Thread(target=crowd.run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    return running


def test_a_witness_that_is_killed_again_and_again_keeps_to_one_history(new: New) -> None:
    witness = new("w1.example").start("--log", LOG_KEY.vkey)
    crowd = Crowd(witness.witness().verifiers, LONG, [witness.url])
    threads = crowded(crowd, 4)
    drawn = random.Random(1)
    try:
        for _ in range(KILLS):
            wanted, end = crowd.answers + drawn.randint(1, 60), time.monotonic() + 60
            while crowd.answers < wanted:
                assert time.monotonic() < end
                time.sleep(0.005)
            witness.kill()
            largest = max((size for size, _ in crowd.given), default=0)
            witness.start()
            # Remembered before it was said.
            size, root = witness.described()[ORIGIN]
            assert size >= largest
            assert root in {shown.tree(size).root.hex() for shown in LONG} | {None}
            crowd.urls = [witness.url]
    finally:
        crowd.stop.set()
        for thread in threads:
            thread.join(60)
    assert len({size for size, _ in crowd.given}) > KILLS
    shown = crowd.expect_one_history()
    size, root = witness.described()[ORIGIN]
    assert root == shown.tree(size).root.hex()
    # One is never cosigned again where less than it was seen.
    assert size >= max(size for size, _ in crowd.given)


def test_two_processes_with_one_memory_and_one_key_are_one_witness(new: New) -> None:
    witness = new("w1.example").start("--log", LOG_KEY.vkey)
    urls = [witness.url, witness.start().url]
    assert len(set(urls)) == 2
    crowd = Crowd(witness.witness().verifiers, LONG, urls)
    threads = crowded(crowd, 4)
    try:
        end = time.monotonic() + 60
        while crowd.answers < 400:
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        crowd.stop.set()
        for thread in threads:
            thread.join(60)
    assert len({size for size, _ in crowd.given}) > 20
    crowd.expect_one_history()


def show(ledger: Ledger, witnesses: Witnesses) -> tuple[bytes, int]:
    """Publish what a real ledger has and ask for cosignatures: the cosigned checkpoint, and how many came."""
    signed = publish(ledger)
    size = checkpoint.parse(note.parse(signed).text).size
    lines = witnesses.collect(signed, 0, lambda old: merkle.prove_consistency(old, size, ledger.store.hashes))
    return signed + b"".join(line.encode() for line in lines), len(lines)


@pytest.mark.parametrize("grows_by", [1, 3, 5], ids=["smaller", "equal", "larger"])
def test_a_ledger_restored_from_a_backup_that_grows_another_way_is_found_out_by_every_witness(
    new: New, asking: Asking, tmp_path: Path, grows_by: int
) -> None:
    processes = [new(name).start("--log", LEDGER_KEY.vkey) for name in ("w1.example", "w2.example")]
    names = [process.name for process in processes]
    ledger = open_ledger(tmp_path / "ledger.db")
    fill(ledger, forks=2, records=3)
    _, count = show(ledger, asking(*(process.witness() for process in processes)))
    assert count == 4
    publish(ledger)
    ledger.store.close()
    shutil.copyfile(tmp_path / "ledger.db", tmp_path / "restored.db")

    ledger = open_ledger(tmp_path / "ledger.db")
    for number in (10, 11, 12):
        ledger.create_fork(Writer(number).control())
    cosigned, count = show(ledger, asking(*(process.witness() for process in processes)))
    assert count == 4
    seen = checkpoint.parse(note.parse(cosigned).text)
    assert [process.described()[LEDGER_KEY.name] for process in processes] == [(seen.size, seen.root.hex())] * 2

    restored = open_ledger(tmp_path / "restored.db")
    for number in range(20, 20 + grows_by):
        restored.create_fork(Writer(number).control())
    witnesses = asking(*(process.witness() for process in processes))
    forked, count = show(restored, witnesses)
    assert count == 0
    assert {standing.state for standing in witnesses.standings().values()} == {State.ALARM}
    # Comparing roots at one size: the witnesses have the one that was published, whatever the ledger says now.
    restored_tree = checkpoint.parse(note.parse(forked).text)
    assert [process.described()[LEDGER_KEY.name] for process in processes] == [(seen.size, seen.root.hex())] * 2
    assert (restored_tree.size, restored_tree.root) != (seen.size, seen.root)
    # A client that kept the cosigned checkpoint, and meets the fork.
    if restored_tree.size >= seen.size:
        proof = merkle.prove_consistency(seen.size, restored_tree.size, restored.store.hashes)
        with pytest.raises(BadProof):
            merkle.check_consistency(seen.size, restored_tree.size, seen.root, restored_tree.root, proof)
    # A client that never saw either asks for cosignatures.
    lines = [f"log {LEDGER_KEY.vkey}"]
    lines += [f"witness {p.name} {p.witness().verifiers[0].vkey}" for p in processes]  # type: ignore[attr-defined]
    policy = parse_policy("\n".join([*lines, f"group both all {' '.join(names)}", "quorum both", ""]).encode())
    assert policy.check(cosigned) == seen
    with pytest.raises(BadSignature):
        policy.check(forked)
    kinds = {alarm["kind"] for process in processes for alarm in process.alarms()[1]}
    assert kinds == {1: set(), 3: {"split-view"}, 5: {"unproven-growth"}}[grows_by]
    ledger.store.close()
    restored.store.close()


def test_with_one_of_three_colluding_a_fork_gets_no_second_cosignature_from_those_who_saw_the_log(
    new: New, asking: Asking
) -> None:
    honest, fork = history(), history(shared=5)
    processes = [new(name).start("--log", LOG_KEY.vkey) for name in ("w1.example", "w2.example", "w3.example")]
    colluding = processes[2]
    lines = [f"log {LOG_KEY.vkey}"]
    lines += [f"witness {p.name} {p.witness().verifiers[0].vkey}" for p in processes]  # type: ignore[attr-defined]
    policy = parse_policy(
        "\n".join([*lines, "group two 2 w1.example w2.example w3.example", "quorum two", ""]).encode()
    )

    def accepted(shown: History, size: int) -> bool:
        witnesses = asking(*(process.witness() for process in processes))
        got = witnesses.collect(shown.signed(size), 0, lambda old: shown.prove(old, size))
        try:
            policy.check(shown.signed(size) + b"".join(line.encode() for line in got))
        except BadSignature:
            return False
        return True

    assert accepted(honest, 7)
    # The colluding one forgets what it cosigned, and keeps its keys.
    assert colluding.terminate() == 0
    (colluding.folder / "data").rename(colluding.folder / "forgotten")
    (colluding.folder / "keys").rename(colluding.folder / "kept")
    colluding.command("keys", *colluding.places, "--name", colluding.name)
    shutil.rmtree(colluding.folder / "keys")
    (colluding.folder / "kept").rename(colluding.folder / "keys")
    colluding.start("--log", LOG_KEY.vkey)
    for size in (7, 8, 12):
        assert not accepted(fork, size)
    assert colluding.described() == {ORIGIN: (12, fork.tree(12).root.hex())}
    assert accepted(honest, 12)  # by the two that are honest: the log goes on
    assert [process.described()[ORIGIN][1] for process in processes[:2]] == [honest.tree(12).root.hex()] * 2
