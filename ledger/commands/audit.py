"""`forkledger audit`: check a whole ledger file, and keep its checkpoint for the next time."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from ledger import keptcheckpoint, note
from ledger.audit import Report
from ledger.audit import audit as audit_store
from ledger.store.sqlite import SqliteStore, open_read_only


def audit(path: Path, pinned: note.Ed25519Verifier | None, state: Path | None, kept_in: Path, as_json: bool) -> bool:
    """Audit, print the report, and keep the newest checkpoint of a clean one. Returns whether everything holds.

    `state` names the file of the kept checkpoint; without it there is one a ledger path in the folder `kept_in`.
    """
    store = open_read_only(path)
    try:
        stated = pinned.vkey if pinned else _stated_key(store)
        file = state or keptcheckpoint.place(kept_in, path)
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
            keptcheckpoint.keep(file, kept.log_key.vkey if kept and not pinned else stated, report.checkpoint)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(_report_as_json(report), indent=2))
    else:
        _print_report(report)
    if any(fault.step in (2, 11) for fault in report.faults) and kept:
        typer.echo(f"compared with {file}; remove it if another ledger is meant to stand here now", err=True)
    return report.clean


def _stated_key(store: SqliteStore) -> str:
    """The log key as the file states it, to be kept when a clean audit took it from there."""
    try:
        with store.snapshot() as now:
            return now.setting("log-vkey") or ""
    except sqlite3.DatabaseError:  # the audit says what is wrong with the file
        return ""


def _report_as_json(report: Report) -> dict[str, object]:
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
