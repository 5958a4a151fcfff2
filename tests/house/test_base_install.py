"""The base install, as an auditor gets it: no torch, no model library, and it works.

Runs in an environment of its own, which `.ci/setup` makes from `.ci/base-lock.txt` and the wheel of this tree
(`.venv-base`; FORKLEDGER_BASE_PYTHON names another one). A missing environment is a failure, never a skip.
"""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ledger import entry
from ledger.anchor.timestamp import Timestamp, encode_timestamp
from ledger.keys import signed_message
from ledger.main import open_house
from ledger.publish import publish
from ledger.record import decode_body
from modelfork.interaction import Interaction, Message
from modelfork.recording import Particulars, Writer, build_record
from modelfork.replay import advance, genesis
from modelfork.update import SIGNS, Update
from tests.ledger.anchor.authority import certified
from tests.ledger.written import LOG_KEY, fill, open_ledger

ROOT = Path(__file__).resolve().parents[2]

MODEL_LIBRARIES = ("torch", "transformers", "peft", "safetensors", "tokenizers")
# Nothing that `forkledger --help` needs; each costs from tens of milliseconds to seconds.
HEAVY = (
    *MODEL_LIBRARIES,
    "eventsourcing",
    "fastapi",
    "google",
    "httpx",
    "nacl",
    "numpy",
    "pydantic",
    "uvicorn",
)
# What `forkledger --help` imports beyond a bare interpreter, by count: a time would depend on the machine.
MOST_MODULES = 350

SEEN_BY_HELP = """
import json, sys
before = set(sys.modules)
from ledger.cli import main
sys.argv = ["forkledger", "--help"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(scope="session")
def base_python() -> Path:
    python = Path(os.environ.get("FORKLEDGER_BASE_PYTHON") or ROOT / ".venv-base/bin/python")
    assert python.is_file(), f"{python} is missing: run .ci/setup"
    return python


def run(command: list[str | Path], folder: Path) -> str:
    """The output of a command that must succeed, run where only what is installed can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_has_no_model_library(base_python: Path, tmp_path: Path) -> None:
    find = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    assert run([base_python, "-c", find, *MODEL_LIBRARIES], tmp_path) == "[]\n"


@pytest.mark.parametrize("package", ["ledger", "modelfork"])
def test_it_holds_the_wheel_and_not_the_checkout(base_python: Path, tmp_path: Path, package: str) -> None:
    where = Path(run([base_python, "-c", f"import {package}; print({package}.__file__)"], tmp_path).strip())
    assert "site-packages" in where.parts


def test_the_command_says_its_version_and_its_help(base_python: Path, tmp_path: Path) -> None:
    command = base_python.with_name("forkledger")
    assert run([command, "--version"], tmp_path) == "forkledger 0.1.0\n"
    assert "Usage: forkledger" in run([command, "--help"], tmp_path)


def test_what_needs_the_extra_chain_says_so_in_a_line_and_judges_nothing(base_python: Path, tmp_path: Path) -> None:
    log, keystore, _ = open_house(tmp_path / "data", tmp_path / "keys")
    stamp = tmp_path / "a.timestamp"
    stamp.write_bytes(encode_timestamp(Timestamp(publish(log), b"no token")))
    (tmp_path / "roots.pem").write_bytes(certified("a root", may_certify=True).pem)
    log.store.close()
    keystore.close()
    here: list[str | Path] = ["--data", tmp_path / "data", "--keys", tmp_path / "keys"]
    deploy: list[str | Path] = ["anchor", "deploy", *here, "--chain-rpc", "http://127.0.0.1:1"]
    verify: list[str | Path] = ["verify", stamp, "--log-key", log.log_vkey, "--tsa-roots", tmp_path / "roots.pem"]
    for about, words in (("chain", deploy), ("timestamp", verify)):
        command = [base_python.with_name("forkledger"), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60)
        assert done.returncode == 3, done.stdout
        assert done.stderr == f"{about}: expected the extra `chain`: pip install 'forkledger[chain]'\n"


def test_help_imports_nothing_heavy(base_python: Path, tmp_path: Path) -> None:
    modules = json.loads(run([base_python, "-c", SEEN_BY_HELP], tmp_path).splitlines()[-1])
    assert not {module.partition(".")[0] for module in modules} & set(HEAVY)
    assert len(modules) <= MOST_MODULES


# `forkledger audit` and `forkledger replay` of a ledger that the full install wrote belong below this line.


def test_it_audits_a_ledger_and_finds_a_flipped_byte(base_python: Path, tmp_path: Path) -> None:
    path, command = tmp_path / "ledger.db", base_python.with_name("forkledger")
    ledger = open_ledger(path)
    writer = fill(ledger, forks=1, records=2)[0]
    publish(ledger)
    ledger.store.close()
    audit: list[str | Path] = [command, "audit", path, "--log-key", LOG_KEY.vkey, "--state", tmp_path / "kept"]
    assert run(audit, tmp_path).endswith("audit: everything holds\n")
    with sqlite3.connect(path) as connection:
        (payload,) = connection.execute("SELECT bytes FROM payloads WHERE leaf_index=2 AND kind=2").fetchone()
        flipped = payload[:100] + bytes([payload[100] ^ 1]) + payload[101:]
        connection.execute("UPDATE payloads SET bytes=? WHERE leaf_index=2 AND kind=2", [flipped])
    connection.close()
    done = subprocess.run(audit, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"leaf 2 fork {writer.fork_id} version 3: payload 2:")


def test_it_replays_a_fork_with_numpy_alone(base_python: Path, tmp_path: Path) -> None:
    log, keystore, now = open_house(tmp_path / "data", tmp_path / "keys")
    state = genesis(bytes(32), 100)
    fork_id = "00000000-0000-4000-8000-000000000001"
    secret = keystore.make_fork_keys(fork_id, "app")
    created = entry.ForkCreated(fork_id, secret.owner.public, entry.SERVICE, bytes(32), bytes(32), state.digest, 100)
    body = entry.encode_fork_created(created)
    signature = secret.owner.sign(signed_message(entry.FORK_CREATED, log.origin, body))
    log.create_fork(entry.SignedControl(entry.FORK_CREATED, body, (signature,)))
    writer = Writer(log.origin, created, secret.owner, secret.root)
    numbers = np.random.default_rng(1)
    for number in (1, 2, 3):
        update = Update(number, SIGNS, numbers.choice([-1, 1], 100).astype(np.int8))
        state = advance(state, state.version + 1, update)
        said, what = Interaction((Message("user", "Who?"),), "Me."), Particulars("", now(), number)
        record, salt = build_record(writer, number, numbers.bytes(16), said, update, state.digest, what, numbers.bytes)
        keystore.keep_salt(fork_id, decode_body(record.body).key_commitment, salt)
        log.append(record)
    log.store.close()
    keystore.close()
    replay: list[str | Path] = [
        base_python.with_name("forkledger"), "replay", tmp_path / "data" / "ledger.db",
        "--keys", tmp_path / "keys", "--json",
    ]  # fmt: skip
    (found,) = json.loads(run([*replay, "--fork", fork_id, "--expect", state.digest.hex()], tmp_path))
    assert (found["fork_id"], found["records"], found["checked"]) == (fork_id, 3, 3)
    assert found["state_digest"] == state.digest.hex()
    wrong = subprocess.run([*replay, "--expect", "0" * 64], cwd=tmp_path, capture_output=True, timeout=60)
    assert wrong.returncode == 1
