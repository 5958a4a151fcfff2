"""`forkledger audit` of a log by its URL and from a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ledger import logsource, note
from ledger.cli import app
from ledger.publish import publish
from tests.ledger.tiled import Forks, write, write_log
from tests.ledger.written import LOG_KEY, ORIGIN, fill, open_ledger

Run = Callable[..., Result]
SIZE = 600


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("FORKLEDGER_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(logsource.Website, "pause", 0.0)
    return lambda *options: CliRunner().invoke(app, ["audit", *map(str, options)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    forks = Forks(3)
    folder = write_log(tmp_path / "public", forks.grow(SIZE))
    write(folder / "v1/log/keys", json.dumps({"origin": ORIGIN, "log": LOG_KEY.vkey}).encode())
    return folder


class Service(ThreadingHTTPServer):
    """Serves a folder. After `most` answers it fails, if there is such a number."""

    daemon_threads = True
    most: int | None = None
    failing = 500

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Service)
        self.server.asked.append(self.path)
        if self.server.most is not None and len(self.server.asked) > self.server.most:
            self.send_error(self.server.failing)
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    with Service(folder) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield service
        service.shutdown()
        thread.join()


def test_a_log_is_audited_by_its_url(run: Run, service: Service) -> None:
    done = run(service.url, "--log-key", LOG_KEY.vkey)
    assert done.exit_code == 0, done.output
    assert f"{ORIGIN}: 600 entries, 597 records, 3 forks; checkpoint over 600" in done.stdout
    assert done.stdout.endswith("audit: everything holds\n")


def test_an_unknown_log_s_key_is_taken_the_first_time_and_kept(run: Run, service: Service, folder: Path) -> None:
    done = run(service.url)
    assert (done.exit_code, "notice: log key: not pinned" in done.stdout) == (0, True)
    other = note.Ed25519Signer(ORIGIN, bytes(32))
    write(folder / "v1/log/keys", json.dumps({"log": other.vkey}).encode())
    done = run(service.url)
    assert (done.exit_code, "notice: log key" in done.stdout) == (0, False)


def test_a_folder_that_states_no_key_is_audited_with_one_only(run: Run, folder: Path) -> None:
    (folder / "v1/log/keys").unlink()
    done = run(folder)
    assert (done.exit_code, done.stderr) == (
        3,
        f"log key: {folder} states none; name it by --log-key or --policy\n",
    )
    assert run(folder, "--log-key", LOG_KEY.vkey).exit_code == 0
    assert run(folder).exit_code == 0  # kept from last time


def test_a_damaged_tile_ends_with_1_and_is_named_in_the_last_line(run: Run, service: Service, folder: Path) -> None:
    path = folder / "tile/0/001"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = run(service.url, "--json")
    fault = json.loads(done.stdout)["faults"][0]
    assert (done.exit_code, fault["leaf"], fault["version"], fault["step"]) == (1, 511, 171, 8)
    done = run(folder)
    assert done.stdout.splitlines()[-1].startswith("leaf 511 fork ")
    assert done.stdout.splitlines()[-1].endswith(" version 171: tile/0/001: hash 255 is not that of this entry")


def test_a_log_that_was_rewritten_is_noticed_the_second_time(run: Run, service: Service, folder: Path) -> None:
    assert run(service.url).exit_code == 0
    write_log(folder, Forks(2).grow(SIZE))
    done = run(service.url)
    assert done.exit_code == 1
    assert "kept checkpoint of size 600: the entries before it were changed since" in done.stdout
    assert "compared with" in done.stderr


def test_an_audit_that_was_cut_off_goes_on_where_it_ended(
    run: Run, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logsource.Website, "ahead", 0)  # so that it is known which file is the last one
    service.most = 4  # keys, checkpoint, and the first page
    done = run(service.url)
    assert done.exit_code == 3
    assert done.stderr.endswith("was answered with 500; the same command goes on from where this one ended\n")
    assert [path.suffix for path in (tmp_path / "state/audit").iterdir()] == [".bookmark"]
    service.most, asked = None, len(service.asked)
    done = run(service.url)
    assert done.exit_code == 0, done.output
    assert "600 entries, 597 records" in done.stdout
    assert "/tile/entries/000" not in service.asked[asked:]
    assert [path.suffix for path in (tmp_path / "state/audit").iterdir()] == [".checkpoint"]


def test_what_fails_for_a_moment_is_asked_for_again(run: Run, service: Service) -> None:
    class Once(int):
        def __lt__(self, other: int) -> bool:
            return other == 5

    service.most = Once(0)
    assert run(service.url).exit_code == 0


def test_a_bookmark_that_is_not_whole_is_named(run: Run, folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "kept.checkpoint"
    state.with_suffix(".bookmark").write_text("torn")
    done = run(folder, "--state", state)
    assert done.exit_code == 3
    assert "is not a whole bookmark of an earlier run; remove it to begin anew" in done.stderr


def test_a_policy_pins_the_key_and_asks_for_its_quorum(run: Run, folder: Path, tmp_path: Path) -> None:
    other = note.Ed25519Signer("example.org/other", bytes(32))
    witness = note.encode_vkey("w.example", 4, other.verifier.public_key)
    policy = tmp_path / "policy"
    policy.write_text(f"log {other.vkey}\nlog {LOG_KEY.vkey}\nquorum none\n")
    assert run(folder, "--policy", policy).exit_code == 0
    policy.write_text(f"log {LOG_KEY.vkey}\nwitness w {witness}\nquorum w\n")
    done = run(folder, "--policy", policy)
    assert done.exit_code == 1
    assert "expected cosignatures for quorum" in done.stdout.splitlines()[-1]
    policy.write_text("quorum\n")
    assert run(folder, "--policy", policy).exit_code == 2


def test_what_is_not_there_could_not_be_audited(run: Run, tmp_path: Path) -> None:
    assert run("http://127.0.0.1:1").exit_code == 3
    assert run("http://").exit_code == 3
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == f"log: expected checkpoint or ledger.db in the folder {tmp_path / 'empty'}\n"


def test_a_data_folder_is_audited_as_the_file_in_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ledger = open_ledger(tmp_path / "data" / "ledger.db")
    fill(ledger, forks=1, records=1)
    publish(ledger)
    ledger.store.close()
    assert run(tmp_path / "data").exit_code == 0
    assert "notice: log key" not in run(tmp_path / "data" / "ledger.db").stdout  # the same kept key
