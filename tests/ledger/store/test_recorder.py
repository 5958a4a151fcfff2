"""eventsourcing's own recorder tests over our recorder.

What they expect that the ledger itself never asks for: events of any topic and state, versions that begin anywhere,
several events in one insert. `SQLiteApplicationRecorder` has no `subscribe`, and so no test of it runs here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from unittest import mock

from eventsourcing.persistence import StoredEvent

from ledger.store.sqlite_recorder import Datastore, Recorder

# The library's module of tests also tests its own cipher, which needs pycryptodome. We leave that cipher off, and none
# of the recorder tests looks at it.
_cipher = ModuleType("eventsourcing.cipher")
_cipher.AESCipher = object  # type: ignore[attr-defined]
with mock.patch.dict(sys.modules, {"eventsourcing.cipher": _cipher}):
    from eventsourcing.tests.persistence import (
        AggregateRecorderTestCase,
        ApplicationRecorderTestCase,
        NonInterleavingNotificationIDsBaseCase,
    )


class _OnAFile:
    """A fresh file for each test: our tables are dense from 1, so tests cannot share one."""

    recorder_class: type[Recorder] = Recorder

    def setUp(self) -> None:
        self._folder = TemporaryDirectory()
        self._datastores: list[Datastore] = []

    def tearDown(self) -> None:
        for datastore in self._datastores:
            datastore.close()
        self._folder.cleanup()

    def create_recorder(self) -> Recorder:
        datastore = Datastore(str(Path(self._folder.name) / "recorder.db"))
        self._datastores.append(datastore)
        recorder = self.recorder_class(datastore)
        recorder.create_table()
        return recorder


class _WithoutIds(Recorder):
    """An aggregate recorder returns no notification ids; the suite for one insists on that."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        super().insert_events(stored_events, **kwargs)


class TestAsAggregateRecorder(_OnAFile, AggregateRecorderTestCase):
    recorder_class = _WithoutIds

    def test_performance(self) -> None:
        """A measurement, not a test: bench/ has ours."""


class TestAsApplicationRecorder(_OnAFile, ApplicationRecorderTestCase[Recorder]):
    def test_performance(self) -> None:
        """A measurement, not a test."""

    def test_concurrent_throughput(self) -> None:
        """A measurement, not a test."""


class TestNotificationIds(_OnAFile, NonInterleavingNotificationIDsBaseCase):
    insert_num = 200


# The library's base classes are tests themselves; imported here, pytest would run them without a recorder.
del AggregateRecorderTestCase, ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
