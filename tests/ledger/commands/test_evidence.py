"""`forkledger evidence` writes what `forkledger verify` accepts, from a folder and from a service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from ledger import tlogproof
from ledger.api.app import create_app
from ledger.api.service import Service
from ledger.cli import app
from ledger.evidence import LONGEST_EVIDENCE
from ledger.keystore import KeyStore
from ledger.ledger import Ledger
from ledger.main import LEDGER_FILE
from ledger.merkle import leaf_hash
from ledger.policy import of_log
from ledger.publicfolder import PublicFolder
from ledger.publish import publish
from ledger.publisher import Publisher
from ledger.store import postgres
from ledger.vault import ServiceKey
from tests.anvil import Anvil
from tests.ledger.anchor.anchored import Chain, Tree
from tests.ledger.written import LOG_KEY, RECEIPT_KEY, Writer, clock, drawn, fill, open_ledger

Answer = Callable[[str], tuple[int, bytes]]
Serve = Callable[[Answer], str]

WRITER = Writer(0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A fork's creation and three records under a checkpoint."""
    (tmp_path / "data").mkdir()
    ledger = open_ledger(tmp_path / "data" / LEDGER_FILE)
    fill(ledger, forks=1)
    publish(ledger)
    yield ledger
    ledger.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts an HTTP server, which answers a path with a status and a body; returns its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(self.path)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def service(ledger: Ledger, tmp_path: Path, serve: Serve) -> Iterator[str]:
    """The URL of a service over that ledger."""
    key = ServiceKey(drawn(32, "service key"))
    keystore = KeyStore(tmp_path / "keystore.db", key, lambda length: drawn(length))
    publisher = Publisher(ledger, PublicFolder(tmp_path / "public"))
    client = TestClient(
        create_app(Service(ledger, keystore, key, lambda: 0, lambda length: b"", publisher), lambda: None)
    )

    def answer(path: str) -> tuple[int, bytes]:
        response = client.get(path)
        return response.status_code, response.content

    yield serve(answer)
    keystore.close()


def evidence(*words: object) -> Result:
    return CliRunner().invoke(app, ["evidence", *map(str, words)])


def verified(file: Path) -> Result:
    return CliRunner().invoke(app, ["verify", str(file), "--log-key", LOG_KEY.vkey])


@pytest.mark.parametrize("version", [1, 2, 4])
def test_evidence_from_a_folder_is_what_verify_accepts(ledger: Ledger, tmp_path: Path, version: int) -> None:
    file = tmp_path / "out"
    done = evidence(WRITER.fork_id, "--version", version, "--data", tmp_path / "data", "-o", file)
    assert (done.exit_code, done.stdout) == (0, f"{file}: evidence of leaf {version - 1}\n"), done.output
    checked = verified(file)
    assert checked.exit_code == 0
    assert f"fork {WRITER.fork_id} version {version}, " in checked.stdout


