"""Many records in one request, each with its own outcome."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from ledger.api.appending import Appending, as_json
from ledger.api.service import Caller
from ledger.record import decode_batch

router = APIRouter(prefix="/v1", tags=["records"])

_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/x-protobuf": {}, "application/octet-stream": {}}}
}


@router.post("/records/batch", response_class=Response, openapi_extra=_BODY)
async def append(request: Request, caller: Caller) -> Response:
    """Append a protobuf `SignedRecordBatch` of at most 1,000 records, in their order.

    200 once all of it is durable: `results` has for each record what `POST /v1/records` would answer, or
    `{"error", "status"}`. One that is refused stops no other, but its successors in the same fork are stale. What
    comes as 4xx or 5xx is of the whole batch, which may be sent again as it is.
    """
    data = await request.body()
    appending: Appending = request.app.state.appending
    results = await appending.append(caller, len(data), lambda: decode_batch(data))
    return Response(as_json({"results": results}), media_type="application/json")
