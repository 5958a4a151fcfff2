"""The verbs of the service, one function each: the request, and what reads its answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

from ledger.checkpoint import Checkpoint
from ledger.client import answers
from ledger.client.answers import (
    Anchors,
    Growth,
    Head,
    Included,
    Kept,
    LogKeys,
    Outcome,
    Proven,
    Recorded,
    SignedCheckpoint,
)
from ledger.client.call import Call
from ledger.client.trust import Trust
from ledger.entry import SignedControl, decode_fork_created, encode_control
from ledger.errors import LedgerError
from ledger.evidence import LONGEST_EVIDENCE
from ledger.keys import check_fork_id
from ledger.receipt import Receipt
from ledger.record import SignedRecord, decode_body, encode_batch, encode_record

Wait: TypeAlias = Literal["checkpoint"] | None

LONGEST_PAGE = 32 << 20  # bytes: the service's 8 MiB of payloads and a hundred of the longest entries, in base64


def create_fork(trust: Trust, control: SignedControl) -> Call[Recorded]:
    try:
        fork_id = decode_fork_created(control.body).fork_id
    except LedgerError:
        fork_id = None  # the service has a reason not to take it
    return Call(
        "POST",
        "/v1/controls",
        lambda body: answers.read_recorded(json.loads(body), trust, fork_id, control.body),
        trust,
        content=encode_control(control),
        fork_id=fork_id,
    )


def append(trust: Trust, record: SignedRecord, wait: Wait) -> Call[Recorded]:
    fork_id = _fork_of(record)
    return Call(
        "POST",
        "/v1/records",
        lambda body: answers.read_recorded(json.loads(body), trust, fork_id, record.body),
        trust,
        params={} if wait is None else {"wait": wait},
        content=encode_record(record),
        fork_id=fork_id,
    )


def append_batch(trust: Trust, records: Sequence[SignedRecord]) -> Call[list[Outcome]]:
    sent = [(_fork_of(record), record.body) for record in records]
    return Call(
        "POST",
        "/v1/records/batch",
        lambda body: answers.read_outcomes(json.loads(body), trust, sent),
        trust,
        content=encode_batch(records),
    )


def entries(trust: Trust, fork_id: str, after: int, limit: int) -> Call[tuple[Kept, ...]]:
    return Call(
        "GET",
        f"/v1/forks/{check_fork_id(fork_id)}/entries",
        lambda body: answers.read_entries(json.loads(body), fork_id, after),
        trust,
        params={"after": str(after), "limit": str(limit)},
        longest=LONGEST_PAGE,
    )


def head(trust: Trust, fork_id: str) -> Call[Head]:
    path = f"/v1/forks/{check_fork_id(fork_id)}"
    return Call("GET", path, lambda body: answers.read_head(json.loads(body), fork_id), trust)


def checkpoint(trust: Trust) -> Call[SignedCheckpoint]:
    return Call("GET", "/v1/log/checkpoint", partial(answers.read_checkpoint, trust=trust), trust)


def log_keys(trust: Trust) -> Call[LogKeys]:
    return Call("GET", "/v1/log/keys", answers.read_keys, trust)


def inclusion(trust: Trust, of: Receipt | int) -> Call[Included]:
    leaf = of if isinstance(of, int) else of.leaf_index
    return Call(
        "GET",
        "/v1/log/proofs/inclusion",
        lambda body: answers.read_included(json.loads(body), trust, of),
        trust,
        params={"leaf": str(leaf)},
    )


def consistency(trust: Trust, old: Checkpoint) -> Call[Growth]:
    return Call(
        "GET",
        "/v1/log/proofs/consistency",
        lambda body: answers.read_growth(json.loads(body), trust, old),
        trust,
        params={"old": str(old.size)},
    )


def evidence(trust: Trust, fork_id: str, named: bytes | int) -> Call[Proven]:
    return Call(
        "GET",
        f"/v1/forks/{check_fork_id(fork_id)}/evidence",
        lambda body: answers.read_evidence(body, trust, fork_id, named),
        trust,
        params={"version": str(named)} if isinstance(named, int) else {"record": named.hex()},
        longest=LONGEST_EVIDENCE,
    )


def anchors(trust: Trust, size: int | None) -> Call[Anchors]:
    params: dict[str, Any] = {} if size is None else {"size": str(size)}
    return Call(
        "GET", "/v1/log/anchors", lambda body: answers.read_anchors(json.loads(body), size), trust, params=params
    )


def _fork_of(record: SignedRecord) -> str | None:
    try:
        return decode_body(record.body).fork_id
    except LedgerError:
        return None  # the service has a reason not to take it
