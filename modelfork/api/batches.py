"""Many interactions of one fork in one request, each learned in its order and with its own outcome."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from ledger import service
from modelfork.api.bodies import KeyedInteraction, KeyedVerdict
from modelfork.api.outcomes import outcome_view, refusal_view
from modelfork.api.sent import Arrived, read_batch, record
from modelfork.api.teaching import Taught
from modelfork.api.wiring import Forks

router = APIRouter(prefix="/v1/forks", tags=["forks"])

SIGN_OF_LIFE = 10.0  # seconds; then a space, so that nobody takes a queue for a connection that was lost
PROTOBUF = ("application/x-protobuf", "application/octet-stream")
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {}, "application/x-protobuf": {}}}
}


@router.post("/{fork_id}/interactions/batch", response_class=StreamingResponse, openapi_extra=_BODY)
async def interact(
    fork_id: str, request: Request, caller: service.Caller, served: service.Served, forks: Forks
) -> StreamingResponse:
    """Record at most 100 turns that the app generated elsewhere, or verdicts, and learn from each in its order.

    A JSON array of what `/interactions` or `/verdicts` takes, each with a `key` of the app's own, or a protobuf
    `SentInteractions`. `results` has for each, in order, what `/interactions` would answer with how many milliseconds
    it waited and was learned, or `{"error", "status"}`; it is written as it comes. One that is refused stops no
    other, and all of it may be sent again: what is recorded under its key is told once more.
    """
    data = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    arrived = await run_in_threadpool(read_batch, data, kind in PROTOBUF)
    await run_in_threadpool(service.expect_own_fork, served, caller, fork_id)
    size = len(data) // len(arrived)
    sent = [each for each in arrived if isinstance(each, (KeyedInteraction, KeyedVerdict))]
    works = [(size, partial(record, served, forks, caller, fork_id, each, each.key)) for each in sent]
    taken = forks.teaching.take(caller.app_id, fork_id, works)
    return StreamingResponse(_results(served, arrived, taken), media_type="application/json")


async def _results(
    served: service.Service, arrived: Sequence[Arrived], taken: Sequence[asyncio.Future[Taught]]
) -> AsyncIterator[str]:
    begun = iter(taken)
    separator = ""
    try:
        yield '{"results":['
        for each in arrived:
            if isinstance(each, (KeyedInteraction, KeyedVerdict)):
                done = next(begun)
                while not (await asyncio.wait([done], timeout=SIGN_OF_LIFE))[0]:
                    yield " "
                view = {"key": each.key, **outcome_view(served, done)}
            else:
                view = refusal_view(served, each)
            yield separator + json.dumps(view, ensure_ascii=False)
            separator = ","
        yield "]}"
    finally:
        for done in taken:  # nobody is there any more: what was not begun need not happen
            done.cancel()
