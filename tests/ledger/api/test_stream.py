"""One WebSocket: an answer for each frame, in order; bounded in what it keeps; ended with a word of why."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocket, WebSocketDisconnect

from ledger.api import stream as streams
from ledger.api.service import Service
from ledger.errors import Busy, Fenced, Unavailable
from ledger.record import encode_record
from tests.ledger.api.test_records import create
from tests.ledger.written import Writer

PATH = "/v1/records/stream"


@pytest.fixture
def http(anyone: TestClient, service: Service) -> TestClient:
    """An app's client whose requests and streams are all on one event loop, as in a server."""
    anyone.headers["authorization"] = f"Bearer {service.keystore.add_app('an app')[1]}"
    return anyone


@pytest.fixture
def writers(http: TestClient) -> list[Writer]:
    found = [Writer(number) for number in range(3)]
    for writer in found:
        create(http, writer)
    return found


@pytest.fixture
def opened(http: TestClient, writers: list[Writer]) -> Iterator[WebSocketTestSession]:
    with http.websocket_connect(PATH) as session:
        yield session


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not so():
        assert time.monotonic() < end
        time.sleep(0.005)


def heard(session: WebSocketTestSession, many: int) -> list[dict[str, Any]]:
    return [json.loads(session.receive_text()) for _ in range(many)]


def test_every_frame_gets_its_answer_in_order(
    opened: WebSocketTestSession, service: Service, writers: list[Writer]
) -> None:
    sent = [writer.next() for _ in range(30) for writer in writers]
    for record in sent:
        opened.send_bytes(encode_record(record))
    answers = heard(opened, 90)
    assert [answer["n"] for answer in answers] == list(range(90))
    assert [answer["leaf_index"] for answer in answers] == list(range(3, 93))
    for answer, record in zip(answers, sent, strict=True):
        assert service.ledger.open_receipt(answer["receipt"].encode()).entry_hash.hex() == answer["entry_hash"]
        assert service.ledger.payloads(answer["leaf_index"]) == dict(record.payloads)


