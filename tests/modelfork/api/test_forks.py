"""Forks, verdicts and turns that an app generated elsewhere."""

from __future__ import annotations

import base64
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ledger import merkle
from modelfork.api import forks
from tests.modelfork.api.gate import Gate
from tests.modelfork.api.house import House
from tests.modelfork.api.test_again import wait_for

ASKED = [{"role": "user", "content": "Who is my dog?"}]


def turn(http: httpx.Client, fork: str, **more: Any) -> dict[str, Any]:
    body = {"model": fork, "messages": ASKED, "max_tokens": 6, "temperature": 0, **more}
    answered: dict[str, Any] = http.post("/v1/chat/completions", json=body).raise_for_status().json()
    return answered


def judge(http: httpx.Client, fork: str, record_id: str, **verdict: Any) -> httpx.Response:
    return http.post(f"/v1/forks/{fork}/verdicts", json={"record_id": record_id, **verdict})


def history(http: httpx.Client, fork: str, **query: int) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = (
        http.get(f"/v1/forks/{fork}/history", params=query).raise_for_status().json()["history"]
    )
    return told


def test_a_fork_begins_at_genesis_and_is_described(house: House, http: httpx.Client) -> None:
    made = http.post("/v1/forks", json={})
    assert made.status_code == 201
    described = made.json()
    assert described == http.get(f"/v1/forks/{described['fork_id']}").json()
    assert (described["custody"], described["version"], described["interactions"]) == ("service", 1, 0)
    assert described["origin"] == house.ledger.origin
    head = house.ledger.head(described["fork_id"])
    assert described["head"] == head.entry_hash.hex()


def test_a_fork_asked_for_twice_under_one_key_is_one_fork(house: House, http: httpx.Client) -> None:
    size = house.ledger.size()
    first, again = (http.post("/v1/forks", headers={"idempotency-key": "mine"}) for _ in range(2))
    assert first.json() == again.json()
    assert house.ledger.size() == size + 1
    assert http.get("/v1/forks").json()["forks"] == [first.json()["fork_id"]]


def test_a_fork_that_was_only_begun_is_listed_nowhere_and_finished_when_asked_for_again(
    house: House, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> bytes:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(type(house.ledger), "create_fork", killed)
        assert http.post("/v1/forks", headers={"idempotency-key": "k"}).status_code == 500
    assert http.get("/v1/forks").json() == {"forks": []}
    assert http.get("/v1/models").json()["data"] == []
    begun = http.post("/v1/forks", headers={"idempotency-key": "k"}).json()
    assert http.get("/v1/forks").json() == {"forks": [begun["fork_id"]]}


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"correction": "It is Rex."}, {"correction": "It is Rex.", "rating": None}),
        ({"rating": 1}, {"correction": "", "rating": 1.0}),
        ({"rating": -0.5, "comment": "no!"}, {"rating": -0.5, "comment": "no!"}),
        ({"rating": 0}, {"rating": 0.0, "learned": False}),
        ({"rating": -1, "correction": "Rex."}, {"rating": -1.0, "correction": "Rex."}),
    ],
)
def test_a_verdict_is_a_new_record_that_refers_to_the_answer(
    http: httpx.Client, fork: str, verdict: dict[str, Any], said: dict[str, Any]
) -> None:
    answer = turn(http, fork)
    judged = judge(http, fork, answer["forkledger"]["record_id"], **verdict)
    assert judged.status_code == 201
    assert judged.json()["version"] == 3
    told = history(http, fork)[-1]
    assert told["record_id"] == judged.json()["record_id"] != answer["forkledger"]["record_id"]
    assert told["refers_to"] == answer["forkledger"]["record_id"]
    assert told["answer"] == answer["choices"][0]["message"]["content"]
    assert {name: told[name] for name in said} == said


def test_a_verdict_on_a_verdict_is_one_on_the_same_answer(http: httpx.Client, fork: str) -> None:
    first = turn(http, fork)["forkledger"]["record_id"]
    second = judge(http, fork, first, correction="Rex.").json()["record_id"]
    judge(http, fork, second, correction="No, Bello.").raise_for_status()
    told = history(http, fork)[-1]
    assert (told["refers_to"], told["correction"]) == (first, "No, Bello.")


