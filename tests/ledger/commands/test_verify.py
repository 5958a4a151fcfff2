"""`forkledger verify`: what it prints and what it ends with, for files that are there and files that are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ledger.cli import app
from ledger.evidence import LONGEST_EVIDENCE, SHOWS, STEPS
from tests.ledger.written import LOG_KEY

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
LOG, EVIDENCE = (json.loads((VECTORS / name).read_text("utf-8")) for name in ("log.json", "evidence.json"))
CREATED, RECORDS = (json.loads((VECTORS / name).read_text("utf-8")) for name in ("fork_created.json", "record.json"))
LOG_KEY_OPTION = ("--log-key", LOG["log_vkey"])

Run = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Evidence of the fork's third record, at leaf 3."""
    path = tmp_path / "record.evidence"
    path.write_bytes(bytes.fromhex(EVIDENCE["evidence"][3]))
    return path


def verify(file: Path, *options: object) -> Result:
    return CliRunner().invoke(app, ["verify", str(file), *map(str, options)])


def outcomes(done: Result) -> list[str]:
    return [line[3:].removesuffix(STEPS[n]).strip() for n, line in enumerate(done.stdout.splitlines()[: len(STEPS)], 1)]


def test_evidence_that_holds_ends_with_0_and_every_step_ok(file: Path) -> None:
    done = verify(file, *LOG_KEY_OPTION)
    assert done.exit_code == 0, done.output
    assert outcomes(done) == ["ok"] * 8
    record = RECORDS["records"][2]
    assert done.stdout.splitlines()[8:] == [
        f"vectors.example/log of 4 entries, root {LOG['root']}",
        f"leaf 3: fork {RECORDS['fork_id']} version 4, user-training-record/v1, "
        f"record {record['record_id']}, interaction 3",
        f"signed by key {CREATED['owner_key_id']}, custody self, by the right that version 1 gave",
        "evidence: everything holds",
        SHOWS,
    ]


def test_it_says_that_evidence_does_not_show_that_nothing_follows(file: Path) -> None:
    assert verify(file, *LOG_KEY_OPTION).stdout.splitlines()[-1] == (
        "evidence shows that this entry is in the log at this place; it does not show that nothing follows it"
    )


def test_a_flipped_byte_ends_with_1_and_the_step_that_failed_is_in_the_last_line(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.index(bytes.fromhex(LOG["entries"][3])) + 300] ^= 1
    file.write_bytes(data)
    done = verify(file, *LOG_KEY_OPTION)
    assert done.exit_code == 1
    assert outcomes(done) == ["ok", "ok", "failed", *["not reached"] * 5]
    assert done.stdout.splitlines()[-2] == "evidence: does not hold"
    assert done.stdout.splitlines()[-1].startswith(
        f"step 3, leaf 3: inclusion of leaf 3 in a tree of 4: expected root {LOG['root']}"
    )
    assert SHOWS not in done.stdout


def test_another_log_key_fails_step_2(file: Path) -> None:
    done = verify(file, "--log-key", LOG_KEY.vkey)
    assert (done.exit_code, outcomes(done)[:3]) == (1, ["ok", "failed", "not reached"])


@pytest.mark.parametrize("content", [b"", b"not evidence", bytes(LONGEST_EVIDENCE + 5)])
def test_a_file_that_is_no_evidence_fails_step_1(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    done = verify(file, *LOG_KEY_OPTION)
    assert (done.exit_code, outcomes(done)[0]) == (1, "failed")


def test_the_report_is_json_for_machines(file: Path) -> None:
    done = verify(file, *LOG_KEY_OPTION, "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["holds"], report["failed"], report["error"]) == (0, True, None, None)
    assert report["steps"] == [{"step": n, "outcome": "ok", "says": STEPS[n]} for n in STEPS]
    assert (report["leaf_index"], report["version"], report["size"], report["root"]) == (3, 4, 4, LOG["root"])
    assert (report["entry_hash"], report["key_id"]) == (LOG["leaf_hashes"][3], CREATED["owner_key_id"])
    assert report["shows"] == SHOWS
    done = verify(file, "--log-key", LOG_KEY.vkey, "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["holds"], report["failed"]) == (1, False, 2)
    assert report["error"].startswith("step 2, checkpoint: ")
    assert "leaf_index" not in report  # nothing that was not shown is told


def test_a_log_key_that_is_missing_or_none_is_wrong_usage(file: Path) -> None:
    assert verify(file).exit_code == 2
    assert verify(file, "--log-key", "no key").exit_code == 2


def test_a_file_that_cannot_be_read_ends_with_3(tmp_path: Path) -> None:
    for path in (tmp_path / "not there", tmp_path):
        done = verify(path, *LOG_KEY_OPTION)
        assert (done.exit_code, done.stdout) == (3, "")
        assert str(path) in done.stderr
