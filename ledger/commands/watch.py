"""`forkledger watch`: an owner looks at a fork of theirs, once or again and again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import typer

from ledger import logsource, note, watch
from ledger.commands import trust
from ledger.errors import NotFound, Refused, Unavailable
from ledger.keys import check_fork_id
from ledger.policy import Policy
from ledger.watch import Look, Watched


def watch_fork(
    fork_id: str,
    target: str,
    log_key: note.Ed25519Verifier | None,
    accepts: Policy | None,
    owner_key: bytes | None,
    state: Path | None,
    kept_in: Path,
    every: float,
    as_json: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Look, print what was found, and keep it where nothing is wrong. Returns False at the first alarm.

    With `every` it looks again after so many seconds, and goes on while the log cannot be reached.
    """
    check_fork_id(fork_id)
    file = state or kept_in / f"{hashlib.sha256(f'{target} {fork_id}'.encode()).hexdigest()[:16]}.json"
    while True:
        try:
            found = _look(fork_id, target, log_key, accepts, owner_key, file)
        except Unavailable as error:
            if not every:
                raise
            typer.echo(str(error), err=True)
        else:
            _print(found, as_json)
            if found.alarms:
                return False
        if not every:
            return True
        sleep(every)


def _look(
    fork_id: str,
    target: str,
    log_key: note.Ed25519Verifier | None,
    accepts: Policy | None,
    owner_key: bytes | None,
    file: Path,
) -> Look:
    log = logsource.open_log(target)
    try:
        kept_key, before = watch.read(file) or (None, Watched(fork_id))
        if before.fork_id != fork_id:
            raise Refused(f"watch: {file} was kept of another fork")
        shown = log if isinstance(log, logsource.Folder | logsource.Website) else None
        known = log_key or trust.log_key(accepts, shown) or kept_key or _stated_key(log)
        found = watch.look(log, known, before, owner_key, accepts.check if accepts and shown else None)
    finally:
        log.close()
    if not found.alarms:
        if not found.fork.version:
            raise NotFound(f"fork {fork_id}: no entry among the {found.size} of the log")
        watch.write(file, known.vkey, found.fork)
    return found


def _stated_key(log: logsource.Log) -> note.Ed25519Verifier:
    """The log's key by its own word, the first time."""
    if isinstance(log, logsource.Folder | logsource.Website):
        stated = logsource.stated_key(log)
    else:
        stated = note.Ed25519Verifier.from_vkey(log.setting("log-vkey") or "")
    if stated is None:
        raise Refused(f"log key: {log.name} states none; name it by --log-key or --policy")
    typer.echo("notice: log key: not pinned, taken from the log itself", err=True)
    return stated


def _print(found: Look, as_json: bool) -> None:
    fork = found.fork
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "fork_id": fork.fork_id,
                    "log_size": found.size,
                    "version": fork.version,
                    "head": fork.head.hex(),
                    "leaf": fork.leaf,
                    "owner_key": fork.owner_key.hex() if fork.owner_key else None,
                    "new": found.new,
                    "alarms": [asdict(alarm) for alarm in found.alarms],
                    "clean": not found.alarms,
                }
            )
        )
        return
    if not found.alarms:
        leaf = "-" if fork.leaf is None else fork.leaf
        typer.echo(
            f"fork {fork.fork_id}: version {fork.version} at leaf {leaf}, {found.new} new of {found.size} entries"
        )
    for alarm in found.alarms:
        typer.echo(f"alarm: fork {fork.fork_id} {alarm}")
