"""What a witness must never forget, in one SQLite file: the checkpoint that it cosigned last for each log, and its
evidence against logs. The logs that it knows stand there too.

A witness whose memory is an older copy cosigns a second history as readily as the first. So leave this file out of
every backup; one that is lost takes new keys, and with them a new witness.

    logs      the keys that a checkpoint of an origin must be signed with
    latest    the checkpoint cosigned last, as the log signed it; nothing of it is kept in columns of its own
    alarms    two checkpoints that one log signed and that do not go together, as signed notes
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ledger import checkpoint as checkpoints
from ledger import note
from ledger.checkpoint import Checkpoint
from ledger.cosign import AnyVerifier, Ed25519CosignatureVerifier, verifier_from_vkey
from ledger.errors import LedgerError, Malformed, NotFound, Unavailable

SPLIT_VIEW = "split-view"  # two roots at one size: proof against the log
UNPROVEN_GROWTH = (
    "unproven-growth"  # a larger checkpoint whose proof did not hold: proof, if the log has no other proof
)

MOST_UNPROVEN = 1000  # a log; anybody can send a true checkpoint with a false proof, and must not fill the disk

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS logs (origin TEXT NOT NULL, vkey TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS latest (origin TEXT PRIMARY KEY, note BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS alarms (number INTEGER PRIMARY KEY, origin TEXT NOT NULL, kind TEXT NOT NULL, "
    "size INTEGER NOT NULL, root BLOB NOT NULL, first_seen INTEGER NOT NULL, times INTEGER NOT NULL, "
    "known BLOB NOT NULL, offered BLOB NOT NULL, UNIQUE (origin, kind, size, root))",
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Evidence: the log of `origin` signed both notes. Check them with its key; `known` was cosigned, `offered` not."""

    origin: str
    kind: str
    size: int  # of the offered checkpoint
    root: bytes  # likewise
    first_seen: int  # seconds since 1970-01-01 UTC
    times: int  # how often it was offered
    known: bytes
    offered: bytes

    def as_json(self) -> dict[str, Any]:
        """For people and programs that check it: bytes as text."""
        texts = {"root": self.root.hex(), "known": self.known.decode(), "offered": self.offered.decode()}
        return asdict(self) | texts


class Memory:
    """Safe to use from several threads and processes. Left without an error means on disk."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make one. Raises Malformed where it is something else."""
        self._path = path
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            with self.turn():
                for statement in _SCHEMA:
                    self._connection.execute(statement)
        except (sqlite3.Error, Unavailable) as error:
            self._connection.close()
            raise Malformed(f"witness memory: {path} cannot be used ({error})") from None

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """One at a time, over threads and processes: what is read does not change before the block is left.

        Left without an error, all of it is on disk; else nothing was changed. Raises Unavailable when the disk or
        another process is in the way.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Turn(self._connection)
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise Unavailable(f"witness memory: {self._path} cannot be used now ({error})") from None

    def add_log(self, vkey: str) -> str:
        """Know a log by one more of its keys. Its name is the origin, which is returned. Raises Malformed."""
        verifier = _log_key(vkey)
        with self.turn():
            self._connection.execute("INSERT OR IGNORE INTO logs VALUES (?,?)", [verifier.name, vkey])
        return verifier.name

    def logs(self) -> dict[str, Checkpoint | None]:
        """Every log by origin, with what was cosigned last."""
        rows = self._rows("SELECT origin, note FROM (SELECT DISTINCT origin FROM logs) LEFT JOIN latest USING (origin)")
        return {origin: None if signed is None else _kept(origin, signed) for origin, signed in sorted(rows)}

    def alarms(self) -> list[Alarm]:
        """All evidence, the oldest first."""
        rows = self._rows(
            "SELECT origin, kind, size, root, first_seen, times, known, offered FROM alarms ORDER BY number"
        )
        return [Alarm(*row) for row in rows]

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement).fetchall()
            except sqlite3.Error as error:
                raise Unavailable(f"witness memory: {self._path} cannot be read now ({error})") from None


class Turn:
    """The memory while nobody else can change it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def verifiers(self, origin: str) -> list[AnyVerifier]:
        """The keys of a log. Raises NotFound where it is not known."""
        rows = self._connection.execute("SELECT vkey FROM logs WHERE origin=? ORDER BY vkey", [origin]).fetchall()
        if not rows:
            raise NotFound("witness: expected a checkpoint of a log that it was told of, another origin came")
        return [_log_key(vkey) for (vkey,) in rows]

    def latest(self, origin: str) -> tuple[Checkpoint, bytes] | None:
        """What was cosigned last for a log, also as its signed note."""
        row = self._connection.execute("SELECT note FROM latest WHERE origin=?", [origin]).fetchone()
        return (_kept(origin, row[0]), row[0]) if row else None

    def keep(self, tree: Checkpoint, signed: bytes) -> None:
        """This was cosigned. Growth to it that was offered before without a proof has one now."""
        self._connection.execute("INSERT OR REPLACE INTO latest VALUES (?,?)", [tree.origin, signed])
        self._connection.execute(
            "DELETE FROM alarms WHERE origin=? AND kind=? AND size=? AND root=?",
            [tree.origin, UNPROVEN_GROWTH, tree.size, tree.root],
        )

    def alarm(self, kind: str, offered: Checkpoint, signed: bytes, known: bytes, now: int) -> bool:
        """Keep evidence against a log, or count it where it is kept already. Whether it is new."""
        place = [offered.origin, kind, offered.size, offered.root]
        seen_before = self._connection.execute(
            "UPDATE alarms SET times=times+1 WHERE origin=? AND kind=? AND size=? AND root=?", place
        ).rowcount
        if seen_before:
            return False
        (count,) = self._connection.execute(
            "SELECT count(*) FROM alarms WHERE origin=? AND kind=?", [offered.origin, kind]
        ).fetchone()
        if kind == SPLIT_VIEW or count < MOST_UNPROVEN:
            self._connection.execute(
                "INSERT INTO alarms (origin, kind, size, root, first_seen, times, known, offered) "
                "VALUES (?,?,?,?,?,1,?,?)",
                [*place, now, known, signed],
            )
        return True


@lru_cache(maxsize=256)
def _log_key(vkey: str) -> AnyVerifier:
    verifier = verifier_from_vkey(vkey)
    if isinstance(verifier, Ed25519CosignatureVerifier):  # says nothing about whose log it is
        raise Malformed("log key: expected signature type 0x01 or 0x06, 0x04 came, which is a cosigner's")
    return verifier


def _kept(origin: str, signed: bytes) -> Checkpoint:
    try:
        tree = checkpoints.parse(note.parse(signed).text)
    except LedgerError:
        tree = None
    if tree is None or tree.origin != origin:
        raise Unavailable(f"witness memory: what it holds of {origin!r} is damaged; nothing of this log is cosigned")
    return tree
