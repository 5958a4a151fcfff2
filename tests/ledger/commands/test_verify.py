"""`forkledger verify`: what it prints and what it ends with, for files that are there and files that are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ledger import note
from ledger.anchor.chainproof import TRUSTS
from ledger.cli import app
from ledger.evidence import ANCHOR_STEPS, LONGEST_EVIDENCE, SHOWS, STEPS
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


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """One log and one witness, which must have cosigned."""
    path = tmp_path / "policy"
    path.write_text(EVIDENCE["policy"])
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
        "cosigned by no witness",
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


def test_a_policy_whose_quorum_cosigned_is_met_and_its_witnesses_are_named(file: Path, policy: Path) -> None:
    done = verify(file, "--policy", policy)
    assert (done.exit_code, outcomes(done)) == (0, ["ok"] * 8)
    assert done.stdout.splitlines()[9] == "cosigned by w1 at 2026-09-21T14:13:21+00:00"
    assert json.loads(verify(file, "--policy", policy, "--json").stdout)["cosigned"] == {"w1": EVIDENCE["witnessed_at"]}


def policy_lines(first: str, *further: str) -> str:
    return "\n".join([first, f"witness w1 {EVIDENCE['witness_vkey']}", *further])


W2 = note.encode_vkey("witness.example/w2", 4, bytes(range(32)))


def test_a_missed_quorum_fails_step_2_and_is_named(file: Path, policy: Path) -> None:
    policy.write_text(
        policy_lines(f"log {LOG['log_vkey']}", f"witness w2 {W2}", "group both all w1 w2", "quorum both\n")
    )
    done = verify(file, "--policy", policy)
    assert (done.exit_code, outcomes(done)[:3]) == (1, ["ok", "failed", "not reached"])
    assert done.stdout.splitlines()[-1] == (
        "step 2, checkpoint: checkpoint of size 4: "
        "expected cosignatures for quorum 'both' (2 of w1, w2), those of w1 came"
    )


def test_a_policy_of_another_log_or_of_another_key_of_the_witness_fails_step_2(file: Path, policy: Path) -> None:
    for text in (
        policy_lines(f"log {LOG_KEY.vkey}", "quorum none\n"),
        f"log {LOG['log_vkey']}\nwitness w1 {W2}\nquorum w1",
    ):
        policy.write_text(text)
        done = verify(file, "--policy", policy)
        assert (done.exit_code, outcomes(done)[1]) == (1, "failed")


def test_a_cosignature_that_does_not_hold_fails_step_2(file: Path, policy: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.index(b"witness.example/w1 ") + 60] ^= 1
    file.write_bytes(data)
    assert outcomes(verify(file, "--policy", policy))[1] == "failed"
    assert verify(file, *LOG_KEY_OPTION).exit_code == 0  # of a witness that nobody named, nothing is claimed


def test_a_witness_whose_name_is_no_text_is_printed_all_the_same(file: Path, policy: Path) -> None:
    for quorum, line in ((b"none", 9), (b"\xff", 9), (b"other", -1)):
        other = b"witness other " + W2.encode()
        policy.write_bytes(
            EVIDENCE["policy"].encode().replace(b" w1 ", b" \xff ").replace(b"quorum w1", other + b"\nquorum " + quorum)
        )
        done = verify(file, "--policy", policy)
        assert "\\udcff" in done.stdout.splitlines()[line], done.output


def test_neither_or_both_of_policy_and_log_key_is_wrong_usage(file: Path, policy: Path) -> None:
    assert verify(file).exit_code == 2
    assert verify(file, *LOG_KEY_OPTION, "--policy", policy).exit_code == 2


def test_a_policy_or_a_log_key_that_is_none_is_wrong_usage(file: Path, policy: Path) -> None:
    policy.write_text("log and so on")
    done = verify(file, "--policy", policy)
    assert (done.exit_code, "policy line 1" in done.stderr) == (2, True)
    assert verify(file, "--log-key", "no key").exit_code == 2
    assert verify(file, "--log-key", EVIDENCE["witness_vkey"]).exit_code == 2


def test_a_policy_that_cannot_be_read_ends_with_3(file: Path, tmp_path: Path) -> None:
    assert verify(file, "--policy", tmp_path / "not there").exit_code == 3


def test_a_file_that_cannot_be_read_ends_with_3(tmp_path: Path) -> None:
    for path in (tmp_path / "not there", tmp_path):
        done = verify(path, *LOG_KEY_OPTION)
        assert (done.exit_code, done.stdout) == (3, "")
        assert str(path) in done.stderr


# --- with an anchor proof in it ---

ANCHORED = json.loads((VECTORS / "anchor_proof.json").read_text("utf-8"))
OF_SIZE_3, OF_SIZE_4 = (ANCHORED["proofs"][f"size_{size}"] for size in (3, 4))
CONTRACT_OPTION = ("--contract", ANCHORED["contract"])


@pytest.fixture
def anchored(tmp_path: Path) -> Path:
    """Evidence of the fork's first record, at leaf 1 under size 4, with an anchor proof of size 3."""
    path = tmp_path / "anchored.evidence"
    path.write_bytes(bytes.fromhex(ANCHORED["evidence_of_leaf_1_with_size_3"]))
    return path


