"""From an error object of the service back to the error that the ledger raised: `ledger.api.errors`, the other way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ledger.client.trust import Trust
from ledger.errors import (
    AlreadyRecorded,
    BadProof,
    BadSignature,
    Busy,
    Conflict,
    Fenced,
    Halted,
    LedgerError,
    Malformed,
    NotFound,
    Refused,
    StaleNumber,
    Unavailable,
)

COME_AGAIN = 1.0  # seconds, where the service does not say when

_LONGEST_MESSAGE = 1000  # characters
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)  # the other form of Retry-After is a date, which the service never sends

_KINDS: Mapping[str, type[LedgerError]] = MappingProxyType(
    {
        "conflict": Conflict,
        "not_found": NotFound,
        "bad_signature": BadSignature,
        "malformed": Malformed,
        "refused": Refused,
        "bad_proof": BadProof,
        "fenced": Fenced,
        "halted": Halted,
        "unavailable": Unavailable,
        "ledger_error": LedgerError,
        "internal": LedgerError,
        # What never reached the ledger:
        "invalid_value": Malformed,
        "too_large": Refused,
        "too_slow": Unavailable,
    }
)


def seconds_of(retry_after: str) -> float | None:
    return float(retry_after) if _SECONDS.fullmatch(retry_after) else None


def error_in(body: bytes) -> Any:
    """The error object of an answer, or None where it has none: a proxy before the service may answer in its place."""
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def error_of(
    status: int, described: Any, trust: Trust, retry_after: str = "", fork_id: str | None = None
) -> LedgerError:
    """The error that this error object tells of. `fork_id` is the fork that a record which was sent is for.

    Raises what is wrong with a receipt in it.
    """
    described = described if isinstance(described, dict) else {}
    code, message = described.get("code"), _shown(described.get("message"), status)
    if code == "already_recorded":
        return AlreadyRecorded(message, _leaf_of(described.get("receipt"), trust, fork_id))
    if code == "stale_number":
        expected = described.get("expected")
        if type(expected) is not int or expected < 1:
            raise Malformed("stale_number: expected the next number with it")
        return StaleNumber(message, expected)
    if code == "busy" or status == 429:
        return Busy(message, seconds_of(retry_after) or COME_AGAIN)
    if isinstance(code, str) and code in _KINDS:
        return _KINDS[code](message)
    if status == 404:
        return NotFound(message)
    if status in (502, 503, 504):
        return Unavailable(message)
    return Refused(message) if 400 <= status < 500 else LedgerError(message)


def _leaf_of(signed: Any, trust: Trust, fork_id: str | None) -> int:
    if not isinstance(signed, str):
        raise Malformed("already_recorded: expected the receipt of the record that stands")
    found = trust.open_receipt(signed.encode(errors="replace"))
    if found.fork_id != fork_id:
        raise BadProof("already_recorded: expected a receipt of the fork that was asked for, got another's")
    return found.leaf_index


def _shown(message: Any, status: int) -> str:
    """A message as it may be logged: whoever answers chose it."""
    if not isinstance(message, str):
        return f"service: answered with {status}, and without a reason"
    return "".join(sign if sign.isprintable() else "?" for sign in message[:_LONGEST_MESSAGE])
