"""`forkledger watch`: what it prints, what it ends with and what it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ledger import note
from ledger.cli import app
from ledger.commands import watch as command
from ledger.cosign import Ed25519Cosigner
from ledger.errors import Unavailable
from ledger.publish import publish
from tests.ledger.tiled import Forks, write_log
from tests.ledger.written import LOG_KEY, Writer, fill, open_ledger

Run = Callable[..., Result]
FORK = Writer(0).fork_id


@pytest.fixture
def forks() -> Forks:
    return Forks(2)


@pytest.fixture
def folder(forks: Forks, tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", forks.grow(10))


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("FORKLEDGER_STATE", str(tmp_path / "state"))
    return lambda *options: CliRunner().invoke(app, ["watch", FORK, "--log", str(folder), *map(str, options)])


def test_a_fork_that_its_owner_wrote_ends_with_0(run: Run, forks: Forks, folder: Path) -> None:
    done = run("--log-key", LOG_KEY.vkey)
    assert (done.exit_code, done.stdout) == (0, f"fork {FORK}: version 5 at leaf 8, 5 new of 10 entries\n")
    write_log(folder, forks.grow(14), before=10)
    assert run().stdout == f"fork {FORK}: version 7 at leaf 12, 2 new of 14 entries\n"


def test_an_alarm_ends_with_1_and_is_raised_until_it_is_gone(run: Run, forks: Forks, folder: Path) -> None:
    assert run("--log-key", LOG_KEY.vkey).exit_code == 0
    write_log(folder, forks.entries[:4])
    for _ in range(2):
        done = run()
        assert done.exit_code == 1
        assert done.stdout.splitlines() == [
            f"alarm: fork {FORK} leaf - version -: log: had 10 entries, only 4 are here",
            f"alarm: fork {FORK} leaf 8 version 5: head: went back, version 5 is not there any more",
        ]
    found = json.loads(run("--json").stdout)
    assert (found["clean"], [alarm["leaf"] for alarm in found["alarms"]]) == (False, [None, 8])


def test_the_report_is_json_for_machines(run: Run) -> None:
    found = json.loads(run("--log-key", LOG_KEY.vkey, "--json").stdout)
    assert (found["clean"], found["version"], found["leaf"], found["new"]) == (True, 5, 8, 5)
    assert found["owner_key"] == Writer(0).key.public.raw.hex()


def test_a_pinned_owner_s_key_that_is_another_is_an_alarm(run: Run) -> None:
    key = ["--log-key", LOG_KEY.vkey]
    assert run(*key, "--owner-key", Writer(1).key.public.raw.hex()).exit_code == 1
    assert run(*key, "--owner-key", Writer(0).key.public.key_id.hex()).exit_code == 0
    assert run("--owner-key", "abc").exit_code == 2


WITNESS = Ed25519Cosigner("w.example", bytes(32), lambda: 7)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_text(f"log {LOG_KEY.vkey}\nwitness w {WITNESS.vkey}\nquorum w\n")
    return path


def cosign(folder: Path) -> None:
    text = note.parse((folder / "checkpoint").read_bytes()).text
    (folder / "checkpoint").write_bytes(note.sign(text, [LOG_KEY, WITNESS]))


def test_a_checkpoint_without_the_policy_s_quorum_is_an_alarm_and_nothing_of_it_is_kept(
    run: Run, folder: Path, policy: Path, tmp_path: Path
) -> None:
    done = run("--policy", policy)
    assert (done.exit_code, done.stdout) == (
        1,
        f"alarm: fork {FORK} leaf - version -: checkpoint of size 10: "
        "expected cosignatures for quorum 'w', those of no witness came\n",
    )
    assert not (tmp_path / "state").exists()
    assert [alarm["step"] for alarm in json.loads(run("--policy", policy, "--json").stdout)["alarms"]] == [7]
    cosign(folder)
    done = run("--policy", policy)
    assert (done.exit_code, done.stdout) == (0, f"fork {FORK}: version 5 at leaf 8, 5 new of 10 entries\n")


def test_a_private_view_that_only_the_log_signed_is_an_alarm_also_after_looks_that_were_clean(
    run: Run, forks: Forks, folder: Path, policy: Path
) -> None:
    cosign(folder)
    assert run("--policy", policy).exit_code == 0
    write_log(folder, forks.grow(14), before=10)
    assert run("--policy", policy).exit_code == 1
    assert run().exit_code == 0  # who asks for no quorum gets none


def test_a_policy_pins_the_log_s_key(run: Run, policy: Path) -> None:
    other = note.Ed25519Signer(LOG_KEY.name, bytes(32))
    policy.write_text(f"log {other.vkey}\nquorum none\n")
    assert "signature" in run("--policy", policy).stdout
    policy.write_text(f"log {other.vkey}\nlog {LOG_KEY.vkey}\nquorum none\n")
    assert run("--policy", policy, "--log-key", LOG_KEY.vkey).exit_code == 0


def test_a_policy_that_is_none_is_wrong_usage_and_one_that_cannot_be_read_ends_with_3(
    run: Run, policy: Path, tmp_path: Path
) -> None:
    policy.write_text("log and so on")
    done = run("--policy", policy)
    assert (done.exit_code, "policy line 1" in done.stderr) == (2, True)
    assert run("--policy", tmp_path / "not there").exit_code == 3


def test_of_a_database_only_the_log_s_key_is_asked_for(policy: Path, tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    fill(ledger, forks=1, records=1)
    publish(ledger)
    ledger.store.close()
    state = ["--policy", str(policy), "--state", str(tmp_path / "state.json")]
    done = CliRunner().invoke(app, ["watch", FORK, "--log", str(tmp_path / "ledger.db"), *state])
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_fork_that_is_not_there_and_a_log_without_a_key_could_not_be_watched(run: Run, folder: Path) -> None:
    assert run().stderr == f"log key: {folder} states none; name it by --log-key or --policy\n"
    other = ["watch", Writer(7).fork_id, "--log", str(folder), "--log-key", LOG_KEY.vkey]
    done = CliRunner().invoke(app, other)
    assert (done.exit_code, "no entry among the 10 of the log" in done.stderr) == (3, True)
    assert CliRunner().invoke(app, ["watch", "no-fork", "--log", str(folder)]).exit_code == 3


def test_it_looks_again_and_again_until_there_is_an_alarm(
    forks: Forks, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            write_log(folder, forks.grow(12), before=10)
        else:
            write_log(folder, forks.entries[:4])

    clean = command.watch_fork(
        FORK, str(folder), LOG_KEY.verifier, None, None, tmp_path / "state", tmp_path, 5.0, False, sleep=sleep
    )
    assert not clean
    assert slept == [5.0, 5.0]
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"fork {FORK}: version 5 at leaf 8, 5 new of 10 entries",
        f"fork {FORK}: version 6 at leaf 10, 1 new of 12 entries",
    ]


def test_a_log_that_cannot_be_reached_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = iter([Unavailable("gone")])
    real = command._look

    def flaky(*given: object) -> object:
        for error in looks:
            raise error
        return real(*given)  # type: ignore[arg-type]

    class Enough(Exception):
        pass

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise Enough

    monkeypatch.setattr(command, "_look", flaky)
    with pytest.raises(Enough):
        command.watch_fork(
            FORK, str(folder), LOG_KEY.verifier, None, None, tmp_path / "state", tmp_path, 5.0, False, sleep=sleep
        )
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == ("gone\n", f"fork {FORK}: version 5 at leaf 8, 5 new of 10 entries\n")
