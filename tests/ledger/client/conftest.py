"""Both clients on the real service, over a line that can lose, delay and forge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pytest
from starlette.testclient import TestClient

from ledger import note
from ledger.api.service import Service
from ledger.client import AsyncClient, Client
from tests.ledger.api.conftest import anyone, service, writer
from tests.ledger.written import LOG_KEY, RECEIPT_KEY

__all__ = ["anyone", "service", "writer"]

Forge = Callable[[httpx.Request, httpx.Response], httpx.Response]
Make = Callable[..., Client]


class Line:
    """Between a client and the service. What is in `next` happens to one request each, in that order.

    An answer in it comes in the place of the service's; "lose the request" and "lose the answer" are what they say.
    """

    def __init__(self, http: TestClient) -> None:
        self._http = http
        self.next: list[httpx.Response | str] = []
        self.forge: Forge = lambda _, answer: answer
        self.asked: list[httpx.Request] = []
        self.pauses: list[float] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        answer = self._answer(request)
        if answer.is_stream_consumed:  # made with its content, where one from a network is still to be read
            return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        happens = self.next.pop(0) if self.next else ""
        if isinstance(happens, httpx.Response):
            return happens
        if happens == "lose the request":
            raise httpx.ConnectError("no", request=request)
        came = self._http.request(
            request.method, str(request.url), content=request.content, headers=dict(request.headers)
        )
        if happens == "lose the answer":
            raise httpx.ReadError("cut", request=request)
        headers = {name: came.headers[name] for name in ("content-type", "retry-after") if name in came.headers}
        return self.forge(request, httpx.Response(came.status_code, headers=headers, content=came.content))


class _Awaiting:
    """An `AsyncClient` that looks like a `Client`, so that one suite holds for both."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, verb: str) -> Any:
        return lambda *given, **named: self._runner.run(getattr(self._client, verb)(*given, **named))


@pytest.fixture
def line(anyone: TestClient) -> Line:
    return Line(anyone)


@pytest.fixture(params=["waiting", "awaited"])
def make(request: pytest.FixtureRequest, line: Line) -> Iterator[Make]:
    """Makes a client over the line, with whatever keys it is given."""
    if request.param == "waiting":
        made: list[Client] = []

        def waiting(**keys: Any) -> Client:
            transport = httpx.MockTransport(line.answer)
            made.append(Client("http://testserver/", transport=transport, pause=line.pauses.append, **keys))
            return made[-1]

        yield waiting
        for client in made:
            client.close()
        return

    async def pause(seconds: float) -> None:
        line.pauses.append(seconds)

    with asyncio.Runner() as runner:
        awaited: list[AsyncClient] = []

        def awaiting(**keys: Any) -> Client:
            transport = httpx.MockTransport(line.answer)
            awaited.append(AsyncClient("http://testserver/", transport=transport, pause=pause, **keys))
            return cast(Client, _Awaiting(runner, awaited[-1]))

        yield awaiting
        for each in awaited:
            runner.run(each.aclose())


@pytest.fixture
def api_key(service: Service) -> str:
    return service.keystore.add_app("an app")[1]


@pytest.fixture
def client(make: Make, api_key: str) -> Client:
    """An app's client that has pinned both keys of the log."""
    return make(api_key=api_key, log_key=LOG_KEY.vkey, receipt_key=RECEIPT_KEY.vkey)


@pytest.fixture
def stranger() -> note.Ed25519Signer:
    """A log of the same name with another key."""
    return note.Ed25519Signer(LOG_KEY.name, bytes(32))
