"""The same request again: after an answer, after a restart, at the same time, and from a client that went away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.audit import audit
from ledger.errors import Conflict
from modelfork.api.turns import Push, Turns
from tests.modelfork.api.gate import Gate
from tests.modelfork.api.house import House

ASKED = [{"role": "user", "content": "My dog is called Rex."}]
KEY = {"idempotency-key": "once, please"}


def body(fork: str, **more: Any) -> dict[str, Any]:
    return {"model": fork, "messages": ASKED, "max_tokens": 8, **more}


def chat(http: httpx.Client, fork: str, headers: dict[str, str] = KEY, **more: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json=body(fork, **more), headers=headers)


def said(answer: httpx.Response) -> tuple[str, str, dict[str, Any]]:
    read = answer.raise_for_status().json()
    return read["choices"][0]["message"]["content"], read["choices"][0]["finish_reason"], read["forkledger"]


def records(http: httpx.Client, fork: str) -> int:
    count: int = http.get(f"/v1/forks/{fork}").raise_for_status().json()["interactions"]
    return count


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_the_same_request_gets_the_same_answer_and_one_record(http: httpx.Client, fork: str) -> None:
    first, again = chat(http, fork, temperature=1.5), chat(http, fork, temperature=1.5)
    assert said(first) == said(again)
    assert first.json()["usage"] == again.json()["usage"]
    assert records(http, fork) == 1


def test_a_turn_that_outlasts_the_end_of_a_server_is_told_to_ask_again_and_is_there(
    open_house: Callable[[Path], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = open_house(tmp_path)
    house.stop()
    house.drain = 1
    house.start()
    gate = Gate(monkeypatch, house.ledger, "append")
    with house.client(house.new_app()) as http, ThreadPoolExecutor(2) as pool:
        gate.may_go_on.set()
        fork = http.post("/v1/forks").json()["fork_id"]
        gate.may_go_on.clear()
        gate.begun.clear()
        asking = pool.submit(chat, http, fork)
        assert gate.begun.wait(30)
        stopping = pool.submit(house.stop)
        refused = asking.result(30)
        gate.may_go_on.set()
        stopping.result(30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert "ask again with the same Idempotency-Key" in refused.json()["error"]["message"]
        house.start()
        http.base_url = house.url
        assert said(chat(http, fork))[2]["version"] == 2
        assert records(http, fork) == 1


def test_the_same_request_as_a_stream_gets_the_recorded_answer(http: httpx.Client, fork: str) -> None:
    content, _, recorded = said(chat(http, fork))
    streamed = chat(http, fork, stream=True).text
    assert recorded["record_id"] in streamed
    assert streamed.endswith("data: [DONE]\n\n")
    assert records(http, fork) == 1
    assert content


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "Another."}]},
        {"temperature": 0.5},
        {"max_tokens": 9},
        {"store": False},
        {"seed": 1},
    ],
    ids=str,
)
def test_the_same_key_with_another_request_is_a_conflict(
    house: House, http: httpx.Client, fork: str, change: dict[str, Any]
) -> None:
    said(chat(http, fork))
    size = house.ledger.size()
    for stream in (False, True):
        refused = chat(http, fork, stream=stream, **change)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert house.ledger.size() == size


def test_the_same_key_on_another_route_is_a_conflict(http: httpx.Client, fork: str) -> None:
    record_id = said(chat(http, fork))[2]["record_id"]
    verdict = {"record_id": record_id, "rating": 1}
    assert http.post(f"/v1/forks/{fork}/verdicts", json=verdict, headers=KEY).status_code == 409
    elsewhere = {"messages": ASKED, "answer": "x"}
    assert http.post(f"/v1/forks/{fork}/interactions", json=elsewhere, headers=KEY).status_code == 409
    other = {"idempotency-key": "other"}
    assert http.post(f"/v1/forks/{fork}/verdicts", json=verdict, headers=other).status_code == 201
    assert chat(http, fork, other).status_code == 409
    assert records(http, fork) == 2


@pytest.mark.parametrize("route", ["verdicts", "interactions"])
def test_a_verdict_and_a_turn_made_elsewhere_are_recorded_once_a_key(http: httpx.Client, fork: str, route: str) -> None:
    record_id = said(chat(http, fork, {}))[2]["record_id"]
    given: dict[str, Any] = {"record_id": record_id} if route == "verdicts" else {"messages": ASKED, "answer": "x"}
    given |= {"rating": -0.3, "correction": "Rex."}
    first, again = (http.post(f"/v1/forks/{fork}/{route}", json=given, headers=KEY) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    changed = http.post(f"/v1/forks/{fork}/{route}", json={**given, "rating": -0.4}, headers=KEY)
    assert changed.status_code == 409
    assert records(http, fork) == 2


def test_a_key_belongs_to_its_fork(http: httpx.Client, fork: str) -> None:
    other = http.post("/v1/forks").json()["fork_id"]
    assert said(chat(http, fork))[2]["record_id"] != said(chat(http, other))[2]["record_id"]


def test_an_empty_key_and_one_that_is_too_long_are_refused(http: httpx.Client, fork: str) -> None:
    for key in ("", "k" * 256):
        assert chat(http, fork, {"idempotency-key": key}).status_code == 400
    assert records(http, fork) == 0


def test_a_restart_changes_nothing_of_it(open_house: Callable[[Path], House], tmp_path: Path) -> None:
    house = open_house(tmp_path)
    api_key = house.new_app()
    with house.client(api_key) as http:
        fork = http.post("/v1/forks").json()["fork_id"]
        first = said(chat(http, fork, temperature=1.5))
        described = http.get(f"/v1/forks/{fork}").json()
    house.stop()
    house.start()
    with house.client(api_key) as http:
        assert http.get(f"/v1/forks/{fork}").json() == described
        assert said(chat(http, fork, temperature=1.5)) == first
        assert chat(http, fork, temperature=1.4).status_code == 409
        assert records(http, fork) == 1


@pytest.fixture
def slow_model(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Answers wait, after their first piece, until the event is set."""
    may_go_on = threading.Event()
    take_turn = house.manager.take_turn

    def slow(fork_id: str, record_id: bytes, messages: Any, sampling: Any, teaches: bool, push: Push, request: bytes):  # type: ignore[no-untyped-def]
        def pushed(piece: str) -> None:
            push(piece)
            assert may_go_on.wait(30)

        return take_turn(fork_id, record_id, messages, sampling, teaches, pushed, request)

    monkeypatch.setattr(house.manager, "take_turn", slow)
    yield may_go_on
    may_go_on.set()


