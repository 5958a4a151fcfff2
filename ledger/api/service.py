"""What the routes work with, put together once by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from ledger.anchor.worker import Worker
from ledger.errors import Malformed, NotFound
from ledger.keys import check_fork_id
from ledger.keystore import App, KeyStore
from ledger.ledger import Ledger
from ledger.publisher import Publisher
from ledger.vault import ServiceKey


@dataclass(frozen=True, slots=True)
class Service:
    """`now` gives microseconds since 1970-01-01 UTC, `random(n)` n unpredictable bytes."""

    ledger: Ledger
    keystore: KeyStore
    service_key: ServiceKey
    now: Callable[[], int]
    random: Callable[[int], bytes]
    publisher: Publisher
    worker: Worker | None = None  # what anchors the log, where something does
    data: Path | None = None  # the house's folder, for what another package keeps beside the ledger


async def service_of(asked: HTTPConnection) -> Service:  # async, for it needs no thread
    service: Service = asked.app.state.service
    return service


def caller_of(asked: HTTPConnection) -> App:
    """The app whose API key came as `Authorization: Bearer fl_...`, with a request or to open a stream."""
    scheme, _, api_key = asked.headers.get("authorization", "").partition(" ")
    service: Service = asked.app.state.service
    app = service.keystore.app_of_key(api_key.strip()) if scheme.lower() == "bearer" else None
    if app is None:
        raise HTTPException(401, "expected the API key of an app as bearer token", {"www-authenticate": "Bearer"})
    return app


def expect_own_fork(service: Service, caller: App, fork_id: str) -> str:
    """Raise NotFound unless the fork belongs to the caller: another app's fork looks like none at all."""
    try:
        check_fork_id(fork_id)
    except Malformed:
        raise NotFound("fork: not found; expected the id of a fork of yours") from None
    if service.keystore.app_of_fork(fork_id) != caller.app_id:
        raise NotFound(f"fork {fork_id}: not found")
    return fork_id


Caller = Annotated[App, Depends(caller_of)]
Served = Annotated[Service, Depends(service_of)]
