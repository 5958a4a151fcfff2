"""Many who append at once: they share transactions, hold no threads, and are refused rather than kept when too many."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from ledger import groupcommit
from ledger.api import appending
from ledger.api.app import create_app
from ledger.api.service import Service
from ledger.door import admit_control
from ledger.errors import Busy, Fenced, LedgerError, Unavailable
from ledger.record import SignedRecord, encode_batch, encode_record
from ledger.store import Epoch, Write
from tests.ledger.written import ORIGIN, Writer


def forks(service: Service, many: int) -> tuple[str, list[Writer]]:
    """An API key, and forks of its app."""
    app, api_key = service.keystore.add_app("an app")
    writers = [Writer(number) for number in range(many)]
    service.ledger._sequencer.append([admit_control(ORIGIN, writer.control()) for writer in writers])
    service.keystore._connection.executemany(
        "INSERT INTO forks VALUES (?,?,NULL)", [(writer.fork_id, app.app_id) for writer in writers]
    )
    return api_key, writers


@asynccontextmanager
async def client(service: Service, api_key: str) -> AsyncIterator[httpx.AsyncClient]:
    """Requests on this very event loop, as many at once as one likes."""
    transport = httpx.ASGITransport(create_app(service, lambda: None))
    headers = {"authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers, timeout=60) as http:
        yield http


def posted(http: httpx.AsyncClient, record: SignedRecord) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(http.post("/v1/records", content=encode_record(record)))


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not so():
            await asyncio.sleep(0.005)


@dataclass
class Disk:
    """The store's transactions: how many there were, and whether they get on."""

    go_on: threading.Event
    begun: int = 0


@pytest.fixture
def disk(service: Service, monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk(threading.Event())
    real = service.ledger.store.write

    @contextmanager
    def write(epoch: Epoch | None = None) -> Iterator[Write]:
        found.begun += 1
        assert found.go_on.wait(20)
        with real(epoch) as transaction:
            yield transaction

    monkeypatch.setattr(service.ledger.store, "write", write)
    return found


def test_500_appends_at_once_share_a_few_transactions_and_hold_no_thread(service: Service, disk: Disk) -> None:
    disk.go_on.set()
    api_key, writers = forks(service, 500)
    disk.go_on.clear()
    disk.begun = 0
    threads = threading.active_count()

    async def work() -> list[httpx.Response]:
        async with client(service, api_key) as http:
            appends = [posted(http, writer.next()) for writer in writers]
            await until(lambda: service.ledger.waiting == 500)
            assert threading.active_count() < threads + 50
            path = f"/v1/forks/{writers[0].fork_id}/entries"
            assert (await http.get(path)).status_code == 200  # which needs a thread, and gets one
            disk.go_on.set()
            return [await append for append in appends]

    answers = asyncio.run(work())
    assert [answer.status_code for answer in answers] == [201] * 500
    assert service.ledger.size() == 1000
    assert disk.begun <= 3  # the first that came goes alone; what came until it was done shares the next
    leaves = [answer.json()["leaf_index"] for answer in answers]
    assert sorted(leaves) == list(range(500, 1000))


@pytest.mark.parametrize("where", [groupcommit, appending], ids=["in the queue", "before the door"])
def test_a_full_queue_refuses_and_keeps_nothing_of_what_it_refused(
    service: Service, disk: Disk, monkeypatch: pytest.MonkeyPatch, where: Any
) -> None:
    disk.go_on.set()
    api_key, writers = forks(service, 200)
    disk.go_on.clear()
    monkeypatch.setattr(where, "MOST_WAITING", 10)
    long = [writer.record(1, said="x" * 20_000) for writer in writers]

    async def work() -> None:
        async with client(service, api_key) as http:
            taken = [posted(http, record) for record in long[:10]]
            await until(lambda: service.ledger.waiting == 10)
            refused = [await posted(http, record) for record in long[10:30]]
            assert {answer.status_code for answer in refused} == {429}
            assert {answer.headers["retry-after"] for answer in refused} == {"1"}
            assert {answer.json()["error"]["code"] for answer in refused} == {"busy"}
            assert {answer.json()["error"]["type"] for answer in refused} == {"rate_limit_error"}
            del refused
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            for record in long[30:]:
                assert (await posted(http, record)).status_code == 429
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            assert grown < 1 << 20  # of more than 6 MB that came
            assert service.ledger.waiting == 10
            disk.go_on.set()
            assert {(await append).status_code for append in taken} == {201}
            assert (await posted(http, long[10])).status_code == 201
            await until(lambda: service.ledger.waiting == 0)

    asyncio.run(work())
    assert service.ledger.size() == 200 + 11


def test_what_nobody_foresaw_at_the_door_is_one_callers_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_key, writers = forks(service, 4)
    records = [writer.next() for writer in writers]
    entered, go_on = threading.Event(), threading.Event()
    real = service.ledger.admit
    lots: list[int] = []

    def admit(arrived: Sequence[SignedRecord]) -> Any:
        lots.append(len(arrived))
        entered.set()
        assert go_on.wait(10)
        if any(each.body == records[2].body for each in arrived):
            raise RuntimeError("a fault of ours")
        return real(arrived)

    monkeypatch.setattr(service.ledger, "admit", admit)

    async def work() -> list[int]:
        async with client(service, api_key) as http:
            first = posted(http, records[0])
            await until(entered.is_set)
            others = [posted(http, record) for record in records[1:]]
            await asyncio.sleep(0.3)  # they stand before the door
            go_on.set()
            return [(await append).status_code for append in (first, *others)]

    transport_raises = asyncio.run(work())
    assert transport_raises == [201, 201, 500, 201]
    assert lots == [1, 3, 1, 1, 1]
    assert service.ledger.size() == 4 + 3


# --- errors of the whole ------------------------------------------------------------------------------------

FAILING: dict[str, tuple[LedgerError, int, str, str | None]] = {
    "busy": (Busy("append: too many", 2.3), 429, "busy", "3"),
    "lost": (Unavailable("database: the connection was lost"), 503, "unavailable", "1"),
    "superseded": (Fenced("log: another process writes it"), 503, "fenced", None),
}


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("path", ["/v1/records", "/v1/records/batch"])
def test_what_cannot_be_done_now_says_when_to_come_again(
    http: TestClient, service: Service, writer: Writer, monkeypatch: pytest.MonkeyPatch,
    failing: str, when: str, path: str,
) -> None:  # fmt: skip
    error, status, code, retry_after = FAILING[failing]

    def submit(_: object) -> Future[Any]:
        if when == "at once":
            raise error
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    monkeypatch.setattr(service.ledger, "submit", submit)
    record = writer.next()
    answer = http.post(path, content=encode_record(record) if path == "/v1/records" else encode_batch([record]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == retry_after
    assert answer.json()["error"]["message"] == f"{error}; to ask again with the same bytes is safe"
    assert answer.json()["error"]["type"] == ("rate_limit_error" if status == 429 else "server_error")


def test_a_database_that_is_lost_at_the_door_is_unavailable(
    http: TestClient, service: Service, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: object) -> Any:
        raise Unavailable("database: cannot be reached")

    monkeypatch.setattr(service.ledger.store, "first_entries", lost)
    answer = http.post("/v1/records", content=encode_record(writer.next()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
