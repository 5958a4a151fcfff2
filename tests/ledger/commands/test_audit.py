"""`forkledger audit`: what it prints, what it ends with and what it keeps."""

import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ledger import keptcheckpoint, note
from ledger.cli import app
from ledger.ledger import Ledger
from ledger.publish import publish
from ledger.store.sqlite import open_store
from tests.ledger.written import LOG_KEY, ORIGIN, RECEIPT_KEY, Writer, fill, open_ledger

Run = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ledger = open_ledger(tmp_path / "ledger.db")
    fill(ledger, forks=1, records=2)
    publish(ledger)
    ledger.store.close()
    return tmp_path / "ledger.db"


@pytest.fixture
def audit(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("FORKLEDGER_STATE", str(tmp_path / "state"))
    return lambda *options: CliRunner().invoke(app, ["audit", str(path), *map(str, options)])


def flip(path: Path, table: str = "payloads", column: str = "bytes", where: str = "leaf_index=1 AND kind=1") -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
    connection.execute(f"UPDATE {table} SET {column}=? WHERE {where}", [value[:-1] + bytes([value[-1] ^ 1])])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_a_clean_ledger_ends_with_0_and_keeps_its_checkpoint(audit: Run, path: Path, tmp_path: Path) -> None:
    done = audit()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("notice: log key: not pinned")
    assert done.stdout.endswith("audit: everything holds\n")
    kept = keptcheckpoint.read(keptcheckpoint.place(tmp_path / "state" / "audit", path))
    assert kept is not None
    assert (kept.log_key, kept.checkpoint[: len(ORIGIN) + 3]) == (LOG_KEY.verifier, f"{ORIGIN}\n3\n".encode())


def test_a_flipped_byte_ends_with_1_and_is_named_in_the_last_line(audit: Run, path: Path, tmp_path: Path) -> None:
    flip(path)
    done = audit("--log-key", LOG_KEY.vkey)
    assert done.exit_code == 1
    place = f"leaf 1 fork {Writer(0).fork_id} version 2"
    assert done.stdout.splitlines()[-1] == f"{place}: payload 1: its digest is not the one that the body names"
    assert not (tmp_path / "state").exists()  # nothing is kept of a ledger that does not hold


def test_the_report_is_json_for_machines(audit: Run, path: Path) -> None:
    clean = json.loads(audit("--log-key", LOG_KEY.vkey, "--json").stdout)
    assert (clean["clean"], clean["entries"], clean["records"], clean["faults"]) == (True, 3, 2, [])
    flip(path)
    done = audit("--log-key", LOG_KEY.vkey, "--json")
    fault = json.loads(done.stdout)["faults"][0]
    assert (done.exit_code, fault["leaf"], fault["fork_id"], fault["version"], fault["step"]) == (
        1, 1, Writer(0).fork_id, 2, 7,
    )  # fmt: skip


@pytest.mark.parametrize("state", [None, "kept"])
def test_a_history_written_anew_with_the_same_key_is_noticed_the_second_time(
    audit: Run, path: Path, tmp_path: Path, state: str | None
) -> None:
    options = ["--state", tmp_path / state] if state else []
    assert audit(*options).exit_code == 0
    path.unlink()
    ledger = open_ledger(path)
    writer = Writer(0)
    ledger.create_fork(writer.control())
    ledger.append(writer.next(said="something else"))
    ledger.append(writer.next())
    publish(ledger)
    ledger.store.close()
    done = audit(*options)
    assert done.exit_code == 1
    assert "kept checkpoint of size 3: the entries before it were changed since" in done.stdout


def test_the_same_history_signed_again_with_another_log_key_is_noticed_the_second_time(audit: Run, path: Path) -> None:
    assert audit().exit_code == 0
    other = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM checkpoints")
    connection.execute("UPDATE settings SET value=? WHERE name='log-vkey'", [other.vkey])
    connection.close()
    ledger = Ledger(open_store(path), other, RECEIPT_KEY, lambda: 0)
    publish(ledger)
    ledger.store.close()
    done = audit()
    assert done.exit_code == 1
    assert "log key: expected" in done.stdout
    assert "compared with" in done.stderr
    assert audit().exit_code == 1  # what was kept still stands


def test_a_log_of_which_nothing_is_covered_is_called_that_and_fails_once_its_key_is_known(
    audit: Run, path: Path
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM checkpoints")
    connection.close()
    done = audit()
    assert done.exit_code == 0
    assert "nothing is covered" in done.stdout
    done = audit("--log-key", LOG_KEY.vkey)
    assert done.exit_code == 1
    assert "nothing is covered" in done.stdout.splitlines()[-1]


def test_another_log_in_the_same_place_is_noticed_where_a_state_file_is_named(
    audit: Run, path: Path, tmp_path: Path
) -> None:
    other = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())
    keptcheckpoint.keep(tmp_path / "kept", other.vkey, b"checkpoint\n")
    done = audit("--state", tmp_path / "kept")
    assert done.exit_code == 1
    assert "log key: expected" in done.stdout


def test_a_log_key_that_is_none_is_wrong_usage(audit: Run) -> None:
    assert audit("--log-key", "no key").exit_code == 2
    assert audit("--no-such-option").exit_code == 2


def test_what_is_not_there_or_no_ledger_could_not_be_audited(audit: Run, path: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("not a kept checkpoint")
    assert audit("--state", tmp_path / "kept").exit_code == 3
    path.write_text("not a database, but some text that is long enough to be looked at\n" * 20)
    assert audit().exit_code == 3
    path.unlink()
    done = audit()
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == f"ledger: no file at {path}\n"


def test_a_log_key_in_the_file_that_is_no_text_is_a_fault_and_no_crash(audit: Run, path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE settings SET value=CAST(x'ff' AS TEXT) WHERE name='log-vkey'")
    connection.close()
    done = audit()
    assert done.exit_code == 1
    assert "log key: the file states none that can be read" in done.stdout
