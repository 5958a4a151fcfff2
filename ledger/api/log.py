"""The public log: checkpoint, keys, entries, proofs. No API key is asked for: nothing here is readable or secret."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from ledger.api.service import Served
from ledger.publish import publish

router = APIRouter(tags=["log"])


@router.get("/v1/log/checkpoint", response_class=PlainTextResponse)
@router.get("/checkpoint", response_class=PlainTextResponse, include_in_schema=False)
def checkpoint(service: Served) -> PlainTextResponse:
    """The newest signed checkpoint, a C2SP signed note."""
    signed = publish(service.ledger)
    return PlainTextResponse(signed, headers={"cache-control": "no-cache"})


@router.get("/v1/log/keys")
def keys(service: Served) -> dict[str, str]:
    """The public keys to pin, as C2SP verifier keys."""
    ledger = service.ledger
    return {"origin": ledger.origin, "log": ledger.log_vkey, "receipt": ledger.receipt_vkey}


@router.get("/v1/log/entries")
def entries(
    service: Served,
    first: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Entries from leaf `first` on, base64, in log order."""
    page = service.ledger.store.entries(first, limit)
    return {"first": first, "entries": [base64.b64encode(stored.data).decode() for stored in page]}


@router.get("/v1/log/proofs/inclusion")
def inclusion(service: Served, leaf: Annotated[int, Query(ge=0, lt=2**63)]) -> dict[str, Any]:
    """An entry and its audit path under the newest checkpoint."""
    publish(service.ledger)
    found = service.ledger.prove(leaf)
    return {
        "leaf_index": found.leaf_index,
        "entry": base64.b64encode(found.entry).decode(),
        "proof": [node.hex() for node in found.proof],
        "checkpoint": found.checkpoint.decode(),
    }


@router.get("/v1/log/proofs/consistency")
def consistency(service: Served, old: Annotated[int, Query(ge=0, lt=2**63)]) -> dict[str, Any]:
    """A proof that the log only grew from size `old` to the newest checkpoint."""
    publish(service.ledger)
    proof, signed = service.ledger.prove_growth(old)
    return {"old_size": old, "proof": [node.hex() for node in proof], "checkpoint": signed.decode()}
