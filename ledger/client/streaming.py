"""A stream of interactions without I/O: what was sent and not answered, and what is sent again after a disconnect."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus

from ledger.client.call import FIRST_PAUSE, TIMEOUT, TRIES
from ledger.client.interactions import NOTHING, Acknowledged, Fork, User, read_taught, spelled_or_refused
from ledger.client.refusal import error_in, error_of
from ledger.client.trust import Trust
from ledger.errors import Fenced, Halted, LedgerError, Malformed, Refused, Unavailable

PATH = "/v1/interactions/stream"
IN_FLIGHT = 32  # sent and not answered; the service reads twice as many
LONGEST_FRAME = 4 << 20  # bytes
KEY_GONE = 4401  # close code


@dataclass(frozen=True, slots=True)
class _Way:
    """One that is on its way; `refused` already where it could not be spelled."""

    fork: Fork
    key: str
    spelling: str
    refused: LedgerError | None


class Window:
    """What of a stream is on its way. The frames of a connection are numbered, from 0, as the service numbers them."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._sent: dict[int, _Way] = {}  # not answered, in order
        self._next = 0
        self.ended = False  # no more will come
        self.failed: Exception | None = None  # what the caller's own source ended with: to be raised last of all
        self._failed = 0  # connections, since something was answered

    @property
    def full(self) -> bool:
        return len(self._sent) >= IN_FLIGHT

    @property
    def unanswered(self) -> int:
        return len(self._sent)

    @property
    def done(self) -> bool:
        return self.ended and not self._sent

    def frame(self, following: Any) -> str:
        """The frame to send. From here on it is sent again until it is answered."""
        if not isinstance(following, tuple) or len(following) != 2:
            raise Malformed("stream: expected pairs of a fork and what it is sent")
        fork, sent = following
        named = {"user": fork.name} if isinstance(fork, User) else {"fork_id": fork}
        spelling, refused = spelled_or_refused(sent, named)
        if len(spelling.encode()) > LONGEST_FRAME:
            spelling, refused = NOTHING, Refused(f"interaction: expected at most {LONGEST_FRAME} bytes")
        self._sent[self._next] = _Way(fork, getattr(sent, "key", ""), spelling, refused)
        self._next += 1
        return spelling

    def again(self) -> list[str]:
        """A connection was opened: the frames to send on it first."""
        self._sent = dict(enumerate(self._sent.values()))
        self._next = len(self._sent)
        return [way.spelling for way in self._sent.values()]

    def answered(self, frame: str | bytes) -> Acknowledged | None:
        """What a frame of the service says; None where it answers nothing. Raises Unavailable where the service gives
        something back that may be sent again, and Malformed."""
        try:
            said: Any = json.loads(frame)
            if "n" not in said:
                return None
            way = self._sent[said["n"]]
            outcome = way.refused or read_taught(said, self._trust, None if isinstance(way.fork, User) else way.fork)
            waiting = int(said["waiting"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Malformed(f"{PATH}: an answer is not of the form that the service gives it") from None
        if isinstance(outcome, LedgerError) and _passes(outcome):
            raise outcome
        del self._sent[said["n"]]
        self._failed = 0
        return Acknowledged(way.fork, way.key, outcome, waiting)

    def pause(self, error: Exception) -> float:
        """The connection ended: how many seconds until another is opened. Raises what is to be told instead."""
        told = error if isinstance(error, LedgerError) else self._meaning(error)
        self._failed += 1
        if not _passes(told) or self._failed >= 2 * TRIES:
            raise told from None
        return min(FIRST_PAUSE * (1 << (self._failed - 1)), 10.0)

    def _meaning(self, error: Exception) -> LedgerError:
        if isinstance(error, InvalidStatus):
            answer = error.response
            return error_of(answer.status_code, error_in(bytes(answer.body or b"")), self._trust)
        if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == KEY_GONE:
            return Refused("the API key opens nothing any more")
        return Unavailable(f"{PATH}: no answer ({type(error).__name__})")


def address(url: str) -> str:
    return url.replace("http", "ws", 1) + PATH


def options(api_key: str | None) -> dict[str, Any]:
    """How a connection is opened, by either client."""
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    return {"additional_headers": headers, "compression": None, "open_timeout": TIMEOUT}


def _passes(error: LedgerError) -> bool:
    """Whether the same may be sent again in a moment."""
    return isinstance(error, Unavailable) and not isinstance(error, (Fenced, Halted))
