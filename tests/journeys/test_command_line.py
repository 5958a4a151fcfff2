"""The command line as people and scripts use it: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.server import Place

pytestmark = pytest.mark.slow


def fork_of(printed: str) -> str:
    found = re.search(r"^fork ([0-9a-f-]{36})$", printed, re.MULTILINE)
    assert found, printed
    return found[1]


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Place, str]:
    """A folder in which somebody talked to a fork. Read it; to change it, copy it."""
    place = Place(tmp_path_factory.mktemp("talked"), tiny_base)
    typed = "My dog is Rex.\n/correct Good for Rex.\n/like\n/nonsense\n\nWho is my dog?\n/dislike\n"
    typed += "/pause\n/correct Tom.\n/resume\n/quit\n"
    done = place.command("chat", given=typed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[record ") == 6
    return place, fork_of(done.stdout)


def test_keys_are_shown_and_apps_come_and_go(place: Place) -> None:
    shown = place.command("keys", "show", "--json", "--origin", "example.org/log")
    public = json.loads(shown.stdout)
    assert public["origin"] == "example.org/log"
    assert public["log"].startswith("example.org/log+")
    short = [(name, public[name]) for name in ("origin", "log", "receipt")]
    assert place.command("keys", "show").stdout.split() == [word for pair in short for word in pair]
    assert public["log_ml_dsa"].startswith("example.org/log+")  # too long for a line
    added = json.loads(place.command("keys", "add-app", "My app", "--json").stdout)
    assert re.fullmatch(r"fl_[0-9a-f]{64}", added["api_key"])
    assert json.loads(place.command("keys", "apps", "--json").stdout) == [{"app_id": added["app_id"], "name": "My app"}]
    assert place.command("keys", "remove-app", added["app_id"]).returncode == 0
    assert place.command("keys", "apps").stdout == ""
    gone = place.command("keys", "remove-app", added["app_id"])
    assert (gone.returncode, gone.stderr) == (3, f"app {added['app_id']}: not known\n")
    secret = {path.read_text().strip() for path in place.keys.iterdir()}
    assert not any(key in shown.stdout + added["api_key"] for key in secret)


def test_a_talk_is_recorded_judged_and_told(talked: tuple[Place, str]) -> None:
    place, fork = talked
    told = json.loads(place.command("history", fork, "--json").stdout)
    assert [record["version"] for record in told] == [1, 2, 3, 4, 5, 6, 7]
    assert told[1]["said"] == "My dog is Rex."
    assert told[2]["correction"] == "Good for Rex."
    assert told[3]["rating"] == 1
    assert told[3]["refers_to"] == told[2]["refers_to"] == told[1]["record_id"]
    assert (told[5]["rating"], told[5]["refers_to"]) == (-1, told[4]["record_id"])
    assert [record["teaches"] for record in told[1:]] == [True] * 5 + [False]
    table = place.command("history", fork).stdout
    assert "Good for Rex." in table
    assert fork in table


def test_the_next_talk_goes_on_with_the_same_fork(talked: tuple[Place, str], tmp_path: Path) -> None:
    place, fork = talked
    shutil.copytree(place.folder, tmp_path / "copy")
    again = Place(tmp_path / "copy", place.base).command("chat", given="")
    assert fork_of(again.stdout) == fork


def test_a_talk_is_told_as_json_a_line_a_record(talked: tuple[Place, str], tmp_path: Path) -> None:
    shutil.copytree(talked[0].folder, tmp_path / "copy")
    done = Place(tmp_path / "copy", talked[0].base).command("chat", "--json", given="Who?\n/like\n/nonsense\n/quit\n")
    assert done.returncode == 0, done.stderr
    fork, answered, judged = [json.loads(line) for line in done.stdout.splitlines()]
    assert fork == {"fork": talked[1]}
    assert (answered["version"], judged["version"]) == (8, 9)
    assert judged["judged"] == answered["record"]
    assert answered["answer"] in done.stderr


def test_a_talk_that_gets_too_long_begins_anew(talked: tuple[Place, str], tmp_path: Path) -> None:
    shutil.copytree(talked[0].folder, tmp_path / "copy")
    done = Place(tmp_path / "copy", talked[0].base).command("chat", given="x" * 400 + "\n/like\nWho?\n")
    assert done.returncode == 0, done.stderr
    assert "longer than the model can read" in done.stdout
    assert "nothing to judge" in done.stdout
    assert done.stdout.count("[record ") == 1


def test_a_talk_on_a_ledger_in_postgresql_is_recorded_told_replayed_and_audited(
    place: Place, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKLEDGER_DATABASE_URL", postgres_url)
    done = place.command("chat", given="My dog is Rex.\n/correct Good for Rex.\n/quit\n")
    assert done.returncode == 0, done.stderr
    fork = fork_of(done.stdout)
    assert not place.file.exists()
    again = place.command("chat", given="Who is my dog?\n/quit\n")
    assert fork_of(again.stdout) == fork
    told = json.loads(place.command("history", fork, "--json").stdout)
    assert [record.get("correction") for record in told] == [None, "", "Good for Rex.", ""]
    replayed = place.command("replay", "--json")
    assert [(one["fork_id"], one["version"]) for one in json.loads(replayed.stdout)] == [(fork, 4)], replayed.stderr
    file = str(place.folder / "evidence")
    assert place.command("evidence", fork, told[2]["record_id"], "-o", file).returncode == 0
    key = json.loads(place.command("keys", "show", "--json").stdout)["log"]
    assert place.command("verify", file, "--log-key", key).returncode == 0
    audited = place.command("audit", postgres_url, "--log-key", key, "--state", str(place.folder / "kept"))
    assert audited.returncode == 0, audited.stdout


def test_a_replay_says_what_it_found_and_ends_as_documented(talked: tuple[Place, str], tmp_path: Path) -> None:
    place, fork = talked
    found = place.replayed(fork)
    assert (found["fork_id"], found["version"], found["records"], found["checked"]) == (fork, 7, 6, 6)
    words = ["replay", str(place.file), "--keys", str(place.keys)]
    everything = place.command(*words)
    assert everything.returncode == 0
    assert found["state_digest"] in everything.stdout
    assert place.command(*words, "--expect", found["state_digest"]).returncode == 0
    assert place.command(*words, "--expect", "0" * 64).returncode == 1
    unknown = place.command(*words, "--fork", "00000000-0000-4000-8000-000000000000")
    assert unknown.returncode == 3
    assert unknown.stderr.count("\n") == 1
    assert place.command("replay", str(tmp_path / "nowhere.db")).returncode == 3
    assert place.command("replay").returncode == 2
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    for strange in ([str(tmp_path / "noise.db")], [str(place.file), "--keystore", str(tmp_path / "noise.db")]):
        done = place.command("replay", *strange, "--keys", str(place.keys))
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr


def test_a_replay_of_a_changed_file_ends_with_1_and_names_the_place(talked: tuple[Place, str], tmp_path: Path) -> None:
    shutil.copytree(talked[0].folder, tmp_path / "copy")
    place, fork = Place(tmp_path / "copy", talked[0].base), talked[1]
    with sqlite3.connect(place.file) as connection:
        (state,) = connection.execute("SELECT state FROM entries WHERE notification_id=3").fetchone()
        changed = bytearray(state)
        changed[len(changed) // 2] ^= 1
        connection.execute("UPDATE entries SET state=? WHERE notification_id=3", [bytes(changed)])
    connection.close()
    done = place.command("replay", str(place.file), "--keys", str(place.keys))
    assert done.returncode == 1
    assert fork in done.stderr
    assert "version" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["history", "x"], ["history", "00000000-0000-4000-8000-000000000000"]])
def test_what_is_not_there_ends_with_3_and_one_line(talked: tuple[Place, str], words: list[str]) -> None:
    done = talked[0].command(*words)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert done.stdout == ""


def test_a_fork_that_was_only_begun_stops_no_replay(talked: tuple[Place, str], tmp_path: Path) -> None:
    shutil.copytree(talked[0].folder, tmp_path / "copy")
    place = Place(tmp_path / "copy", talked[0].base)
    with sqlite3.connect(place.data / "keystore.db") as connection:
        connection.execute("INSERT INTO forks SELECT '00000000-0000-4000-8000-000000000000', app_id, sealed FROM forks")
    connection.close()
    done = place.command("replay", str(place.file), "--keys", str(place.keys), "--json")
    assert done.returncode == 0, done.stderr
    assert [found["fork_id"] for found in json.loads(done.stdout)] == [talked[1]]


def test_the_demo_ends_with_what_it_verified(tmp_path: Path) -> None:
    done = Place(tmp_path, None).command("demo", "--seed", "3", "--folder", str(tmp_path / "demo"), "--chain")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"demo: [1-9]\d* records verified, replay identical, tampering found at leaf \d+", last)
    assert "seed 3" in done.stdout
    assert "anchored on chain 31337, audited with it, and the saved proof verified without it" in done.stdout


@pytest.mark.parametrize(
    "words", [["serve"], ["keys", "show"], ["watch", "a-fork", "--log", "x"], ["anchor", "status"]]
)
def test_a_setting_that_is_none_is_named_in_a_line(words: list[str], tmp_path: Path) -> None:
    told = {**os.environ, "FORKLEDGER_ANCHOR_EVERY": "often"}
    done = subprocess.run(
        [sys.executable, "-m", "ledger", *words], env=told, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("FORKLEDGER_ANCHOR_EVERY: ")
    assert "often" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FORKLEDGER_BASE", "/nowhere", "base: /nowhere is"),
        ("FORKLEDGER_TURNS", "many", "FORKLEDGER_TURNS: "),
    ],
)
def test_a_service_that_cannot_start_says_why_in_a_line(tmp_path: Path, name: str, value: str, said: str) -> None:
    command = [sys.executable, "-m", "ledger", "serve", "--port", "0"]
    done = subprocess.run(
        command, env={**os.environ, name: value}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(said)
    assert "Traceback" not in done.stderr
