"""The command `forkledger`. Other packages add commands through the entry points `forkledger.commands`.

Exit codes:
    0  done; a check that was asked for holds
    1  a check failed: something is not what was signed, logged or promised
    2  wrong usage: unknown command or option, bad value
    3  could not be done: not found, refused, unreachable, or an extra is not installed

Nothing heavy is imported here: a command imports what it needs when it runs.
"""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from ledger import __version__

if TYPE_CHECKING:
    from ledger.audit import Report

app = typer.Typer(
    name="forkledger",
    help="A ledger of everything a personal model has learned: signed, encrypted, chained and provable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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


@app.command()
def audit(
    path: Path = typer.Argument(help="The ledger file. It is opened read-only and not changed."),
    log_key: str = typer.Option("", "--log-key", metavar="VKEY", help="The log's public key, as its operator gave it."),
    state: Path | None = typer.Option(
        None, "--state", metavar="FILE", help="Where the last checkpoint is kept from audit to audit."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON."),
) -> None:
    """Check a whole ledger file: every entry, signature, payload, hash and checkpoint, and that it only grew.

    Ends with 0 when all holds, 1 when something does not (the last line names the first fault), 2 on wrong usage,
    3 when PATH is not there or not a ledger. A clean audit keeps the newest checkpoint, so that the next one also
    notices a history that was rewritten consistently and signed again.
    """
    from rich.console import Console
    from rich.progress import Progress

    from ledger import keptcheckpoint, note
    from ledger.audit import audit as audit_store
    from ledger.errors import LedgerError
    from ledger.settings import Settings
    from ledger.store.sqlite import open_read_only

    try:
        pinned = note.Ed25519Verifier.from_vkey(log_key) if log_key else None
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint="--log-key") from None
    try:
        store = open_read_only(path)
    except LedgerError as error:
        _stop(str(error))
    try:
        stated = log_key or store.setting("log-vkey") or ""
        file = state or keptcheckpoint.place(Settings().state.expanduser() / "audit", stated)
        kept = keptcheckpoint.read(file)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("audit", total=None)
            report = audit_store(
                store,
                pinned or (kept.log_key if kept else None),
                kept.checkpoint if kept else None,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
        if report.clean and report.checkpoint is not None:
            keptcheckpoint.keep(file, log_key or (kept.log_key.vkey if kept else stated), report.checkpoint)
    except (LedgerError, OSError) as error:
        _stop(str(error))
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(_report_as_json(report), indent=2))
    else:
        _print_report(report)
    raise typer.Exit(0 if report.clean else 1)


def _report_as_json(report: Report) -> dict[str, object]:
    from dataclasses import asdict

    return {
        **asdict(report),
        "root": report.root.hex() if report.root else None,
        "checkpoint": report.checkpoint.decode() if report.checkpoint else None,
        "clean": report.clean,
    }


def _print_report(report: Report) -> None:
    for notice in report.notices:
        typer.echo(f"notice: {notice}")
    root = f", root {report.root.hex()}" if report.root else ""
    typer.echo(
        f"{report.origin or 'unknown log'}: {report.entries} entries, {report.records} records, {report.forks} forks; "
        f"checkpoint over {report.covered}{root}"
    )
    if report.clean:
        typer.echo("audit: everything holds")
        return
    left_out = report.fault_count - len(report.faults)
    for fault in report.faults:
        typer.echo(f"fault: {fault}")
    if left_out:
        typer.echo(f"fault: and {left_out} more, not listed")
    typer.echo(f"audit: {report.fault_count} faults; the first one:")
    typer.echo(str(report.first_fault))


def _stop(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(3)


def main() -> None:
    """Run the command line, with the commands that installed packages add to it."""
    for entry_point in sorted(entry_points(group="forkledger.commands"), key=lambda found: found.name):
        entry_point.load()(app)
    app()
