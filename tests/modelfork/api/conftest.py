"""One service over the tiny base for all tests that do not stop it, and apps and forks to work with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from modelfork.interaction import Interaction
from tests.modelfork.api.house import House


@pytest.fixture(scope="session")
def open_house(tiny_base: Path) -> Iterator[Callable[[Path], House]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORKLEDGER_BASE", str(tiny_base))
        opened: list[House] = []

        def open_one(folder: Path) -> House:
            opened.append(House(folder).start())
            return opened[-1]

        yield open_one
        for house in opened:
            house.stop()


@pytest.fixture(scope="session")
def house(open_house: Callable[[Path], House], tmp_path_factory: pytest.TempPathFactory) -> House:
    """One for all tests that do not stop it; each works with an app and a fork of its own."""
    return open_house(tmp_path_factory.mktemp("house"))


@pytest.fixture
def api_key(house: House) -> str:
    return house.new_app()


@pytest.fixture
def http(house: House, api_key: str) -> Iterator[httpx.Client]:
    with house.client(api_key) as client:
        yield client


@pytest.fixture
def client(house: House, api_key: str) -> Iterator[openai.OpenAI]:
    with house.openai(api_key) as client:
        yield client


@pytest.fixture
def fork(http: httpx.Client) -> str:
    answer = http.post("/v1/forks", json={})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["fork_id"])


@pytest.fixture
def slow(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing that is told `wait` is recorded before the event is set."""
    may_go_on = threading.Event()
    record = house.manager.record

    def waits(fork_id: str, record_id: bytes, interaction: Interaction, request: bytes) -> Any:
        if interaction.answer == "wait":
            assert may_go_on.wait(30)
        return record(fork_id, record_id, interaction, request)

    monkeypatch.setattr(house.manager, "record", waits)
    yield may_go_on
    may_go_on.set()
