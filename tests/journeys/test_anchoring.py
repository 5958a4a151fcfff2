"""A log anchored on a real chain by the service itself, and how an operator sees it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.anchor import NOWHERE
from ledger.cosign import Ed25519Cosigner
from tests.anvil import Anvil
from tests.journeys.server import Place, Server
from tests.journeys.test_publishing import send, until
from tests.ledger.anchor.authority import certified, serving
from tests.ledger.anchor.test_exchange import answering, dripping
from tests.ledger.written import Writer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Serve = Callable[..., Server]
A_COIN = hex(10**18)


def deployed(place: Place, node: Anvil) -> dict[str, Any]:
    """What `anchor deploy` found out, once its account has funds: told by the first try, which has none."""
    broke = place.command("anchor", "deploy", "--chain-rpc", node.url)
    assert broke.returncode == 3
    assert "holds too little" in broke.stderr
    (account,) = [line.split(": ")[1] for line in broke.stdout.splitlines() if line.startswith("account that anchors")]
    node.call("anvil_setBalance", account, A_COIN)
    done = place.command("anchor", "deploy", "--chain-rpc", node.url, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def anchors(server: Server, size: int | None = None) -> dict[str, Any]:
    asked = {} if size is None else {"size": size}
    answer = httpx.get(f"{server.url}/v1/log/anchors", params=asked, trust_env=False)
    return dict(answer.raise_for_status().json())


def receipt_nonce(node: Anvil, anchor: dict[str, Any]) -> str:
    return str(node.call("eth_getTransactionByHash", anchor["found_under"])["nonce"])


def writer(http: httpx.Client) -> Writer:
    return Writer(1, http.get("/healthz").json()["origin"])


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Where the ledger is, in words of the command line."""
    return ("--database-url", request.getfixturevalue("postgres_url")) if request.param == "postgres" else ()


def test_what_the_service_publishes_is_anchored_once_and_for_good(
    place: Place, serve: Serve, anvil: Anvil, database: tuple[str, ...]
) -> None:
    api_key = json.loads(place.command("keys", "add-app", "an app", "--json").stdout)["api_key"]
    told = deployed(place, anvil)
    assert json.loads((place.data / "anchor.json").read_text()) == told
    again = place.command("anchor", "deploy", "--chain-rpc", anvil.url, "--json")
    assert json.loads(again.stdout) == told

    server = serve(place, "--chain-rpc", anvil.url, *database)
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {api_key}"}, trust_env=False) as http:
        send(http, writer(http), 3)
    until(lambda: bool(anchors(server)["anchors"]))
    (first,) = anchors(server)["anchors"]
    size = first["size"]
    assert 0 < size <= 4
    assert first["confirmation"] in ("pending", "latest")
    anvil.mine(3)  # final is what is two blocks old
    until(lambda: anchors(server, size)["anchors"][0]["confirmation"] == "finalized")
    (first,) = anchors(server, size)["anchors"]
    receipt = anvil.call("eth_getTransactionReceipt", first["found_under"])
    assert int(receipt["blockNumber"], 16) == first["block"]
    assert receipt["blockHash"] == f"0x{first['block_hash']}"
    assert receipt["to"] == told["contract"]

    figures = httpx.get(f"{server.url}/metrics", trust_env=False).text
    assert f'confirmation="finalized"}} {float(size)}' in figures
    assert re.search(r"^forkledger_anchor_halted\{.*\} 0\.0$", figures, re.MULTILINE)

    status = place.command("anchor", "status", "--chain-rpc", anvil.url, "--json", *database)
    assert status.returncode == 0, status.stderr
    (standing,) = json.loads(status.stdout)["anchors"]
    assert (standing["anchored"], standing["settled"], standing["halted"]) == (size, size, None)
    assert standing["cost"] == int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    table = place.command("anchor", "status", *database).stdout  # no node is asked: what the outbox knows
    assert f"{size} entries, finalized" in table
    # Another process beside the server finds it done, and sends nothing.
    beside = place.command("anchor", "run", "--once", "--chain-rpc", anvil.url, *database)
    assert beside.returncode == 0, beside.stderr
    assert (
        int(anvil.call("eth_getTransactionCount", receipt["from"], "latest"), 16)
        == int(receipt_nonce(anvil, first), 16) + 1
    )


def test_a_log_that_went_back_is_not_anchored_and_the_status_says_why(place: Place, serve: Serve, anvil: Anvil) -> None:
    api_key = place.new_app()
    deployed(place, anvil)
    server = serve(place)
    assert "anchored nowhere" in anchors(server)["note"]
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {api_key}"}, trust_env=False) as http:
        send(http, writer(http), 3)
        until(lambda: http.get("/checkpoint").text.splitlines()[1] == "4")
    server.terminate()
    anchored = place.command("anchor", "run", "--once", "--chain-rpc", anvil.url)
    assert anchored.returncode == 0, anchored.stderr

    # The ledger and its public folder are both put back to the day before: nothing here can tell, but the chain can.
    kept = {name: (place.data / name).read_bytes() for name in ("anchor.json",)}
    for path in sorted(place.data.rglob("*"), reverse=True):
        path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()
    (place.data / "anchor.json").write_bytes(kept["anchor.json"])
    api_key = place.new_app()
    server = serve(place)
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {api_key}"}, trust_env=False) as http:
        send(http, writer(http), 1)
        until(lambda: http.get("/checkpoint").text.splitlines()[1] == "2")
    server.terminate()
    server = serve(place, "--chain-rpc", anvil.url)
    until(lambda: "our log has fewer entries" in httpx.get(f"{server.url}/readyz", trust_env=False).text)
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200  # the log itself goes on
    server.terminate()
    halted = place.command("anchor", "run", "--once", "--chain-rpc", anvil.url)
    assert halted.returncode == 1
    assert "HALTED: contract: it holds size 4, and our log has fewer entries" in halted.stdout
    status = place.command("anchor", "status")
    assert status.returncode == 1
    assert "our log has fewer entries" in status.stdout
    # Only a person ends a halt; the cause is still there.
    assert place.command("anchor", "run", "--once", "--chain-rpc", anvil.url, "--resume").returncode == 1