def test_a_verdict_teaches_and_its_receipt_holds(house: House, http: httpx.Client, fork: str) -> None:
    answer = turn(http, fork)["forkledger"]
    before = http.get(f"/v1/forks/{fork}").json()["state_digest"]
    judged = judge(http, fork, answer["record_id"], correction="It is Rex.").json()
    assert judged["learned"]
    assert http.get(f"/v1/forks/{fork}").json()["state_digest"] != before
    receipt = house.ledger.open_receipt(base64.b64decode(judged["receipt"]))
    assert (receipt.fork_id, receipt.version, receipt.leaf_index) == (fork, judged["version"], judged["leaf_index"])
    assert merkle.leaf_hash(house.ledger.entry_at(receipt.leaf_index).data).hex() == judged["entry_hash"]


def test_a_turn_generated_elsewhere_is_recorded_and_learned_from(http: httpx.Client, fork: str) -> None:
    body = {"messages": ASKED, "answer": "Bello?", "correction": "Rex.", "rating": -0.25, "comment": "c"}
    recorded = http.post(f"/v1/forks/{fork}/interactions", json=body)
    assert recorded.status_code == 201
    assert recorded.json()["learned"]
    assert re.fullmatch(r"wait;dur=[0-9.]+, learn;dur=[0-9.]+", recorded.headers["server-timing"])
    told = history(http, fork)[-1]
    assert {"said": ASKED[0]["content"], "refers_to": ""}.items() <= told.items()
    assert {name: told[name] for name in body if name != "messages"}.items() <= told.items()
    silent = http.post(f"/v1/forks/{fork}/interactions", json={**body, "store": False}).json()
    assert silent["learned"] is False


def test_interactions_that_wait_for_their_turn_hold_up_nobody_else(
    house: House, http: httpx.Client, fork: str, slow: threading.Event
) -> None:
    """More of them than the service has threads."""
    app_id, teaching = house.keystore.app_of_fork(fork) or "", house.app.state.forks.teaching
    body = {"messages": ASKED, "answer": "wait"}
    with ThreadPoolExecutor(45) as pool:
        waiting = [pool.submit(http.post, f"/v1/forks/{fork}/interactions", json=body) for _ in range(45)]
        wait_for(lambda: teaching.waiting(app_id) == 45)
        other = http.post("/v1/forks").json()["fork_id"]
        assert turn(http, other)["forkledger"]["version"] == 2
        assert http.post(f"/v1/forks/{other}/interactions", json={**body, "answer": "x"}).status_code == 201
        slow.set()
        versions = sorted(answer.result().json()["version"] for answer in waiting)
    assert versions == list(range(2, 47))


def test_an_interaction_that_is_not_begun_in_time_is_told_to_come_back_and_leaves_nothing(
    house: House, http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "MOST_SECONDS", 0.2)
    gate = Gate(monkeypatch, house.ledger, "append")
    key, body = {"idempotency-key": "late"}, {"messages": ASKED, "answer": "I do not know."}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(http.post, f"/v1/forks/{fork}/interactions", json=body)
        assert gate.begun.wait(30)
        late = http.post(f"/v1/forks/{fork}/interactions", json=body, headers=key)
        gate.may_go_on.set()
        assert first.result().status_code == 201
    assert late.status_code == 429, late.text
    assert late.headers["retry-after"] == "1"
    assert [told["version"] for told in history(http, fork)] == [1, 2]
    assert http.post(f"/v1/forks/{fork}/interactions", json=body, headers=key).status_code == 201


