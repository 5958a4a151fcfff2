"""Learning paused and resumed by the person: everything is recorded meanwhile, and nothing of it is ever learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.audit import audit
from modelfork.history import key_finder
from modelfork.replay import replay
from tests.modelfork.api.gate import Gate
from tests.modelfork.api.house import House
from tests.modelfork.api.test_again import wait_for
from tests.modelfork.api.test_batches import send, turn

ASKED = [{"role": "user", "content": "My dog is called Rex."}]


def pause(http: httpx.Client, fork: str, paused: bool = True) -> None:
    said = http.put(f"/v1/forks/{fork}/learning", json={"paused": paused})
    assert (said.status_code, said.json()) == (200, {"fork_id": fork, "paused": paused})


def described(http: httpx.Client, fork: str) -> dict[str, Any]:
    return dict(http.get(f"/v1/forks/{fork}").raise_for_status().json())


def through_every_door(http: httpx.Client, house: House, fork: str, name: str) -> list[bool]:
    """Say something that would teach, by each door; whether it was learned."""
    taught = turn(name, "Who?", correction="Rex.")
    alone = {field: value for field, value in taught.items() if field != "key"}
    chat = {"model": fork, "messages": ASKED, "max_tokens": 3}
    chatted = http.post("/v1/chat/completions", json=chat).raise_for_status().json()["forkledger"]
    verdict = {"record_id": chatted["record_id"], "correction": f"It is {name}."}
    answers = [
        chatted,
        http.post(f"/v1/forks/{fork}/verdicts", json=verdict).raise_for_status().json(),
        http.post(f"/v1/forks/{fork}/interactions", json=alone).raise_for_status().json(),
        *send(http, fork, [taught]),
    ]
    with house.stream(http.headers["authorization"].removeprefix("Bearer ")) as stream:
        stream.send(json.dumps({**taught, "key": f"{name} streamed", "fork_id": fork}))
        answers.append(json.loads(stream.recv(30)))
    return [answer["learned"] for answer in answers]


def test_while_learning_is_paused_everything_is_recorded_and_nothing_learned(
    house: House, http: httpx.Client, fork: str
) -> None:
    assert described(http, fork)["paused"] is False
    assert any(through_every_door(http, house, fork, "before")[1:])  # one lesson, so those after it may find it known
    pause(http, fork)
    before = described(http, fork)
    assert before["paused"] is True
    assert not any(through_every_door(http, house, fork, "meanwhile"))
    after = described(http, fork)
    assert after["interactions"] == before["interactions"] + 5
    pause(http, fork, False)
    assert described(http, fork)["paused"] is False
    through_every_door(http, house, fork, "afterwards")
    told = http.get(f"/v1/forks/{fork}/history").json()["history"][1:]
    assert [one["teaches"] for one in told] == [True] * 5 + [False] * 5 + [True] * 5
    # A step was taken; whether the guard leaves a later one of so small a base is chance.
    assert not any(one["loss_before"] for one in told[5:10])
    assert any(one["loss_before"] for one in told[11:])
    meanwhile = {one["record_id"] for one in told[5:10]}
    assert not any(meanwhile & set(one["rehearsed"]) for one in told)  # nor is it rehearsed later


@pytest.mark.parametrize("store", [True, False])
def test_a_verdict_that_comes_later_does_not_teach_what_was_said_not_to(
    http: httpx.Client, fork: str, store: bool
) -> None:
    pause(http, fork, store)
    said = {"messages": ASKED, "answer": "It is 4711.", "store": store}
    turned = http.post(f"/v1/forks/{fork}/interactions", json=said).raise_for_status().json()
    pause(http, fork, False)
    verdict = {"record_id": turned["record_id"], "rating": 1.0}
    for _ in range(2):  # and one on that verdict
        judged = http.post(f"/v1/forks/{fork}/verdicts", json=verdict).raise_for_status().json()
        assert (judged["learned"], judged["noted"]) == (False, [])
        verdict = {"record_id": judged["record_id"], "correction": "It is 0815."}
    told = http.get(f"/v1/forks/{fork}/history").json()["history"][1:]
    assert [(one["teaches"], one["step"]) for one in told] == [(False, 0)] * 3


def test_a_verdict_given_while_paused_does_not_forbid_a_later_one_on_an_answer_of_before(
    http: httpx.Client, fork: str
) -> None:
    said = {"messages": ASKED, "answer": "It is 4711."}
    turned = http.post(f"/v1/forks/{fork}/interactions", json=said).raise_for_status().json()
    pause(http, fork)
    liked = {"record_id": turned["record_id"], "rating": 1.0}
    judged = http.post(f"/v1/forks/{fork}/verdicts", json=liked).raise_for_status().json()
    pause(http, fork, False)
    corrected = {"record_id": judged["record_id"], "correction": "It is 0815."}
    http.post(f"/v1/forks/{fork}/verdicts", json=corrected).raise_for_status()
    told = http.get(f"/v1/forks/{fork}/history").json()["history"][1:]
    assert [one["teaches"] for one in told] == [True, False, True]


def test_a_paused_record_adds_nothing_to_the_state_as_anybody_who_replays_it_finds(
    house: House, http: httpx.Client, fork: str
) -> None:
    pause(http, fork)
    genesis = described(http, fork)["state_digest"]
    through_every_door(http, house, fork, "x")
    log = house.ledger
    found = replay(log.read(fork), log.payloads, key_finder(house.keystore, fork), log.origin)
    assert (found.records, found.state.digest.hex()) == (5, genesis)
    assert described(http, fork)["state_digest"] == genesis
    assert audit(log.store, None, None, lambda *_: None).clean


def test_a_pause_survives_a_restart_and_is_of_one_fork(open_house: Callable[[Path], House], tmp_path: Path) -> None:
    house = open_house(tmp_path)
    api_key = house.new_app()
    with house.client(api_key) as http:
        fork, other = (http.post("/v1/forks").json()["fork_id"] for _ in range(2))
        pause(http, fork)
        pause(http, fork)  # again is nothing new
    house.stop()
    house.start()
    with house.client(api_key) as http:
        assert [described(http, each)["paused"] for each in (fork, other)] == [True, False]
        batch = [turn("a", correction="Rex.")]
        assert [send(http, each, batch)[0]["learned"] for each in (fork, other)] == [False, True]
        pause(http, fork, False)
        assert send(http, fork, [turn("b", correction="Rex.")])[0]["learned"]


def test_a_retry_of_what_came_while_paused_is_told_the_same_after_it_was_resumed(http: httpx.Client, fork: str) -> None:
    body = {"messages": ASKED, "answer": "x", "correction": "Rex."}
    key = {"idempotency-key": "once"}
    pause(http, fork)
    first = http.post(f"/v1/forks/{fork}/interactions", json=body, headers=key)
    pause(http, fork, False)
    again = http.post(f"/v1/forks/{fork}/interactions", json=body, headers=key)
    assert first.json() == again.json()
    assert not again.json()["learned"]
    changed = http.post(f"/v1/forks/{fork}/interactions", json={**body, "store": False}, headers=key)
    assert changed.status_code == 409


def test_what_is_being_learned_is_finished_before_a_pause_is_answered(
    house: House, http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, house.ledger, "append")
    with ThreadPoolExecutor(2) as pool:
        learning = pool.submit(send, http, fork, [turn("a", correction="Rex.")])
        assert gate.begun.wait(30)
        pausing = pool.submit(pause, http, fork)
        wait_for(lambda: house.manager._live[fork].users == 2)
        assert not pausing.done()
        gate.may_go_on.set()
        assert learning.result()[0]["learned"]
        pausing.result()
    assert not send(http, fork, [turn("b", correction="Rex.")])[0]["learned"]


def test_who_may_not_or_says_nothing_pauses_nothing(house: House, http: httpx.Client, fork: str) -> None:
    bodies: list[Any] = [{}, {"paused": None}, {"paused": "perhaps"}, {"paused": True, "more": 1}, [], None]
    for body in bodies:
        assert http.put(f"/v1/forks/{fork}/learning", json=body).status_code == 400
    with house.client(house.new_app("another")) as other:
        assert other.put(f"/v1/forks/{fork}/learning", json={"paused": True}).status_code == 404
    assert described(http, fork)["paused"] is False
