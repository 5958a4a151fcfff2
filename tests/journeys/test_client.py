"""An app with `ledger.client` and a real service: everything by its verbs, and a service that dies under it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from ledger.client import AsyncClient, Client, Interaction, Kept, Learned, Message, Recorded, User
from ledger.merkle import leaf_hash
from ledger.record import SignedRecord
from tests.journeys.server import Place, Server
from tests.ledger.written import Writer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Serve = Callable[..., Server]


def test_an_app_writes_reads_and_proves_with_nothing_but_the_client(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    with Client(server.url) as anyone:
        keys = anyone.log_keys()
    writer = Writer(1, origin=keys.origin)

    with Client(server.url, api_key, log_key=keys.log, receipt_key=keys.receipt) as client:
        before = client.checkpoint()
        assert client.create_fork(writer.control()).receipt.version == 1
        first = client.append(writer.next(), wait="checkpoint")
        assert first.included is not None
        assert leaf_hash(first.included.entry) == first.receipt.entry_hash
        head = client.head(writer.fork_id)
        assert (head.version, head.interactions, head.entry_hash) == (2, 1, first.receipt.entry_hash)
        assert client.consistency(before.tree).checkpoint.tree.size == 2
        assert client.anchors().anchors == ()

    async def go_on() -> None:
        async with AsyncClient(server.url, api_key, keys.log, keys.receipt) as client:
            outcomes = await client.append_batch([writer.next() for _ in range(50)])
            assert all(isinstance(one, Recorded) for one in outcomes)
            several = [writer.record_id(number) for number in (1, 20, 51)]
            found = await asyncio.gather(*(client.evidence(writer.fork_id, each) for each in several))
            assert [one.shown.entry.version for one in found] == [2, 21, 52]
            kept = await client.entries(writer.fork_id, after=50)
            assert [one.entry.version for one in kept] == [51, 52]
            assert (await client.inclusion(first.receipt)).entry == (first.included and first.included.entry)

    asyncio.run(go_on())
    assert server.terminate() == 0
    assert place.audit().clean


def test_a_client_outlives_a_service_that_is_killed_and_started_again(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    port = server.url.rpartition(":")[2]
    with Client(server.url) as anyone:
        keys = anyone.log_keys()
    writer = Writer(1, origin=keys.origin)
    halfway, again = threading.Event(), threading.Event()
    pauses: list[float] = []
    written: list[SignedRecord] = []
    receipts: list[Recorded] = []

    def wait_for_the_next(seconds: float) -> None:
        pauses.append(seconds)
        again.wait(120)

    with Client(server.url, api_key, receipt_key=keys.receipt, pause=wait_for_the_next) as client:
        client.create_fork(writer.control())

        def write() -> None:
            for number in range(400):
                written.append(writer.next())
                receipts.append(client.append(written[-1]))
                if number == 50:
                    halfway.set()

        app = threading.Thread(target=write)
        app.start()
        assert halfway.wait(120)
        server.kill()
        serve(place, "--port", port)
        again.set()
        app.join(240)
        assert pauses, "the client noticed nothing"
        assert [one.receipt.version for one in receipts] == list(range(2, 402))
        kept: list[Kept] = []
        while page := client.entries(writer.fork_id, after=1 + len(kept)):
            kept += page
        assert [one.entry.body for one in kept] == [one.body for one in written]
        for one, promised in zip(kept, receipts, strict=True):
            assert leaf_hash(one.data) == promised.receipt.entry_hash


def test_a_stream_of_interactions_outlives_a_service_that_is_killed(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    port = server.url.rpartition(":")[2]
    with Client(server.url) as anyone:
        keys = anyone.log_keys()

    def begin_again(_: float) -> None:
        nonlocal server
        if server.process.poll() is not None:
            server = serve(place, "--port", port)

    def turns() -> Iterator[tuple[User, Interaction]]:
        for number in range(150):
            said = (Message("user", f"Who is {number}?"),)
            yield User(f"user {number % 3}"), Interaction(str(number), said, "Nobody.", rating=1 - number % 2)
            if number in (40, 90):
                server.kill()

    with Client(server.url, api_key, receipt_key=keys.receipt, pause=begin_again) as client:
        told = {one.key: one.outcome for one in client.interact_stream(turns())}
        assert sorted(told, key=int) == [str(number) for number in range(150)]
        for user in range(3):
            history = client.history(client.fork_of(f"user {user}").fork_id)
            mine = [told[str(number)] for number in range(user, 150, 3)]
            assert [one.record_id for one in history] == [isinstance(one, Learned) and one.record_id for one in mine]
    assert server.terminate() == 0
    assert place.audit().clean
