"""What modelfork adds to the command `forkledger`. Imports no torch: a command does when it runs."""

import typer


def register(app: typer.Typer) -> None:
    """Add modelfork's commands to `app`. Found through the entry points `forkledger.commands`."""
