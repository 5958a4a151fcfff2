"""Self custody: finished, signed bytes arrive; the service never sees a key. And reading a fork's entries back."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from ledger.api.appending import Appending, as_json, receipt_view
from ledger.api.log import inclusion_view
from ledger.api.service import Caller, Served, Service, expect_own_fork
from ledger.entry import FORK_CREATED, SELF, SignedControl, admit_fork_created, decode_control
from ledger.errors import Conflict, Refused
from ledger.keystore import App
from ledger.ledger import MAXIMUM_DELAY
from ledger.record import decode_record
from ledger.rights import check_fork_created

LOOK_AGAIN = 0.05  # seconds, while a checkpoint is waited for
LARGEST_PAGE = 8 << 20  # bytes of payloads in one answer

router = APIRouter(prefix="/v1", tags=["records"])


@router.post("/controls", status_code=201)
async def create(request: Request, caller: Caller, service: Served) -> dict[str, Any]:
    """Create a fork in self custody from a protobuf `SignedControl` with topic fork-created/v1."""
    control = decode_control(await request.body())
    return await run_in_threadpool(_create, service, caller, control)


def _create(service: Service, caller: App, control: SignedControl) -> dict[str, Any]:
    if control.topic == FORK_CREATED:
        created = admit_fork_created(control.body)
        if created.custody != SELF:
            raise Refused("fork-created: over this route expected custody self; POST /v1/forks makes the others")
        # Nobody may claim a fork whose key they do not hold, nor take over one whose owner the key store has lost.
        check_fork_created(service.ledger.origin, created.fork_id, control.body, control.signatures)
        if service.keystore.app_of_fork(created.fork_id) is None and service.ledger.store.head(created.fork_id):
            raise Conflict(f"fork {created.fork_id}: exists already")
        service.keystore.claim_fork(created.fork_id, caller.app_id)
    return receipt_view(service.ledger.create_fork(control))


@router.post("/records", status_code=201)
async def append(
    request: Request,
    caller: Caller,
    service: Served,
    wait: Annotated[Literal["checkpoint"] | None, Query(description="checkpoint: answer with the proof")] = None,
) -> Response:
    """Append a protobuf `SignedRecord`. 201 with the receipt once it is durable; the same bytes get it again.

    With `wait=checkpoint` the answer comes once a published checkpoint covers the entry, and has the inclusion proof;
    or when the promised delay has passed without one (no quorum of witnesses, say): then its `inclusion` is null.
    """
    data = await request.body()
    appending: Appending = request.app.state.appending
    (result,) = await appending.append(caller, len(data), lambda: [decode_record(data)])
    status = result.pop("status", 201)
    if wait and status == 201:
        result["inclusion"] = await _inclusion(service, result["leaf_index"])
    return Response(as_json(result), status, media_type="application/json")


async def _inclusion(service: Service, leaf: int) -> dict[str, Any] | None:
    looked = 0.0
    while service.publisher.size <= leaf:
        if looked >= MAXIMUM_DELAY / 1e6:
            return None
        await asyncio.sleep(LOOK_AGAIN)
        looked += LOOK_AGAIN
    return inclusion_view(await run_in_threadpool(service.ledger.prove, leaf))


@router.get("/forks/{fork_id}/entries")
def entries(
    fork_id: str,
    caller: Caller,
    service: Served,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> dict[str, Any]:
    """A fork's entries with a version above `after`, with their payloads, all base64. At most `limit`, and fewer
    where they are large: the end is reached when none comes."""
    expect_own_fork(service, caller, fork_id)
    page: list[dict[str, Any]] = []
    size = 0
    for stored in service.ledger.store.fork_entries(fork_id, after, limit):
        payloads = service.ledger.payloads(stored.leaf_index)
        size += sum(len(payload) for payload in payloads.values())
        if page and size > LARGEST_PAGE:
            break
        page.append(
            {
                "version": stored.version,
                "leaf_index": stored.leaf_index,
                "topic": stored.topic,
                "entry": _base64(stored.data),
                "payloads": {str(kind): _base64(payload) for kind, payload in payloads.items()},
            }
        )
    return {"fork_id": fork_id, "entries": page}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
