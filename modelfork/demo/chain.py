"""The demo's chain: an anvil of this machine for a minute, and the log anchored on it by the commands that anybody has.

A chain of one's own proves nothing to anybody. What is shown is the way: deploy, publish, anchor, audit, and that the
contract takes no other history.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

import ledger
from modelfork.errors import Unsuited

_PACKAGED = "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"  # of a checkout; .ci/setup puts it there
_START_WITHIN = 20.0  # seconds
_A_COIN = 10**18


def find_anvil() -> str:
    """The path of an anvil: of this checkout, or on the PATH. Raises Unsuited where there is none."""
    packaged = Path(ledger.__file__).parent.parent / _PACKAGED
    found = str(packaged) if packaged.is_file() else shutil.which("anvil")
    if found is None:
        raise Unsuited(
            "demo: expected an anvil on the PATH (https://getfoundry.sh) or, in a checkout, after `make setup`"
        )
    return found


def anchor(out: Console, found: dict[str, object], folder: Path, log_vkey: str) -> bool:
    """Anchor the log in `folder`, and check it from the chain. Returns whether everything held."""
    with _node(find_anvil()) as url:
        told = _command(out, folder, "anchor", "deploy", "--chain-rpc", url, fails=3)  # nobody has paid yet
        (account,) = [line.split(": ")[1] for line in told.splitlines() if line.startswith("account that anchors")]
        _ask(url, "anvil_setBalance", account, hex(_A_COIN))
        place = json.loads(_command(out, folder, "anchor", "deploy", "--chain-rpc", url, "--json"))
        _command(out, folder, "anchor", "run", "--once", "--chain-rpc", url)
        _ask(url, "anvil_mine", "0x3")  # here a block is final when two more stand on it
        _command(out, folder, "anchor", "run", "--once", "--chain-rpc", url)
        out.print(_command(out, folder, "anchor", "status", "--chain-rpc", url), markup=False)
        proof = str(folder / "anchor.proof")
        audited = _command(
            out, folder, "audit", str(folder / "data" / "public"), "--log-key", log_vkey, "--state", str(folder / "kept"),
            "--chain", url, "--contract", place["contract"], "--save-anchor", proof, "--json",
        )  # fmt: skip
        anchored = json.loads(audited)["anchor"]
    # The node is gone; what it said can still be checked, against the hash of one block.
    _command(out, folder, "verify", proof, "--log-key", log_vkey, "--block", anchored["block_hash"])
    out.print(f"anchored on chain {place['chain_id']}, audited with it, and the saved proof verified without it")
    found["anchored"] = anchored["size"]
    return True


@contextmanager
def _node(binary: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    options = ["--port", str(port), "--hardfork", "prague", "--slots-in-an-epoch", "1", "--silent"]
    node = subprocess.Popen([binary, *options])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_WITHIN
        while not _answers(url):
            if node.poll() is not None or time.monotonic() > deadline:
                raise Unsuited(f"demo: {binary} does not answer")
            time.sleep(0.05)
        yield url
    finally:
        node.kill()
        node.wait()


def _answers(url: str) -> bool:
    try:
        _ask(url, "eth_chainId")
    except OSError:
        return False
    return True


def _ask(url: str, method: str, *parameters: Any) -> None:
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(url, asked, {"Content-Type": "application/json"})  # noqa: S310 - our own node
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        json.load(answer)


def _command(out: Console, folder: Path, *words: str, fails: int = 0) -> str:
    """What a command of ours prints. Raises Unsuited when it ends otherwise than expected."""
    places = ["--data", str(folder / "data"), "--keys", str(folder / "keys")] if words[0] == "anchor" else []
    command = [sys.executable, "-m", "ledger", *words, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != fails:
        out.print(done.stdout + done.stderr, markup=False)
        raise Unsuited(f"demo: `forkledger {' '.join(words[:2])}` ended with {done.returncode}, expected {fails}")
    return done.stdout
