"""Interactions over a WebSocket: an answer each whatever the others do, bounds, resuming, an end that loses nothing."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from modelfork.api.stream import MOST_UNANSWERED
from modelfork.api.teaching import MOST_WAITING
from tests.modelfork.api.gate import Gate
from tests.modelfork.api.house import House
from tests.modelfork.api.test_again import wait_for
from tests.modelfork.api.test_batches import sent, turn


def frame(key: str, **more: Any) -> str:
    return json.dumps(turn(key, **more))


def answer(stream: ClientConnection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(stream.recv(30))
    return told


def answers(stream: ClientConnection, count: int) -> dict[int, dict[str, Any]]:
    """By the number of the frame: forks learn side by side, and one may overtake another."""
    return {told["n"]: told for told in (answer(stream) for _ in range(count))}


def closed(stream: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as ended:
        stream.recv(30)
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code, ended.value.rcvd.reason


def test_each_frame_is_learned_and_answered_with_its_receipt_and_how_long_it_took(
    house: House, http: httpx.Client, api_key: str, fork: str
) -> None:
    with house.stream(api_key) as stream:
        stream.send(frame("a", fork_id=fork, correction="Rex."))
        stream.send(sent("b", fork_id=fork).SerializeToString())
        told = answers(stream, 2)
        stream.send(json.dumps({"key": "c", "fork_id": fork, "record_id": told[1]["record_id"], "rating": 1}))
        judged = answer(stream)
    assert [told[n]["key"] for n in (0, 1)] == ["a", "b"]
    assert [one["version"] for one in (told[0], told[1], judged)] == [2, 3, 4]
    assert told[0]["learned"]
    assert {"waited_ms", "learning_ms", "waiting", "queued"} < set(judged)
    for one in (*told.values(), judged):
        assert house.ledger.open_receipt(base64.b64decode(one["receipt"])).leaf_index == one["leaf_index"]
    assert http.get(f"/v1/forks/{fork}").json()["interactions"] == 3


def test_the_forks_of_many_users_are_made_and_taught_over_one_stream(
    house: House, http: httpx.Client, api_key: str
) -> None:
    users = ["ada", "bob", "ada", "cyd"]
    with house.stream(api_key) as stream:
        for n, user in enumerate(users):
            stream.send(frame(str(n), user=user))
        told = answers(stream, 4)
    assert [told[n]["version"] for n in range(4)] == [2, 2, 3, 2]
    forks = {user: http.post("/v1/forks", json={"user": user}).json()["fork_id"] for user in users}
    assert sorted(http.get("/v1/forks").json()["forks"]) == sorted(set(forks.values()))


@pytest.mark.parametrize(
    "bad",
    [
        "", b"", "{", "null", "[]", "7", "[" * 50_000, b"\xff", b"\x0a\x01", frame("k"),
        frame("k", user="a", fork_id="b"),
        frame("k", user="a", answer=None), frame("k", user="\ud800"), json.dumps({"user": "a"}),
        b'{"key": "k"}', sent("k").SerializeToString(), sent("k", user="a", rating=9).SerializeToString(),
        frame("k", user="a", messages=[]), frame("k", fork_id="00000000-0000-4000-8000-000000000000"),
        frame("k", fork_id="nonsense"), frame("k", user="a", answer="x" * 70_000),
    ],
    ids=lambda bad: repr(bad[:30]),
)  # fmt: skip
def test_a_frame_that_is_bad_has_its_own_error_and_the_stream_goes_on(
    house: House, api_key: str, fork: str, bad: str | bytes
) -> None:
    with house.stream(api_key) as stream:
        stream.send(bad)
        stream.send(frame("good", fork_id=fork))
        told = answers(stream, 2)
    assert told[0]["status"] in (400, 404)
    assert "x" * 100 not in json.dumps(told[0])
    assert told[1]["version"] == 2


def test_what_was_not_answered_is_sent_again_and_nothing_is_doubled(
    house: House, http: httpx.Client, api_key: str, fork: str, slow: threading.Event
) -> None:
    frames = [frame(str(n), fork_id=fork, answer="wait" if n >= 3 else "x") for n in range(12)]
    with house.stream(api_key) as stream:
        for each in frames:
            stream.send(each)
        known = answers(stream, 3)
    slow.set()
    with house.stream(api_key) as stream:
        for each in frames:
            stream.send(each)
        told = answers(stream, 12)
    for n in range(3):
        assert told[n]["receipt"] == known[n]["receipt"]
    assert [told[n]["version"] for n in range(12)] == list(range(2, 14))
    assert http.get(f"/v1/forks/{fork}").json()["interactions"] == 12


def test_a_stream_reads_so_far_ahead_and_no_further_and_says_how_many_wait(
    house: House, api_key: str, fork: str, slow: threading.Event
) -> None:
    app_id = house.keystore.app_of_fork(fork) or ""
    teaching = house.app.state.forks.teaching
    with house.stream(api_key) as stream:
        for n in range(MOST_UNANSWERED + 20):
            stream.send(frame(str(n), fork_id=fork, answer="wait"))
        wait_for(lambda: teaching.waiting(app_id) == MOST_UNANSWERED)
        time.sleep(0.1)
        assert teaching.waiting(app_id) == MOST_UNANSWERED
        slow.set()
        told = answers(stream, MOST_UNANSWERED + 20)
    assert max(one["waiting"] for one in told.values()) == MOST_UNANSWERED - 1
    assert told[MOST_UNANSWERED + 19]["waiting"] == 0


def test_streams_of_an_app_whose_queue_is_full_wait_and_are_told_so_while_others_are_served(
    house: House, http: httpx.Client, api_key: str, fork: str, slow: threading.Event
) -> None:
    app_id = house.keystore.app_of_fork(fork) or ""
    teaching = house.app.state.forks.teaching
    with ExitStack() as going, house.stream(api_key) as late, house.stream(house.new_app("another")) as other:
        for at in range(MOST_WAITING // MOST_UNANSWERED):
            flooding = going.enter_context(house.stream(api_key))
            for n in range(MOST_UNANSWERED):
                flooding.send(frame(f"{at}/{n}", fork_id=fork, answer="wait"))
        wait_for(lambda: teaching.waiting(app_id) == MOST_WAITING)
        late.send(frame("late", fork_id=fork))
        assert answer(late) == {"full": True, "waiting": 1, "queued": MOST_WAITING}
        other.send(frame("theirs", user="ada"))
        assert answer(other)["version"] == 2
        going.close()  # and what of theirs was not begun goes with them
        slow.set()
        assert "version" in answer(late)
    wait_for(lambda: teaching.waiting(app_id) == 0)
    assert http.get(f"/v1/forks/{fork}").json()["interactions"] < 10


def test_a_client_that_reads_no_answers_is_not_read_either(house: House, api_key: str, fork: str) -> None:
    """Its answers fill its connection, then the stream's bound; the rest stays with it."""
    (listening,) = house._server.servers[0].sockets
    before = listening.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # or it takes thousands of answers to fill it
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(listening.getsockname())
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, before // 2)  # the kernel doubles what it is given
    with house.stream(api_key, max_queue=1, sock=small) as stream:
        stream.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            push(stream)
        with house.stream(api_key) as other:
            other.send(frame("a", fork_id=fork))
            assert answer(other)["version"] == 2
        stream.socket.close()