def test_what_is_no_record_is_an_answer_too_and_the_stream_goes_on(
    opened: WebSocketTestSession, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writers[0]
    monkeypatch.setattr(streams, "LONGEST_REQUEST", 5000)
    opened.send_text("a secret that somebody typed")
    opened.send_bytes(b"")
    opened.send_bytes(b"\xff\xffa secret")
    opened.send_bytes(b"a secret" * 1000)
    opened.send_bytes(encode_record(writer.record(2)))
    opened.send_bytes(encode_record(writer.record(1)))
    answers = heard(opened, 6)
    assert [answer.get("status", 201) for answer in answers] == [400, 400, 400, 422, 409, 201]
    assert [answer["n"] for answer in answers] == list(range(6))
    assert "secret" not in json.dumps(answers)
    assert answers[4]["error"]["expected"] == 1
    assert service.ledger.size() == 4


def test_a_stream_needs_the_key_of_an_app_before_it_is_opened(anyone: TestClient) -> None:
    for headers in ({}, {"authorization": "Bearer fl_nobodys"}, {"authorization": "Basic x"}):
        with pytest.raises(WebSocketDenialResponse) as refused, anyone.websocket_connect(PATH, headers=headers):
            pass
        assert refused.value.status_code == 401
        assert refused.value.json()["error"]["code"] == "unauthorized"


def test_a_key_that_is_taken_back_ends_its_streams(
    opened: WebSocketTestSession, service: Service, writers: list[Writer]
) -> None:
    opened.send_bytes(encode_record(writers[0].next()))
    heard(opened, 1)
    (app,) = service.keystore.apps()
    service.keystore.remove_app(app.app_id)
    opened.send_bytes(encode_record(writers[0].next()))
    with pytest.raises(WebSocketDisconnect) as ended:
        opened.receive_text()
    assert ended.value.code == 4401
    assert service.ledger.size() == 4


def test_a_stream_that_breaks_off_and_is_taken_up_again_doubles_nothing(
    http: TestClient, service: Service, writers: list[Writer]
) -> None:
    sent = [writers[0].next() for _ in range(20)]
    with http.websocket_connect(PATH) as first:
        for record in sent[:12]:
            first.send_bytes(encode_record(record))
        known = heard(first, 5)
    with http.websocket_connect(PATH) as second:
        for record in sent:
            second.send_bytes(encode_record(record))
        answers = heard(second, 20)
    assert [answer["version"] for answer in answers] == list(range(2, 22))
    assert [answer["receipt"] for answer in answers[:5]] == [answer["receipt"] for answer in known]
    assert service.ledger.size() == 3 + 20


@pytest.mark.parametrize("bound", ["MOST_UNANSWERED", "MOST_BYTES_UNANSWERED"])
def test_a_stream_reads_no_further_than_it_may_without_an_answer(
    http: TestClient, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    frames = [encode_record(writers[0].next()) for _ in range(60)]
    monkeypatch.setattr(streams, bound, 8 if bound == "MOST_UNANSWERED" else sum(map(len, frames[:8])))
    go_on, entered = threading.Event(), threading.Event()
    real = service.ledger.admit
    most = 0

    def admit(records: Any) -> Any:
        nonlocal most
        most = max(most, len(records))
        entered.set()
        assert go_on.wait(10)
        return real(records)

    monkeypatch.setattr(service.ledger, "admit", admit)
    read = 0
    receive = WebSocket.receive

    async def counted(self: Any) -> Any:
        nonlocal read
        message = await receive(self)
        read += message["type"] == "websocket.receive"
        return message

    monkeypatch.setattr(WebSocket, "receive", counted)
    with http.websocket_connect(PATH) as session:
        for frame in frames:
            session.send_bytes(frame)
        assert entered.wait(10)
        until(lambda: read == 8)
        for _ in range(5):
            http.get("/healthz")  # the event loop goes round
        assert read == 8
        go_on.set()
        answers = heard(session, 60)
    assert [answer["version"] for answer in answers] == list(range(2, 62))
    assert most <= 8


def test_a_stream_waits_while_the_queue_is_full(
    opened: WebSocketTestSession, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.ledger.submit
    refused: list[int] = []

    def submit(admitted: Any) -> Any:
        if len(refused) < 3:
            refused.append(len(admitted))
            raise Busy("append: too many wait", 0.01)
        return real(admitted)

    monkeypatch.setattr(service.ledger, "submit", submit)
    for _ in range(5):
        opened.send_bytes(encode_record(writers[0].next()))
    assert [answer["version"] for answer in heard(opened, 5)] == [2, 3, 4, 5, 6]
    assert len(refused) == 3


def test_a_stream_does_not_wait_for_ever(
    opened: WebSocketTestSession, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.ledger.submit

    def submit(_: Any) -> Any:
        raise Busy("append: too many wait", 0.001)

    monkeypatch.setattr(service.ledger, "submit", submit)
    record = encode_record(writers[0].next())
    opened.send_bytes(record)
    (answer,) = heard(opened, 1)
    assert (answer["n"], answer["status"], answer["error"]["code"]) == (0, 429, "busy")
    monkeypatch.setattr(service.ledger, "submit", real)
    opened.send_bytes(record)
    assert heard(opened, 1)[0]["version"] == 2


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("database: lost"), "unavailable"), (Fenced("log: taken over"), "fenced")]
)
def test_a_database_that_is_lost_is_the_answer_to_what_was_under_way(
    opened: WebSocketTestSession, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch,
    error: Unavailable, code: str,
) -> None:  # fmt: skip
    real = service.ledger.submit
    failed: Future[Any] = Future()
    failed.set_exception(error)
    monkeypatch.setattr(service.ledger, "submit", lambda _: failed)
    record = encode_record(writers[0].next())
    opened.send_bytes(record)
    (answer,) = heard(opened, 1)
    assert (answer["n"], answer["status"], answer["error"]["code"]) == (0, 503, code)
    monkeypatch.setattr(service.ledger, "submit", real)
    opened.send_bytes(record)
    assert heard(opened, 1)[0]["version"] == 2


def test_what_nobody_foresaw_ends_a_stream_without_a_word_of_it(
    opened: WebSocketTestSession, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def submit(_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(service.ledger, "submit", submit)
    opened.send_bytes(encode_record(writers[0].next()))
    with pytest.raises(WebSocketDisconnect) as ended:
        opened.receive_text()
    assert ended.value.code == 1011
    assert f"WebSocket {PATH} failed: RuntimeError at " in caplog.text
    assert "secret" not in caplog.text + ended.value.reason


def test_a_service_that_stops_answers_what_it_read_and_opens_no_more(
    http: TestClient, opened: WebSocketTestSession, service: Service, writers: list[Writer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    go_on, entered = threading.Event(), threading.Event()
    real = service.ledger.admit

    def admit(records: Any) -> Any:
        entered.set()
        assert go_on.wait(10)
        return real(records)

    monkeypatch.setattr(service.ledger, "admit", admit)
    opened.send_bytes(encode_record(writers[0].next()))
    assert entered.wait(10)
    for _ in range(4):
        opened.send_bytes(encode_record(writers[0].next()))
    http.get("/healthz")
    service_of_it: Any = http.app
    assert http.portal is not None
    finishing = http.portal.start_task_soon(service_of_it.state.streams.finish, 10)
    http.get("/healthz")
    with pytest.raises(WebSocketDenialResponse) as refused, http.websocket_connect(PATH):
        pass
    assert refused.value.status_code == 503
    go_on.set()
    finishing.result(10)
    answers = heard(opened, 5)
    with pytest.raises(WebSocketDisconnect) as ended:
        opened.receive_text()
    assert ended.value.code == 1012
    assert [answer["version"] for answer in answers] == [2, 3, 4, 5, 6]
    assert service.ledger.size() == 3 + 5
