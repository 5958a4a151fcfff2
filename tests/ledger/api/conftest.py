"""The ledger's part of the service alone: no model is anywhere near."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ledger.api.app import create_app
from ledger.api.service import Service
from ledger.keystore import KeyStore
from ledger.publicfolder import PublicFolder
from ledger.publisher import Publisher
from ledger.vault import ServiceKey
from tests.ledger.written import Writer, drawn, open_ledger


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service_key = ServiceKey(drawn(32, "service key"))
    numbers = itertools.count()

    def random(length: int) -> bytes:
        return drawn(length, "random", next(numbers))[:length]

    keystore = KeyStore(tmp_path / "keystore.db", service_key, random)
    ledger = open_ledger(tmp_path / "ledger.db")
    return Service(
        ledger, keystore, service_key, lambda: 0, random, Publisher(ledger, PublicFolder(tmp_path / "public"))
    )


@pytest.fixture
def anyone(service: Service) -> Iterator[TestClient]:
    """A client without an API key."""

    def close() -> None:
        service.ledger.store.close()
        service.keystore.close()

    with TestClient(create_app(service, close), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def app_client(anyone: TestClient, service: Service) -> Callable[[str], TestClient]:
    """Makes a client with the key of a new app."""

    def make(name: str) -> TestClient:
        api_key = service.keystore.add_app(name)[1]
        return TestClient(anyone.app, headers={"authorization": f"Bearer {api_key}"}, raise_server_exceptions=False)

    return make


@pytest.fixture
def http(app_client: Callable[[str], TestClient]) -> TestClient:
    return app_client("an app")


@pytest.fixture
def writer() -> Writer:
    """Somebody who holds a fork's key and has not told the service of it yet."""
    return Writer(1)
