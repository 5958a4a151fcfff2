"""`forkledger anchor`: the contract and the log on a chain, anchors as long as it runs, and how they stand."""

from __future__ import annotations

import json
import secrets
import signal
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from ledger import main
from ledger.anchor import NOWHERE, Public, Standing, known
from ledger.anchor.place import Place, encode_place, read_place, write_place
from ledger.anchor.worker import TURN_EVERY
from ledger.errors import Conflict, NotFound
from ledger.keyfolder import expect_apart, make_chain_key, read_chain_key
from ledger.ledger import LogReader
from ledger.main import Anchoring

_NAMES = {"evm": "EVM chain", "rfc3161": "timestamps (RFC 3161)"}


def deploy(data: Path, keys: Path, wanted: Anchoring, admin_key: Path | None, plainly: bool, as_json: bool) -> None:
    """Put the contract on the chain and create the log in it, as far as they are not there, and note where that is."""
    expect_apart(keys, data)
    log = main.open_operator_keys(data, keys, "").log
    anchorer = main.open_node(wanted.rpc, make_chain_key(keys, secrets.token_bytes)).sender
    from ledger.anchor import chainproof
    from ledger.anchor.deploy import create_log, deploy
    from ledger.anchor.evm import CODE_HASH

    expect_apart(admin_key or wanted.key, data)
    key = read_chain_key(admin_key or wanted.key)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    noted = read_place(data / main.PLACE_FILE)
    node = main.open_node(wanted.rpc, key)
    with closing(node):
        _say(as_json, f"account that anchors: {anchorer}", f"account that administers: {node.sender}")
        genesis = node.block(0)
        if genesis is None:
            raise NotFound("chain node: expected block 0, it has none")
        chain_id = node.chain_id()
        if noted is not None and (noted.chain_id, noted.genesis) != (chain_id, genesis.hash):
            raise Conflict(
                f"anchor place: {data / main.PLACE_FILE} names chain {noted.chain_id}, genesis {noted.genesis.hex()}; "
                f"the node is on {chain_id}, genesis {genesis.hash.hex()}"
            )
        contract = f"0x{noted.contract.hex()}" if noted else deploy(node, wanted.highest_fee, _second, plainly)
        note_key_hash = chainproof.note_key_hash(log.verifier)
        log_id = create_log(node, contract, log.name, note_key_hash, anchorer, wanted.highest_fee, _second)
        place = Place(chain_id, genesis.hash, bytes.fromhex(contract[2:]), CODE_HASH, log_id)
    if noted is not None and noted != place:
        raise Conflict(
            f"anchor place: {data / main.PLACE_FILE} names another contract or log; move it away to anchor here"
        )
    write_place(data / main.PLACE_FILE, place)
    if as_json:
        typer.echo(encode_place(place).rstrip())
        return
    _say(False, f"contract: {contract} on chain {place.chain_id}", f"log id: 0x{log_id.hex()}")
    _say(
        False,
        f"written to {data / main.PLACE_FILE}; `forkledger anchor run` or `serve` with --chain-rpc anchors from now on",
    )


def run(data: Path, database_url: str, wanted: Anchoring, once: bool, resume: bool) -> bool:
    """Anchor what is published until told to stop, or for one turn. Returns whether nothing is halted."""
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, _end)  # nothing is lost at any moment: what was sent is kept
    ledger = main.open_log(data, database_url)
    with closing(ledger.store):
        worker = main.open_worker(ledger, data, wanted, lambda: True)
        if worker is None:
            raise NotFound(f"anchor: expected --chain-rpc or --tsa; {NOWHERE}")
        with closing(worker):
            if resume:
                for backend in worker.backends:
                    ledger.store.outbox.resume(backend)
            said: dict[str, str] = {}
            while True:
                standings = worker.turn()
                for standing in standings:
                    line = _line(standing)
                    if said.get(standing.backend) != line:
                        said[standing.backend] = line
                        typer.echo(line)
                if once or any(standing.halted for standing in standings):
                    return not any(standing.halted for standing in standings)
                time.sleep(TURN_EVERY)


