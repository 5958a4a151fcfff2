"""A witness: `forkledger witness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.options import AsJson, WitnessData, WitnessKeys, refusals

witness_app = typer.Typer(help="A witness: cosigns the checkpoints of logs that only grow.", no_args_is_help=True)


@witness_app.command("serve")
def witness_serve(
    data: WitnessData = Path("forkledger-witness"),
    keys: WitnessKeys = Path("forkledger-witness-keys"),
    name: Annotated[str, typer.Option(help="The witness's name, when its keys are made.")] = "",
    log: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="The public key of a log to cosign for; may be repeated.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
) -> None:
    """Serve a witness over HTTP, as c2sp.org/tlog-witness has it."""
    from ledger.commands import witness as command

    with refusals():
        command.serve(data, keys, name, log or [], host, port)


@witness_app.command("keys")
def witness_keys(
    data: WitnessData = Path("forkledger-witness"),
    keys: WitnessKeys = Path("forkledger-witness-keys"),
    name: Annotated[str, typer.Option(help="The witness's name, when its keys are made.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the public keys to pin; makes the keys when there are none."""
    from ledger.commands import witness as command

    with refusals():
        command.show_keys(data, keys, name, as_json)


@witness_app.command("add-log")
def witness_add_log(
    vkey: Annotated[str, typer.Argument(help="The log's public key, as its operator gave it.")],
    data: WitnessData = Path("forkledger-witness"),
    keys: WitnessKeys = Path("forkledger-witness-keys"),
) -> None:
    """Cosign for a log from now on, also by a server that runs already."""
    from ledger.commands import witness as command

    with refusals():
        command.add_log(data, keys, vkey)


@witness_app.command("alarms")
def witness_alarms(data: WitnessData = Path("forkledger-witness"), as_json: AsJson = False) -> None:
    """Print the evidence against logs. Ends with 1 when there is a split view among it."""
    from ledger.commands import witness as command

    with refusals():
        clean = command.show_alarms(data, as_json)
    raise typer.Exit(0 if clean else 1)
