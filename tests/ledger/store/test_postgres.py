"""What holds of the PostgreSQL store alone."""

from collections.abc import Iterator

import pytest

from ledger.store.postgres import PostgresStore, open_store
from tests.ledger.store.test_store import FORK, OTHER, add, new


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    opened = open_store(postgres_url)
    yield opened
    opened.close()


def test_a_fresh_ledger_has_no_problems_and_no_strangers(store: PostgresStore) -> None:
    add(store, new(FORK, 1, payloads={1: b"x"}), new(OTHER, 1))
    with store.snapshot() as now:
        assert now.problems() == []
        assert now.strangers() == []
        assert now.size() == 2