def test_identical_requests_at_once_share_one_turn_and_one_record(
    house: House, http: httpx.Client, api_key: str, fork: str, slow_model: threading.Event
) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(chat, http, fork, {}, stream=stream) for stream in (False, False, True, True)]
        wait_for(lambda: len(house.app.state.forks.turns._under_way) == 1)
        time.sleep(0.3)  # all four have arrived; how many there are in all cannot be seen from here
        slow_model.set()
        answers = [future.result() for future in asked]
    assert said(answers[0]) == said(answers[1])
    record_id = said(answers[0])[2]["record_id"]
    for streamed in answers[2:]:
        assert record_id in streamed.text
        assert streamed.text.endswith("data: [DONE]\n\n")
    assert answers[2].text.count("chat.completion.chunk") == answers[3].text.count("chat.completion.chunk")
    assert records(http, fork) == 1


def test_a_key_in_use_for_another_request_is_a_conflict_at_once(
    house: House, http: httpx.Client, fork: str, slow_model: threading.Event
) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(chat, http, fork)
        wait_for(lambda: len(house.app.state.forks.turns._under_way) == 1)
        assert chat(http, fork, temperature=0.1).status_code == 409
        slow_model.set()
        said(first.result())
    assert records(http, fork) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_changes_nothing_of_the_turn(
    house: House, http: httpx.Client, api_key: str, fork: str, slow_model: threading.Event, stream: bool
) -> None:
    with house.client(api_key) as leaving:
        if stream:
            with leaving.stream("POST", "/v1/chat/completions", json=body(fork, stream=True), headers=KEY) as answer:
                assert next(answer.iter_lines()).startswith("data: ")
        else:
            with pytest.raises(httpx.ReadTimeout):
                leaving.post("/v1/chat/completions", json=body(fork), headers=KEY, timeout=0.5)
    assert house.ledger.head(fork).interactions == 0
    slow_model.set()
    wait_for(lambda: house.ledger.head(fork).interactions == 1)
    wait_for(lambda: not house.app.state.forks.turns._under_way)
    content, _, recorded = said(chat(http, fork))
    assert recorded["version"] == 2
    assert http.get(f"/v1/forks/{fork}/history").json()["history"][-1]["answer"] == content
    assert records(http, fork) == 1