def push(stream: ClientConnection) -> None:
    for _ in range(100_000):
        stream.socket.sendall(MASKED)


def _masked(text: bytes) -> bytes:
    """A text frame as a client sends it, with the mask zero."""
    return b"\x81" + bytes([0x80 | 126]) + len(text).to_bytes(2, "big") + bytes(4) + text


MASKED = _masked(b'{"key": "' + b"x" * 20_000 + b'"}')


def test_a_stream_needs_the_key_of_an_app_and_ends_when_it_is_taken_back(house: House) -> None:
    for wrong in ("fl_" + "0" * 64, "", "x"):
        with pytest.raises(InvalidStatus) as refused:
            house.stream(wrong)
        assert refused.value.response.status_code == 401
    app, api_key = house.keystore.add_app("soon gone")
    with house.stream(api_key) as stream:
        stream.send(frame("a", user="ada"))
        assert answer(stream)["version"] == 2
        house.keystore.remove_app(app.app_id)
        stream.send(frame("b", user="ada"))
        assert closed(stream) == (4401, "expected the API key of an app as bearer token")


def test_a_server_that_stops_answers_what_it_began_and_gives_back_the_rest(
    open_house: Callable[[Path], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = open_house(tmp_path)
    api_key = house.new_app()
    with house.client(api_key) as http:
        fork = http.post("/v1/forks").json()["fork_id"]
    gate = Gate(monkeypatch, house.manager, "record")
    with house.stream(api_key) as stream:
        for n in range(5):
            stream.send(frame(str(n), fork_id=fork))
        assert gate.begun.wait(10)
        wait_for(lambda: house.app.state.forks.teaching.waiting(house.keystore.app_of_fork(fork)) == 5)
        house._server.should_exit = True
        refused = answers(stream, 4)
        assert sorted(refused) == [1, 2, 3, 4]
        assert {(one["status"], one["error"]["code"]) for one in refused.values()} == {(503, "unavailable")}
        gate.may_go_on.set()
        assert (first := answer(stream))["version"] == 2
        assert closed(stream)[0] == 1012
    house.stop()
    house.start()
    with house.stream(api_key) as stream:
        for n in range(5):
            stream.send(frame(str(n), fork_id=fork))
        told = answers(stream, 5)
    assert told[0]["receipt"] == first["receipt"]
    assert [told[n]["version"] for n in range(5)] == [2, 3, 4, 5, 6]
