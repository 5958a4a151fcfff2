"""eventsourcing's own recorder tests over our PostgreSQL recorder, subscriptions among them.

Beside those that come with the package, what its repository tests of PostgreSQL alone, written anew: a recorder whose
connections were closed opens others, and a writer that waits for another gives up after a time.
"""

import threading
from unittest import TestCase, mock
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from ledger.store import postgres_recorder
from ledger.store.postgres_recorder import Datastore, Recorder
from tests.ledger.store import library


class _OnADatabase(TestCase):
    """A fresh database for each test: our tables are dense from 1, so tests cannot share one."""

    recorder_class: type[Recorder] = Recorder

    @pytest.fixture(autouse=True)
    def _fresh(self, postgres_url: str) -> None:
        self.url = postgres_url

    def setUp(self) -> None:
        self._datastores: list[Datastore] = []

    def tearDown(self) -> None:
        for datastore in self._datastores:
            datastore.close()

    def create_recorder(self) -> Recorder:
        datastore = Datastore(self.url)
        self._datastores.append(datastore)
        recorder = self.recorder_class(datastore)
        recorder.create_table()
        return recorder


class _WithoutIds(library.WithoutIds, Recorder):
    pass


class TestAsAggregateRecorder(_OnADatabase, library.AsAggregateRecorder):
    recorder_class = _WithoutIds


class TestAsApplicationRecorder(_OnADatabase, library.AsApplicationRecorder[Recorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNotificationIds(_OnADatabase, library.NotificationIds):
    pass


class TestOnBadDays(_OnADatabase):
    def test_a_conflict_leaves_no_gap(self) -> None:
        recorder = self.create_recorder()
        first, second = _event(), _event()
        assert recorder.insert_events([first]) == [1]
        with pytest.raises(IntegrityError):
            recorder.insert_events([second, first])
        assert recorder.insert_events([second]) == [2]

    def test_closed_connections_are_replaced(self) -> None:
        recorder = self.create_recorder()
        for number in range(1, 4):
            recorder.insert_events([_event()])
            assert _end_all_others(self.url) > 0
            assert recorder.max_notification_id() == number
            assert _end_all_others(self.url) > 0
            assert len(recorder.select_notifications(start=1, limit=10)) == number

    def test_a_writer_that_waits_for_another_gives_up(self) -> None:
        with mock.patch.dict(postgres_recorder._SESSION, {"lock_timeout": "200ms"}):
            recorder = self.create_recorder()
            outcome: list[Exception] = []

            def insert() -> None:
                try:
                    with recorder.datastore.transaction(commit=True) as cursor:
                        recorder._insert_stored_events(cursor, [_event()])
                except OperationalError as error:
                    outcome.append(error)

            with recorder.datastore.transaction() as cursor:
                recorder._insert_stored_events(cursor, [_event()])
                other = threading.Thread(target=insert)
                other.start()
                other.join(30)
        assert "lock timeout" in str(outcome[0])
        assert recorder.insert_events([_event()]) == [1]


def _event() -> StoredEvent:
    return StoredEvent(uuid4(), 1, "topic", b"state")


def _end_all_others(url: str) -> int:
    """End every other connection to the database, as an operator would. How many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return len(ended.fetchall())
