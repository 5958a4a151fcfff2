"""Where a log is anchored on a chain: what `forkledger anchor deploy` found out once, and everything later holds to.

A small JSON file beside the ledger, and all of it is public. A chain that says otherwise later is not the one meant.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ledger.errors import Malformed

FORMAT = "forkledger/anchor-place/v1"


@dataclass(frozen=True, slots=True)
class Place:
    """A log in a contract on a chain. Bytes are raw here and hex with 0x in the file."""

    chain_id: int
    genesis: bytes  # 32, the hash of block 0
    contract: bytes  # 20, its address
    code_hash: bytes  # 32, Keccak-256 of the contract's code
    log_id: bytes  # 32


_BYTES = {"genesis": 32, "contract": 20, "code_hash": 32, "log_id": 32}


def encode_place(place: Place) -> str:
    """One JSON object, a line for each field."""
    shown = {name: _hex(value) for name, value in asdict(place).items()}
    return json.dumps({"format": FORMAT, **shown}, indent=2) + "\n"


def decode_place(text: str) -> Place:
    """Raises Malformed, which says what was expected."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("anchor place: expected a JSON object") from None
    if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
        raise Malformed(f"anchor place: expected a JSON object of the format {FORMAT}")
    wanted = set(Place.__dataclass_fields__)
    if set(told) != wanted:
        raise Malformed(f"anchor place: expected the fields {', '.join(sorted(wanted))}")
    return Place(**{name: _parsed(name, value) for name, value in told.items()})


def read_place(file: Path) -> Place | None:
    """What stands in a file; None when there is none."""
    try:
        return decode_place(file.read_text("ascii"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Malformed(f"anchor place: {file} is not ASCII text") from None


def write_place(file: Path, place: Place) -> None:
    """Whole and durable, or not at all: what stands in it was paid for."""
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("w", encoding="ascii") as written:
        written.write(encode_place(place))
        written.flush()
        os.fsync(written.fileno())
    draft.replace(file)


def _hex(value: int | bytes) -> int | str:
    return value if isinstance(value, int) else f"0x{value.hex()}"


def _parsed(name: str, value: Any) -> Any:
    length = _BYTES.get(name)
    if length is None:
        if type(value) is not int or not 0 <= value < 2**63:
            raise Malformed(f"anchor place: expected {name} to be a number from 0 on")
        return value
    try:
        raw = bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else b""
    except ValueError:
        raw = b""
    if len(raw) != length:
        raise Malformed(f"anchor place: expected {name} to be 0x and {2 * length} hex digits")
    return raw
