"""How far an interrupted audit of a public log had come, so that the next run goes on from there.

A bookmark speaks for entries that were read and held. It is made only where nothing was at fault, and taken up only
for the same log key and the same kept checkpoint. It cannot let a changed entry slip by: the tree goes on from the
hashes in it, and so the root at the end is that of the entries which were read, whatever is served in their place by
then. A run that ends removes it: the next audit begins at leaf 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.audit.chains import Fork
from ledger.entry import decode_fork_created, encode_fork_created
from ledger.errors import LedgerError, Malformed

FORMAT = "forkledger/audit-bookmark/v1"


@dataclass(frozen=True, slots=True)
class Bookmark:
    """The state of an audit after the first `size` entries, whole tiles of them."""

    log_key: str
    kept: bytes | None  # the checkpoint of an earlier audit that this one compares with
    size: int
    records: int
    levels: list[list[bytes]]  # as TileTree has them
    forks: Mapping[bytes, Fork]


def write(file: Path, bookmark: Bookmark) -> None:
    """Replace what the file holds, wholly or not at all. One line a fork; the last line is the digest of the others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    digest = sha256()
    with draft.open("wb") as out:
        for fields in _lines(bookmark):
            line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            out.write(line)
        out.write(digest.hexdigest().encode() + b"\n")
    draft.replace(file)


def read(file: Path) -> Bookmark | None:
    """What was written; None where there is nothing. Raises Malformed for a file that is not whole."""
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    try:
        if sha256(b"".join(lines[:-1])).hexdigest().encode() != lines[-1].strip():
            raise ValueError
        head, *forks = (json.loads(line) for line in lines[:-1])
        if head["format"] != FORMAT:
            raise ValueError
        return Bookmark(
            log_key=head["log_key"],
            kept=None if head["kept"] is None else head["kept"].encode(),
            size=head["size"],
            records=head["records"],
            levels=[[bytes.fromhex(node) for node in level] for level in head["levels"]],
            forks=dict(_fork(*fields) for fields in forks),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, LedgerError):
        raise Malformed(f"audit: {file} is not a whole bookmark of an earlier run; remove it to begin anew") from None


def remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def _lines(bookmark: Bookmark) -> Iterator[object]:
    yield {
        "format": FORMAT,
        "log_key": bookmark.log_key,
        "kept": None if bookmark.kept is None else bookmark.kept.decode(),
        "size": bookmark.size,
        "records": bookmark.records,
        "levels": [[node.hex() for node in level] for level in bookmark.levels],
    }
    for fork_id, fork in bookmark.forks.items():
        created = None if fork.created is None else encode_fork_created(fork.created).hex()
        yield [fork_id.decode(), fork.leaf, fork.version, fork.head.hex(), fork.interactions, created]


def _fork(
    fork_id: str, leaf: int, version: int, head: str, interactions: int, created: str | None
) -> tuple[bytes, Fork]:
    fork = Fork(leaf, version, bytes.fromhex(head), interactions)
    if created is not None:
        fork.own(decode_fork_created(bytes.fromhex(created)))
    return fork_id.encode(), fork
