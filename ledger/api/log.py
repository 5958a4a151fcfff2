"""The public log: checkpoint, keys, entries, proofs. No API key is asked for: nothing here is readable or secret."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from ledger.api.service import Served
from ledger.cosign import MlDsa44Signer
from ledger.errors import NotFound
from ledger.ledger import Inclusion
from ledger.tiles import parse_tile_path

router = APIRouter(tags=["log"])


@router.get("/v1/log/checkpoint", response_class=PlainTextResponse)
@router.get("/checkpoint", response_class=PlainTextResponse, include_in_schema=False)
def checkpoint(service: Served) -> PlainTextResponse:
    """The published checkpoint, a C2SP signed note."""
    signed = service.publisher.current()
    if signed is None:
        raise NotFound("checkpoint: none has been published yet")
    return PlainTextResponse(signed, headers={"cache-control": "no-cache"})


@router.get("/tile/{path:path}", response_class=Response)
def tile(path: str, service: Served) -> Response:
    """A tile of hashes or a bundle of entries (C2SP tlog-tiles). It never changes once it is there."""
    wanted = parse_tile_path(f"tile/{path}")
    content = service.publisher.folder.tile(wanted)
    if content is None:
        raise NotFound(f"{wanted.path}: no such tile; the published log has {service.publisher.size} entries")
    forever = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(content, media_type="application/octet-stream", headers=forever)


@router.get("/v1/log/keys")
def keys(service: Served) -> dict[str, str]:
    """The public keys to pin, as C2SP verifier keys."""
    ledger = service.ledger
    shown = {"origin": ledger.origin, "log": ledger.log_vkey, "receipt": ledger.receipt_vkey}
    for key in ledger.log_keys:
        if isinstance(key, MlDsa44Signer):
            shown["log_ml_dsa"] = key.vkey
    return shown


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
    service.publisher.current()
    return inclusion_view(service.ledger.prove(leaf))


def inclusion_view(found: Inclusion) -> dict[str, Any]:
    """An inclusion proof as JSON."""
    return {
        "leaf_index": found.leaf_index,
        "entry": base64.b64encode(found.entry).decode(),
        "proof": [node.hex() for node in found.proof],
        "checkpoint": found.checkpoint.decode(),
    }


@router.get("/v1/log/proofs/consistency")
def consistency(service: Served, old: Annotated[int, Query(ge=0, lt=2**63)]) -> dict[str, Any]:
    """A proof that the log only grew from size `old` to the newest checkpoint."""
    service.publisher.current()
    proof, signed = service.ledger.prove_growth(old)
    return {"old_size": old, "proof": [node.hex() for node in proof], "checkpoint": signed.decode()}
