"""Waiting for a log in PostgreSQL to grow: one connection of its own listens, for all who wait in this process."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

_LOOK_ANYWAY = 1.0  # seconds: a backstop, should a notification not come
_TRY_AGAIN = 0.5  # seconds, to connect
_MOST_TO_END = 2.0  # seconds: a listener that is just connecting need not be waited for


class Growth:
    """The largest size of the log that was seen. `connect` opens a connection to the log's database."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._size = 0
        self._grown = threading.Condition()
        self._listener: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._closed = threading.Event()

    def seen(self, size: int) -> None:
        with self._grown:
            if size > self._size:
                self._size = size
                self._grown.notify_all()

    def wait(self, size: int, timeout: float) -> bool:
        """Whether the log has come to have more than `size` entries, after at most `timeout` seconds."""
        until = time.monotonic() + timeout
        with self._grown:
            if self._listener is None and timeout > 0 and not self._closed.is_set():
                self._listener = threading.Thread(target=self._listen, name="ledger-growth", daemon=True)
                self._listener.start()
            while self._size <= size and not self._closed.is_set():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._grown.wait(left)
            return self._size > size

    def close(self) -> None:
        with self._grown:
            self._closed.set()
            self._grown.notify_all()
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the listener
        if self._listener is not None:
            self._listener.join(_MOST_TO_END)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with self._connect() as connection:
                    self._follow(connection)
            except (psycopg.Error, OSError):
                self._closed.wait(_TRY_AGAIN)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(psycopg.errors.ReadOnlySqlTransaction):  # a standby has no notifications: it is asked
            connection.execute("LISTEN entries")  # first, and the size after it: nothing falls between
        with self._grown:
            if self._closed.is_set():
                return
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        try:
            while not self._closed.is_set():
                row = connection.execute("SELECT size FROM public.head").fetchone()
                self.seen(int(row[0]) if row else 0)
                for _ in connection.notifies(timeout=_LOOK_ANYWAY, stop_after=1):
                    pass
        finally:
            with self._grown:
                self._socket.close()
                self._socket = None
