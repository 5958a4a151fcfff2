"""What the service holds of bodies is bounded: for one request, and for all of them together."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from ledger.api import limits
from ledger.api.limits import BodyLimit


class Slow:
    """An application that answers once it is told to, with how much it was sent."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        self.at_work += 1
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(body)})


def asked(app: BodyLimit, *bodies: Any) -> list[asyncio.Task[httpx.Response]]:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")
    return [asyncio.create_task(http.post("/", content=body)) for body in bodies]


def test_more_than_may_be_held_is_refused_until_others_are_answered() -> None:
    async def work() -> None:
        slow = Slow()
        app = BodyLimit(slow, limit=100, most_held=250)
        held = asked(app, bytes(100), bytes(100))
        while slow.at_work < 2:
            await asyncio.sleep(0)
        (refused,) = [await one for one in asked(app, bytes(51))]
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "busy"
        small = asked(app, bytes(50), b"")  # what still fits, and what holds nothing
        while slow.at_work < 4:
            await asyncio.sleep(0)
        slow.go_on.set()
        assert [(await one).text for one in (*held, *small)] == ["100", "100", "50", "0"]
        again = [await one for one in asked(app, bytes(100), bytes(100))]
        assert [one.status_code for one in again] == [200, 200]
        assert app._held == 0

    asyncio.run(work())


def test_a_body_without_an_announced_length_is_counted_as_it_comes() -> None:
    async def parts(many: int) -> Any:
        for _ in range(many):
            yield bytes(30)

    async def work() -> None:
        slow = Slow()
        slow.go_on.set()
        app = BodyLimit(slow, limit=100, most_held=250)
        taken, refused = [await one for one in asked(app, parts(3), parts(4))]
        assert (taken.text, refused.status_code) == ("90", 413)
        assert app._held == 0

    asyncio.run(work())


def test_a_body_that_stalls_is_refused_and_no_longer_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_SECONDS", 0.05)
    sent: list[Message] = []

    async def never(_: Scope, __: Receive, ___: Send) -> None:
        raise AssertionError("a body that is not whole reaches nobody")

    app = limits.BodyLimit(never, most_held=10)
    parts: list[Message] = [{"type": "http.request", "body": b"12345678", "more_body": True}]

    async def receive() -> Message:
        if parts:
            return parts.pop()
        await asyncio.sleep(60)
        raise AssertionError("not waited for")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/records", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert app._held == 0