def test_the_worker_that_ends_with_the_service_loses_nothing(place: Place, serve: Serve, anvil: Anvil) -> None:
    api_key = place.new_app()
    deployed(place, anvil)
    anvil.call("evm_setAutomine", False)
    server = serve(place, "--chain-rpc", anvil.url)
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {api_key}"}, trust_env=False) as http:
        send(http, writer(http), 2)
    until(lambda: bool(anchors(server)["anchors"]))
    server.process.kill()
    server.process.wait()
    anvil.call("anvil_dropAllTransactions")
    time.sleep(0.1)
    anvil.call("evm_setAutomine", True)
    again = place.command("anchor", "run", "--once", "--chain-rpc", anvil.url)
    assert again.returncode == 0, again.stderr
    held = json.loads(place.command("anchor", "status", "--chain-rpc", anvil.url, "--json").stdout)["anchors"][0]
    assert held["anchored"] > 0
    assert held["halted"] is None


def test_a_timestamped_checkpoint_is_verified_offline(
    place: Place, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "authority").mkdir()
    with serving(tmp_path / "authority") as authority:
        (tmp_path / "roots.pem").write_bytes(authority.root.pem)
        (tmp_path / "others.pem").write_bytes(certified("another", may_certify=True).pem)
        monkeypatch.setenv("FORKLEDGER_TSA_ROOTS", str(tmp_path / "roots.pem"))
        api_key = place.new_app()
        server = serve(place, "--tsa", authority.url)
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {api_key}"}, trust_env=False) as http:
            send(http, writer(http), 3)
            until(lambda: http.get("/v1/log/timestamp", params={"size": 1}).status_code == 200)
            stamp = tmp_path / "a.timestamp"
            stamp.write_bytes(http.get("/v1/log/timestamp", params={"size": 1}).content)
            assert http.get("/v1/log/timestamp", params={"size": 1000}).status_code == 404
            (stamped,) = anchors(server, 1)["anchors"]
            assert (stamped["confirmation"], "block" in stamped) == ("finalized", False)
            log_key = http.get("/v1/log/keys").json()["log"]
        server.terminate()
    (standing,) = json.loads(place.command("anchor", "status", "--json").stdout)["anchors"]
    assert (standing["backend"], standing["cost"]) == (f"rfc3161:{authority.url}", 0)
    assert 0 < standing["settled"] == standing["anchored"]
    shown = place.command("anchor", "status").stdout
    assert "timestamps (RFC 3161)" in shown
    assert NOWHERE not in shown
    verify = ("verify", str(stamp), "--log-key", log_key, "--tsa-roots")
    holds = place.command(*verify, str(tmp_path / "roots.pem"))
    assert holds.returncode == 0, holds.stderr
    assert "timestamp: everything holds" in holds.stdout
    policy = tmp_path / "policy"  # a stamp is over what the log signed, whatever quorum its readers ask of checkpoints
    witness = Ed25519Cosigner("witness.example", bytes(32), lambda: 0).vkey
    policy.write_text(f"log {log_key}\nwitness w {witness}\nquorum w\n")
    under = place.command("verify", str(stamp), "--policy", str(policy), "--tsa-roots", str(tmp_path / "roots.pem"))
    assert under.returncode == 0, under.stdout
    stranger = place.command(*verify, str(tmp_path / "others.pem"))
    assert stranger.returncode == 1
    assert "3. failed" in stranger.stdout
    told = json.loads(stamp.read_text())
    size = int(told["checkpoint"].splitlines()[1])
    told["checkpoint"] = told["checkpoint"].replace(f"\n{size}\n", f"\n{size + 1}\n", 1)
    stamp.write_text(json.dumps(told))
    forged = place.command(*verify, str(tmp_path / "roots.pem"))
    assert forged.returncode == 1
    assert "2. failed" in forged.stdout


def test_a_node_that_says_little_by_little_holds_neither_the_log_nor_its_end_up(
    place: Place, serve: Serve, anvil: Anvil
) -> None:
    api_key = place.new_app()
    deployed(place, anvil)
    with answering(dripping(b"HTTP/1.1 200 OK\r\nx: ")) as url:
        server = serve(place, "--chain-rpc", url)
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {api_key}"}, trust_env=False) as http:
            who = writer(http)
            send(http, who, 2)
            until(lambda: http.get("/checkpoint").text.splitlines()[1:2] == ["3"])
            send(http, who, 2)
        begun = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - begun < 8  # no answer is waited for to its bound of ten seconds
    assert place.audit().covered == 5  # the last checkpoint was signed
    assert "secret" not in server.log.read_text()
