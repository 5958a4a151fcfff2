"""`forkledger audit`: check a whole log, and keep its checkpoint for the next time."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger import keptcheckpoint, logsource, note
from ledger.audit import Report, Trust, audit_public, bookmark
from ledger.audit import audit as audit_store
from ledger.commands import trust
from ledger.commands.anchored import held_json, held_lines
from ledger.commands.onchain import OnChain
from ledger.errors import Refused, Unavailable
from ledger.keptcheckpoint import Kept
from ledger.logsource import Folder, Website
from ledger.policy import Policy
from ledger.store import Store

Tell = Callable[[int, int], None]


def audit(
    target: str,
    pinned: note.Ed25519Verifier | None,
    accepts: Policy | None,
    state: Path | None,
    kept_in: Path,
    as_json: bool,
    chain: OnChain | None = None,
) -> bool:
    """Audit, print the report, and keep the newest checkpoint of a clean one. Returns whether everything holds.

    `state` names the file of the kept checkpoint; without it there is one a target in the folder `kept_in`. `chain` is
    looked at before the log and compared after it.
    """
    log = logsource.open_log(target)
    try:
        file = state or keptcheckpoint.place(kept_in, _place_of(target, log.name))
        kept = keptcheckpoint.read(file)
        if isinstance(log, Folder | Website):
            report, log_key = _audit_public(log, pinned, accepts, kept, file, chain)
        else:
            report, log_key = _audit_store(log, pinned or trust.log_key(accepts), kept, chain)
        if report.clean and report.checkpoint is not None:
            keptcheckpoint.keep(file, log_key, report.checkpoint)
    finally:
        log.close()
    if as_json:
        typer.echo(json.dumps(_report_as_json(report), indent=2))
    else:
        _print_report(report)
    if any(fault.step in (2, 11) for fault in report.faults) and kept:
        typer.echo(f"compared with {file}; remove it if another ledger is meant to stand here now", err=True)
    return report.clean


def _audit_store(
    store: Store, pinned: note.Ed25519Verifier | None, kept: Kept | None, chain: OnChain | None
) -> tuple[Report, str]:
    """The report, and the log key to keep."""
    stated = pinned.vkey if pinned else _stated_key(store)
    known = pinned or (kept.log_key if kept else None)
    seen = chain.look(known or note.Ed25519Verifier.from_vkey(stated)) if chain else None
    with _bar() as tell:
        report = audit_store(
            store,
            known,
            kept.checkpoint if kept else None,
            tell,
            os.cpu_count() or 1,
        )
    if chain and seen:
        report = chain.compare(report, seen, store)
    return report, kept.log_key.vkey if kept and not pinned else stated


def _audit_public(
    log: Folder | Website,
    pinned: note.Ed25519Verifier | None,
    accepts: Policy | None,
    kept: Kept | None,
    file: Path,
    chain: OnChain | None,
) -> tuple[Report, str]:
    known = pinned or trust.log_key(accepts, log) or (kept.log_key if kept else None)
    log_key = known or logsource.stated_key(log)
    if log_key is None:
        raise Refused(f"log key: {log.name} states none; name it by --log-key or --policy")
    believed = Trust(log_key, accepts.check if accepts else None, first_use=known is None)
    seen = chain.look(log_key) if chain else None
    marked = file.with_suffix(".bookmark")
    with _bar() as tell:
        try:
            report = audit_public(
                log,
                believed,
                kept.checkpoint if kept else None,
                tell,
                processes=os.cpu_count() or 1,
                bookmark=bookmark.read(marked),
                mark=lambda so_far: bookmark.write(marked, so_far),
            )
        except Unavailable as error:
            goes_on = "; the same command goes on from where this one ended" if marked.exists() else ""
            raise Unavailable(f"{error}{goes_on}") from None
    bookmark.remove(marked)
    if chain and seen:
        report = chain.compare(report, seen, log)
    return report, log_key.vkey


def _place_of(target: str, name: str) -> Path | str:
    """What the kept checkpoint is filed under: a path as it is on disk, or a URL without a password."""
    if "://" in target:
        return name
    path = Path(target)
    return path / logsource.DATABASE_FILE if (path / logsource.DATABASE_FILE).is_file() else path


def _stated_key(store: Store) -> str:
    """The log key as the database states it, to be kept when a clean audit took it from there."""
    try:
        with store.snapshot() as now:
            return now.setting("log-vkey") or ""
    except sqlite3.DatabaseError:  # the audit says what is wrong with the file
        return ""


@contextmanager
def _bar() -> Iterator[Tell]:
    columns = (TextColumn("audit"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("audit", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _report_as_json(report: Report) -> dict[str, object]:
    return {
        **asdict(replace(report, anchor=None)),
        "root": report.root.hex() if report.root else None,
        "checkpoint": report.checkpoint.decode() if report.checkpoint else None,
        "anchor": held_json(report.anchor) if report.anchor else None,
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
    if report.anchor:
        typer.echo(f"{held_lines(report.anchor)}\nanchors compared with the log: {report.anchors_compared}")
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
