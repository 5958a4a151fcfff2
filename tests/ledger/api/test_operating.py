"""Ready is only who can append and make public; alive is who answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ledger import policy as policies
from ledger.api import operating
from ledger.api.app import create_app
from ledger.api.service import Service
from ledger.cosign import Ed25519Cosigner
from ledger.errors import BadProof, Unavailable
from ledger.ledger import MAXIMUM_DELAY, Ledger
from ledger.publicfolder import PublicFolder
from ledger.publisher import Publisher
from ledger.store.sqlite import open_store
from ledger.witness.client import Witnesses, witnesses_of
from tests.ledger.api.test_metrics import figures, turn
from tests.ledger.written import LOG_KEY, NOW, ORIGIN, RECEIPT_KEY, drawn, fill


@dataclass
class House:
    """A service that writes under an epoch, and its clock."""

    service: Service
    client: TestClient
    now: list[int]

    def ready(self) -> tuple[int, list[str], list[str]]:
        answer = self.client.get("/readyz")
        said: dict[str, Any] = answer.json()
        assert said["status"] == ("ready" if answer.status_code == 200 else "not ready")
        return answer.status_code, said["reasons"], said["notes"]


Opened = Callable[..., House]


@pytest.fixture
def opened(service: Service, tmp_path: Path) -> Iterator[Opened]:
    opened: list[tuple[TestClient, Ledger]] = []

    def open_house(policy: policies.Policy | None = None) -> House:
        now = [NOW]
        store = open_store(tmp_path / "own.db")
        ledger = Ledger(store, LOG_KEY, RECEIPT_KEY, lambda: now[0])
        ledger.take_over(os.urandom)
        witnesses = Witnesses(witnesses_of(policy), 1.0, lambda: 17) if policy else None
        publisher = Publisher(ledger, PublicFolder(tmp_path / "own"), policy, witnesses)
        house = replace(service, ledger=ledger, publisher=publisher, now=lambda: now[0])
        client = TestClient(create_app(house, publisher.close), raise_server_exceptions=False)
        client.__enter__()
        opened.append((client, ledger))
        return House(house, client, now)

    yield open_house
    for client, ledger in opened:
        client.__exit__(None, None, None)
        ledger.close()


def test_a_service_that_works_is_ready(opened: Opened) -> None:
    house = opened()
    fill(house.service.ledger)
    turn(house.client)
    assert house.ready() == (200, [], [])
    assert house.client.get("/readyz").headers["cache-control"] == "no-store"


def test_one_that_another_process_took_over_from_is_not_ready_before_it_tries_to_write(opened: Opened) -> None:
    house = opened()
    house.service.ledger.store.take_over(bytes(16))
    status, reasons, _ = house.ready()  # a turn of the publisher may have failed of it by now
    assert (status, reasons[0]) == (503, "another process has taken over the log's writing")
    assert house.client.get("/healthz").json() == {"status": "ok", "origin": ORIGIN}


def test_one_whose_database_is_gone_is_not_ready_and_says_nothing_of_where_it_was(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = opened()

    def gone() -> int:
        raise Unavailable("postgresql://user:password@host does not answer")

    monkeypatch.setattr(house.service.ledger.store, "size", gone)
    assert house.ready() == (503, ["the database does not answer: Unavailable"], [])
    assert house.client.get("/healthz").status_code == 200


def test_a_database_that_hangs_is_asked_once_and_not_waited_for(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = opened()
    go_on, asked = threading.Event(), []

    def hang() -> bool:
        asked.append(threading.current_thread().name)  # asyncio's are readiness's, AnyIO's the publisher's
        assert go_on.wait(20)
        return False

    monkeypatch.setattr(operating, "DEADLINE", 0.2)
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "fenced", lambda _: hang())
        begun = time.monotonic()
        for _ in range(3):
            assert house.ready() == (503, ["the database did not answer within 0.2 s"], [])
        assert time.monotonic() - begun < 5
        assert len([name for name in asked if name.startswith("asyncio")]) == 1
        go_on.set()
    end = time.monotonic() + 20
    while house.ready()[0] != 200:
        assert time.monotonic() < end


def test_one_that_cannot_publish_is_not_ready_until_it_can(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    house = opened()

    def fail() -> bytes:
        raise BadProof("leaf 7 of somebody")

    with monkeypatch.context() as patched:
        patched.setattr(house.service.publisher, "publish", fail)
        turn(house.client)
        assert house.ready() == (503, ["the last checkpoint could not be published: BadProof"], [])
    turn(house.client)
    assert house.ready()[0] == 200


def test_entries_that_wait_longer_than_promised_are_a_reason(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    house = opened()
    monkeypatch.setattr(house.service.publisher, "publish", lambda: None)  # it hangs, or does nothing
    fill(house.service.ledger)
    house.now[0] += MAXIMUM_DELAY
    assert house.ready()[0] == 200
    house.now[0] += 1_000_000
    assert house.ready() == (503, ["entries wait 11 s for a checkpoint, expected at most 10"], [])
    turn(house.client)
    assert figures(house.client)[("oldest_unpublished_seconds",)] == 11


def test_want_of_witnesses_is_said_and_no_reason_to_take_no_records(opened: Opened) -> None:
    witness = Ed25519Cosigner("witness.example", drawn(32, "witness"), lambda: 17)
    lines = (f"log {LOG_KEY.vkey}", f"witness w {witness.vkey} http://127.0.0.1:9", "quorum w")
    house = opened(policies.parse("".join(f"{line}\n" for line in lines).encode()))
    fill(house.service.ledger)
    turn(house.client)
    assert house.ready() == (200, [], [])
    house.now[0] += MAXIMUM_DELAY + 1_000_000
    status, reasons, notes = house.ready()
    assert (status, reasons) == (200, [])
    assert notes == ["no quorum of witnesses: entries wait 11 s for a checkpoint, expected 10"]
    found = figures(house.client)
    (name,) = {labels[2] for labels in found if labels[0] == "witness_state"}
    assert found[("witness_state", "unreachable", name)] == 1
    assert [found[("witness_state", state, name)] for state in ("ok", "behind", "refused", "alarm")] == [0] * 4
    assert found[("witness_alarms_total", name)] == 0
    assert (found[("published_size",)], found[("log_size",)]) == (0, 8)
