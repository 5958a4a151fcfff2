"""A method that is held at its beginning, so that a test can look at what waits for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest


class Gate:
    """`begun` is set by the first call of `name` of `what`; every call goes on once `may_go_on` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, what: object, name: str) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        held = getattr(what, name)

        def waits(*given: Any) -> Any:
            self.begun.set()
            assert self.may_go_on.wait(30)
            return held(*given)

        monkeypatch.setattr(what, name, waits)
