"""Anchors: `forkledger anchor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.options import (
    AsJson,
    ChainRpc,
    Data,
    DatabaseUrl,
    Keys,
    Registry,
    Tsa,
    anchoring_of,
    bytes_of,
    house_of,
    places_of,
    refusals,
)

anchor_app = typer.Typer(
    help="Checkpoints on an EVM chain, where nobody can take one back, or stamped by an authority.",
    no_args_is_help=True,
)


@anchor_app.command("deploy")
def anchor_deploy(
    data: Data = None,
    keys: Keys = None,
    chain_rpc: ChainRpc = "",
    admin_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The key of who may say later who anchors: keep it offline.",
            show_default="the anchoring key itself",
        ),
    ] = None,
    plainly: Annotated[
        bool, typer.Option(help="Without the CREATE2 factory, where a chain has none: at an address of its own.")
    ] = False,
    registry: Annotated[
        bool, typer.Option("--registry", help="Another contract instead: ForkRegistry, which `anchor register` needs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the contract on a chain, create this log in it, and note both in the data folder as anchor.json.

    Makes keys/anchor.key when there is none, and prints its account, which needs funds. What is done already is not
    done again.
    """
    from ledger.commands import anchor as command

    with refusals():
        data, keys, _ = places_of(data, keys)
        if registry:
            from ledger.commands import anchor_fork

            anchor_fork.deploy_registry(keys, anchoring_of(keys, chain_rpc), admin_key, plainly, as_json)
            return
        command.deploy(data, keys, anchoring_of(keys, chain_rpc), admin_key, plainly, as_json)


@anchor_app.command("run")
def anchor_run(
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    tsa: Tsa = "",
    once: Annotated[bool, typer.Option(help="One turn, and end.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on after a halt, whose cause somebody has looked into.")] = False,
) -> None:
    """Anchor what the service publishes, in a process of its own, until it is told to stop.

    Ends with 1 when it halts: the chain and this log contradict each other, or the chain refuses what it should not.
    """
    from ledger.commands import anchor as command
    from ledger.settings import read_settings

    with refusals():
        data, keys, _ = places_of(data, keys)
        wanted = anchoring_of(keys, chain_rpc, tsa)
        goes_on = command.run(data, database_url or read_settings().database_url, wanted, once, resume)
    raise typer.Exit(0 if goes_on else 1)


@anchor_app.command("status")
def anchor_status(
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    as_json: AsJson = False,
) -> None:
    """Last checkpoint, last anchor, lag, cost so far, halted and why. Sends nothing. Ends with 1 when halted."""
    from ledger.commands import anchor as command
    from ledger.settings import read_settings

    with refusals():
        data, keys, _ = places_of(data, keys)
        wanted = anchoring_of(keys, chain_rpc)
        goes_on = command.status(data, database_url or read_settings().database_url, wanted, as_json)
    raise typer.Exit(0 if goes_on else 1)


@anchor_app.command("register")
def anchor_register(
    fork: Annotated[str, typer.Argument(metavar="FORK", help="The id of a fork in service custody.")],
    owner: Annotated[str, typer.Option(metavar="ADDRESS", help="Who is to own it on the chain.")],
    registry: Registry = "",
    wants_consent: Annotated[
        bool, typer.Option("--show-consent", help="Print what the owner's wallet signs (EIP-712), and send nothing.")
    ] = False,
    deadline: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Since 1970: until when what is signed counts.", show_default="in a week"
        ),
    ] = None,
    consent: Annotated[
        str, typer.Option(metavar="HEX", help="The owner's signature of what --show-consent prints.")
    ] = "",
    for_good: Annotated[bool, typer.Option("--public-for-good", help="Send it. Nobody can ever take it back.")] = False,
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    as_json: AsJson = False,
) -> None:
    """Name a fork's owner on the chain that this log is anchored on. PUBLIC FOR GOOD, and only as the person asks.

    First with --show-consent, for the owner's wallet to sign (eth_signTypedData_v4); then with that signature as
    --consent, the same --deadline, and --public-for-good. The fork's key signs, the anchoring key attests and pays.
    """
    from ledger.commands import anchor_fork as command

    to = bytes_of(owner, 20, "--owner")
    if to is None:
        raise typer.BadParameter("expected 40 hex digits", param_hint="--owner")
    at = bytes_of(registry, 20, "--registry")
    signed = bytes_of(consent, None, "--consent")
    with refusals():
        house, wanted = house_of(data, keys, database_url, chain_rpc)
        if wants_consent:
            command.show_consent(house, fork, to, at, deadline)
            return
        if signed is None or deadline is None:
            raise typer.BadParameter("expected with the --deadline that the owner signed", param_hint="--consent")
        command.register(house, wanted, fork, to, at, signed, deadline, for_good, as_json)


@anchor_app.command("owner")
def anchor_owner(
    fork: Annotated[str, typer.Argument(metavar="FORK", help="The fork's id.")],
    registry: Registry = "",
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    as_json: AsJson = False,
) -> None:
    """Who owns a fork on the chain: registered, pending, or false. Sends nothing. Ends with 1 when false.

    The ledger decides who may sign for a fork: what the chain says beside it is pending. False is what the fork's
    key never signed, and an anchorer attested: evidence against the operator.
    """
    from ledger.commands import anchor_fork as command

    at = bytes_of(registry, 20, "--registry")
    with refusals():
        house, wanted = house_of(data, keys, database_url, chain_rpc)
        holds = command.owner(house, wanted.rpc, fork, at, as_json)
    raise typer.Exit(0 if holds else 1)
