"""A transparency log of signed, encrypted training records. This module is the package's front door.

What other packages may use is named here and nowhere else; `ledger.errors` and `ledger.wire` may be imported
directly. Names load on first use, so that `forkledger --help` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger import checkpoint, entry, keys, merkle, note, publish, receipt, record, rights, vault
    from ledger.ledger import Ledger
    from ledger.store import StoredEntry

__version__ = "0.1.0"

_MODULES = {
    "checkpoint", "entry", "keys", "merkle", "note", "publish", "receipt", "record", "rights", "vault",
}  # fmt: skip
_NAMES = {"Ledger": "ledger.ledger", "StoredEntry": "ledger.store"}

__all__ = [
    "Ledger", "StoredEntry", "__version__", "checkpoint", "entry", "keys", "merkle", "note", "publish",
    "receipt", "record", "rights", "vault",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"ledger.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'ledger' has no attribute {name!r}")
