"""`forkledger replay`: rebuild forks from a ledger. Needs numpy and no model.

A replay is of what was logged only if nothing was cut off behind it. So each fork must end at the head that the ledger
has for it, and all that the newest checkpoint covers must be there. What no checkpoint covers yet, nobody can miss.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer

import ledger
from ledger.errors import LedgerError
from modelfork.errors import Diverged
from modelfork.history import key_finder
from modelfork.replay import Replayed, read_ahead
from modelfork.replay import replay as fold


def replay(
    open_log: Callable[[], ledger.LogReader], fork: str, keystore: Path, keys: Path, expect: str, as_json: bool
) -> bool:
    """Replay one fork, or all whose keys are kept, and print their digests.

    Returns whether `expect` was met and nothing that a checkpoint covers is missing. Raises Diverged.
    """
    secrets = ledger.open_keystore(keystore, keys)
    try:
        log = open_log()
    except BaseException:
        secrets.close()
        raise
    try:
        forks = [fork] if fork else [one for one in secrets.forks() if not _was_only_begun(log, secrets, one)]
        found = []
        for fork_id in forks:
            begin = time.perf_counter()
            found.append((_replay_to_head(log, secrets, fork_id), time.perf_counter() - begin))
        whole = _covered_is_here(log)
    except sqlite3.DatabaseError as error:
        typer.echo(f"ledger: SQLite cannot read on ({error})", err=True)
        return False
    finally:
        log.store.close()
        secrets.close()
    if as_json:
        typer.echo(json.dumps([_as_json(replayed) for replayed, _ in found]))
    else:
        _print(found)
    return whole and (not expect or all(replayed.state.digest.hex() == expect for replayed, _ in found))


def _was_only_begun(log: ledger.LogReader, secrets: ledger.KeyStore, fork_id: str) -> bool:
    """Whether a fork never came to an entry: its server was killed between keeping its keys and writing it."""
    if log.store.first_entries([fork_id]) or secrets.keeps_salts(fork_id):
        return False
    typer.echo(f"notice: fork {fork_id}: keys are kept, but no entry and no record of it; left out", err=True)
    return True


def _replay_to_head(log: ledger.LogReader, secrets: ledger.KeyStore, fork_id: str) -> Replayed:
    keys_of = key_finder(secrets, fork_id)
    updates = read_ahead(partial(log.store.payloads_of, kind=ledger.record.UPDATE))
    if not log.store.first_entries([fork_id]):
        raise Diverged(f"fork {fork_id}: its keys are kept, but not one entry of it is here", 1)
    replayed, after = None, -1
    while True:  # again where a server wrote meanwhile
        version = replayed.state.version if replayed else 0
        replayed = fold(log.read(fork_id, version), updates, keys_of, log.origin, replayed)
        head = log.store.head(fork_id)
        ended = (replayed.state.version, replayed.head, replayed.records)
        if head is not None and (head.version, head.entry_hash, head.interactions) == ended:
            return replayed
        if version == after:
            raise Diverged(
                f"fork {fork_id} version {version}: the entries end here, and the head that the ledger has for the "
                f"fork is {f'of version {head.version}, or another one' if head else 'missing'}",
                version,
            )
        after = replayed.state.version


def _covered_is_here(log: ledger.LogReader) -> bool:
    """Whether the newest checkpoint is signed by the log, and all entries under it are here and have its root."""
    signed = log.store.checkpoint()
    if signed is None:
        typer.echo("notice: no checkpoint covers these entries; later ones may have been cut off", err=True)
        return True
    try:
        checkpoint = ledger.checkpoint.open_checkpoint(signed, log.origin, [log.log_verifier])
        if missing := log.store.missing(checkpoint.size):
            wrong = f"{missing} of the {checkpoint.size} entries under it are missing"
        elif ledger.merkle.tree_root(checkpoint.size, log.store.hashes) != checkpoint.root:
            wrong = f"its root is not that of the first {checkpoint.size} entries"
        else:
            return True
    except LedgerError as error:
        wrong = str(error)
    typer.echo(f"newest checkpoint: {wrong}; run an audit", err=True)
    return False


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
    for replayed, seconds in found:
        said = _as_json(replayed)
        typer.echo(
            f"fork {said['fork_id']}: version {said['version']}, {said['records']} records, "
            f"{said['checked']} commitments checked, {seconds:.2f} s\n  state digest {said['state_digest']}"
        )
