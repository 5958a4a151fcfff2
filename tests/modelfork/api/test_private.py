"""Who may read and write what: apps, their keys, the files, and what an error or a log gives away."""

from __future__ import annotations

import contextlib
import logging
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.errors import Refused
from ledger.keyfolder import open_keys
from ledger.main import PUBLIC_FOLDER, build_app, open_operator_keys
from tests.modelfork.api.house import House

ASKED = [{"role": "user", "content": "Where is my house?"}]


def routes(fork: str, record_id: str) -> Iterator[tuple[str, str, Any]]:
    """Every route that asks for an API key and names a fork."""
    yield "GET", f"/v1/forks/{fork}", None
    yield "GET", f"/v1/forks/{fork}/history", None
    yield "GET", f"/v1/forks/{fork}/entries", None
    yield "GET", f"/v1/models/{fork}", None
    yield "POST", f"/v1/forks/{fork}/verdicts", {"record_id": record_id, "rating": 1}
    yield "POST", f"/v1/forks/{fork}/interactions", {"messages": ASKED, "answer": "There."}
    yield "POST", f"/v1/forks/{fork}/interactions/batch", [{"key": "k", "messages": ASKED, "answer": "There."}]
    yield "PUT", f"/v1/forks/{fork}/learning", {"paused": True}
    yield "POST", "/v1/chat/completions", {"model": fork, "messages": ASKED, "max_tokens": 3}
    yield "POST", "/v1/chat/completions", {"model": fork, "messages": ASKED, "max_tokens": 3, "stream": True}


LISTS = [("GET", "/v1/forks", None), ("GET", "/v1/models", None), ("POST", "/v1/forks", None)]


@pytest.fixture
def record_id(http: httpx.Client, fork: str) -> str:
    answered = http.post("/v1/chat/completions", json={"model": fork, "messages": ASKED, "max_tokens": 3})
    return str(answered.raise_for_status().json()["forkledger"]["record_id"])


def test_every_private_route_is_closed_without_the_key_of_an_app(
    house: House, fork: str, record_id: str, api_key: str
) -> None:
    size = house.ledger.size()
    wrong = [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {api_key}"},
        {"authorization": api_key},
        {"authorization": f"Bearer {api_key[:-1]}"},
        {"authorization": f"Bearer {api_key}0"},
        {"authorization": f"Bearer {api_key.upper()}"},
        {"authorization": "Bearer fl_" + "0" * 64},
        {"authorization": "Bearer \xff\xfe"},
        {"x-api-key": api_key},
    ]
    with httpx.Client(base_url=house.url) as anyone:
        for method, path, body in [*routes(fork, record_id), *LISTS, ("POST", "/v1/records", None)]:
            for headers in wrong:
                spelled = {name: value.encode("latin-1") for name, value in headers.items()}
                refused = anyone.request(method, path, json=body, headers=spelled)  # type: ignore[arg-type]
                assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized"), path
                assert refused.headers["www-authenticate"] == "Bearer"
    assert house.ledger.size() == size


def test_another_apps_fork_looks_like_none_at_all(house: House, fork: str, record_id: str) -> None:
    size = house.ledger.size()
    unknown = "00000000-0000-4000-8000-000000000000"
    with house.client(house.new_app("another")) as other:
        for ours, none in zip(routes(fork, record_id), routes(unknown, record_id), strict=True):
            got, expected = (other.request(method, path, json=body) for method, path, body in (ours, none))
            assert got.status_code == expected.status_code == 404, ours[1]
            assert got.text.replace(fork, unknown) == expected.text
        assert other.get("/v1/forks").json() == {"forks": []}
        assert other.get("/v1/models").json()["data"] == []
    assert house.ledger.size() == size


def test_a_removed_app_may_call_no_more_and_its_forks_stay(house: House, http: httpx.Client, fork: str) -> None:
    app = next(app for app in house.keystore.apps() if fork in house.keystore.forks_of(app.app_id))
    house.keystore.remove_app(app.app_id)
    for method, path, body in [*routes(fork, "0" * 32), *LISTS]:
        assert http.request(method, path, json=body).status_code == 401
    assert house.manager.describe(fork)["version"] == 1


def test_only_hashes_of_api_keys_are_kept(house: House, api_key: str) -> None:
    kept = house.keystore._connection.execute("SELECT * FROM apps").fetchall()
    assert kept
    assert not any(api_key in str(row) or api_key.removeprefix("fl_") in str(row) for row in kept)


def test_nobody_is_asked_for_a_key_to_read_the_public_log(house: House, http: httpx.Client, fork: str) -> None:
    assert http.get("/v1/forks").status_code == 200
    paths = ("checkpoint", "keys", "entries", "proofs/inclusion?leaf=0", "proofs/consistency?old=1")
    for path in paths:
        assert httpx.get(f"{house.url}/v1/log/{path}").status_code == 200, path


SAID = ["Zanzibar-seven", "Quetzal-answer", "Umbrella-correction", "Xylophone-comment"]


