"""The operator's secret keys: three small files in a folder of their own, never inside the data folder.

log.key       signs checkpoints (C2SP signer key; its name is the log's origin)
receipt.key   signs receipts
service.key   32 bytes in hex: seals the keys that the service holds for others
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger import note, receipt
from ledger.entry import check_origin
from ledger.errors import Malformed, NotFound, Refused
from ledger.vault import ServiceKey

LOG, RECEIPT, SERVICE = "log.key", "receipt.key", "service.key"


@dataclass(frozen=True, slots=True)
class OperatorKeys:
    log: note.Ed25519Signer
    receipt: note.Ed25519Signer
    service: ServiceKey


def open_keys(folder: Path) -> OperatorKeys:
    """Read the three keys. Raises NotFound, Malformed, or Refused when others may read them."""
    try:
        service = ServiceKey(bytes.fromhex(read_secret(folder / SERVICE)))
    except ValueError:
        raise Malformed(f"{folder / SERVICE}: expected 64 hexadecimal digits") from None
    keys = OperatorKeys(
        log=note.Ed25519Signer.from_skey(read_secret(folder / LOG)),
        receipt=note.Ed25519Signer.from_skey(read_secret(folder / RECEIPT)),
        service=service,
    )
    check_origin(keys.log.name)
    return keys


def make_keys(folder: Path, origin: str, random: Callable[[int], bytes]) -> OperatorKeys:
    """Make what is missing in `folder`, for a log named `origin`, and read all three. Existing files stay."""
    check_origin(origin)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / LOG).exists():
        write_secret_once(folder / LOG, note.Ed25519Signer(origin, random(32)).skey(), random)
    named = note.Ed25519Signer.from_skey(read_secret(folder / LOG)).name
    if not (folder / RECEIPT).exists():
        write_secret_once(folder / RECEIPT, note.Ed25519Signer(receipt.key_name(named), random(32)).skey(), random)
    if not (folder / SERVICE).exists():
        write_secret_once(folder / SERVICE, random(32).hex(), random)
    return open_keys(folder)


def expect_apart(keys: Path, data: Path) -> None:
    """Raise Refused when the key folder lies inside the data folder: whoever copies the data must not get the keys."""
    if keys.resolve().is_relative_to(data.resolve()):
        raise Refused(f"keys: expected a folder outside the data folder {data}, got {keys}")


def read_secret(path: Path) -> str:
    """The text of a key file. Raises NotFound, Malformed, or Refused when others may read it."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise NotFound(f"keys: no file {path}; put it back, keys are made for new data only") from None
    except UnicodeDecodeError:
        raise Malformed(f"keys: {path} is not ASCII text") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"keys: {path} may be read by others; expected mode 600")
    return text


def write_secret_once(path: Path, text: str, random: Callable[[int], bytes]) -> None:
    """Write a new file whole or not at all; when another process was first, its file stays."""
    draft = path.with_name(f".{path.name}.{random(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
