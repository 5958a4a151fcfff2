"""Evidence of one entry, whole or as a tlog-proof. No API key is asked for: entries and proofs are the public log's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from ledger.api.service import Served, Service
from ledger.errors import Malformed, NotFound, Refused
from ledger.evidence import Evidence, encode_evidence, tlog_proof
from ledger.keys import check_fork_id

router = APIRouter(tags=["log"])

Leaf = Annotated[int, Query(ge=0, lt=2**63)]


@router.get("/v1/log/evidence", response_class=Response)
def of_leaf(service: Served, leaf: Leaf) -> Response:
    """Evidence of the entry at a leaf: a protobuf `Evidence`, for `forkledger verify`."""
    return _evidence(service, leaf)


@router.get("/v1/log/tlog-proof", response_class=PlainTextResponse)
def tlog_proof_of_leaf(service: Served, leaf: Leaf) -> PlainTextResponse:
    """A C2SP tlog-proof of the entry at a leaf: that it is in the log, without the entry and without who signed it."""
    proof = tlog_proof(_evidence_of(service, leaf)).encode()
    return PlainTextResponse(proof, headers={"cache-control": "no-cache"})


@router.get("/v1/forks/{fork_id}/evidence", response_class=Response)
def of_version(
    fork_id: str,
    service: Served,
    version: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    record: Annotated[str | None, Query(description="a record id, 32 hex digits")] = None,
) -> Response:
    """Evidence of a fork's entry, named by its version or by its record id."""
    check_fork_id(fork_id)
    if (version is None) == (record is None):
        raise Refused("evidence: expected a version or a record, one of the two")
    if version is not None:
        return _evidence(service, service.ledger.version(fork_id, version).leaf_index)
    found = service.ledger.record(fork_id, _record_id(record or ""))
    if found is None:
        raise NotFound(f"fork {fork_id}: no record of this id")
    return _evidence(service, found.leaf_index)


def _record_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Malformed("record: expected 32 hex digits") from None


def _evidence(service: Service, leaf: int) -> Response:
    data = encode_evidence(_evidence_of(service, leaf))
    # The newest checkpoint is another one every second.
    return Response(data, media_type="application/octet-stream", headers={"cache-control": "no-cache"})


def _evidence_of(service: Service, leaf: int) -> Evidence:
    service.publisher.current()  # so that an entry just acknowledged is covered
    return service.ledger.evidence(leaf)
