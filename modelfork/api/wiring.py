"""What the fork routes work with, and the few small things that several of them do."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from ledger import service
from modelfork.api.teaching import Teaching
from modelfork.api.turns import Turns
from modelfork.forks import Answered, ForkManager, fork_id_of


@dataclass(frozen=True, slots=True)
class Wired:
    manager: ForkManager
    turns: Turns[Answered]
    teaching: Teaching
    now: Callable[[], int]


def wired_of(asked: HTTPConnection) -> Wired:
    wired: Wired = asked.app.state.forks
    return wired


Forks = Annotated[Wired, Depends(wired_of)]


def record_id_of(served: service.Service, caller: service.Caller, fork_id: str, idempotency_key: str | None) -> bytes:
    """A random record id; with an Idempotency-Key the one id that this key will always have in this fork."""
    if idempotency_key is None:
        return served.random(16)
    message = b"\0".join((caller.app_id.encode(), fork_id.encode(), idempotency_key.encode()))
    return hmac.new(served.service_key.derive(b"record-id"), message, hashlib.sha256).digest()[:16]


def id_of_users_fork(served: service.Service, caller: service.Caller, user: str) -> str:
    """The id of the one fork that an app has for this end user: a keyed hash of both names, so that the user's lies
    nowhere, and another app's is another fork."""
    return fork_id_of(_drawn_for(served, caller, user))


def fork_of_user(served: service.Service, forks: Wired, caller: service.Caller, user: str) -> str:
    """That fork, made on first use; who asks at the same time gets the same."""
    fork_id = id_of_users_fork(served, caller, user)
    if served.keystore.app_of_fork(fork_id) == caller.app_id and served.ledger.store.head(fork_id) is not None:
        return fork_id
    return forks.manager.create(caller.app_id, _drawn_for(served, caller, user))


def _drawn_for(served: service.Service, caller: service.Caller, user: str) -> bytes:
    message = b"\0".join((caller.app_id.encode(), user.encode()))
    return hmac.new(served.service_key.derive(b"fork-of-user"), message, hashlib.sha256).digest()[:16]


def request_of(served: service.Service, caller: service.Caller, what: str, fork_id: str, body: BaseModel) -> bytes:
    """32 bytes that are the same for the same request: the app, the route and every field that is not only about how
    the answer is sent, or that name fork and record. Keyed, so that no hash of content is kept about."""
    fields = body.model_dump(exclude={"stream", "stream_options", "user", "fork_id", "key"})
    spelled = json.dumps([caller.app_id, what, fork_id, fields], sort_keys=True)
    return hmac.digest(served.service_key.derive(b"request"), spelled.encode(), "sha256")
