"""The command `forkledger`. Other packages add commands through the entry points `forkledger.commands`.

Exit codes:
    0  done; a check that was asked for holds
    1  a check failed: something is not what was signed, logged or promised
    2  wrong usage: unknown command or option, bad value
    3  could not be done: not found, refused, unreachable, or an extra is not installed

Nothing heavy is imported here: a command imports what it needs when it runs.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import typer

from ledger import __version__
from ledger.cli.anchoring import anchor_app
from ledger.cli.looking import audit, evidence, verify, watch
from ledger.cli.operating import keys_app, serve
from ledger.cli.witnessing import witness_app

app = typer.Typer(
    name="forkledger",
    help="A ledger of everything a personal model has learned: signed, encrypted, chained and provable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (audit, watch, verify, evidence, serve):
    app.command()(command)
app.add_typer(keys_app, name="keys")
app.add_typer(witness_app, name="witness")
app.add_typer(anchor_app, name="anchor")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forkledger {__version__}")
        raise typer.Exit


@app.callback()
def _forkledger(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line, with the commands that installed packages add to it."""
    for entry_point in sorted(entry_points(group="forkledger.commands"), key=lambda found: found.name):
        entry_point.load()(app)
    app()
