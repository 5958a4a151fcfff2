"""The fork of an app's own end user: made on first use, one a user and app, and the user's name nowhere."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.modelfork.api.house import House

JSON = {"content-type": "application/json"}
ASKED: list[Any] = [{"role": "user", "content": "My dog is called Rex."}]


def fork_of(http: httpx.Client, user: str) -> str:
    return str(http.post("/v1/forks", json={"user": user}).raise_for_status().json()["fork_id"])


def test_the_first_chat_of_a_user_makes_their_fork_and_the_next_goes_on_with_it(
    client: openai.OpenAI, http: httpx.Client
) -> None:
    first, second = (
        client.chat.completions.create(model="fork", user="ada@example.org", messages=ASKED, max_tokens=3)
        for _ in range(2)
    )
    assert first.model == second.model
    assert http.get("/v1/forks").json() == {"forks": [first.model]}
    assert http.get(f"/v1/forks/{first.model}").json()["interactions"] == 2
    by_its_id = client.chat.completions.create(model=first.model, user="somebody", messages=ASKED, max_tokens=3)
    assert by_its_id.model == first.model


def test_a_fork_is_one_a_user_and_one_an_app(house: House, http: httpx.Client) -> None:
    forks = [fork_of(http, user) for user in ("ada", "ada", "Ada", "ada ", "a\0da", "ädä", "a" * 255)]
    assert forks[0] == forks[1]
    assert len(set(forks)) == 6
    with house.client(house.new_app("another")) as other:
        assert fork_of(other, "ada") not in forks
        assert other.get(f"/v1/forks/{forks[0]}").status_code == 404


def test_a_users_fork_has_a_random_looking_id_that_a_random_fork_never_gets(http: httpx.Client) -> None:
    fork = uuid.UUID(fork_of(http, "ada"))
    assert (fork.version, fork.variant) == (4, uuid.RFC_4122)
    assert http.post("/v1/forks", headers={"idempotency-key": "ada"}).json()["fork_id"] != str(fork)


def test_many_first_requests_at_once_make_one_fork(house: House, http: httpx.Client) -> None:
    size = house.ledger.size()
    with ThreadPoolExecutor(8) as pool:
        forks = list(pool.map(lambda _: fork_of(http, "in a hurry"), range(8)))
    assert len(set(forks)) == 1
    assert house.ledger.size() == size + 1
    assert http.get("/v1/forks").json() == {"forks": forks[:1]}


def test_a_retry_under_a_key_is_the_same_request_by_whatever_name_the_fork_goes(http: httpx.Client) -> None:
    key = {"idempotency-key": "once"}
    body = {"model": "fork", "user": "ada", "messages": ASKED, "max_tokens": 3}
    first, again = (http.post("/v1/chat/completions", json=body, headers=key).raise_for_status() for _ in range(2))
    assert first.json()["forkledger"] == again.json()["forkledger"]


@pytest.mark.parametrize("user", [None, "", "x" * 256, 7, ["ada"], "\ud800"])
def test_a_user_of_the_wrong_form_is_refused_and_not_quoted(house: House, http: httpx.Client, user: object) -> None:
    size = house.ledger.size()
    chat = http.post(
        "/v1/chat/completions", content=json.dumps({"model": "fork", "user": user, "messages": ASKED}), headers=JSON
    )
    made = http.post("/v1/forks", content=json.dumps({"user": user}), headers=JSON) if user is not None else chat
    for refused in (chat, made):
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "xxx" not in refused.text
    assert house.ledger.size() == size


def test_nothing_on_disk_or_in_a_log_names_a_user_and_a_restart_finds_their_fork(
    open_house: Callable[[Path], House], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user = "ada.lovelace@example.org"
    house = open_house(tmp_path)
    api_key = house.new_app()
    with house.client(api_key) as http:
        fork = fork_of(http, user)
        chat = {"model": "fork", "user": user, "messages": ASKED, "max_tokens": 3}
        assert http.post("/v1/chat/completions", json=chat).raise_for_status().json()["model"] == fork
        for path in [path for path in house.data.rglob("*") if path.is_file()]:
            assert user.encode() not in path.read_bytes(), path.name
    house.stop()
    house.start()
    with house.client(api_key) as http:
        assert fork_of(http, user) == fork
    assert user not in caplog.text
