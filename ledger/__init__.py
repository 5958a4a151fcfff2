"""A transparency log of signed, encrypted training records. This module is the package's front door.

What other packages may use is named here and nowhere else; `ledger.errors` and `ledger.wire` may be imported
directly. Names load on first use, so that `forkledger --help` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger import checkpoint, entry, keys, merkle, note, publish, receipt, record, rights, vault
    from ledger.api import errors as api_errors
    from ledger.api import service, streams
    from ledger.keystore import KeyStore
    from ledger.ledger import Ledger, LogReader, check_inclusion
    from ledger.main import make_public, open_database_reader, open_house, open_keystore, open_log_reader, open_reader
    from ledger.store import StoredEntry

__version__ = "0.1.0"

_MODULES = {
    name: f"ledger.{name}"
    for name in (
        "checkpoint", "entry", "keys", "merkle", "note", "publish", "receipt", "record", "rights", "vault",
    )
} | {"api_errors": "ledger.api.errors", "service": "ledger.api.service", "streams": "ledger.api.streams"}  # fmt: skip
_NAMES = {
    "make_public": "ledger.main",
    "open_database_reader": "ledger.main",
    "open_house": "ledger.main",
    "open_keystore": "ledger.main",
    "open_log_reader": "ledger.main",
    "open_reader": "ledger.main",
    "check_inclusion": "ledger.ledger",
    "KeyStore": "ledger.keystore",
    "Ledger": "ledger.ledger",
    "LogReader": "ledger.ledger",
    "StoredEntry": "ledger.store",
}

__all__ = [
    "KeyStore", "Ledger", "LogReader", "StoredEntry", "__version__", "api_errors", "check_inclusion", "checkpoint",
    "entry", "keys", "make_public", "merkle", "note", "open_database_reader", "open_house", "open_keystore",
    "open_log_reader", "open_reader", "publish", "receipt", "record", "rights", "service", "streams", "vault",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'ledger' has no attribute {name!r}")
