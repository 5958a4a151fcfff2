"""A log in PostgreSQL with witnesses, as strangers see it: over HTTP and from the folder, with a pinned key."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from ledger import policy, record
from ledger.entry import SignedControl
from ledger.keys import signature_to_wire
from ledger.record import encode_record
from ledger.wire.v1 import entry_pb2
from tests.journeys.server import Place, Server
from tests.journeys.test_witness import New, new
from tests.ledger.written import Writer

__all__ = ["new"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Serve = Callable[..., Server]


def encoded(control: SignedControl) -> bytes:
    signatures = [signature_to_wire(signature) for signature in control.signatures]
    return entry_pb2.SignedControl(topic=control.topic, body=control.body, signatures=signatures).SerializeToString()


def send(http: httpx.Client, writer: Writer, records: int) -> None:
    if not writer.written:
        http.post("/v1/controls", content=encoded(writer.control())).raise_for_status()
    batch = record.encode_batch([writer.next() for _ in range(records)])
    results = http.post("/v1/records/batch", content=batch).raise_for_status().json()["results"]
    assert all("receipt" in result for result in results)


def public(server: Server) -> bytes:
    answer = httpx.get(f"{server.url}/checkpoint", trust_env=False)
    return answer.content if answer.status_code == 200 else b""


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not so():
        assert time.monotonic() < end, "waited 30 seconds"
        time.sleep(0.05)


def test_a_log_in_postgresql_is_published_under_its_witnesses_and_audited_by_a_stranger(
    place: Place, serve: Serve, new: New, postgres_url: str, tmp_path: Path
) -> None:
    api_key = place.new_app()
    keys = place.command("keys", "show", "--json")
    origin, log_key = (httpx.Response(200, text=keys.stdout).json()[name] for name in ("origin", "log"))
    witnesses = [new(f"witness-{n}.example").start("--log", log_key) for n in range(2)]
    lines = [f"log {log_key}"]
    for number, witness in enumerate(witnesses):
        (vkey, *_) = [key.vkey for key in witness.witness().verifiers if hasattr(key, "vkey")]
        lines.append(f"witness w{number} {vkey} {witness.url}")
    lines += ["group both all w0 w1", "quorum both"]
    rules = tmp_path / "policy.txt"
    rules.write_text("".join(f"{line}\n" for line in lines))
    checks = policy.parse(rules.read_bytes())

    server = serve(place, "--database-url", postgres_url, "--policy", str(rules))
    writer = Writer(1, origin)
    with server.client(api_key) as http:
        send(http, writer, 300)
        until(lambda: bool(public(server)) and checks.check(public(server)).size == 301)
        last = (
            http.post("/v1/records", params={"wait": "checkpoint"}, content=encode_record(writer.next()))
            .raise_for_status()
            .json()
        )
        assert last["leaf_index"] == 301
        assert checks.check(last["inclusion"]["checkpoint"].encode()).size == 302
        # A stranger, with the policy alone.
        for target in (server.url, str(place.data / "public"), postgres_url):
            done = place.command(
                "audit", target, "--policy", str(rules), "--state", str(tmp_path / f"kept-{len(target)}")
            )
            assert done.returncode == 0, done.stdout + done.stderr
        # Without its witnesses the log goes on, and nothing more is shown.
        assert witnesses[1].terminate() == 0
        send(http, writer, 5)
        time.sleep(2.5)
        assert checks.check(public(server)).size == 302
        # A second server on the same database takes over; the first takes nothing more.
        other = Place(tmp_path / "other", place.base)
        (tmp_path / "other").mkdir()
        (other.folder / "keys").symlink_to(place.keys)
        (other.folder / "data").symlink_to(place.data)
        second = serve(other, "--database-url", postgres_url)
        refused = http.post("/v1/records", content=encode_record(writer.record(writer.written + 1)))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "fenced")
    with second.client(api_key) as http:
        send(http, writer, 3)
        until(lambda: b"\n310\n" in public(second))
    assert [server.terminate(), second.terminate()] == [0, 0]
    done = place.command("audit", str(place.data / "public"), "--log-key", log_key, "--state", str(tmp_path / "k"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_database_restored_from_a_backup_is_not_served_again(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    origin = httpx.get(f"{server.url}/v1/log/keys", trust_env=False).json()["origin"]
    writer = Writer(1, origin)
    with server.client(api_key) as http:
        send(http, writer, 3)
    assert server.terminate() == 0
    backup = place.file.read_bytes()
    server = serve(place)
    with server.client(api_key) as http:
        send(http, writer, 3)
    assert server.terminate() == 0
    place.file.write_bytes(backup)
    done = place.command("serve", "--port", "0")
    assert done.returncode == 3
    assert "7 entries are published" in done.stderr
    assert "only 4 are signed" in done.stderr
