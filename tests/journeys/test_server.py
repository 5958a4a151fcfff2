"""Server processes that are killed, stopped, doubled and moved. What was acknowledged is there; nothing is twice."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys.server import Place, Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Serve = Callable[[Place], Server]
KILLS = 10


def chat(http: httpx.Client, fork: str, text: str, key: str, **more: Any) -> dict[str, Any]:
    body = {"model": fork, "messages": [{"role": "user", "content": text}], "max_tokens": 12, **more}
    answer = http.post("/v1/chat/completions", json=body, headers={"idempotency-key": key}).raise_for_status()
    return dict(answer.json())


def correct(http: httpx.Client, fork: str, record_id: str, correction: str, key: str) -> dict[str, Any]:
    body = {"record_id": record_id, "correction": correction, "rating": -0.7}
    answer = http.post(f"/v1/forks/{fork}/verdicts", json=body, headers={"idempotency-key": key}).raise_for_status()
    return dict(answer.json())


def one_interaction(http: httpx.Client, fork: str, number: int) -> list[dict[str, Any]]:
    """A turn and a verdict on it; the same number is the same two requests."""
    answer = chat(http, fork, f"Fact {number} is so.", f"chat-{number}")
    verdict = correct(http, fork, answer["forkledger"]["record_id"], f"It is {number}.", f"verdict-{number}")
    return [answer, verdict]


def described(http: httpx.Client, fork: str) -> dict[str, Any]:
    return dict(http.get(f"/v1/forks/{fork}").raise_for_status().json())


def make_fork(http: httpx.Client) -> str:
    return str(http.post("/v1/forks").raise_for_status().json()["fork_id"])


def kept(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer must be the same when it is asked for again."""
    return {name: answer[name] for name in answer if name not in ("id", "created")}


def copy_of(place: Place, folder: Path) -> Place:
    """A copy of a data folder that a server may be working on, with the same keys."""
    folder.mkdir()
    (folder / "data").mkdir()
    for name in ("keystore.db", "ledger.db"):
        with sqlite3.connect(place.data / name) as there, sqlite3.connect(folder / "data" / name) as here:
            there.backup(here)
        there.close()
        here.close()
    (folder / "keys").symlink_to(place.keys)
    return Place(folder, place.base)


def test_a_server_killed_at_any_moment_loses_nothing_that_it_acknowledged(place: Place, serve: Serve) -> None:
    moments = random.Random(20)
    api_key = place.new_app()
    server = serve(place)
    with server.client(api_key) as http:
        fork = make_fork(http)
    acknowledged: dict[int, list[dict[str, Any]]] = {}
    numbers = itertools.count()
    for _ in range(KILLS):
        stop = threading.Event()

        def talk(client: httpx.Client, stop: threading.Event = stop) -> int:
            number = next(numbers)
            try:
                while not stop.is_set():
                    acknowledged[number] = one_interaction(client, fork, number)
                    number = next(numbers)
            except httpx.TransportError:
                pass
            return number  # of which nothing was heard

        with server.client(api_key) as http, ThreadPoolExecutor(2) as pool:
            talking = [pool.submit(talk, http) for _ in range(2)]
            time.sleep(moments.uniform(0.05, 1.2))
            server.kill()
            stop.set()
            unheard = [done.result() for done in talking]
        report = place.audit()  # of what the killed process left behind
        assert report.clean, report.faults
        replayed = place.replayed(fork)
        server = serve(place)
        with server.client(api_key) as http:
            assert described(http, fork)["state_digest"] == replayed["state_digest"]
            told = http.get(f"/v1/forks/{fork}/history", params={"limit": 500}).json()["history"]
            by_id = {record["record_id"]: record for record in told if "record_id" in record}
            assert len(by_id) == len(told) - 1
            for answer, verdict in acknowledged.values():
                assert by_id[answer["forkledger"]["record_id"]]["answer"] == answer["choices"][0]["message"]["content"]
                assert by_id[verdict["record_id"]]["refers_to"] == answer["forkledger"]["record_id"]
            for number in unheard:  # a client that heard nothing asks again
                acknowledged[number] = one_interaction(http, fork, number)
    with server.client(api_key) as http:
        for number in [*acknowledged][-6:]:
            answer, verdict = one_interaction(http, fork, number)
            assert kept(answer) == kept(acknowledged[number][0])
            assert verdict == acknowledged[number][1]
        assert described(http, fork)["interactions"] == 2 * len(acknowledged)
        last = described(http, fork)
    assert server.terminate() == 0
    assert place.audit().clean
    assert place.replayed(fork)["state_digest"] == last["state_digest"]


