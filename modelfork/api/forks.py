"""Forks in service custody: made, looked at, taught by verdicts and by turns that apps generated elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from ledger import service
from modelfork.api.bodies import ForkBody, InteractionBody, VerdictBody
from modelfork.api.chat import IdempotencyKey, messages_of
from modelfork.api.wiring import Forks, fork_of_user, record_id_of, recorded_view, request_of
from modelfork.interaction import Interaction

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


@router.post("/{fork_id}/verdicts", status_code=201)
def judge(
    fork_id: str,
    body: VerdictBody,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """A rating or a correction of an earlier answer: a new record that refers to it."""
    service.expect_own_fork(served, caller, fork_id)
    record_id = record_id_of(served, caller, fork_id, idempotency_key)
    request = request_of(served, caller, "verdict", fork_id, body)
    return recorded_view(
        forks.manager.judge(
            fork_id,
            record_id,
            bytes.fromhex(body.record_id),
            body.correction,
            body.rating,
            body.comment,
            request,
        )
    )


@router.post("/{fork_id}/interactions", status_code=201)
def interact(
    fork_id: str,
    body: InteractionBody,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """Record a turn that the app generated elsewhere, with a verdict if there is one, and learn from it."""
    service.expect_own_fork(served, caller, fork_id)
    record_id = record_id_of(served, caller, fork_id, idempotency_key)
    interaction = Interaction(
        messages=messages_of(body.messages),
        answer=body.answer,
        correction=body.correction,
        rating=body.rating,
        comment=body.comment,
        teaches=body.store,
    )
    request = request_of(served, caller, "interaction", fork_id, body)
    return recorded_view(forks.manager.record(fork_id, record_id, interaction, request))
