"""`forkledger audit --chain`, and `forkledger verify` of what it saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ledger import merkle, note
from ledger.anchor.chainproof import STEPS, TRUSTS
from ledger.anchor.evmreader import EvmReader
from ledger.cli import app
from ledger.publish import publish
from tests.anvil import Anvil, running
from tests.ledger.anchor.anchored import CONTRACT, Chain, Tree
from tests.ledger.anchor.liar import between
from tests.ledger.tiled import Forks, write_log
from tests.ledger.written import LOG_KEY, ORIGIN, fill, open_ledger

SIZE = 300
ENTRIES = Forks().grow(SIZE)
TREE = Tree([merkle.leaf_hash(data) for data in ENTRIES])
KEY = ("--log-key", LOG_KEY.vkey)

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with running() as node:
        yield node


@pytest.fixture(scope="module")
def log_id(node: Anvil) -> bytes:
    chain = Chain(node)
    log_id = chain.create()
    chain.anchor(log_id, TREE, 5, 280)
    node.mine(2)
    return log_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_log(tmp_path / "public", ENTRIES)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("FORKLEDGER_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(EvmReader, "pause", 0.0)
    return lambda *options: CliRunner().invoke(app, [*map(str, options)])


def test_a_log_and_its_chain_are_audited_together(run: Run, node: Anvil, log_id: bytes, folder: Path) -> None:
    done = run("audit", folder, *KEY, "--chain", node.url)
    assert done.exit_code == 0, done.output
    assert f"anchored: size 280, root {TREE.root(280).hex()}, anchor number 2 of the log\n" in done.stdout
    assert f"contract 0x{CONTRACT.hex()}, log id {log_id.hex()}\nanchors compared with the log: 2\n" in done.stdout
    assert "notice: anchor: covers 280 of 300 entries" in done.stdout
    assert done.stdout.endswith("audit: everything holds\n")


def test_the_report_is_json_for_machines(run: Run, node: Anvil, log_id: bytes, folder: Path) -> None:
    report = json.loads(run("audit", folder, *KEY, "--chain", node.url, "--json").stdout)
    anchor: dict[str, Any] = report["anchor"]
    assert (report["clean"], report["anchors_compared"]) == (True, 2)
    assert (anchor["size"], anchor["root"], anchor["log_id"]) == (280, TREE.root(280).hex(), log_id.hex())
    assert (anchor["chain_id"], anchor["contract"], anchor["trusts"]) == (31337, CONTRACT.hex(), TRUSTS)
    assert json.loads(run("audit", folder, *KEY, "--json").stdout)["anchor"] is None


def test_a_database_is_audited_with_its_chain(run: Run, anvil: Anvil, tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    fill(ledger)
    publish(ledger)
    tree = Tree([merkle.leaf_hash(ledger.entry_at(leaf).data) for leaf in range(ledger.size())])
    ledger.store.close()
    chain = Chain(anvil)
    chain.anchor(chain.create(), tree, 3, 8)
    anvil.mine(2)
    for key in (KEY, ()):
        done = run("audit", tmp_path / "ledger.db", *key, "--chain", anvil.url)
        assert done.exit_code == 0, done.output
        assert f"anchored: size 8, root {tree.root(8).hex()}" in done.stdout


def test_a_log_that_the_chain_contradicts_ends_with_1_and_keeps_no_checkpoint(
    run: Run, node: Anvil, log_id: bytes, tmp_path: Path
) -> None:
    other = write_log(tmp_path / "other", Forks(2).grow(SIZE))
    saved = tmp_path / "saved.anchor"
    done = run("audit", other, *KEY, "--chain", node.url, "--save-anchor", saved, "--state", tmp_path / "kept")
    assert done.exit_code == 1
    assert f"anchor of size 280: its root is {TREE.root(280).hex()}, the log's" in done.stdout.splitlines()[-1]
    assert not (tmp_path / "kept").exists()
    assert saved.stat().st_size > 1000  # what contradicts a log is worth keeping


def test_another_chain_ends_with_1(run: Run, node: Anvil, log_id: bytes, folder: Path) -> None:
    done = run("audit", folder, *KEY, "--chain", node.url, "--chain-id", 1)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        1,
        "leaf - fork - version -: chain id: expected 1, http://127.0.0.1 is on 31337",
    )


def test_a_node_that_is_away_ends_with_3_before_the_log_is_read(run: Run, folder: Path) -> None:
    (folder / "checkpoint").write_text("damaged")
    done = run("audit", folder, *KEY, "--chain", "http://127.0.0.1:9")
    assert (done.exit_code, done.stderr) == (
        3,
        "http://127.0.0.1: eth_chainId could not be asked (ConnectError)\n",
    )


def test_the_chain_is_read_before_the_log(run: Run, node: Anvil, log_id: bytes, tmp_path: Path) -> None:
    """Else a log that grew and was anchored in between would look as if it had been cut back."""
    folder = write_log(tmp_path / "growing", ENTRIES[:279])
    with between(node) as liar:
        liar.lie = lambda method, parameters, result: (write_log(folder, ENTRIES, 279), result)[1]
        done = run("audit", folder, *KEY, "--chain", liar.url)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "options",
    [
        ("--block", "00" * 32),
        ("--log-id", "00" * 32),
        ("--save-anchor", "x"),
        ("--chain", "http://127.0.0.1:9", "--contract", "0x00"),
        ("--chain", "http://127.0.0.1:9", "--block", "latest"),
        ("--chain", "http://127.0.0.1:9", "--log-id", "00" * 31),
    ],
)
def test_options_that_say_nothing_are_wrong_usage(run: Run, folder: Path, options: tuple[str, ...]) -> None:
    assert run("audit", folder, *KEY, *options).exit_code == 2


# --- offline ---


@pytest.fixture
def saved(run: Run, node: Anvil, log_id: bytes, folder: Path, tmp_path: Path) -> tuple[Path, str]:
    """A proof that an audit saved, and the hash of its block."""
    file = tmp_path / "saved.anchor"
    done = run("audit", folder, *KEY, "--chain", node.url, "--save-anchor", file, "--json")
    return file, json.loads(done.stdout)["anchor"]["block_hash"]


def test_a_saved_proof_is_checked_without_the_node(run: Run, saved: tuple[Path, str], log_id: bytes) -> None:
    file, block = saved
    done = run("verify", file, *KEY, "--block", block, "--log-id", log_id.hex(), "--chain-id", 31337)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[:6] == [f"{n}. ok          {STEPS[n]}" for n in range(1, 7)]
    assert lines[6] == f"anchored: size 280, root {TREE.root(280).hex()}, anchor number 2 of the log"
    assert lines[-2:] == ["anchor proof: everything holds", TRUSTS]
    report = json.loads(run("verify", file, *KEY, "--block", f"0x{block}", "--json").stdout)
    assert (report["holds"], report["failed"], report["anchor"]["size"]) == (True, None, 280)


@pytest.mark.parametrize(
    ("options", "step", "said"),
    [
        (("--block", "11" * 32), 3, "block hash: expected"),
        (("--chain-id", "1"), 2, "chain id: expected 1, got 31337"),
        (("--contract", "11" * 20), 2, "contract: expected"),
        (("--log-id", "11" * 32), 2, "log id: expected"),
        (("--genesis", "11" * 32), 2, "genesis hash: expected"),
    ],
)
def test_a_saved_proof_of_something_else_ends_with_1_and_its_step(
    run: Run, saved: tuple[Path, str], options: tuple[str, ...], step: int, said: str
) -> None:
    file, block = saved
    done = run("verify", file, *KEY, "--block", block, *options)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[step - 1] == f"{step}. failed      {STEPS[step]}"
    assert done.stdout.splitlines()[-1].startswith(f"step {step}, ")
    assert said in done.stdout.splitlines()[-1]
    assert json.loads(run("verify", file, *KEY, "--block", block, *options, "--json").stdout)["failed"] == step


def test_a_saved_proof_by_the_key_of_another_log_ends_with_1(run: Run, saved: tuple[Path, str]) -> None:
    file, block = saved
    other = "elsewhere.example/log"
    done = run("verify", file, "--log-key", note.Ed25519Signer(other, LOG_KEY.seed).vkey, "--block", block)
    assert (done.exit_code, "origin: expected 'elsewhere.example/log'" in done.stdout) == (1, True)
    assert ORIGIN not in done.stdout


def test_a_saved_proof_without_the_hash_of_its_block_is_not_checked(run: Run, saved: tuple[Path, str]) -> None:
    file, _ = saved
    done = run("verify", file, *KEY)
    assert (done.exit_code, done.stderr) == (
        3,
        f"{file}: an anchor proof; expected the hash of its block, by --block\n",
    )
    assert run("verify", file, *KEY, "--chain-id", 31337).exit_code == 2


# --- in evidence ---


def test_a_saved_proof_is_put_into_evidence_and_checked_with_it(run: Run, anvil: Anvil, tmp_path: Path) -> None:
    data, saved, file = tmp_path / "data", tmp_path / "saved.anchor", tmp_path / "record.evidence"
    data.mkdir()
    ledger = open_ledger(data / "ledger.db")
    (writer, _) = fill(ledger)
    publish(ledger)
    tree = Tree([merkle.leaf_hash(ledger.entry_at(leaf).data) for leaf in range(ledger.size())])
    chain = Chain(anvil)
    chain.anchor(chain.create(), tree, 7)
    anvil.mine(2)
    done = run("audit", data, *KEY, "--chain", anvil.url, "--save-anchor", saved, "--json")
    block = json.loads(done.stdout)["anchor"]["block_hash"]
    for more in range(3):  # under a checkpoint of 8, then of more: the anchor is of 7 all the while
        written = run("evidence", writer.fork_id, "--version", 4, "--data", data, "-o", file, "--anchor", saved)
        assert written.exit_code == 0, written.output
        report = json.loads(run("verify", file, *KEY, "--block", block, "--json").stdout)
        assert (report["holds"], report["size"], report["anchor"]["size"]) == (True, 8 + more, 7)
        ledger.append(writer.next())
        publish(ledger)
    late = run("evidence", writer.fork_id, "--version", 7, "--data", data, "-o", tmp_path / "late", "--anchor", saved)
    assert (late.exit_code, late.stderr) == (3, f"{saved}: anchors 7 entries; this one is leaf 10\n")
    saved.write_bytes(saved.read_bytes()[:-1])
    broken = run("evidence", writer.fork_id, "--version", 4, "--data", data, "-o", tmp_path / "no", "--anchor", saved)
    assert (broken.exit_code, (tmp_path / "no").exists(), (tmp_path / "late").exists()) == (3, False, False)
    ledger.store.close()
