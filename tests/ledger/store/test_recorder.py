"""eventsourcing's own recorder tests over our recorder.

`SQLiteApplicationRecorder` has no `subscribe`, and so no test of it runs here.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.store.sqlite_recorder import Datastore, Recorder
from tests.ledger.store import library


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


class _WithoutIds(library.WithoutIds, Recorder):
    pass


class TestAsAggregateRecorder(_OnAFile, library.AsAggregateRecorder):
    recorder_class = _WithoutIds


class TestAsApplicationRecorder(_OnAFile, library.AsApplicationRecorder[Recorder]):
    pass


class TestNotificationIds(_OnAFile, library.NotificationIds):
    pass
