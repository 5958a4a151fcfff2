"""`forkledger verify RECEIPT --log LOG`: what it prints and what it ends with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ledger import checkpoint, merkle, note, receipt
from ledger.audit.promise import STEPS
from ledger.cli import app
from ledger.commands.receipt import SAYS
from ledger.cosign import Ed25519Cosigner
from ledger.publish import publish
from ledger.receipt import Receipt
from tests.ledger.tiled import Forks, write_log
from tests.ledger.written import LOG_KEY, NOW, ORIGIN, RECEIPT_KEY, Writer, drawn, fill, open_ledger

Run = Callable[..., Result]
ENTRIES = Forks(2).grow(12)
DUE = NOW + 10_000_000
PROMISE = Receipt(ORIGIN, Writer(0).fork_id, 3, 4, merkle.leaf_hash(ENTRIES[4]), NOW, DUE)
KEYS = ("--log-key", LOG_KEY.vkey, "--receipt-key", RECEIPT_KEY.vkey)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", ENTRIES[:10])


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """Verifies a receipt of the log with these options."""

    def run(said: Receipt, *options: object) -> Result:
        file = tmp_path / "a.receipt"
        file.write_bytes(receipt.sign(said, RECEIPT_KEY))
        return CliRunner().invoke(app, ["verify", str(file), "--log", str(folder), *map(str, options or KEYS)])

    return run


def outcomes(done: Result) -> list[str]:
    return [line[3:].removesuffix(STEPS[n]).strip() for n, line in enumerate(done.stdout.splitlines()[: len(STEPS)], 1)]


def test_a_kept_promise_ends_with_0_and_every_step_ok(run: Run, folder: Path) -> None:
    done = run(PROMISE)
    assert (done.exit_code, outcomes(done)) == (0, ["ok"] * 5), done.output
    root = checkpoint.parse(note.parse((folder / "checkpoint").read_bytes()).text).root
    assert done.stdout.splitlines()[5:] == [
        f"{ORIGIN} promised leaf 4 to fork {Writer(0).fork_id} version 3, "
        "under a checkpoint by 2023-11-14T22:13:30+00:00",
        f"checkpoint of 10 entries, root {root.hex()}, cosigned by no witness",
        SAYS["kept"],
    ]


def test_a_leaf_that_is_omitted_past_its_time_ends_with_1_and_gives_the_evidence(run: Run, folder: Path) -> None:
    done = run(replace(PROMISE, leaf_index=10))
    assert (done.exit_code, outcomes(done)) == (1, ["ok", "ok", "failed", "not reached", "not reached"])
    assert (folder / "checkpoint").read_text() in done.stdout
    assert "no cosignature dates this checkpoint after that" in done.stdout
    assert done.stdout.splitlines()[-2:] == [
        "receipt: the promise is broken; keep both, receipt and checkpoint together are evidence against the log",
        "step 3, leaf 10: the newest checkpoint covers 10 entries",
    ]


def test_a_leaf_that_is_not_due_is_an_outcome_of_its_own(run: Run) -> None:
    later = replace(PROMISE, leaf_index=10, due_by=(int(time.time()) + 3600) * 1_000_000)
    done = run(later)
    assert (done.exit_code, outcomes(done)[2:]) == (3, ["not due yet", "not reached", "not reached"])
    assert SAYS["not due yet"] in done.stdout
    report = json.loads(run(later, *KEYS, "--json").stdout)
    assert (report["holds"], report["outcome"], report["failed"]) == (None, "not due yet", None)
    assert not report["against_the_log"]


def test_another_entry_in_its_place_ends_with_1_and_names_both(run: Run, folder: Path) -> None:
    promised = drawn(32, "what was promised")
    done = run(replace(PROMISE, entry_hash=promised))
    assert (done.exit_code, outcomes(done)[3]) == (1, "failed")
    assert done.stdout.splitlines()[-1] == (
        f"step 4, leaf 4: expected {promised.hex()}, the log has {PROMISE.entry_hash.hex()} there"
    )
    report = json.loads(run(replace(PROMISE, entry_hash=promised), *KEYS, "--json").stdout)
    assert (report["holds"], report["against_the_log"], report["failed"]) == (False, True, 4)
    assert report["checkpoint"] == (folder / "checkpoint").read_text()
    path = [note.decode_base64(each, "path") for each in report["found"]["path"]]
    found, root = bytes.fromhex(report["found"]["entry_hash"]), bytes.fromhex(report["root"])
    merkle.check_inclusion(4, 10, found, path, root)


def test_what_proves_nothing_against_the_log_is_not_called_evidence(run: Run, folder: Path) -> None:
    (folder / "tile/0/000.p/10").unlink()
    done = run(PROMISE)
    assert (done.exit_code, outcomes(done)[3]) == (1, "failed")
    assert "evidence against" not in done.stdout
    other = note.Ed25519Signer(RECEIPT_KEY.name, bytes(32))
    done = run(PROMISE, "--log-key", LOG_KEY.vkey, "--receipt-key", other.vkey)
    assert (done.exit_code, outcomes(done)[0]) == (1, "failed")
    assert "evidence against" not in done.stdout


def test_a_policy_asks_for_its_quorum_and_a_cosignature_dates_the_omission(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    witness = Ed25519Cosigner("w.example", bytes(32), lambda: DUE // 1_000_000 + 1)
    policy = tmp_path / "policy"
    policy.write_text(f"log {LOG_KEY.vkey}\nwitness w {witness.vkey}\nquorum w\n")
    options = ("--policy", policy, "--receipt-key", RECEIPT_KEY.vkey)
    done = run(PROMISE, *options)
    assert (done.exit_code, outcomes(done)[1]) == (1, "failed")
    text = note.parse((folder / "checkpoint").read_bytes()).text
    (folder / "checkpoint").write_bytes(note.sign(text, [LOG_KEY, witness]))
    assert run(PROMISE, *options).exit_code == 0
    done = run(replace(PROMISE, leaf_index=10), *options)
    assert (done.exit_code, "no cosignature dates" in done.stdout) == (1, False)
    assert "cosigned by w at 2023-11-14T22:13:31+00:00" in done.stdout


def test_a_database_and_a_data_folder_are_compared_like_a_public_log(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    fill(ledger, forks=1, records=1)
    publish(ledger)
    (tmp_path / "r").write_bytes(ledger.receipt_of(ledger.entry_at(1)))
    ledger.close()
    for target in (tmp_path, tmp_path / "ledger.db"):
        done = CliRunner().invoke(app, ["verify", str(tmp_path / "r"), "--log", str(target), *KEYS])
        assert done.exit_code == 0, done.output


def test_log_and_receipt_key_come_together_or_not_at_all(run: Run, tmp_path: Path) -> None:
    assert run(PROMISE, "--log-key", LOG_KEY.vkey).exit_code == 2
    words = ["verify", str(tmp_path / "a.receipt"), *KEYS]
    assert CliRunner().invoke(app, words).exit_code == 2
    assert run(PROMISE, "--log-key", LOG_KEY.vkey, "--receipt-key", "no key").exit_code == 2
    assert run(PROMISE, "--receipt-key", RECEIPT_KEY.vkey).exit_code == 2


def test_what_is_not_there_ends_with_3(run: Run, tmp_path: Path) -> None:
    assert run(PROMISE).exit_code == 0
    for file, log in ((tmp_path / "none", tmp_path / "log"), (tmp_path / "a.receipt", tmp_path / "none")):
        assert CliRunner().invoke(app, ["verify", str(file), "--log", str(log), *KEYS]).exit_code == 3
