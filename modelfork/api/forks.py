"""Forks in service custody: made, looked at, taught by verdicts and by turns that apps generated elsewhere."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ledger import service
from modelfork.api.bodies import ForkBody, InteractionBody, LearningBody, VerdictBody
from modelfork.api.chat import IdempotencyKey
from modelfork.api.outcomes import recorded_view
from modelfork.api.sent import record
from modelfork.api.teaching import MOST_SECONDS, Work
from modelfork.api.wiring import Forks, Wired, fork_of_user, record_id_of

router = APIRouter(prefix="/v1/forks", tags=["forks"])


@router.post("", status_code=201)
def create(
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    body: ForkBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """A new fork of the base, or the one of an end user whom `user` names. The service makes a key for it alone, keeps
    it sealed, and can read what it records."""
    if body is not None and body.user is not None:
        return forks.manager.describe(fork_of_user(served, forks, caller, body.user))
    drawn = record_id_of(served, caller, "new fork", idempotency_key)
    return forks.manager.describe(forks.manager.create(caller.app_id, drawn))


@router.get("")
def listed(caller: service.Caller, served: service.Served) -> dict[str, Any]:
    """The app's forks, in the order in which they were made; one that was only begun is not among them."""
    return {"forks": [one for one in served.keystore.forks_of(caller.app_id) if served.ledger.store.head(one)]}


@router.get("/{fork_id}")
def described(fork_id: str, caller: service.Caller, served: service.Served, forks: Forks) -> dict[str, Any]:
    """Head, digests and state of a fork."""
    return forks.manager.describe(service.expect_own_fork(served, caller, fork_id))


@router.get("/{fork_id}/history")
def history(
    fork_id: str,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """What the fork was given and what it learned of it, in order, decrypted for its app."""
    service.expect_own_fork(served, caller, fork_id)
    return {"fork_id": fork_id, "history": forks.manager.history(fork_id, after, limit)}


@router.put("/{fork_id}/learning")
def learning(
    fork_id: str, body: LearningBody, caller: service.Caller, served: service.Served, forks: Forks
) -> dict[str, Any]:
    """Pause or resume learning, for the person. While it is paused everything is recorded and nothing is learned from
    it, then or later; what is being learned when this comes is finished first."""
    forks.manager.pause(service.expect_own_fork(served, caller, fork_id), body.paused)
    return {"fork_id": fork_id, "paused": body.paused}


@router.post("/{fork_id}/verdicts", status_code=201)
async def judge(
    fork_id: str,
    body: VerdictBody,
    request: Request,
    response: Response,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """A rating or a correction of an earlier answer: a new record that refers to it."""
    work = partial(record, served, forks, caller, fork_id, body, idempotency_key)
    return await _taught(request, response, forks, caller, fork_id, work)


@router.post("/{fork_id}/interactions", status_code=201)
async def interact(
    fork_id: str,
    body: InteractionBody,
    request: Request,
    response: Response,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """Record a turn that the app generated elsewhere, with a verdict if there is one, and learn from it."""
    work = partial(record, served, forks, caller, fork_id, body, idempotency_key)
    return await _taught(request, response, forks, caller, fork_id, work)


async def _taught(
    request: Request, response: Response, forks: Wired, caller: service.Caller, fork_id: str, work: Work
) -> dict[str, Any]:
    """Wait for the work in the app's queue. How long it took is no part of the answer, which a retry gets again."""
    (done,) = forks.teaching.take(caller.app_id, fork_id, [(len(await request.body()), work)], MOST_SECONDS)
    taught = await done
    response.headers["server-timing"] = f"wait;dur={taught.waited:.1f}, learn;dur={taught.took:.1f}"
    return recorded_view(taught.recorded)
