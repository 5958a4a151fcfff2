"""What an app is told: of a record once it is durable, or why there is none. One of many as if it had come alone."""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from ledger import api_errors, service
from ledger.errors import Busy, LedgerError
from modelfork.api.teaching import Taught
from modelfork.errors import Diverged, ForkError, Malformed, TooLong, Unsuited
from modelfork.forks import Recorded

_LOG = logging.getLogger("forkledger.forks")

_STATUS: tuple[tuple[type[ForkError], int, str], ...] = (
    (TooLong, 400, "context_length_exceeded"),
    (Malformed, 400, "malformed"),
    (Unsuited, 409, "unsuited"),
    (Diverged, 500, "diverged"),
)


def recorded_view(recorded: Recorded) -> dict[str, Any]:
    return {
        "record_id": recorded.record_id.hex(),
        "version": recorded.version,
        "leaf_index": recorded.leaf_index,
        "entry_hash": recorded.entry_hash.hex(),
        "learned": recorded.learned,
        "practised": recorded.practised,
        "noted": [asdict(one) for one in recorded.noted],
        "bytes": recorded.size,
        "receipt": base64.b64encode(recorded.receipt).decode(),
    }


def taught_view(taught: Taught) -> dict[str, Any]:
    """Milliseconds, beside the record: in the queue, and from there to the receipt."""
    return recorded_view(taught.recorded) | {
        "waited_ms": round(taught.waited, 1),
        "learning_ms": round(taught.took, 1),
    }


def fork_refusal(error: ForkError) -> tuple[int, dict[str, Any]]:
    """The status and the error object of an error of this package."""
    status, code = next(((s, c) for kind, s, c in _STATUS if isinstance(error, kind)), (500, "fork_error"))
    return status, api_errors.error_object(status, code, str(error))


def refusal_view(served: service.Service, error: Exception) -> dict[str, Any]:
    """What stands in the place of a record, where interactions have an outcome each."""
    more: dict[str, Any] = {}
    if isinstance(error, ForkError):
        status, described = fork_refusal(error)
    elif isinstance(error, LedgerError):
        status, described = api_errors.refusal(served.ledger, error)
        if isinstance(error, Busy):
            more["retry_after"] = error.retry_after
    elif isinstance(error, ValidationError):
        status, described = 400, api_errors.invalid_object(error.errors())
    else:
        _LOG.error("an interaction failed: %s", api_errors.place_of(error))
        status = 500
        described = api_errors.error_object(500, "internal", "the interaction failed; it was not acknowledged")
    return {"error": described, "status": status, **more}


def outcome_view(served: service.Service, done: asyncio.Future[Taught]) -> dict[str, Any]:
    """The view of work that is done. Raises CancelledError where it was cancelled."""
    error = done.exception()
    return taught_view(done.result()) if error is None else refusal_view(served, _expect_no_exit(error))


def _expect_no_exit(error: BaseException) -> Exception:
    if not isinstance(error, Exception):
        raise error
    return error
