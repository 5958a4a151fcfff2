"""What commands share: their options, where these come from when they are left out, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ledger.commands.anchor_fork import House
    from ledger.main import Anchoring

Data = Annotated[Path | None, typer.Option(help="Folder of the ledger. [FORKLEDGER_DATA, else ./forkledger-data]")]
Keys = Annotated[Path | None, typer.Option(help="Folder of the operator's keys, outside the data folder. "
                                                "[FORKLEDGER_KEYS, else ./forkledger-keys]")]  # fmt: skip
DatabaseUrl = Annotated[
    str,
    typer.Option(help="postgresql://… of the ledger; else it is a file in the data folder. [FORKLEDGER_DATABASE_URL]"),
]
Origin = Annotated[str, typer.Option(help="The log's name, when its keys are made.")]
ChainRpc = Annotated[
    str, typer.Option(metavar="URL", help="JSON-RPC of a node of the chain to anchor on. [FORKLEDGER_CHAIN_RPC]")
]
Tsa = Annotated[
    str, typer.Option(metavar="URL", help="An RFC 3161 timestamp authority that stamps checkpoints. [FORKLEDGER_TSA]")
]
LogKey = Annotated[
    str, typer.Option("--log-key", metavar="VKEY", help="The log's public key, as its operator gave it.")
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="A tlog-policy: the log's key, and which witnesses must cosign."),
]
WitnessData = Annotated[
    Path, typer.Option(help="Folder of what the witness must never forget: leave it out of backups.")
]
WitnessKeys = Annotated[Path, typer.Option(help="Folder of the witness's keys, outside the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Contract = Annotated[
    str,
    typer.Option(
        "--contract", metavar="ADDRESS", help="The contract on the chain.", show_default="where its code puts it"
    ),
]
ChainId = Annotated[
    int | None, typer.Option("--chain-id", min=1, metavar="N", help="The chain's id.", show_default="any")
]
Genesis = Annotated[
    str, typer.Option("--genesis", metavar="HASH", help="The hash of the chain's block 0.", show_default="any")
]
LogId = Annotated[
    str,
    typer.Option(
        "--log-id", metavar="HASH", help="The log's id in the contract.", show_default="any with its name and key"
    ),
]
Registry = Annotated[
    str,
    typer.Option(
        "--registry", metavar="ADDRESS", help="The contract ForkRegistry.", show_default="where its code puts it"
    ),
]


@contextmanager
def refusals() -> Iterator[None]:
    """What could not be done is one line on standard error and exit code 3."""
    import sqlite3

    from ledger.errors import LedgerError

    try:
        yield
    except (LedgerError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    except sqlite3.DatabaseError as error:  # a file that opened and is damaged further in
        typer.echo(f"SQLite cannot read on ({error}); `forkledger audit FILE` says what is wrong", err=True)
        raise typer.Exit(3) from None


@contextmanager
def value_of(option: str) -> Iterator[None]:
    """What is no value of this option is wrong usage of it."""
    from ledger.errors import LedgerError

    try:
        yield
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def bytes_of(given: str, size: int | None, option: str) -> bytes | None:
    """What an option says in hex, with or without 0x; None where it was left out."""
    try:
        found = bytes.fromhex(given.removeprefix("0x"))
    except ValueError:
        found = b""
    if given and (not found or size not in (None, len(found))):
        raise typer.BadParameter(f"expected {2 * size if size else 'pairs of'} hex digits", param_hint=option)
    return found or None


def places_of(data: Path | None, keys: Path | None, origin: str = "") -> tuple[Path, Path, str]:
    from ledger.settings import read_settings

    settings = read_settings()
    return data or settings.data, keys or settings.keys, origin or settings.origin


def anchoring_of(keys: Path, rpc: str, tsa: str = "") -> Anchoring:
    from ledger.keyfolder import CHAIN_KEY
    from ledger.main import Anchoring
    from ledger.settings import read_settings

    settings = read_settings()
    return Anchoring(
        rpc=rpc or settings.chain_rpc,
        key=keys / CHAIN_KEY,
        highest_fee=int(settings.chain_max_fee * 10**9),
        tsa=tsa or settings.tsa,
        tsa_roots=settings.tsa_roots,
        every=settings.anchor_every,
    )


def house_of(data: Path | None, keys: Path | None, database_url: str, rpc: str) -> tuple[House, Anchoring]:
    from ledger.commands.anchor_fork import House
    from ledger.settings import read_settings

    data, keys, _ = places_of(data, keys)
    return House(data, keys, database_url or read_settings().database_url), anchoring_of(keys, rpc)
