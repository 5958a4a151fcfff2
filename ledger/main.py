"""The composition root: opens keys, files and ledger, and wires the service by hand."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ledger import logsource, note
from ledger.errors import Malformed, NotFound, Refused
from ledger.keyfolder import OperatorKeys, expect_apart, make_keys, open_keys
from ledger.keystore import KeyStore
from ledger.ledger import Ledger, LogReader
from ledger.publicfolder import PublicFolder
from ledger.store import Store
from ledger.store.sqlite import open_read_only, open_store

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ledger.policy import Policy

LEDGER_FILE = "ledger.db"
KEYSTORE_FILE = "keystore.db"
PUBLIC_FOLDER = "public"
ANSWER_WITHIN = 5.0  # seconds that all witnesses together have for one checkpoint


def microseconds() -> int:
    """The clock of the service."""
    return time.time_ns() // 1000


def seconds() -> int:
    """The same, for what is dated in seconds."""
    return int(time.time())


def open_operator_keys(data: Path, keys: Path, origin: str) -> OperatorKeys:
    """The operator's keys, made on first use. Refused when they would lie inside the data folder.

    Beside existing data no key is ever made: a lost one must be put back, a new one would open nothing.
    """
    expect_apart(keys, data)
    if not any((data / name).exists() for name in (LEDGER_FILE, KEYSTORE_FILE)):
        make_keys(keys, origin or f"forkledger.local/{secrets.token_hex(4)}", secrets.token_bytes)
    return open_keys(keys)


def _own_file(data: Path, name: str) -> Path:
    """The path of a file in `data` that only its owner may read, whatever the folder allows. SQLite gives the files
    beside it the same mode."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(data / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return data / name


def open_ledger(data: Path, keys: OperatorKeys, database_url: str = "") -> Ledger:
    """The ledger in `data`, or in PostgreSQL where a URL is given, created when there is none, for a program that takes
    its turn beside a server.

    Refused where a server publishes from `data` a log that it keeps elsewhere: this would be a second of its name. So
    it is, by BadProof, where what it publishes is not what stands here.
    """
    from ledger.publisher import Publisher

    folder = PublicFolder(data / PUBLIC_FOLDER)
    if not database_url and folder.checkpoint() is not None and not (data / LEDGER_FILE).exists():
        raise Refused(f"ledger: expected {data / LEDGER_FILE}; what {folder.path} shows is kept in another database")
    store = open_database(database_url) if database_url else open_store(_own_file(data, LEDGER_FILE))
    ledger = _closing_on_error(
        store, lambda: Ledger(store, keys.log, keys.receipt, microseconds, second_key=keys.log_ml_dsa)
    )
    try:
        Publisher(ledger, folder)  # compares the two, and publishes nothing
    except BaseException:
        ledger.close()
        raise
    return ledger


def serve_ledger(data: Path, keys: OperatorKeys, database_url: str) -> Ledger:
    """The ledger in `data`, or in PostgreSQL where a URL is given, proven by what is published of it."""
    store = open_database(database_url) if database_url else open_store(_own_file(data, LEDGER_FILE))
    folder = PublicFolder(data / PUBLIC_FOLDER)
    return _closing_on_error(
        store,
        lambda: Ledger(store, keys.log, keys.receipt, microseconds, folder.checkpoint, keys.log_ml_dsa),
    )


def open_database(url: str) -> Store:
    """The ledger in a PostgreSQL database, whose tables are made or brought up to date. Needs the extra `postgres`."""
    try:
        from ledger.store import postgres
    except ModuleNotFoundError:
        raise Refused("PostgreSQL: expected the extra `postgres`: pip install 'forkledger[postgres]'") from None
    return postgres.open_store(url)


def _closing_on_error(store: Store, make: Callable[[], Ledger]) -> Ledger:
    try:
        return make()
    except BaseException:
        store.close()
        raise


def open_keystore(path: Path, keys: Path) -> KeyStore:
    """An existing key store, with the service key of the folder `keys`."""
    if not path.is_file():
        raise NotFound(f"key store: no file at {path}")
    return KeyStore(path, open_keys(keys).service, secrets.token_bytes)


def make_keystore(data: Path, keys: OperatorKeys) -> KeyStore:
    """The key store in `data`, created when there is none."""
    return KeyStore(_own_file(data, KEYSTORE_FILE), keys.service, secrets.token_bytes)


def open_reader(path: Path) -> LogReader:
    """A ledger file, read-only, without any of the operator's keys."""
    return _reader(open_read_only(path), path.parent)


def open_database_reader(url: str, data: Path) -> LogReader:
    """The same of a ledger in PostgreSQL, whose service has `data` for its folder."""
    return _reader(logsource.open_database(url), data)


def _reader(store: Store, data: Path) -> LogReader:
    vkey = store.setting("log-vkey")
    if vkey is None:
        store.close()
        raise Malformed(f"ledger: {store.name} does not name its log key")
    # With the cosignatures, where a server has published beside it.
    shown = PublicFolder(data / PUBLIC_FOLDER)
    published = shown.checkpoint if shown.checkpoint() is not None else None
    return LogReader(store, note.Ed25519Verifier.from_vkey(vkey), published)


def open_house(data: Path, keys: Path, database_url: str = "") -> tuple[Ledger, KeyStore, Callable[[], int]]:
    """Everything in `data` and `keys`, made when there is none, for a program that works without a server. The ledger
    itself may be in PostgreSQL."""
    operator = open_operator_keys(data, keys, "")
    ledger = open_ledger(data, operator, database_url)
    try:
        return ledger, make_keystore(data, operator), microseconds
    except BaseException:
        ledger.close()
        raise


def build_app(data: Path, keys: OperatorKeys, database_url: str = "", policy: Policy | None = None) -> FastAPI:
    """The whole service: the ledger's routes and those of the packages that the entry points name.

    Under a `policy` a checkpoint is published once its quorum of witnesses has cosigned it.
    """
    from ledger.api.app import create_app
    from ledger.api.service import Service
    from ledger.publisher import Publisher
    from ledger.witness.client import Witnesses, witnesses_of

    if policy is not None and keys.log.vkey not in [log.verifier.vkey for log in policy.logs]:
        raise Refused(f"policy: expected a line `log {keys.log.vkey}`, the key of this log")
    ledger = serve_ledger(data, keys, database_url)
    keystore = make_keystore(data, keys)
    witnesses = Witnesses(witnesses_of(policy), ANSWER_WITHIN, seconds) if policy and policy.witnesses else None
    publisher = Publisher(ledger, PublicFolder(data / PUBLIC_FOLDER), policy, witnesses)

    def close() -> None:
        publisher.close()
        ledger.close()
        keystore.close()

    service = Service(ledger, keystore, keys.service, microseconds, secrets.token_bytes, publisher)
    app = create_app(service, close)
    for found in sorted(entry_points(group="forkledger.services"), key=lambda found: found.name):
        found.load()(app, service)
    ledger.take_over(secrets.token_bytes)  # last: what cannot start must not stop a server that runs
    return app
