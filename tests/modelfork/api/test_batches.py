"""Interactions in batches: each learned in its order, with an outcome of its own, and the same ones again are told."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from modelfork.api import batches, teaching
from modelfork.wire.v1 import interaction_pb2 as wire
from tests.modelfork.api.house import House
from tests.modelfork.api.test_again import wait_for

PROTOBUF = {"content-type": "application/x-protobuf"}
TIMES = {"waited_ms", "learning_ms"}


def turn(key: str, said: str = "Who is my dog?", **more: Any) -> dict[str, Any]:
    return {"key": key, "messages": [{"role": "user", "content": said}], "answer": "Bello?", **more}


def send(http: httpx.Client, fork: str, batch: list[Any], status: int = 200) -> list[dict[str, Any]]:
    answer = http.post(f"/v1/forks/{fork}/interactions/batch", json=batch)
    assert answer.status_code == status, answer.text
    results: list[dict[str, Any]] = answer.json().get("results", [])
    return results


def untimed(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name not in TIMES} for one in results]


def test_each_is_recorded_in_its_order_with_its_receipt_and_what_was_learned(
    house: House, http: httpx.Client, fork: str
) -> None:
    batch = [turn("a", correction="Rex."), turn("b"), turn("c", "My cat is called Tom.", store=False)]
    results = send(http, fork, batch)
    assert [one["key"] for one in results] == ["a", "b", "c"]
    assert [one["version"] for one in results] == [2, 3, 4]
    assert [one["learned"] for one in results] == [True, False, False]
    for one in results:
        receipt = house.ledger.open_receipt(base64.b64decode(one["receipt"]))
        assert (receipt.fork_id, receipt.leaf_index) == (fork, one["leaf_index"])
        assert one["learning_ms"] > 0
        assert one["waited_ms"] >= 0
    told = http.get(f"/v1/forks/{fork}/history").json()["history"][1:]
    assert [one["record_id"] for one in told] == [one["record_id"] for one in results]
    assert [one["correction"] for one in told] == ["Rex.", "", ""]


def test_the_same_batch_again_adds_nothing_and_is_told_the_same(house: House, http: httpx.Client, fork: str) -> None:
    batch = [turn("a", correction="Rex."), turn("b", rating=0.3), turn("a", correction="Rex.")]
    first = send(http, fork, batch)
    assert first[0]["record_id"] == first[2]["record_id"]
    size = house.ledger.size()
    assert untimed(send(http, fork, batch)) == untimed(first)
    assert house.ledger.size() == size


def test_a_key_means_the_same_through_every_door(house: House, http: httpx.Client, fork: str) -> None:
    (in_a_batch,) = send(http, fork, [turn("mine", rating=1)])
    alone = {name: value for name, value in turn("mine", rating=1).items() if name != "key"}
    again = http.post(f"/v1/forks/{fork}/interactions", json=alone, headers={"idempotency-key": "mine"})
    assert again.status_code == 201
    assert again.json().items() <= in_a_batch.items()
    with house.stream(http.headers["authorization"].removeprefix("Bearer ")) as stream:
        stream.send(json.dumps(turn("mine", rating=1, fork_id=fork)))
        assert again.json().items() <= json.loads(stream.recv(30)).items()
    (changed,) = send(http, fork, [turn("mine", rating=0.5)])
    assert (changed["status"], changed["error"]["code"]) == (409, "conflict")


BAD: list[Any] = [
    {},
    None,
    7,
    "text",
    [],
    turn("", rating=1),
    turn("k" * 256),
    turn("k", rating=2),
    turn("k", more=1),
    turn("k", record_id="0" * 32),
    {"key": "k", "record_id": "0" * 32},
    {"key": "k", "record_id": "z", "rating": 1},
    {**turn("k"), "messages": []},
    {name: value for name, value in turn("k").items() if name != "key"},
]


def test_one_that_is_bad_has_its_own_error_and_the_others_go_on(http: httpx.Client, fork: str) -> None:
    results = send(http, fork, [turn("first"), *BAD, {"key": "v", "record_id": "0" * 32, "rating": 1}, turn("last")])
    assert [one.get("version") for one in results] == [2, *[None] * len(BAD), None, 3]
    for one in results[1:-2]:
        assert (one["status"], one["error"]["code"]) == (400, "invalid_value")
    assert (results[-2]["key"], results[-2]["status"]) == ("v", 404)


def test_a_verdict_in_a_batch_judges_an_earlier_answer(http: httpx.Client, fork: str) -> None:
    (answered,) = send(http, fork, [turn("a")])
    (judged,) = send(http, fork, [{"key": "b", "record_id": answered["record_id"], "correction": "Rex."}])
    assert judged["learned"]
    assert http.get(f"/v1/forks/{fork}/history").json()["history"][-1]["refers_to"] == answered["record_id"]


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b"[" + b"9" * 9000])
def test_what_is_no_batch_is_refused_whole(house: House, http: httpx.Client, fork: str, content: bytes) -> None:
    size = house.ledger.size()
    for headers in ({"content-type": "application/json"}, {}, PROTOBUF):
        refused = http.post(f"/v1/forks/{fork}/interactions/batch", content=content, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "malformed")
    assert house.ledger.size() == size


def test_a_batch_is_bounded_and_for_a_fork_of_ones_own(house: House, http: httpx.Client, fork: str) -> None:
    size = house.ledger.size()
    send(http, fork, [turn(str(n)) for n in range(101)], status=422)
    unknown = "00000000-0000-4000-8000-000000000000"
    send(http, unknown, [turn("a")], status=404)
    with house.client(house.new_app("another")) as other:
        send(other, fork, [turn("a")], status=404)
    with house.client("fl_nobody") as nobody:
        send(nobody, fork, [turn("a")], status=401)
    assert house.ledger.size() == size


def sent(key: str, **more: Any) -> wire.SentInteraction:
    return wire.SentInteraction(
        key=key, messages=[wire.Message(role="user", content="Who is my dog?")], answer="Bello?", **more
    )


def test_protobuf_says_the_same_as_json(http: httpx.Client, fork: str) -> None:
    more: dict[str, Any] = {"correction": "Rex.", "comment": "c", "rating": -0.3}
    in_json = send(http, fork, [turn("a", **more), turn("b", store=False)])
    batch = wire.SentInteractions(
        interactions=[
            sent("a", **more),
            sent("b", untaught=True),
            wire.SentInteraction(key="v", record_id=bytes.fromhex(in_json[0]["record_id"]), rating=0),
        ]
    )
    answer = http.post(
        f"/v1/forks/{fork}/interactions/batch", content=batch.SerializeToString(), headers=PROTOBUF
    ).raise_for_status()
    results = answer.json()["results"]
    assert untimed(results[:2]) == untimed(in_json)
    assert results[2]["version"] == 4
    strange = batch.SerializeToString() + b"\x12\x01x"
    refused = http.post(f"/v1/forks/{fork}/interactions/batch", content=strange, headers=PROTOBUF)
    assert refused.status_code == 400


def test_an_app_whose_queue_is_full_is_told_to_come_back_and_others_are_served(
    house: House, http: httpx.Client, fork: str, slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "MOST_WAITING", 25)
    queue = house.app.state.forks.teaching
    app_id = house.keystore.app_of_fork(fork) or ""
    batch = [turn(str(n), answer="wait") for n in range(10)]
    with ThreadPoolExecutor(2) as pool:
        sending = [pool.submit(send, http, http.post("/v1/forks").json()["fork_id"], batch) for _ in range(2)]
        wait_for(lambda: queue.waiting(app_id) == 20)
        refused = http.post(f"/v1/forks/{fork}/interactions/batch", json=batch)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert len(send(http, fork, [turn("a")])) == 1  # there is room for a few more
        with house.client(house.new_app("another")) as other:
            theirs = other.post("/v1/forks").json()["fork_id"]
            assert "version" in send(other, theirs, [turn(str(n)) for n in range(10)])[9]
        assert queue.waiting(app_id) == 20
        slow.set()
        for each in sending:
            assert all("version" in one for one in each.result())


def test_a_batch_that_waits_gives_a_sign_of_life(
    http: httpx.Client, fork: str, slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SIGN_OF_LIFE", 0.01)
    read = ""
    with http.stream("POST", f"/v1/forks/{fork}/interactions/batch", json=[turn("a", answer="wait")]) as answer:
        for part in answer.iter_text():
            read += part
            if len(read) > 20:
                slow.set()
    assert read.startswith('{"results":[     ')
    assert json.loads(read)["results"][0]["version"] == 2


def test_who_goes_away_leaves_nothing_waiting(
    house: House, http: httpx.Client, fork: str, slow: threading.Event
) -> None:
    batch = [turn(str(n), answer="wait") for n in range(20)]
    app_id = house.keystore.app_of_fork(fork) or ""
    queue = house.app.state.forks.teaching
    with house.client(http.headers["authorization"].removeprefix("Bearer ")) as leaving:
        with leaving.stream("POST", f"/v1/forks/{fork}/interactions/batch", json=batch):
            assert queue.waiting(app_id) == 20
        wait_for(lambda: queue.waiting(app_id) == 0)
    slow.set()
    results = send(http, fork, batch)
    assert [one["version"] for one in results] == list(range(2, 22))  # what had been begun is there, and is not doubled
