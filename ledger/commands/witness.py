"""`forkledger witness`: a witness for other people's logs, until it is told to stop."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from ledger.errors import NotFound
from ledger.main import microseconds
from ledger.witness.memory import SPLIT_VIEW, Memory
from ledger.witness.witness import MEMORY_FILE, Witness, open_witness

DRAIN = 20  # seconds that open connections get to read their answers


def serve(data: Path, keys: Path, name: str, logs: Sequence[str], host: str, port: int) -> None:
    """Open or make the witness in `data` and `keys`, and serve until SIGINT or SIGTERM."""
    import uvicorn

    from ledger.api.witness import create_app

    witness = _open(data, keys, name)
    for vkey in logs:
        witness.add_log(vkey)
    for vkey in witness.vkeys:
        typer.echo(f"witness key (pin this): {vkey}")
    if not witness.logs():
        typer.echo("no log is known yet: `forkledger witness add-log VKEY` adds one, also while this runs")
    config = uvicorn.Config(
        create_app(witness),
        host=host,
        port=port,
        log_level="info",
        server_header=False,
        timeout_graceful_shutdown=DRAIN,
    )
    # uvicorn raises the signal once more after draining: told to stop and stopped is success.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, _end)
    uvicorn.Server(config).run()


def show_keys(data: Path, keys: Path, name: str, as_json: bool) -> None:
    """The public keys; they are made when there are none. No secret is ever printed."""
    witness = _open(data, keys, name)
    witness.close()
    if as_json:
        typer.echo(json.dumps({"name": witness.name, "vkeys": witness.vkeys}))
        return
    for vkey in witness.vkeys:
        typer.echo(vkey)


def add_log(data: Path, keys: Path, vkey: str) -> None:
    """Cosign for the log with this key from now on, also by a server that runs already."""
    witness = _open(data, keys, "")
    try:
        typer.echo(f"cosigns for {witness.add_log(vkey)}")
    finally:
        witness.close()


def show_alarms(data: Path, as_json: bool) -> bool:
    """The evidence against logs, the oldest first. Whether there is no split view among it."""
    path = data / MEMORY_FILE
    if not path.is_file():
        raise NotFound(f"witness: no memory at {path}")
    memory = Memory(path)
    try:
        alarms = memory.alarms()
    finally:
        memory.close()
    if as_json:
        typer.echo(json.dumps([alarm.as_json() for alarm in alarms]))
    else:
        for alarm in alarms:
            typer.echo(f"{alarm.kind} of {alarm.origin}, seen {alarm.times}x, first at {alarm.first_seen}\n")
            typer.echo(f"cosigned:\n{alarm.known.decode()}\nnot cosigned:\n{alarm.offered.decode()}")
        if not alarms:
            typer.echo("no alarms")
    return all(alarm.kind != SPLIT_VIEW for alarm in alarms)


def _open(data: Path, keys: Path, name: str) -> Witness:
    return open_witness(data, keys, name, lambda: microseconds() // 1_000_000, secrets.token_bytes)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