def test_nothing_that_was_said_and_no_secret_is_readable_on_disk_or_in_a_log(
    open_house: Callable[[Path], House],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    house = open_house(tmp_path)
    api_key = house.new_app("shown-name")
    with house.client(api_key) as http:
        fork = http.post("/v1/forks").json()["fork_id"]
        turn = {"model": fork, "messages": [{"role": "user", "content": SAID[0]}], "max_tokens": 3}
        record = http.post("/v1/chat/completions", json=turn).raise_for_status().json()["forkledger"]["record_id"]
        http.post(
            f"/v1/forks/{fork}/verdicts",
            json={"record_id": record, "correction": SAID[2], "comment": SAID[3], "rating": -0.5},
        ).raise_for_status()
        http.post(
            f"/v1/forks/{fork}/interactions",
            json={"messages": [{"role": "user", "content": SAID[0]}], "answer": SAID[1]},
        ).raise_for_status()
        for wrong in ({"model": SAID[0], "messages": SAID}, {**turn, "n": 2}, {**turn, "temperature": SAID[0]}):
            assert http.post("/v1/chat/completions", json=wrong).status_code == 400
        assert len(http.get(f"/v1/forks/{fork}/history").json()["history"]) == 4
    operator = open_keys(tmp_path / "keys")
    fork_keys = house.keystore.fork_keys(fork)
    secrets = {
        "what was said": [said.encode() for said in SAID],
        "API key": [api_key.encode(), api_key.removeprefix("fl_").encode(), bytes.fromhex(api_key[3:])],
        "service key": [operator.service.raw, operator.service.raw.hex().encode()],
        "fork's seed and root": [fork_keys.owner.seed, fork_keys.root],
        "key files": [(tmp_path / "keys" / name).read_bytes().strip() for name in ("log.key", "receipt.key")],
    }

    def search() -> None:
        files = [path for path in house.data.rglob("*") if path.is_file()]
        assert {"ledger.db", "keystore.db"} <= {path.name for path in files}
        for path in files:
            held = path.read_bytes()
            for what, spellings in secrets.items():
                assert not any(spelling in held for spelling in spellings), f"{what} in {path.name}"

    assert (house.data / "ledger.db-wal").exists()
    search()  # while it runs, write-ahead logs and all
    house.stop()
    search()
    logged = caplog.text + "".join(capfd.readouterr())
    assert api_key not in logged
    assert not any(said in logged for said in SAID)


def test_keys_inside_the_data_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for keys in ("data", "data/keys", "data/../data/keys", "link/keys"):
        with pytest.raises(Refused, match="outside the data folder"):
            open_operator_keys(tmp_path / "data", tmp_path / keys, "example.org/log")
    assert not (tmp_path / "data").exists()


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    open_operator_keys(tmp_path / "data", tmp_path / "keys", "example.org/log")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
        with pytest.raises(Refused, match="may be read by others"):
            open_operator_keys(tmp_path / "data", tmp_path / "keys", "")
        path.chmod(0o600)


def test_files_are_for_their_owner_alone_even_in_an_open_folder(
    open_house: Callable[[Path], House], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    house = open_house(tmp_path)
    with house.client(house.new_app()) as http:
        http.post("/v1/forks").raise_for_status()
    files = [path for path in house.data.iterdir() if path.name != PUBLIC_FOLDER]  # which is for everybody
    assert {"ledger.db-wal", "keystore.db-wal"} <= {path.name for path in files}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_ledger_is_not_opened_with_other_keys(tmp_path: Path, tiny_base: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FORKLEDGER_BASE", str(tiny_base))
    first, second = (open_operator_keys(tmp_path / "data", tmp_path / name, f"{name}.org") for name in "ab")
    app = build_app(tmp_path / "data", first)
    app.state.service.ledger.store.close()
    app.state.service.keystore.close()
    with pytest.raises(Refused, match="another log key"):
        build_app(tmp_path / "data", second)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_huge_body_is_refused_before_it_is_read_into_memory(
    house: House, http: httpx.Client, fork: str, announced: bool
) -> None:
    size = house.ledger.size()
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 << 20:
            sent += 1 << 20
            yield b"x" * (1 << 20)

    for path in ("/v1/chat/completions", "/v1/records", f"/v1/forks/{fork}/interactions", "/v1/nowhere"):
        sent = 0
        content = b"x" * (8 << 20) if announced else endless()
        refused = http.post(path, content=content, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
    assert house.ledger.size() == size
    assert http.get("/healthz").status_code == 200


def test_a_client_that_ends_in_the_middle_of_a_body_harms_nobody(house: House, http: httpx.Client, fork: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b'{"model": '
        raise ConnectionAbortedError

    for _ in range(3):
        with contextlib.suppress(ConnectionAbortedError), house.client("fl_none") as leaving:
            leaving.post("/v1/chat/completions", content=broken())
    assert http.get(f"/v1/forks/{fork}").status_code == 200
