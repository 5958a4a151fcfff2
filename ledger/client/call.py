"""A request and what reads its answer, without I/O: the two clients differ in how they wait and in nothing else.

Every verb may be sent again with the same bytes: who only reads changes nothing, an append of the same bytes gets the
receipt that they got before, and an interaction under the same key the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx

from ledger.client.refusal import error_in, error_of, seconds_of
from ledger.client.trust import Trust
from ledger.errors import Malformed, Unavailable

T = TypeVar("T")

LONGEST_ANSWER = 4 << 20  # bytes: a thousand receipts, or a checkpoint with as many cosignatures as one can have
MOST_SECONDS = 60.0  # of one answer: a service that drips must not hold its client
TIMEOUT = 30.0  # seconds without a byte; an answer that waits for a checkpoint comes within ten

TRIES = 4
FIRST_PAUSE = 0.5  # seconds; doubled each time
LONGEST_PAUSE = 30.0  # who is told to come later than this is better told

_NOT_NOW = (429, 502, 503, 504)
_FOR_GOOD = ("fenced", "halted")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    retry_after: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`parse` reads the body of an answer that is no refusal. `fork_id` is the fork that a record in it is for."""

    method: str
    path: str
    parse: Callable[[bytes], T]
    trust: Trust
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    longest: int = LONGEST_ANSWER
    fork_id: str | None = None
    seconds: float = field(default_factory=lambda: MOST_SECONDS)

    def read(self, came: Answer | Unavailable) -> T:
        """What the answer says. Raises what it refuses with, or what is wrong with it."""
        if isinstance(came, Unavailable):
            raise came
        if came.status not in (200, 201):
            raise error_of(came.status, error_in(came.body), self.trust, came.retry_after, self.fork_id)
        try:
            return self.parse(came.body)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Malformed(f"{self.path}: the answer is not of the form that the service gives it") from None


def pause_before_next(came: Answer | Unavailable, turn: int) -> float | None:
    """How many seconds after this answer, the `turn`-th, the same is asked again; None: never, it is the last word."""
    asked = 0.0
    if isinstance(came, Answer):
        described = error_in(came.body) if came.status in _NOT_NOW else None
        if came.status not in _NOT_NOW or (isinstance(described, dict) and described.get("code") in _FOR_GOOD):
            return None
        asked = seconds_of(came.retry_after) or 0.0
    if turn >= TRIES or asked > LONGEST_PAUSE:
        return None
    return max(asked, FIRST_PAUSE * (1 << (turn - 1)))


class Arriving:
    """An answer as it comes in: bounded in bytes and in time before anything of it is read."""

    def __init__(self, call: Call[T], answer: httpx.Response) -> None:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise Malformed(f"{call.path}: expected no content-encoding, for none was asked for")
        self._call = call
        self._answer = answer
        self._data = bytearray()
        self._end = time.monotonic() + call.seconds

    def add(self, part: bytes) -> None:
        self._data += part
        if len(self._data) > self._call.longest:
            raise Malformed(f"{self._call.path}: expected at most {self._call.longest} bytes, more came")
        if time.monotonic() > self._end:
            raise Unavailable(f"{self._call.path}: took more than {self._call.seconds:.0f} seconds")

    def whole(self) -> Answer:
        return Answer(self._answer.status_code, self._answer.headers.get("retry-after", ""), bytes(self._data))


def headers_of(api_key: str | None) -> dict[str, str]:
    # No content-encoding: what unpacks to more than it was would be in memory before its length is looked at.
    headers = {"accept-encoding": "identity"}
    return headers if api_key is None else headers | {"authorization": f"Bearer {api_key}"}


def lost(call: Call[T], error: Exception) -> Unavailable:
    """Nobody knows whether the service did what was asked. The message is not the error's, which may quote a URL."""
    return Unavailable(f"{call.path}: no answer ({type(error).__name__})")
