"""eventsourcing's own recorder tests, as both recorders pass them.

What they expect that the ledger itself never asks for: events of any topic and state, versions that begin anywhere,
several events in one insert. They are tests themselves: named in a test module, they would run without a recorder.
"""

import sys
from abc import ABC
from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeVar
from unittest import mock

from eventsourcing.persistence import ApplicationRecorder, StoredEvent

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

_R = TypeVar("_R", bound=ApplicationRecorder)


class WithoutIds(ApplicationRecorder, ABC):
    """An aggregate recorder returns no notification ids; the suite for one insists on that."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        super().insert_events(stored_events, **kwargs)  # type: ignore[safe-super]  # a recorder follows it


class AsAggregateRecorder(AggregateRecorderTestCase):
    def test_performance(self) -> None:
        """A measurement, not a test: bench/ has ours."""


class AsApplicationRecorder(ApplicationRecorderTestCase[_R]):
    def test_performance(self) -> None:
        """A measurement, not a test."""

    def test_concurrent_throughput(self) -> None:
        """A measurement, not a test."""


class NotificationIds(NonInterleavingNotificationIDsBaseCase):
    insert_num = 200