def test_an_anchor_proof_in_evidence_is_checked_in_further_steps(anchored: Path) -> None:
    done = verify(anchored, *LOG_KEY_OPTION, *CONTRACT_OPTION, "--block", OF_SIZE_3["block_hash"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split(maxsplit=2)[:2] for line in lines[:15]] == [[f"{n}.", "ok"] for n in range(1, 16)]
    assert lines[14] == f"15. ok          {ANCHOR_STEPS[15]}"
    assert f"anchored: size 3, root {ANCHORED['roots']['3']}, anchor number 2 of the log" in lines
    assert lines[-2:] == ["evidence: everything holds", f"{SHOWS}; {TRUSTS}"]


def test_without_a_block_it_says_that_the_anchor_was_not_checked(anchored: Path) -> None:
    done = verify(anchored, *LOG_KEY_OPTION)
    assert (done.exit_code, outcomes(done)) == (0, ["ok"] * 8)
    assert done.stdout.splitlines()[-1].startswith("anchor: NOT checked; ")
    done = verify(anchored, *LOG_KEY_OPTION, "--json")
    assert (json.loads(done.stdout)["anchor"], done.stderr.startswith("anchor: NOT checked; ")) == (None, True)


def test_another_block_fails_the_step_of_the_block_and_none_before(anchored: Path) -> None:
    options = (*LOG_KEY_OPTION, *CONTRACT_OPTION, "--block", OF_SIZE_4["block_hash"])
    done = verify(anchored, *options)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines[:15]] == ["ok"] * 10 + ["failed"] + ["not"] * 4
    assert lines[-1].startswith("step 11, anchor step 3, block: block hash: expected 0x")
    report = json.loads(verify(anchored, *options, "--json").stdout)
    assert (report["holds"], report["failed"], report["anchor"], report["leaf_index"]) == (False, 11, None, 1)


def test_an_anchor_proof_in_another_file_is_that_of_the_checkpoint(file: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.anchor"
    options = (*LOG_KEY_OPTION, *CONTRACT_OPTION, "--anchor", saved, "--block")
    saved.write_bytes(bytes.fromhex(OF_SIZE_4["proof"]))
    report = json.loads(verify(file, *options, OF_SIZE_4["block_hash"], "--json").stdout)
    assert (report["holds"], len(report["steps"]), report["anchor"]["size"]) == (True, 15, 4)
    saved.write_bytes(bytes.fromhex(OF_SIZE_3["proof"]))
    done = verify(file, *options, OF_SIZE_3["block_hash"])
    assert (done.exit_code, "step 15, anchor step 7, " in done.stdout) == (1, True)
    assert verify(file, *LOG_KEY_OPTION, "--anchor", saved).exit_code == 2


def test_evidence_without_an_anchor_proof_cannot_be_asked_for_one(file: Path) -> None:
    done = verify(file, *LOG_KEY_OPTION, "--block", OF_SIZE_4["block_hash"])
    assert (done.exit_code, done.stderr) == (
        3,
        f"{file}: holds no anchor proof; name a file that has one, by --anchor\n",
    )