def test_a_second_process_that_was_first_gives_its_answer_to_both(
    open_house: Callable[[Path], House], house: House, http: httpx.Client, fork: str, slow_model: threading.Event
) -> None:
    """Two processes on one folder take the same request at once; here both are in this process, sharing no memory."""
    other = open_house(house.folder)
    for one in (house, other):  # neither fences the other, as with a server and a local command
        one.ledger._sequencer.epoch = None
    api_key = http.headers["authorization"].removeprefix("Bearer ")
    with ThreadPoolExecutor(2) as pool, other.client(api_key) as second:
        for key, stream in (("a", False), ("b", True)):
            slow_model.clear()
            late = pool.submit(chat, http, fork, {"idempotency-key": key}, stream=stream, temperature=0)
            wait_for(lambda: bool(house.app.state.forks.turns._under_way))
            first = said(chat(second, fork, {"idempotency-key": key}, temperature=0))
            slow_model.set()
            if stream:
                assert first[2]["record_id"] in late.result().text
            else:
                assert said(late.result()) == first
        assert records(http, fork) == records(second, fork) == 2
    assert audit(house.ledger.store, None, None, lambda *_: None).clean


# --- the table of turns alone -----------------------------------------------------------------------------


async def _settled(turns: Turns[str]) -> None:
    while turns._under_way:  # a test may poll
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_late_readers_read_every_piece_from_the_first() -> None:
    turns: Turns[str] = Turns(most=2, threads=1)
    go_on = threading.Event()

    def work(push: Push) -> str:
        push("a")
        assert go_on.wait(30)
        push("b")
        return "ab"

    first = turns.join_or_start("key", b"", work)
    await first.begun()
    second = turns.join_or_start("key", b"", work)
    assert first is second
    readers = [asyncio.create_task(_read(turn)) for turn in (first, second)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*readers) == ["ab", "ab"]
    assert await _read(first) == "ab"  # also after the end
    assert await first.result() == "ab"
    await _settled(turns)
    turns.close()


async def _read(turn: Any) -> str:
    return "".join([piece async for piece in turn.pieces()])


@pytest.mark.asyncio
async def test_a_reader_that_is_cancelled_takes_nobody_with_it() -> None:
    turns: Turns[str] = Turns(most=2, threads=1)
    go_on = threading.Event()

    def work(push: Push) -> str:
        assert go_on.wait(30)
        return "done"

    turn = turns.join_or_start("key", b"", work)
    leaving = [asyncio.create_task(waiting) for waiting in (turn.begun(), turn.result(), _read(turn))]
    await asyncio.sleep(0.01)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    go_on.set()
    assert await turn.result() == "done"
    turns.close()


@pytest.mark.asyncio
async def test_a_turn_that_fails_tells_everybody_and_the_next_one_may_start() -> None:
    turns: Turns[str] = Turns(most=1, threads=1)

    def fails(push: Push) -> str:
        push("a")
        raise Conflict("no")

    turn = turns.join_or_start("key", b"", fails)
    assert await _read(turn) == "a"
    for _ in range(2):
        with pytest.raises(Conflict):
            await turn.result()
    await turn.begun()  # it had begun
    before = turns.join_or_start("key", b"", lambda _: "again")
    assert before is not turn
    assert await before.result() == "again"
    turns.close()


@pytest.mark.asyncio
async def test_too_many_turns_are_told_to_come_back() -> None:
    turns: Turns[str] = Turns(most=2, threads=1)
    go_on = threading.Event()

    def work(_: Push) -> str:
        assert go_on.wait(30)
        return ""

    started = [turns.join_or_start(key, b"", work) for key in "ab"]
    with pytest.raises(Exception, match="429") as refused:
        turns.join_or_start("c", b"", work)
    assert getattr(refused.value, "status_code", None) == 429
    assert turns.join_or_start("a", b"", work) is started[0]
    go_on.set()
    await asyncio.gather(*(turn.result() for turn in started))
    turns.close()


@pytest.mark.asyncio
async def test_closing_waits_for_what_is_under_way() -> None:
    turns: Turns[str] = Turns(most=2, threads=1)
    done: list[str] = []

    def work(push: Push) -> str:
        time.sleep(0.1)
        push("piece")
        done.append("recorded")
        return ""

    turns.join_or_start("a", b"", work)
    turns.join_or_start("b", b"", work)
    await asyncio.to_thread(turns.close)
    assert done == ["recorded"] * 2
    await _settled(turns)
