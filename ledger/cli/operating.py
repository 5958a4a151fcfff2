"""Running the service: `forkledger serve` and `forkledger keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.options import AsJson, ChainRpc, Data, DatabaseUrl, Keys, Origin, Tsa, anchoring_of, places_of, refusals

keys_app = typer.Typer(help="The operator's keys, and the API keys of apps.", no_args_is_help=True)


def serve(
    data: Data = None,
    keys: Keys = None,
    origin: Origin = "",
    database_url: DatabaseUrl = "",
    policy: Annotated[
        Path | None,
        typer.Option(
            help="A C2SP tlog-policy: its witnesses are asked to cosign, its quorum before publishing. "
            "[FORKLEDGER_POLICY]"
        ),
    ] = None,
    chain_rpc: ChainRpc = "",
    tsa: Tsa = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the ledger over HTTP, with forks and chat where the extra `forks` is installed.

    With a chain or a timestamp authority, what is published is anchored there while it serves.
    """
    from ledger import policy as policies
    from ledger.commands import serve as command
    from ledger.settings import read_settings

    with refusals():
        settings = read_settings()
        file = policy or settings.policy
        rules = policies.parse(file.read_bytes()) if file else None
        places = places_of(data, keys, origin)
        anchoring = anchoring_of(places[1], chain_rpc, tsa)
        command.serve(*places, database_url or settings.database_url, rules, anchoring, host, port)


@keys_app.command("show")
def keys_show(data: Data = None, keys: Keys = None, origin: Origin = "", as_json: AsJson = False) -> None:
    """Print the public keys to pin; makes the keys when there are none."""
    from ledger.commands import keys as command

    with refusals():
        command.show(*places_of(data, keys, origin), as_json)


@keys_app.command("add-app")
def keys_add_app(
    name: Annotated[str, typer.Argument(help="What to call the app.")],
    data: Data = None,
    keys: Keys = None,
    origin: Origin = "",
    as_json: AsJson = False,
) -> None:
    """Let an app call: prints its API key, once."""
    from ledger.commands import keys as command

    with refusals():
        command.add_app(*places_of(data, keys, origin), name, as_json)


@keys_app.command("apps")
def keys_apps(data: Data = None, keys: Keys = None, as_json: AsJson = False) -> None:
    """List the apps that may call."""
    from ledger.commands import keys as command

    with refusals():
        command.list_apps(*places_of(data, keys), as_json)


@keys_app.command("remove-app")
def keys_remove_app(
    app_id: Annotated[str, typer.Argument(help="As `keys apps` lists it.")], data: Data = None, keys: Keys = None
) -> None:
    """Close the service to an app; its forks stay."""
    from ledger.commands import keys as command

    with refusals():
        command.remove_app(*places_of(data, keys), app_id)