def status(data: Path, database_url: str, wanted: Anchoring, as_json: bool) -> bool:
    """Print how the anchors stand. Nothing is sent. Returns whether nothing is halted."""
    ledger = main.open_log_reader(data, database_url)
    with closing(ledger.store):
        public = main.published(ledger, data)
        standings = _standings(ledger, public, read_place(data / main.PLACE_FILE), wanted) if public else []
        if as_json:
            said: dict[str, Any] = {
                "checkpoint": public.size if public else 0,
                "anchors": [_json(one) for one in standings],
            }
            typer.echo(json.dumps(said if standings else said | {"note": NOWHERE}))
        else:
            _print(public.size if public else 0, standings)
    return not any(standing.halted for standing in standings)


def _standings(ledger: LogReader, public: Public, place: Place | None, wanted: Anchoring) -> list[Standing]:
    """The chain's as a node tells it, if one is named; of all others what the outbox knows."""
    asked = []
    if place is not None and wanted.rpc:
        with closing(main.open_chain_anchor(ledger, place, wanted)) as anchor:
            asked.append(anchor.look(public))
    outbox = ledger.store.outbox
    kinds = {_kind(each.backend) for each in asked}  # another account's anchors of long ago are no news
    return asked + [known(outbox, each, public) for each in outbox.backends() if _kind(each) not in kinds]


def _print(size: int, standings: list[Standing]) -> None:
    out = Console(highlight=False, width=140)
    out.print(f"last checkpoint: {size} entries" if size else "last checkpoint: none is published")
    if not standings:
        out.print(NOWHERE)
    for standing in standings:
        table = Table("", _NAMES.get(_kind(standing.backend), standing.backend))
        for name, value in _rows(standing):
            if value:
                table.add_row(name, value)
        out.print(table)


def _kind(backend: str) -> str:
    return backend.partition(":")[0]


def _where(backend: str) -> list[tuple[str, str]]:
    kind, _, rest = backend.partition(":")
    if kind != "evm":
        return [("where", rest)]
    chain_id, contract, log_id, sender = rest.split(":")
    return [("chain id", chain_id), ("contract", contract), ("log id", f"0x{log_id}"), ("account", sender)]


def _rows(standing: Standing) -> list[tuple[str, str]]:
    confirmation = standing.confirmation(standing.anchored)
    found = f"0x{standing.transaction.hex()} in block {standing.block}" if standing.transaction else ""
    return [
        *_where(standing.backend),
        ("last anchor", f"{standing.anchored} entries, {confirmation}" if confirmation else "none"),
        ("found under", found),
        ("under way", f"{standing.pending} entries" if standing.pending else "nothing"),
        ("safe; final", f"{standing.safe}; {standing.settled} entries"),
        ("lag", f"{standing.lag} entries"),
        ("cost so far", f"{standing.cost / 10**18:.9f} ETH ({standing.cost} wei)" if standing.cost else "nothing"),
        ("balance", "" if standing.balance is None else f"{standing.balance / 10**18:.9f} ETH"),
        ("waits for", standing.waiting or "nothing"),
        ("halted", standing.halted or "no"),
    ]


def _json(standing: Standing) -> dict[str, Any]:
    shown = asdict(standing)
    shown["transaction"] = f"0x{standing.transaction.hex()}" if standing.transaction else None
    return shown


def _line(standing: Standing) -> str:
    told = f"{standing.backend}: {standing.anchored} entries anchored, {standing.settled} final, lag {standing.lag}"
    if standing.halted:
        return f"{told}; HALTED: {standing.halted}"
    return f"{told}; waits: {standing.waiting}" if standing.waiting else told


def _say(quietly: bool, *lines: str) -> None:
    for line in lines:
        typer.echo(line, err=quietly)


def _second() -> None:
    time.sleep(1)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
