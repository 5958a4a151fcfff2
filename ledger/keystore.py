"""What the service keeps about apps and forks and must never be public: a file of its own beside the ledger.

    apps    who may call: the SHA-256 of an API key, never the key
    forks   which app a fork belongs to; in service custody also its signing key and root, sealed by the service key
    paused  the forks that record and do not learn, because their person said so
    salts   one a record: destroy it and the record's payloads are noise; beside it what makes the request that led to
            the record known again (keyed, so that nobody else can test a guess)

It is mutable, and it is not part of the ledger: leave it out of archived backups, so that an erased salt is gone.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.errors import Conflict, Malformed, NotFound, Refused
from ledger.keys import SigningKey
from ledger.vault import RecordKey, ServiceKey, commitment_to, record_key

API_KEY_PREFIX = "fl_"


@dataclass(frozen=True, slots=True)
class App:
    app_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ForkKeys:
    """The secrets of a fork in service custody."""

    owner: SigningKey
    root: bytes = field(repr=False)  # 32


class KeyStore:
    """Safe to use from several threads and processes. `random(n)` gives n unpredictable bytes."""

    def __init__(self, path: Path, service_key: ServiceKey, random: Callable[[int], bytes]) -> None:
        self._service_key = service_key
        self._random = random
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise Malformed(f"key store: {path} cannot be used ({error})") from None
        except Refused:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        ours = commitment_to(self._service_key.derive(b"key-store"))
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        with self._write() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS apps (app_id TEXT PRIMARY KEY, name TEXT NOT NULL, key_hash BLOB UNIQUE)"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS forks (fork_id TEXT PRIMARY KEY, app_id TEXT NOT NULL, sealed BLOB)"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS salts (fork_id TEXT, commitment BLOB, salt BLOB NOT NULL, "
                "request BLOB NOT NULL, PRIMARY KEY (fork_id, commitment)) WITHOUT ROWID"
            )
            connection.execute("CREATE TABLE IF NOT EXISTS paused (fork_id TEXT PRIMARY KEY) WITHOUT ROWID")
            connection.execute("CREATE TABLE IF NOT EXISTS sealed_by (commitment BLOB NOT NULL)")
            connection.execute("INSERT INTO sealed_by SELECT ? WHERE NOT EXISTS (SELECT 1 FROM sealed_by)", [ours])
            (kept,) = connection.execute("SELECT commitment FROM sealed_by").fetchone()
        if kept != ours:
            raise Refused("service key: this key store was made with another one, and what that sealed would stay shut")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _row(self, statement: str, *params: object) -> tuple[object, ...] | None:
        with self._lock:
            found: tuple[object, ...] | None = self._connection.execute(statement, params).fetchone()
            return found

    def add_app(self, name: str) -> tuple[App, str]:
        """A new app and its API key, which is shown this once and stored only as a hash."""
        if not name or len(name) > 100:
            raise Refused("app name: expected 1 to 100 characters")
        app = App(f"app-{self._random(8).hex()}", name)
        api_key = API_KEY_PREFIX + self._random(32).hex()
        with self._write() as connection:
            connection.execute("INSERT INTO apps VALUES (?,?,?)", [app.app_id, app.name, _hash(api_key)])
        return app, api_key

    def remove_app(self, app_id: str) -> None:
        """Its API key opens nothing any more; its forks stay."""
        with self._write() as connection:
            if not connection.execute("DELETE FROM apps WHERE app_id=?", [app_id]).rowcount:
                raise NotFound(f"app {app_id}: not known")

    def apps(self) -> list[App]:
        with self._lock:
            rows = self._connection.execute("SELECT app_id, name FROM apps ORDER BY name, app_id").fetchall()
        return [App(*row) for row in rows]

    def app_of_key(self, api_key: str) -> App | None:
        """The app that an API key belongs to. The key has 256 random bits, so looking up its hash tells nothing."""
        row = self._row("SELECT app_id, name FROM apps WHERE key_hash=?", _hash(api_key))
        return App(str(row[0]), str(row[1])) if row else None

    def make_fork_keys(self, fork_id: str, app_id: str) -> ForkKeys:
        """Make and keep the secrets of a new fork in service custody. Durable before the fork is."""
        keys = ForkKeys(SigningKey(self._random(32)), self._random(32))
        sealed = self._service_key.seal(keys.owner.seed + keys.root, fork_id.encode(), self._random(24))
        self._add_fork(fork_id, app_id, sealed)
        return keys

    def claim_fork(self, fork_id: str, app_id: str) -> None:
        """Note that a fork in self custody belongs to an app; again is nothing new. Conflict if it is another's."""
        if self.app_of_fork(fork_id) != app_id:
            self._add_fork(fork_id, app_id, None)

    def _add_fork(self, fork_id: str, app_id: str, sealed: bytes | None) -> None:
        with self._write() as connection:
            try:
                connection.execute("INSERT INTO forks VALUES (?,?,?)", [fork_id, app_id, sealed])
            except sqlite3.IntegrityError:
                raise Conflict(f"fork {fork_id}: exists already") from None

    def app_of_fork(self, fork_id: str) -> str | None:
        row = self._row("SELECT app_id FROM forks WHERE fork_id=?", fork_id)
        return str(row[0]) if row else None

    def apps_of_forks(self, fork_ids: Collection[str]) -> dict[str, str]:
        """The apps that those of these forks belong to that are known, by fork id. One query."""
        sql = f"SELECT fork_id, app_id FROM forks WHERE fork_id IN ({','.join('?' * len(fork_ids))})"  # noqa: S608
        with self._lock:
            return dict(self._connection.execute(sql, list(fork_ids)).fetchall())

    def forks_of(self, app_id: str) -> list[str]:
        with self._lock:
            rows = self._connection.execute("SELECT fork_id FROM forks WHERE app_id=? ORDER BY rowid", [app_id])
            return [str(row[0]) for row in rows]

    def forks(self) -> list[str]:
        """Every fork in service custody."""
        with self._lock:
            rows = self._connection.execute("SELECT fork_id FROM forks WHERE sealed IS NOT NULL ORDER BY rowid")
            return [str(row[0]) for row in rows]

    def holds_key(self, fork_id: str) -> bool:
        """Whether the fork is known and in service custody."""
        return self._row("SELECT 1 FROM forks WHERE fork_id=? AND sealed IS NOT NULL", fork_id) is not None

    def fork_keys(self, fork_id: str) -> ForkKeys:
        """Raises NotFound for a fork that is not known or that is in self custody."""
        row = self._row("SELECT sealed FROM forks WHERE fork_id=?", fork_id)
        if row is None or not isinstance(row[0], bytes):
            raise NotFound(f"fork {fork_id}: the service holds no key of it")
        secret = self._service_key.open(row[0], fork_id.encode())
        return ForkKeys(SigningKey(secret[:32]), secret[32:])

    def pause(self, fork_id: str, paused: bool) -> None:
        """Note that a fork is not to learn, or that it is again. Kept until it is said otherwise."""
        statement = "INSERT OR IGNORE INTO paused VALUES (?)" if paused else "DELETE FROM paused WHERE fork_id=?"
        with self._write() as connection:
            connection.execute(statement, [fork_id])

    def is_paused(self, fork_id: str) -> bool:
        return self._row("SELECT 1 FROM paused WHERE fork_id=?", fork_id) is not None

    def keep_salt(self, fork_id: str, commitment: bytes, salt: bytes, request: bytes = b"") -> None:
        """Keep a record's salt, under the commitment to its key. Durable before the record is.

        `request` makes the request that led to the record known again, if it is to be.
        """
        with self._write() as connection:
            connection.execute("INSERT INTO salts VALUES (?,?,?,?)", [fork_id, commitment, salt, request])

    def keeps_salts(self, fork_id: str) -> bool:
        """Whether a salt of any record of the fork is kept: if so, the fork was in a ledger."""
        return self._row("SELECT 1 FROM salts WHERE fork_id=? LIMIT 1", fork_id) is not None

    def drop_salt(self, fork_id: str, commitment: bytes) -> None:
        """Destroy a salt: that of an attempt which came to nothing, or of a record that is to be erased."""
        with self._write() as connection:
            connection.execute("DELETE FROM salts WHERE fork_id=? AND commitment=?", [fork_id, commitment])
        with self._lock:  # secure_delete clears the page; the write-ahead log still holds it until it is cut
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def request_of(self, fork_id: str, commitment: bytes) -> bytes:
        """What was kept as `request` beside a record's salt; empty when nothing was, or the salt is gone."""
        row = self._row("SELECT request FROM salts WHERE fork_id=? AND commitment=?", fork_id, commitment)
        return row[0] if row and isinstance(row[0], bytes) else b""

    def record_key(self, fork_id: str, root: bytes, commitment: bytes, interaction_number: int) -> RecordKey:
        """The key of a record, from the salt kept under its commitment. NotFound once the salt is destroyed."""
        row = self._row("SELECT salt FROM salts WHERE fork_id=? AND commitment=?", fork_id, commitment)
        if row is None or not isinstance(row[0], bytes):
            raise NotFound(f"fork {fork_id} interaction {interaction_number}: the salt of its key is not kept here")
        return record_key(root, row[0], interaction_number)


def _hash(api_key: str) -> bytes:
    return hashlib.sha256(b"forkledger/api-key/v1\0" + api_key.encode()).digest()
