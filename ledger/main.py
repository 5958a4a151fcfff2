"""The composition root: opens keys, files and ledger, and wires the service by hand."""

from __future__ import annotations

import secrets
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.keyfolder import OperatorKeys, expect_apart, make_keys, open_keys
from ledger.keystore import KeyStore
from ledger.ledger import Ledger
from ledger.store.sqlite import open_store

if TYPE_CHECKING:
    from fastapi import FastAPI

LEDGER_FILE = "ledger.db"
KEYSTORE_FILE = "keystore.db"


def microseconds() -> int:
    """The clock of the service."""
    return time.time_ns() // 1000


def open_operator_keys(data: Path, keys: Path, origin: str) -> OperatorKeys:
    """The operator's keys, made on first use. Refused when they would lie inside the data folder."""
    expect_apart(keys, data)
    if not (keys / "service.key").exists():
        make_keys(keys, origin or f"forkledger.local/{secrets.token_hex(4)}", secrets.token_bytes)
    return open_keys(keys)


def open_ledger(data: Path, keys: OperatorKeys) -> Ledger:
    """The ledger in `data`, created when there is none."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Ledger(open_store(data / LEDGER_FILE), keys.log, keys.receipt, microseconds)


def open_keystore(data: Path, keys: OperatorKeys) -> KeyStore:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return KeyStore(data / KEYSTORE_FILE, keys.service, secrets.token_bytes)


def build_app(data: Path, keys: OperatorKeys, settings: Any) -> FastAPI:
    """The whole service: the ledger's routes and those of the packages that the entry points name."""
    from ledger.api.app import create_app
    from ledger.api.service import Service

    ledger, keystore = open_ledger(data, keys), open_keystore(data, keys)

    def close() -> None:
        ledger.store.close()
        keystore.close()

    service = Service(ledger, keystore, keys.service, microseconds, secrets.token_bytes)
    app = create_app(service, close)
    for found in sorted(entry_points(group="forkledger.services"), key=lambda found: found.name):
        found.load()(app, service, settings)
    return app
