"""Many records in one request, each with its own outcome."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from ledger.api.appending import admit, as_json, result_view
from ledger.api.service import Caller, Served
from ledger.record import decode_batch

router = APIRouter(prefix="/v1", tags=["records"])

_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/x-protobuf": {}, "application/octet-stream": {}}}
}


@router.post("/records/batch", response_class=Response, openapi_extra=_BODY)
async def append(request: Request, caller: Caller, service: Served) -> Response:
    """Append a protobuf `SignedRecordBatch` of at most 1,000 records, in their order.

    200 once all of it is durable: `results` has for each record what `POST /v1/records` would answer, or
    `{"error", "status"}`. One that is refused stops no other, but its successors in the same fork are stale. What
    comes as 4xx or 5xx is of the whole batch, which may be sent again as it is.
    """
    data = await request.body()
    admitted = await run_in_threadpool(lambda: admit(service, caller, decode_batch(data)))
    outcomes = await asyncio.wrap_future(service.ledger.submit(admitted))

    def answer() -> str:
        results = service.ledger.promise(admitted, outcomes)
        return as_json({"results": [result_view(service, result) for result in results]})

    return Response(await run_in_threadpool(answer), media_type="application/json")
