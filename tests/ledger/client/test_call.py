"""The same bytes are sent again where that is safe, a bounded number of times, and end up in the log once."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ledger.api import appending
from ledger.api.errors import error_object
from ledger.api.service import Service
from ledger.client import Client, Recorded, call
from ledger.errors import Busy, Malformed, Unavailable
from tests.ledger.client.conftest import Line
from tests.ledger.written import Writer


@pytest.fixture
def created(client: Client, writer: Writer, line: Line) -> Writer:
    client.create_fork(writer.control())
    line.asked.clear()
    return writer


def refusal(status: int, code: str, retry_after: str | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return httpx.Response(status, json={"error": error_object(status, code, "not now")}, headers=headers)


@pytest.mark.parametrize("happens", ["lose the request", "lose the answer"])
def test_an_append_of_which_nothing_was_heard_is_sent_again_and_recorded_once(
    client: Client, line: Line, service: Service, created: Writer, happens: str
) -> None:
    record = created.next()
    line.next = [happens, happens]
    receipt = client.append(record).receipt
    assert (receipt.version, service.ledger.size()) == (2, 2)
    assert len({request.content for request in line.asked}) == 1
    assert line.pauses == [0.5, 1.0]


def test_a_batch_and_a_forks_first_entry_are_recorded_once_too(
    client: Client, line: Line, service: Service, writer: Writer
) -> None:
    line.next = ["lose the answer"]
    assert client.create_fork(writer.control()).receipt.version == 1
    line.next = ["lose the answer"]
    outcomes = client.append_batch([writer.next(), writer.next()])
    assert [one.receipt.version for one in outcomes if isinstance(one, Recorded)] == [2, 3]
    assert service.ledger.size() == 3


@pytest.mark.parametrize("happens", [refusal(429, "busy", "3"), refusal(503, "unavailable", "3")])
def test_who_is_told_when_to_come_again_comes_then(
    client: Client, line: Line, created: Writer, happens: httpx.Response
) -> None:
    line.next = [happens, happens]
    assert client.append(created.next()).receipt.version == 2
    assert line.pauses == [3.0, 3.0]


@pytest.mark.parametrize("retry_after", [None, "soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "1.5", "1e3"])
def test_without_a_word_on_when_the_pauses_grow(
    client: Client, line: Line, created: Writer, retry_after: str | None
) -> None:
    line.next = [refusal(503, "unavailable", retry_after)] * 3
    assert client.append(created.next()).receipt.version == 2
    assert line.pauses == [0.5, 1.0, 2.0]


def test_it_is_given_up_in_the_end(client: Client, line: Line, service: Service, created: Writer) -> None:
    line.next = ["lose the request"] * 99
    with pytest.raises(Unavailable, match=r"/v1/records: no answer \(ConnectError\)"):
        client.append(created.next())
    assert (len(line.asked), service.ledger.size()) == (call.TRIES, 1)


def test_who_is_told_to_come_much_later_is_told_so(client: Client, line: Line, created: Writer) -> None:
    line.next = [refusal(429, "busy", "3600")]
    with pytest.raises(Busy) as caught:
        client.append(created.next())
    assert (caught.value.retry_after, len(line.asked), line.pauses) == (3600, 1, [])


def test_a_queue_that_stays_full_is_told_with_what_the_service_said(
    client: Client, line: Line, service: Service, created: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "MOST_WAITING", 0)
    with pytest.raises(Busy) as caught:
        client.append_batch([created.next()])
    assert caught.value.retry_after == 1
    assert (line.pauses, service.ledger.size()) == ([1.0, 1.0, 2.0], 1)


def test_reading_is_tried_again_too(client: Client, line: Line, created: Writer) -> None:
    line.next = ["lose the answer", httpx.Response(502, text="a proxy's page")]
    assert client.inclusion(0).leaf_index == 0
    assert len(line.asked) == 3


class _Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that has no end worth waiting for, and counts what was taken of it."""

    def __init__(self, part: bytes) -> None:
        self.part = part
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while self.taken < 16 * call.LONGEST_ANSWER:
            self.taken += len(self.part)
            yield self.part

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        for part in iter(self):
            yield part


def test_an_answer_without_end_is_not_taken_into_memory(client: Client, line: Line) -> None:
    body = _Endless(b"x" * 65_536)
    line.next = [httpx.Response(200, stream=body)]
    with pytest.raises(Malformed, match="at most"):
        client.checkpoint()
    assert body.taken <= call.LONGEST_ANSWER + 65_536


def test_an_answer_that_drips_is_given_up(client: Client, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "MOST_SECONDS", 0.0)
    line.next = [httpx.Response(200, stream=_Endless(b"x")) for _ in range(call.TRIES)]
    with pytest.raises(Unavailable, match="took more than"):
        client.checkpoint()
