"""`forkledger ingest`: what was said elsewhere is recorded once and in order, however often the file is brought."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import ledger
from ledger.cli import app
from modelfork.cli import register
from modelfork.commands import ingest as command
from modelfork.commands.own import APP, newest_own
from modelfork.errors import Malformed
from modelfork.forks import ForkManager
from modelfork.history import history, key_finder
from modelfork.main import open_base
from tests.modelfork.ingest.exported import talk, write_archive

if not any(one.callback and one.callback.__name__ == "replay" for one in app.registered_commands):
    register(app)  # as `ledger.cli.main` does


@pytest.fixture(autouse=True)
def house(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORKLEDGER_BASE", str(tiny_base))
    for name in ("FORKLEDGER_DATA", "FORKLEDGER_KEYS", "FORKLEDGER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def ingest(file: str, *more: str) -> Result:
    return CliRunner().invoke(app, ["ingest", file, *more])


def counted(file: str, *more: str) -> dict[str, Any]:
    done = ingest(file, "--json", *more)
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def recorded(fork: str = "") -> list[dict[str, Any]]:
    """What the fork was given, in order; of the newest where none is named."""
    keystore = ledger.open_keystore(Path("forkledger-data/keystore.db"), Path("forkledger-keys"))
    log = ledger.open_reader(Path("forkledger-data/ledger.db"))
    try:
        fork = fork or newest_own(log, keystore)
        return history(log, key_finder(keystore, fork), fork, 1, 1000)
    finally:
        log.store.close()
        keystore.close()


def said(fork: str = "") -> list[tuple[str, str]]:
    return [(one["said"], one["answer"]) for one in recorded(fork)]


def covered() -> int | None:
    """How many entries the newest checkpoint covers."""
    log = ledger.open_reader(Path("forkledger-data/ledger.db"))
    try:
        signed = log.store.checkpoint()
        return ledger.checkpoint.open_checkpoint(signed, log.origin, [log.log_verifier]).size if signed else None
    finally:
        log.store.close()


def line(*texts: str, **more: Any) -> str:
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return json.dumps({"messages": messages, **more}) + "\n"


def snapshot(folder: Path) -> dict[str, str]:
    return {str(one): sha256(one.read_bytes()).hexdigest() for one in sorted(folder.rglob("*")) if one.is_file()}


def test_turns_are_recorded_in_the_order_in_which_they_were_said() -> None:
    Path("chats.jsonl").write_text(line("Hi?", "Hello!", "Who?", "Me.") + line("Bye?", "Bye!"))
    done = ingest("chats.jsonl")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(": 3 recorded, 0 of them learned\n")
    assert said() == [("Hi?", "Hello!"), ("Who?", "Me."), ("Bye?", "Bye!")]


def test_what_is_recorded_stands_under_a_checkpoint_also_where_an_earlier_run_was_killed_before_it_signed() -> None:
    Path("chats.jsonl").write_text(line("Who?", "Me."))
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(ledger.publish, "publish", lambda log: None)
        assert ingest("chats.jsonl").exit_code == 0
    assert covered() is None
    assert counted("chats.jsonl")["there"] == 1
    assert covered() == 2


def test_an_export_is_recorded_from_its_oldest_conversation_on() -> None:
    newest_first = [talk("b?", "Yes.", began=2), talk("a?", "Yes.", began=1)]
    write_archive(Path("export.zip"), conversations=newest_first)
    assert counted("export.zip")["recorded"] == 2
    assert [question for question, _ in said()] == ["a?", "b?"]
    Path("conversations.json").write_text(json.dumps([talk("c?", "Yes.", began=3), *newest_first]))
    again = counted("conversations.json")
    assert (again["there"], again["recorded"]) == (2, 1), "the archive's conversations are known in any file"
    assert [question for question, _ in said()] == ["a?", "b?", "c?"]


def test_a_file_brought_again_adds_nothing_and_one_that_grew_what_is_new() -> None:
    file = Path("chats.jsonl")
    file.write_text(line("a?", "Yes.") + "nonsense\n" + line("b?", "Yes.", "c?", "Yes.") + line("a?", "Yes."))
    assert ingest("chats.jsonl").exit_code == 1
    before = recorded()
    assert [one["said"] for one in before] == ["a?", "b?", "c?", "a?"], "what was said twice is recorded twice"
    assert ingest("chats.jsonl").stdout.endswith(
        ": 0 recorded, 0 of them learned; 4 there already; 1 could not be read\n"
    )
    assert recorded() == before
    mended = line("new?", "Yes.") + file.read_text().replace("nonsense", line("mended?", "Yes.").strip())
    file.write_text(mended.replace(line("b?", "Yes.", "c?", "Yes."), line("b?", "Yes.", "c?", "Yes.", "d?", "Yes.")))
    assert (counted("chats.jsonl")["there"], len(recorded())) == (4, 7)
    assert [one["said"] for one in recorded()[4:]] == ["new?", "mended?", "d?"]


def test_a_verdict_is_learned_from_and_an_unrated_answer_is_not() -> None:
    Path("chats.jsonl").write_text(line("Who?", "Me.") + line("Who?", "Me.", correction="Rex.", rating=-1.0))
    assert counted("chats.jsonl")["learned"] == 1
    plain, corrected = recorded()
    assert (plain["learned"], corrected["learned"]) == (False, True)
    assert (corrected["correction"], corrected["rating"]) == ("Rex.", -1)


def test_with_no_learn_everything_is_recorded_and_nothing_learned() -> None:
    Path("chats.jsonl").write_text(line("Who?", "Me.", correction="Rex."))
    assert counted("chats.jsonl", "--no-learn")["recorded"] == 1
    assert [(one["correction"], one["learned"]) for one in recorded()] == [("Rex.", False)]
    assert counted("chats.jsonl", "--learn")["there"] == 1, "it is the same turn, and a record is never changed"


def test_a_named_fork_is_taken_and_else_the_newest_of_the_command_lines_own(tiny_base: Path) -> None:
    Path("chats.jsonl").write_text(line("a?", "Yes."))
    first = counted("chats.jsonl")["fork"]
    log, keystore, now = ledger.open_house(Path("forkledger-data"), Path("forkledger-keys"))
    base, recipe = open_base(tiny_base, 1)
    newest = ForkManager(log, keystore, base, recipe, now, os.urandom).create(APP)
    log.close()
    keystore.close()
    Path("more.jsonl").write_text(line("b?", "Yes."))
    assert counted("more.jsonl", "--fork", first)["fork"] == first
    assert counted("chats.jsonl")["fork"] == newest
    assert (said(first), said(newest)) == ([("a?", "Yes."), ("b?", "Yes.")], [("a?", "Yes.")])
    ids = {fork: {one["record_id"] for one in recorded(fork)} for fork in (first, newest)}
    assert not ids[first] & ids[newest], "ids that are alike would link a person's forks"


def test_a_dry_run_says_what_would_be_recorded_and_writes_nothing() -> None:
    Path("chats.jsonl").write_text(line("secret?", "Yes.", "again?") + "nonsense\n" + line("b?", "Yes."))
    done = ingest("chats.jsonl", "--dry-run")
    assert done.exit_code == 1
    assert done.stdout == "a new fork: 2 to record; 1 left out (no answer); 1 could not be read; nothing was written\n"
    assert done.stderr == (
        "line 2: expected JSON, found a break of its rules at character 1\nline 1, turn 2: left out, no answer\n"
    )
    assert not Path("forkledger-data").exists()
    assert not Path("forkledger-keys").exists()
    assert ingest("chats.jsonl").exit_code == 1
    with Path("chats.jsonl").open("a") as file:
        file.write(line("c?", "Yes."))
    before = snapshot(Path())
    told = json.loads(ingest("chats.jsonl", "--dry-run", "--json").stdout)
    assert (told["new"], told["there"], told["recorded"], told["dry_run"]) == (1, 2, 0, True)
    assert told["places_left_out"] == [{"place": "line 1, turn 2", "why": "no answer"}]
    assert [one["place"] for one in told["places_at_fault"]] == ["line 2"]
    assert snapshot(Path()) == before


def test_a_dry_run_needs_no_model() -> None:
    Path("chats.jsonl").write_text(line("a?", "Yes."))
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom ledger.cli import main\n"
        "sys.argv = ['forkledger', 'ingest', 'chats.jsonl', '--dry-run']\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a new fork: 1 to record")


def test_what_is_at_fault_is_named_by_its_place_and_never_shown() -> None:
    escape = "\x1b[31msecret"
    bad = [json.dumps({"messages": [{"role": escape, "content": escape}]}), escape, line("\ud800", "Yes.").strip()]
    Path("chats.jsonl").write_text("\n".join([*bad, line(escape + "?", escape)]))
    done = ingest("chats.jsonl")
    assert done.exit_code == 1
    assert "\x1b" not in done.output
    assert "secret" not in done.output
    assert [one.split(":")[0] for one in done.stderr.splitlines()] == ["line 1", "line 2", "line 3"]
    assert said() == [(escape + "?", escape)], "it is recorded as it was said"


def test_a_file_of_faults_is_not_all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MOST_SHOWN", 3)
    Path("chats.jsonl").write_text("nonsense\n" * 10 + line("a?") * 5)
    done = ingest("chats.jsonl", "--dry-run")
    shown = done.stderr.splitlines()
    assert [one.split(":")[0] for one in shown] == [
        "line 1", "line 2", "line 3", "… and 7 more", "line 11", "line 12", "line 13", "… and 2 more",
    ]  # fmt: skip
    assert "10 could not be read" in done.stdout


def test_a_turn_that_the_model_has_no_form_for_is_a_fault_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    record = ForkManager.record

    def refuse(manager: ForkManager, fork_id: str, record_id: bytes, interaction: Any, request: bytes = b"") -> Any:
        if interaction.answer == "No.":
            raise Malformed("chat: the model's template does not take it")
        return record(manager, fork_id, record_id, interaction, request)

    monkeypatch.setattr(ForkManager, "record", refuse)
    Path("chats.jsonl").write_text(line("a?", "Yes.") + line("b?", "No.") + line("c?", "Yes."))
    done = ingest("chats.jsonl")
    assert (done.exit_code, done.stderr) == (1, "line 2: chat: the model's template does not take it\n")
    assert [question for question, _ in said()] == ["a?", "c?"]


def test_a_file_without_turns_makes_no_fork() -> None:
    Path("chats.jsonl").write_text(line("a?"))
    assert ingest("chats.jsonl").stdout == "a new fork: 0 recorded, 0 of them learned; 1 left out (no answer)\n"
    keystore = ledger.open_keystore(Path("forkledger-data/keystore.db"), Path("forkledger-keys"))
    assert keystore.forks_of(APP) == []
    keystore.close()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_what_cannot_be_done_is_one_line_and_ends_with_3(more: tuple[str, ...]) -> None:
    Path("chats.jsonl").write_text(line("a?", "Yes."))
    Path("export.zip").write_bytes(b"PK no archive")
    for words in (["nowhere.jsonl"], ["export.zip"], ["."], ["chats.jsonl", "--fork", "no-fork"]):
        done = ingest(*words, *more)
        assert (done.exit_code, done.stderr.count("\n"), done.stdout) == (3, 1, ""), done.output
