"""Streams between processes that are killed and stopped. What was answered is there; what was not is sent again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ledger.main import open_reader
from ledger.record import encode_record
from tests.journeys.server import Place, Server
from tests.journeys.stream_client import kept, opened, send, write_frames
from tests.ledger.api.test_records import control_bytes
from tests.ledger.written import Writer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Serve = Callable[[Place], Server]
RECORDS = 2000
KILLS = 5


def new_fork(server: Server, api_key: str, number: int = 1) -> Writer:
    with server.client(api_key) as http:
        writer = Writer(number, origin=http.get("/v1/log/keys").json()["origin"])
        http.post("/v1/controls", content=control_bytes(writer.control())).raise_for_status()
    return writer


def written(writer: Writer, many: int) -> list[bytes]:
    return [encode_record(writer.next()) for _ in range(many)]


def expect_all_once(place: Place, answers: list[dict[str, Any]], many: int, forks: int = 1) -> None:
    """Every record is in the log, once, where its answer says."""
    reader = open_reader(place.file)
    try:
        assert reader.size() == forks + many
        entries = {stored.leaf_index: stored for stored in reader.store.entries(0, forks + many)}
        assert len(entries) == forks + many
    finally:
        reader.store.close()
    assert len(answers) == many
    assert len({answer["leaf_index"] for answer in answers}) == many
    for answer in answers:
        found = entries[answer["leaf_index"]]
        assert (found.fork_id, found.version) == (answer["fork_id"], answer["version"])
    report = place.audit()
    assert report.clean, report.faults


def test_a_client_that_is_killed_in_the_middle_goes_on_where_it_was_answered(
    place: Place, serve: Serve, tmp_path: Path
) -> None:
    moments = random.Random(3)
    api_key = place.new_app()
    server = serve(place)
    writer = new_fork(server, api_key)
    frames, out = tmp_path / "frames", tmp_path / "kept"
    write_frames(frames, written(writer, RECORDS))
    command = [sys.executable, "-m", "tests.journeys.stream_client", server.url, api_key, str(frames), str(out)]
    acknowledged: list[dict[str, Any]] = []
    for _ in range(KILLS):
        client = subprocess.Popen(command)
        end = time.monotonic() + 60
        while len(kept(out)) <= len(acknowledged) and client.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.2))
        client.kill()
        client.wait(30)
        known = kept(out)
        assert known[: len(acknowledged)] == acknowledged
        acknowledged = known
    assert subprocess.run(command, timeout=240, check=False).returncode == 0
    answers = kept(out)
    assert [answer["version"] for answer in answers] == list(range(2, RECORDS + 2))
    assert server.terminate() == 0
    expect_all_once(place, answers, RECORDS)


def test_a_server_that_is_killed_in_the_middle_keeps_all_that_it_answered(
    place: Place, serve: Serve, tmp_path: Path
) -> None:
    moments = random.Random(4)
    api_key = place.new_app()
    server = serve(place)
    sent = [written(new_fork(server, api_key, number), RECORDS) for number in range(2)]
    paths = [tmp_path / f"kept-{number}" for number in range(2)]
    kills = 0
    while any(len(kept(path)) < RECORDS for path in paths):
        ended: list[BaseException] = []

        def run(frames: list[bytes], path: Path, url: str = server.url, ended: list[BaseException] = ended) -> None:
            try:
                send(url, api_key, frames, path)
            except (ConnectionClosed, OSError) as error:
                ended.append(error)

        clients = [threading.Thread(target=run, args=both) for both in zip(sent, paths, strict=True)]
        before = sum(len(kept(path)) for path in paths)
        for client in clients:
            client.start()
        if kills < KILLS - 2:
            end = time.monotonic() + 60
            while sum(len(kept(path)) for path in paths) <= before and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.3))
            server.kill()
            kills += 1
        for client in clients:
            client.join(240)
            assert not client.is_alive()
        if server.process.poll() is not None:
            report = place.audit()  # of what the killed process left behind
            assert report.clean, report.faults
            server = serve(place)
        else:
            assert ended == []
    answers = [answer for path in paths for answer in kept(path)]
    assert all("receipt" in answer for answer in answers)
    assert server.terminate() == 0
    expect_all_once(place, answers, 2 * RECORDS, forks=2)


def test_a_server_that_is_told_to_stop_answers_what_it_read_and_says_so(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    frames = written(new_fork(server, api_key), RECORDS)
    answers: list[dict[str, Any]] = []
    with opened(server.url, api_key) as stream:

        def push() -> None:
            try:
                for frame in frames:
                    stream.send(frame)
            except ConnectionClosed:
                pass

        pushing = threading.Thread(target=push)
        pushing.start()

        def listen() -> None:
            while True:
                answers.append(json.loads(stream.recv()))
                if len(answers) == 100:
                    server.process.terminate()

        with pytest.raises(ConnectionClosed) as closed:
            listen()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason[:22]) == (1012, "the server is stopping")
        pushing.join(60)
    assert server.process.wait(60) == 0
    assert 100 <= len(answers) < RECORDS
    expect_all_once(place, answers, len(answers))  # it recorded nothing that it did not answer
    assert api_key not in server.log.read_text()


def test_a_frame_that_is_too_long_and_a_key_that_opens_nothing_are_turned_away(place: Place, serve: Serve) -> None:
    api_key = place.new_app()
    server = serve(place)
    frames = written(new_fork(server, api_key), 1)
    with pytest.raises(InvalidStatus) as refused:
        opened(server.url, "fl_nobodys")
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "unauthorized"
    with opened(server.url, api_key) as stream:
        stream.send(bytes((4 << 20) + 1))
        stream.send(frames[0])
        answers = [json.loads(stream.recv()) for _ in range(2)]
    assert (answers[0]["status"], answers[0]["error"]["code"]) == (422, "refused")
    assert answers[1]["version"] == 2
    with pytest.raises(ConnectionClosed):
        far_too_long(server.url, api_key)
    with opened(server.url, api_key) as stream:
        stream.send(frames[0])
        assert json.loads(stream.recv())["receipt"] == answers[1]["receipt"]
    assert server.terminate() == 0


def far_too_long(url: str, api_key: str) -> None:
    with opened(url, api_key) as stream:
        stream.send(bytes((8 << 20) + 1))
        stream.recv()
