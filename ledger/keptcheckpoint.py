"""The checkpoint that an audit keeps for the next one, with the log key that it is signed by: one small text file.

The first line is the log's verifier key, the rest is the signed checkpoint, verbatim.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ledger import note
from ledger.errors import Malformed


@dataclass(frozen=True, slots=True)
class Kept:
    log_key: note.Ed25519Verifier
    checkpoint: bytes


def place(folder: Path, ledger: Path | str) -> Path:
    """Where it is kept for the ledger at this path, or of this URL, whatever it says: so a changed log key shows."""
    name = ledger.encode() if isinstance(ledger, str) else os.fsencode(ledger.resolve())
    return folder / f"{hashlib.sha256(name).hexdigest()[:16]}.checkpoint"


def read(file: Path) -> Kept | None:
    """What was kept; None before the first time. Raises Malformed when the file is not one of these."""
    try:
        vkey, newline, checkpoint = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        log_key = note.Ed25519Verifier.from_vkey(vkey.decode())
    except (UnicodeDecodeError, Malformed):
        raise Malformed(f"kept checkpoint: expected a log key in the first line of {file}") from None
    if not newline or not checkpoint:
        raise Malformed(f"kept checkpoint: expected a checkpoint after the first line of {file}")
    return Kept(log_key, checkpoint)


def keep(file: Path, vkey: str, checkpoint: bytes) -> None:
    """Replace what was kept, wholly or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(vkey.encode() + b"\n" + checkpoint)
    draft.replace(file)
