"""`forkledger serve`: the service, until it is told to stop."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from ledger.logs import write_json_lines
from ledger.main import Anchoring, build_app, open_operator_keys
from ledger.policy import Policy

DRAIN = 20  # seconds that open connections get to read their answers; turns under way are always finished


def serve(
    data: Path,
    keys: Path,
    origin: str,
    database_url: str,
    policy: Policy | None,
    anchoring: Anchoring,
    host: str,
    port: int,
) -> None:
    """Open or make everything in `data` and `keys`, and serve until SIGINT or SIGTERM."""
    from ledger.api.server import Server

    write_json_lines()
    # Before anything is opened: a server started twice by mistake must not take over from the first.
    socket.create_server((host, port)).close()
    operator = open_operator_keys(data, keys, origin)
    app = build_app(data, operator, database_url, policy, anchoring)
    apps = app.state.service.keystore.apps()
    typer.echo(f"log key (pin this): {operator.log.vkey}")
    if not apps:
        typer.echo("no app may call yet: `forkledger keys add-app NAME` prints an API key")
    server = Server(app, host, port, DRAIN)
    # uvicorn drains on a signal and then raises it once more, which would end the process as if it had been killed.
    # These handlers are what it finds then: told to stop and stopped is success.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, _end)
    server.run()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
