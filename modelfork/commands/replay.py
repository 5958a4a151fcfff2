"""`forkledger replay`: rebuild forks from a ledger file. Needs numpy and no model."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

import ledger
from modelfork.history import key_finder
from modelfork.replay import Replayed, read_ahead
from modelfork.replay import replay as fold


def replay(path: Path, fork: str, keystore: Path, keys: Path, expect: str, as_json: bool) -> bool:
    """Replay one fork, or all whose keys are kept, and print their digests. Returns whether `expect` was met."""
    log = ledger.open_reader(path)
    secrets = ledger.open_keystore(keystore, keys)
    try:
        # A fork that was only begun when its server was killed has keys and no entry.
        forks = [fork] if fork else [one for one in secrets.forks() if log.store.head(one)]
        found = []
        for fork_id in forks:
            begin = time.perf_counter()
            keys_of = key_finder(secrets, fork_id)
            updates = read_ahead(partial(log.store.payloads_of, kind=ledger.record.UPDATE))
            replayed = fold(log.read(fork_id), updates, keys_of, log.origin)
            found.append((replayed, time.perf_counter() - begin))
    finally:
        log.store.close()
        secrets.close()
    if as_json:
        typer.echo(json.dumps([_as_json(replayed) for replayed, _ in found]))
    else:
        _print(found)
    return not expect or all(replayed.state.digest.hex() == expect for replayed, _ in found)


def _as_json(replayed: Replayed) -> dict[str, object]:
    return {
        "fork_id": replayed.fork.fork_id,
        "version": replayed.state.version,
        "records": replayed.records,
        "checked": replayed.checked,
        "head": replayed.head.hex(),
        "state_digest": replayed.state.digest.hex(),
    }


def _print(found: list[tuple[Replayed, float]]) -> None:
    table = Table("fork", "version", "records", "commitments checked", "seconds", "state digest")
    for replayed, seconds in found:
        said = _as_json(replayed)
        table.add_row(
            str(said["fork_id"]),
            str(said["version"]),
            str(said["records"]),
            str(said["checked"]),
            f"{seconds:.2f}",
            str(said["state_digest"]),
        )
    Console(soft_wrap=True).print(table)