def test_a_record_is_named_by_its_id(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLEDGER_DATA", str(tmp_path / "data"))  # where nothing else is said
    assert evidence(WRITER.fork_id, WRITER.record_id(2).hex(), "-o", tmp_path / "out").exit_code == 0
    assert f"record {WRITER.record_id(2).hex()}, interaction 2" in verified(tmp_path / "out").stdout


def test_a_service_gives_the_same_evidence_as_its_folder(service: str, ledger: Ledger, tmp_path: Path) -> None:
    for number, named in enumerate([("--version", "3"), (WRITER.record_id(2).hex(),)]):
        for source in (service, f"{service}/", tmp_path / "data"):
            done = evidence(WRITER.fork_id, *named, "--data", source, "-o", tmp_path / f"{number}")
            assert done.exit_code == 0, done.output
            assert (tmp_path / f"{number}").read_bytes() == (tmp_path / "0").read_bytes()
    assert verified(tmp_path / "0").exit_code == 0


def test_a_ledger_in_postgresql_gives_the_same_evidence_as_one_in_a_file(
    ledger: Ledger, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Ledger(postgres.open_store(postgres_url), LOG_KEY, RECEIPT_KEY, clock())
    fill(other, forks=1)
    publish(other)
    other.close()
    words = (WRITER.fork_id, "--version", 3, "-o", tmp_path / "out")
    assert evidence(*words, "--data", tmp_path / "data").exit_code == 0
    expected = (tmp_path / "out").read_bytes()
    (tmp_path / "out").unlink()
    done = evidence(*words, "--data", tmp_path / "elsewhere", "--database-url", postgres_url)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out").read_bytes() == expected
    (tmp_path / "out").unlink()
    monkeypatch.setenv("FORKLEDGER_DATABASE_URL", postgres_url)
    assert evidence(*words, "--data", tmp_path / "elsewhere").exit_code == 0
    assert verified(tmp_path / "out").exit_code == 0


def test_evidence_from_postgresql_stands_under_the_published_checkpoint(postgres_url: str, tmp_path: Path) -> None:
    other = Ledger(postgres.open_store(postgres_url), LOG_KEY, RECEIPT_KEY, clock())
    fill(other, forks=1)
    Publisher(other, PublicFolder(tmp_path / "data" / "public")).publish()
    other.append(WRITER.record(4))
    publish(other)
    other.close()
    of = ("--data", tmp_path / "data", "--database-url", postgres_url, "-o", tmp_path / "out")
    assert evidence(WRITER.fork_id, "--version", 4, *of).exit_code == 0
    done = evidence(WRITER.fork_id, "--version", 5, *of)
    assert (done.exit_code, done.stderr) == (3, "leaf 4: the newest checkpoint covers 4 entries\n")


def test_a_database_without_a_ledger_or_that_is_not_there_ends_with_3(postgres_url: str, tmp_path: Path) -> None:
    for url in (postgres_url, "postgresql://nobody@127.0.0.1:1/nothing"):
        done = evidence(WRITER.fork_id, "--version", 1, "--database-url", url, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 1), done.output


def test_the_standards_proof_of_the_same_entry_is_written_where_asked(
    service: str, ledger: Ledger, tmp_path: Path
) -> None:
    for source in (service, tmp_path / "data"):
        done = evidence(
            WRITER.fork_id, "--version", 3, "--tlog-proof", "--data", source, "-o", tmp_path / "3.tlog-proof"
        )
        assert done.exit_code == 0, done.output
        proof = tlogproof.parse((tmp_path / "3.tlog-proof").read_bytes())
        tree = tlogproof.check(proof, ledger.entry_at(2).data, of_log(LOG_KEY.vkey).check)
        assert (proof.index, tree.size) == (2, 4)


def test_what_is_not_there_ends_with_3_and_writes_nothing(service: str, tmp_path: Path) -> None:
    file = tmp_path / "out"
    for source in (service, tmp_path / "data"):
        for words in ((WRITER.fork_id, "--version", 5), (WRITER.fork_id, "00"), (Writer(1).fork_id, "--version", 1)):
            done = evidence(*words, "--data", source, "-o", file)
            assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 1)
            assert not file.exists()
    assert evidence(WRITER.fork_id, "--version", 1, "--data", tmp_path / "none", "-o", file).exit_code == 3


def test_an_entry_that_no_checkpoint_covers_ends_with_3(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append(WRITER.record(4))
    done = evidence(WRITER.fork_id, "--version", 5, "--data", tmp_path / "data", "-o", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (3, "leaf 4: the newest checkpoint covers 4 entries\n")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>not evidence</html>", "evidence: "),
        (200, bytes(LONGEST_EVIDENCE + 1), f"expected at most {LONGEST_EVIDENCE} bytes, got more"),
        (500, b"", "expected status 200, got 500"),
        (302, b"", "expected status 200, got 302"),
    ],
)
def test_an_answer_that_is_no_evidence_ends_with_3(
    serve: Serve, tmp_path: Path, status: int, body: bytes, said: str
) -> None:
    url = serve(lambda _: (status, body))
    done = evidence(WRITER.fork_id, "--version", 1, "--data", url, "-o", tmp_path / "out")
    assert (done.exit_code, (tmp_path / "out").exists()) == (3, False)
    assert said in done.stderr


def test_a_service_that_cannot_be_reached_ends_with_3(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", "http://[", "https://127.0.0.1:1"):
        done = evidence(WRITER.fork_id, "--version", 1, "--data", url, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout) == (3, ""), done.output
        assert done.stderr.startswith(url)


def test_wrong_usage_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "out"
    for words in (
        (WRITER.fork_id, "-o", file),
        (WRITER.fork_id, "00", "--version", 1, "-o", file),
        (WRITER.fork_id, "--version", 0, "-o", file),
        (WRITER.fork_id, "no hex", "-o", file),
        (WRITER.fork_id, "--version", 1),
        ("no fork", "--version", 1, "-o", file),
        (WRITER.fork_id, "--version", 1, "-o", file, "--data", "http://x", "--database-url", "postgresql://x"),
    ):
        assert evidence(*words).exit_code == 2, words


def test_an_anchor_proof_is_put_in_from_a_service_as_from_its_folder(
    service: str, ledger: Ledger, tmp_path: Path, anvil: Anvil
) -> None:
    tree = Tree([leaf_hash(ledger.entry_at(leaf).data) for leaf in range(ledger.size())])
    chain, saved, file = Chain(anvil), tmp_path / "saved.anchor", tmp_path / "out"
    chain.anchor(chain.create(), tree, 3)
    anvil.mine(2)
    options = ("--log-key", LOG_KEY.vkey, "--state", tmp_path / "kept", "--chain", anvil.url, "--save-anchor", saved)
    audited = CliRunner().invoke(app, ["audit", str(tmp_path / "data"), *map(str, options), "--json"])
    block = json.loads(audited.stdout)["anchor"]["block_hash"]
    for source in (service, tmp_path / "data"):
        done = evidence(WRITER.fork_id, "--version", 2, "--data", source, "-o", file, "--anchor", saved)
        assert done.exit_code == 0, done.output
        checked = CliRunner().invoke(app, ["verify", str(file), "--log-key", LOG_KEY.vkey, "--block", block])
        assert (checked.exit_code, "anchored: size 3, " in checked.stdout) == (0, True), checked.output


PAGE = 4096


def test_a_file_that_is_damaged_anywhere_ends_in_a_line_and_no_traceback(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    file = tmp_path / "data" / LEDGER_FILE
    whole = file.read_bytes()
    ended = set()
    for start in range(PAGE, len(whole), PAGE):
        file.write_bytes(whole[:start] + bytes([255] * 64) + whole[start + 64 :])
        for words in (
            ["evidence", WRITER.fork_id, "--version", "1", "--data", str(file.parent), "-o", str(tmp_path / "out")],
            ["watch", WRITER.fork_id, "--log", str(file), "--log-key", LOG_KEY.vkey, "--state", str(tmp_path / "kept")],
        ):
            done = CliRunner().invoke(app, words)
            assert isinstance(done.exception, SystemExit | None), (start, words, done.exception)
            ended.add((done.exit_code, "SQLite cannot read on" in done.stderr))
    assert (3, True) in ended