def test_after_a_kill_the_next_update_is_that_of_a_process_that_stayed_alive(
    place: Place, serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> None:
    api_key = place.new_app()
    alive = serve(place)
    with alive.client(api_key) as http:
        fork = make_fork(http)
        for number in range(5):
            one_interaction(http, fork, number)
        other = copy_of(place, tmp_path_factory.mktemp("copy") / "here")
        restarted = serve(other)
        restarted.kill()
        restarted = serve(other)
        with restarted.client(api_key) as second:
            answers = [one_interaction(client, fork, 77) for client in (http, second)]
            ids = [(answer["forkledger"]["record_id"], verdict["record_id"]) for answer, verdict in answers]
            assert ids[0] == ids[1]
            assert answers[0][0]["choices"] == answers[1][0]["choices"]
            histories = [
                client.get(f"/v1/forks/{fork}/history", params={"limit": 500}).json()["history"][-2:]
                for client in (http, second)
            ]
            for ours, theirs in zip(*histories, strict=True):
                for name in ("step", "loss_before", "learned", "rehearsed", "answer", "version"):
                    assert ours[name] == theirs[name], name
                assert ours["entry_hash"] != theirs["entry_hash"]  # salts and nonces are never the same
            assert described(http, fork)["state_digest"] == described(second, fork)["state_digest"]


def test_a_second_server_takes_over_and_the_first_is_fenced(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    servers = [serve(place)]
    with servers[0].client(api_key) as first:
        fork = make_fork(first)
        acknowledged = [one_interaction(first, fork, number) for number in range(3)]
        servers.append(serve(place))
        with servers[1].client(api_key) as second:
            acknowledged.append(one_interaction(second, fork, 3))
            refused = first.post(
                "/v1/chat/completions", json={"model": fork, "messages": [{"role": "user", "content": "Fact 4."}]}
            )
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "fenced")
            # What the first acknowledged, the second answers again; what the first did not, the second can be asked.
            assert kept(one_interaction(second, fork, 2)[0]) == kept(acknowledged[2][0])
            with ThreadPoolExecutor(4) as pool:  # the same said by two clients at the same time is one turn
                both = list(pool.map(lambda number: one_interaction(second, fork, number), [4, 4, 5, 5]))
            for ours, theirs in (both[:2], both[2:]):
                assert kept(ours[0]) == kept(theirs[0])
                assert ours[1] == theirs[1]
            described_now = described(second, fork)
            assert described_now["interactions"] == 2 * 6
    assert [server.terminate() for server in servers] == [0, 0]
    assert place.audit().clean
    assert place.replayed(fork)["state_digest"] == described_now["state_digest"]


def test_a_vacuum_changes_nothing(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    with server.client(api_key) as http:
        fork = make_fork(http)
        first = one_interaction(http, fork, 1)
        before = described(http, fork)
    assert server.terminate() == 0
    for name in ("ledger.db", "keystore.db"):
        with sqlite3.connect(place.data / name) as connection:
            connection.execute("VACUUM")
        connection.close()
    assert place.audit().clean
    server = serve(place)
    with server.client(api_key) as http:
        assert described(http, fork) == before
        again = one_interaction(http, fork, 1)
        assert (kept(again[0]), again[1]) == (kept(first[0]), first[1])
        one_interaction(http, fork, 2)
    assert server.terminate() == 0
    assert place.audit().clean


def test_a_server_that_is_told_to_stop_finishes_its_turns_and_ends_with_0(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    with server.client(api_key) as http:
        fork = make_fork(http)
        body = {
            "model": fork, "messages": [{"role": "user", "content": "Who?"}], "temperature": 0, "stream": True,
        }  # fmt: skip
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.process.terminate()
            rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    record_id = json.loads(rest[-2].removeprefix("data: "))["forkledger"]["record_id"]
    assert server.process.wait(60) == 0
    report = place.audit()
    assert report.clean
    assert (report.records, report.covered) == (1, 2)  # the last checkpoint covers everything
    assert record_id in place.command("history", fork, "--json").stdout
    for secret in (api_key, "Who?"):
        assert secret not in server.log.read_text()
    assert "POST /v1/chat/completions" in server.log.read_text()


def test_a_port_that_is_taken_and_keys_among_the_data_end_with_3(place: Place, serve: Serve) -> None:
    server = serve(place)
    taken = place.command("serve", "--port", server.url.rpartition(":")[2])
    assert taken.returncode == 3, taken.stderr
    inside = place.command("serve", "--keys", str(place.data / "keys"), "--port", "0")
    assert inside.returncode == 3
    assert inside.stderr.startswith("keys: expected a folder outside the data folder")
    assert inside.stderr.count("\n") == 1
