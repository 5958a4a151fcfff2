"""Appending what an app sent: door, queue, answer. No thread is held while the commit is waited for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ledger import receipt
from ledger.api.errors import refusal
from ledger.api.service import Service
from ledger.door import Submission
from ledger.errors import LedgerError, NotFound
from ledger.keystore import App
from ledger.record import SignedRecord, admit_body

Arrived = SignedRecord | LedgerError  # a record, or why what came is none
Admitted = Submission | LedgerError
Result = bytes | LedgerError  # a signed receipt, or why there is none


def admit(service: Service, caller: App, arrived: Sequence[Arrived]) -> list[Admitted]:
    """The door, for an app: another app's fork looks like none at all."""
    passed = iter(service.ledger.admit([each for each in arrived if isinstance(each, SignedRecord)]))
    admitted = [next(passed) if isinstance(each, SignedRecord) else each for each in arrived]
    forks = [_fork_of(came, became) for came, became in zip(arrived, admitted, strict=True)]
    owners = service.keystore.apps_of_forks({fork_id for fork_id in forks if fork_id is not None})
    return [
        became if fork_id is None or owners.get(fork_id) == caller.app_id else NotFound(f"fork {fork_id}: not found")
        for became, fork_id in zip(admitted, forks, strict=True)
    ]


def _fork_of(arrived: Arrived, admitted: Admitted) -> str | None:
    """The fork that a record is for, also where it was refused for another reason; None where it names none."""
    if isinstance(admitted, Submission):
        return admitted.fork_id
    try:
        return admit_body(arrived.body).fork_id if isinstance(arrived, SignedRecord) else None
    except LedgerError:
        return None


def receipt_view(signed: bytes) -> dict[str, Any]:
    """A receipt that this log has just signed as JSON: the signed note, and what it says."""
    said = receipt.read_unchecked(signed)
    return {
        "fork_id": said.fork_id,
        "version": said.version,
        "leaf_index": said.leaf_index,
        "entry_hash": said.entry_hash.hex(),
        "receipt": signed.decode(),
    }


def result_view(service: Service, result: Result) -> dict[str, Any]:
    """Of one record of many its receipt, or the status and the error object that it would get alone."""
    if isinstance(result, bytes):
        return receipt_view(result)
    status, error = refusal(service.ledger, result)
    return {"error": error, "status": status}


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
