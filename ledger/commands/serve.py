"""`forkledger serve`: the service, until it is told to stop."""

from __future__ import annotations

from pathlib import Path

import typer

from ledger.main import build_app, open_operator_keys


def serve(data: Path, keys: Path, origin: str, host: str, port: int) -> None:
    """Open or make everything in `data` and `keys`, and serve until SIGINT or SIGTERM."""
    import uvicorn

    operator = open_operator_keys(data, keys, origin)
    app = build_app(data, operator)
    apps = app.state.service.keystore.apps()
    typer.echo(f"log key (pin this): {operator.log.vkey}")
    if not apps:
        typer.echo("no app may call yet: `forkledger keys add-app NAME` prints an API key")
    uvicorn.run(app, host=host, port=port, log_level="info", server_header=False)
