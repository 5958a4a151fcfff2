"""What the fork routes work with, and the few small things that several of them do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel

from ledger import service
from modelfork.api.turns import Turns
from modelfork.forks import Answered, ForkManager, Recorded


@dataclass(frozen=True, slots=True)
class Wired:
    manager: ForkManager
    turns: Turns[Answered]
    now: Callable[[], int]


def wired_of(request: Request) -> Wired:
    wired: Wired = request.app.state.forks
    return wired


Forks = Annotated[Wired, Depends(wired_of)]


def record_id_of(served: service.Service, caller: service.Caller, fork_id: str, idempotency_key: str | None) -> bytes:
    """A random record id; with an Idempotency-Key the one id that this key will always have in this fork."""
    if idempotency_key is None:
        return served.random(16)
    message = b"\0".join((caller.app_id.encode(), fork_id.encode(), idempotency_key.encode()))
    return hmac.new(served.service_key.derive(b"record-id"), message, hashlib.sha256).digest()[:16]


def fork_of_user(served: service.Service, forks: Wired, caller: service.Caller, user: str) -> str:
    """The one fork that an app has for this end user, made on first use. Its id is a keyed hash of both names: the
    user's lies nowhere, another app's is another fork, and who asks at the same time gets the same."""
    message = b"\0".join((caller.app_id.encode(), user.encode()))
    drawn = hmac.new(served.service_key.derive(b"fork-of-user"), message, hashlib.sha256).digest()[:16]
    fork_id = str(uuid.UUID(bytes=drawn, version=4))
    if served.keystore.app_of_fork(fork_id) == caller.app_id and served.ledger.store.head(fork_id) is not None:
        return fork_id
    return forks.manager.create(caller.app_id, drawn)


def request_of(served: service.Service, caller: service.Caller, what: str, fork_id: str, body: BaseModel) -> bytes:
    """32 bytes that are the same for the same request: the app, the route and every field that is not only about how
    the answer is sent. Keyed, so that no hash of content is kept about. `user` only names the fork."""
    fields = body.model_dump(exclude={"stream", "stream_options", "user"})
    spelled = json.dumps([caller.app_id, what, fork_id, fields], sort_keys=True)
    return hmac.digest(served.service_key.derive(b"request"), spelled.encode(), "sha256")


def recorded_view(recorded: Recorded) -> dict[str, Any]:
    """What the app is told about a record, once it is durable."""
    return {
        "record_id": recorded.record_id.hex(),
        "version": recorded.version,
        "leaf_index": recorded.leaf_index,
        "entry_hash": recorded.entry_hash.hex(),
        "learned": recorded.learned,
        "bytes": recorded.size,
        "receipt": base64.b64encode(recorded.receipt).decode(),
    }
