"""`forkledger history`: what a fork was given and what it learned, read from the ledger and the key store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

import ledger
from modelfork.history import history as told
from modelfork.history import key_finder


def history(data: Path, keys: Path, database_url: str, fork: str, as_json: bool) -> None:
    secrets = ledger.open_keystore(data / "keystore.db", keys)
    try:
        log = ledger.open_log_reader(data, database_url)
        try:
            entries = told(log, key_finder(secrets, fork), fork, after=0, limit=1_000_000)
        finally:
            log.store.close()
    finally:
        secrets.close()
    if as_json:
        typer.echo(json.dumps(entries, indent=2))
        return
    table = Table("version", "leaf", "when (UTC)", "said", "answered", "verdict or noted", "step", title=f"fork {fork}")
    for entry in entries:
        if "record_id" not in entry:
            table.add_row(str(entry["version"]), str(entry["leaf_index"]), "", "(created)", "", "", "")
            continue
        rating = entry["rating"]
        when = datetime.fromtimestamp(entry["created_at"] / 1e6, UTC)
        table.add_row(
            str(entry["version"]),
            str(entry["leaf_index"]),
            f"{when:%Y-%m-%d %H:%M:%S}",
            entry["said"],
            entry["answer"],
            entry["correction"] or (f"{rating:+g}" if rating is not None else _noted(entry)),
            str(entry["step"]) if entry["step"] else "-",
        )
    Console().print(table)


def _noted(entry: dict[str, Any]) -> str:
    """What a statement was learned as."""
    return " ".join(f"{one['question']} {one['answer']}" for one in entry["noted"])