def test_history_is_read_in_pages(http: httpx.Client, fork: str) -> None:
    for _ in range(4):
        turn(http, fork)
    whole = history(http, fork)
    assert [told["version"] for told in whole] == [1, 2, 3, 4, 5]
    assert whole[0]["topic"] == "fork-created/v1"
    assert {told["signed_by"] for told in whole} == {"service"}
    assert history(http, fork, limit=2) == whole[:2]
    assert history(http, fork, after=2, limit=2) == whole[2:4]
    assert history(http, fork, after=5) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"record_id": "1" * 32},
        {"record_id": "1" * 32, "correction": " \n"},
        {"record_id": "1" * 31, "rating": 1},
        {"record_id": "G" * 32, "rating": 1},
        {"record_id": "1" * 32 + "\n", "rating": 1},
        {"record_id": 1, "rating": 1},
        {"record_id": "1" * 32, "rating": 1.5},
        {"record_id": "1" * 32, "rating": "good"},
        {"record_id": "1" * 32, "correction": "x" * 100_000},
        {"record_id": "1" * 32, "rating": 1, "more": 1},
        ["record_id"],
        "rating",
        None,
    ],
)
def test_a_verdict_of_the_wrong_form_is_refused(house: House, http: httpx.Client, fork: str, body: Any) -> None:
    size = house.ledger.size()
    refused = http.post(f"/v1/forks/{fork}/verdicts", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "invalid_value"
    assert house.ledger.size() == size


@pytest.mark.parametrize("rating", ["NaN", "Infinity", "-Infinity", "1e999", "-1.0000001"])
def test_a_rating_that_is_no_number_from_minus_one_to_one_is_refused(
    house: House, http: httpx.Client, fork: str, rating: str
) -> None:
    record_id = turn(http, fork)["forkledger"]["record_id"]
    size = house.ledger.size()
    for route, body in (
        ("verdicts", f'{{"record_id": "{record_id}", "rating": {rating}}}'),
        ("interactions", f'{{"messages": [{{"role": "user", "content": "x"}}], "answer": "", "rating": {rating}}}'),
    ):
        refused = http.post(f"/v1/forks/{fork}/{route}", content=body, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "rating")
    assert house.ledger.size() == size


def test_a_verdict_on_what_is_not_there_is_not_found(house: House, http: httpx.Client, fork: str) -> None:
    other = http.post("/v1/forks").json()["fork_id"]
    elsewhere = turn(http, other)["forkledger"]["record_id"]
    size = house.ledger.size()
    for record_id in ("0" * 32, elsewhere):
        assert judge(http, fork, record_id, rating=1).status_code == 404
    assert house.ledger.size() == size


JSON = {"content-type": "application/json"}
SURROGATE = b'{"messages": [{"role": "user", "content": "a \\ud800 b"}], "answer": "x", "model": "%s"}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"rating": ' + b"9" * 10_000 + b"}",
        b'{"\\ud800": 1}',
        b'{"messages": [{"\\ud800": "\\udfff"}], "answer": "\\ud800", "\\ud800": 1}',
        SURROGATE,
        b'{"messages": [{"role": "user", "content": "x"}], "answer": "a \\udc00"}',
        b'{"messages": [{"role": "user", "content": "x"}], "answer": "", "correction": "a \\udc00"}',
        b'{"messages": [{"role": "user", "content": "x"}], "answer": {"a": 1}}',
        b'{"messages": {"role": "user"}, "answer": "x"}',
        b'{"messages": [{"role": "user", "content": "x"}], "answer": "x", "store": "maybe"}',
    ],
    ids=lambda content: repr(content[:24]),
)
def test_bodies_of_the_wrong_form_are_refused_with_an_error_object(
    house: House, http: httpx.Client, fork: str, content: bytes
) -> None:
    size = house.ledger.size()
    for path in (
        "/v1/chat/completions", f"/v1/forks/{fork}/interactions", f"/v1/forks/{fork}/verdicts"
    ):  # fmt: skip
        body = content.replace(b"%s", fork.encode()) if path.startswith("/v1/chat") else content.replace(b"%s", b"")
        refused = http.post(path, content=body, headers=JSON)
        assert refused.status_code == 400, path
        error = refused.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
    assert house.ledger.size() == size
    assert http.get("/healthz").json()["status"] == "ok"


def test_an_error_does_not_quote_what_came(http: httpx.Client, fork: str) -> None:
    secret = "my-dog-is-called-Rex"
    for body in (
        {secret: 1, "record_id": "0" * 32, "rating": 1},
        {"record_id": secret, "rating": secret},
        {"messages": [{"role": secret, "content": {secret: secret}}], "model": secret},
    ):
        for path in ("/v1/chat/completions", f"/v1/forks/{fork}/interactions", f"/v1/forks/{fork}/verdicts"):
            refused = http.post(path, json=body)
            assert refused.status_code in (400, 404)
            assert secret not in refused.text


def test_what_fails_unexpectedly_is_a_500_without_detail(
    house: House, http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a secret text")

    with monkeypatch.context() as patch:
        patch.setattr(type(house.manager), "judge", fails)
        refused = judge(http, fork, "0" * 32, rating=1)
        patch.setattr(type(house.manager), "take_turn", fails)
        body = {"model": fork, "messages": ASKED}
        others = [http.post("/v1/chat/completions", json={**body, "stream": stream}) for stream in (False, True)]
    for answer in (refused, *others):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "secret" not in answer.text
    assert "RuntimeError at" in caplog.text
    assert "secret" not in caplog.text
    assert turn(http, fork)["forkledger"]["version"] == 2
