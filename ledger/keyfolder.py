"""The operator's secret keys: small files in a folder of their own, never inside the data folder.

log.key         signs checkpoints (C2SP signer key; its name is the log's origin)
log-ml-dsa.key  signs them too, with ML-DSA-44; a key folder from before it existed goes on without
receipt.key     signs receipts
service.key     32 bytes in hex: seals the keys that the service holds for others
anchor.key      32 bytes in hex, secp256k1: the account that anchors on a chain; only there once a log is anchored
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger import note, receipt
from ledger.cosign import MlDsa44Signer
from ledger.entry import check_origin
from ledger.errors import Malformed, NotFound, Refused
from ledger.vault import ServiceKey

LOG, LOG_ML_DSA, RECEIPT, SERVICE = "log.key", "log-ml-dsa.key", "receipt.key", "service.key"
CHAIN_KEY = "anchor.key"


@dataclass(frozen=True, slots=True)
class OperatorKeys:
    log: note.Ed25519Signer
    receipt: note.Ed25519Signer
    service: ServiceKey
    log_ml_dsa: MlDsa44Signer | None = None


def open_keys(folder: Path) -> OperatorKeys:
    """Read the keys. Raises NotFound, Malformed, or Refused when others may read them."""
    try:
        service = ServiceKey(bytes.fromhex(read_secret(folder / SERVICE)))
    except ValueError:
        raise Malformed(f"{folder / SERVICE}: expected 64 hexadecimal digits") from None
    keys = OperatorKeys(
        log=note.Ed25519Signer.from_skey(read_secret(folder / LOG)),
        receipt=note.Ed25519Signer.from_skey(read_secret(folder / RECEIPT)),
        service=service,
        log_ml_dsa=_ml_dsa(folder / LOG_ML_DSA),
    )
    check_origin(keys.log.name)
    return keys


def make_keys(folder: Path, origin: str, random: Callable[[int], bytes]) -> OperatorKeys:
    """Make what is missing in `folder`, for a log named `origin`, and read all. Existing files stay."""
    check_origin(origin)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / LOG).exists():
        write_secret_once(folder / LOG, note.Ed25519Signer(origin, random(32)).skey(), random)
    named = note.Ed25519Signer.from_skey(read_secret(folder / LOG)).name
    if not (folder / LOG_ML_DSA).exists():
        write_secret_once(folder / LOG_ML_DSA, MlDsa44Signer(named, random(32), _no_time).skey(), random)
    if not (folder / RECEIPT).exists():
        write_secret_once(folder / RECEIPT, note.Ed25519Signer(receipt.key_name(named), random(32)).skey(), random)
    if not (folder / SERVICE).exists():
        write_secret_once(folder / SERVICE, random(32).hex(), random)
    return open_keys(folder)


def make_chain_key(folder: Path, random: Callable[[int], bytes]) -> bytes:
    """The key of the account that anchors, made when there is none. The account needs funds before it can."""
    if not (folder / CHAIN_KEY).exists():
        write_secret_once(folder / CHAIN_KEY, random(32).hex(), random)
    return read_chain_key(folder / CHAIN_KEY)


def read_chain_key(file: Path) -> bytes:
    """The key of an account on a chain. Raises NotFound, Malformed, or Refused when others may read it."""
    try:
        key = bytes.fromhex(read_secret(file).removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Malformed(f"{file}: expected 64 hexadecimal digits")
    return key


def _ml_dsa(path: Path) -> MlDsa44Signer | None:
    return MlDsa44Signer.from_skey(read_secret(path), _no_time) if path.exists() else None


def _no_time() -> int:
    """A log's own signature says nothing about when (tlog-cosignature: the time may be 0)."""
    return 0


def expect_apart(keys: Path, data: Path) -> None:
    """Raise Refused when the key folder, or a key, lies inside the data folder, by a link too: whoever copies the data
    must not get the keys."""
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
