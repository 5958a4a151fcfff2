"""The client that waits for each answer. It may be used from several threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from ledger.checkpoint import Checkpoint
from ledger.client import interactions, streaming, verbs
from ledger.client.answers import (
    Anchors,
    Growth,
    Head,
    Included,
    Kept,
    LogKeys,
    Outcome,
    Proven,
    Recorded,
    SignedCheckpoint,
)
from ledger.client.call import TIMEOUT, Answer, Arriving, Call, headers_of, lost, pause_before_next
from ledger.client.interactions import Acknowledged, Fork, Learned, Remembered, Sent, ServedFork, Taught
from ledger.client.streaming import Window
from ledger.client.trust import trust_of
from ledger.client.verbs import Wait
from ledger.entry import SignedControl
from ledger.errors import LedgerError, Unavailable
from ledger.policy import Policy
from ledger.receipt import Receipt
from ledger.record import SignedRecord

T = TypeVar("T")


class Client:
    """A service by its URL, as the app of this API key; without one, what is public.

    `log_key` or `policy` says whose checkpoints are believed, `receipt_key` whose receipts: verifier keys as `log_keys`
    and `forkledger keys show` state them, got by another way than the service. Every verb raises what the ledger itself
    raises, and Unavailable where no answer came; the same may then be asked again.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        log_key: str | None = None,
        receipt_key: str | None = None,
        policy: Policy | None = None,
        pause: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._trust = trust_of(log_key, policy, receipt_key)
        self._url = url.rstrip("/")
        self._pause = pause
        self._line: dict[str, Any] = streaming.options(api_key)
        self._http = httpx.Client(timeout=TIMEOUT, headers=headers_of(api_key), transport=transport)

    def create_fork(self, control: SignedControl) -> Recorded:
        """Append a fork's first entry. The same bytes get the same receipt again."""
        return self._do(verbs.create_fork(self._trust, control))

    def append(self, record: SignedRecord, wait: Wait = None) -> Recorded:
        """Append a finished record: it is durable once this returns, and the same bytes get the same receipt again.

        With `wait="checkpoint"` this returns with the inclusion proof, or after some ten seconds without one.
        """
        return self._do(verbs.append(self._trust, record, wait))

    def append_batch(self, records: Sequence[SignedRecord]) -> list[Outcome]:
        """Append up to a thousand records in their order: for each its receipt, or the error that it would get alone.

        What this raises is of the whole batch, which may be sent again as it is.
        """
        return self._do(verbs.append_batch(self._trust, records))

    def entries(self, fork_id: str, after: int = 0, limit: int = 100) -> tuple[Kept, ...]:
        """A fork's entries with a version above `after`, fewer than `limit` where they are large; none at the end.

        Checked to be one chain with the payloads that it names. That the log has them, and who signed: `evidence`.
        """
        return self._do(verbs.entries(self._trust, fork_id, after, limit))

    def head(self, fork_id: str) -> Head:
        """A fork's newest entry, by the service's word. A service without models has no such route: NotFound."""
        return self._do(verbs.head(self._trust, fork_id))

    def fork_of(self, user: str) -> ServedFork:
        """The fork of an end user, by the app's own id of them: made on first use, and the same ever after."""
        return self._do(interactions.fork_of(self._trust, user))

    def fork(self, fork_id: str) -> ServedFork:
        """A fork in service custody as it stands, by the service's word."""
        return self._do(interactions.fork(self._trust, fork_id))

    def interact(self, fork_id: str, sent: Sent) -> Learned:
        """Record a turn that was generated elsewhere, or a verdict on an earlier answer, and learn from it."""
        (outcome,) = self._do(interactions.interact(self._trust, fork_id, [sent]))
        if isinstance(outcome, LedgerError):
            raise outcome
        return outcome

    def interact_batch(self, fork_id: str, several: Sequence[Sent]) -> list[Taught]:
        """The same for up to a hundred of one fork, learned in their order: for each its record, or the error that it
        would get alone. All of it may be sent again as it is."""
        return self._do(interactions.interact(self._trust, fork_id, several))

    def interact_stream(self, several: Iterable[tuple[Fork, Sent]]) -> Iterator[Acknowledged]:
        """The same for as many as come, each with its fork: acknowledged as they are learned, forks side by side.

        At most 32 are on their way; then the next is not asked for before one is answered. While the next is waited
        for, no answer is handed out: `AsyncClient` does both at once. What a connection that ended left unanswered is
        sent again on the next, and recorded once. Raises what no connection can mend; what `several` itself raises
        comes once all before it is answered.
        """
        window, source = Window(self._trust), iter(several)
        while not window.done:
            try:
                with connect(streaming.address(self._url), **self._line) as line:
                    yield from _through(line, window, source)
            except (OSError, WebSocketException, Unavailable) as error:
                self._pause(window.pause(error))
        if window.failed is not None:
            raise window.failed

    def pause(self, fork_id: str) -> None:
        """Record what comes and learn nothing of it, then or later. Survives a restart of the service."""
        self._do(interactions.pause(self._trust, fork_id, True))

    def resume(self, fork_id: str) -> None:
        """Learn again from what comes from now on."""
        self._do(interactions.pause(self._trust, fork_id, False))

    def history(self, fork_id: str, after: int = 0, limit: int = 100) -> tuple[Remembered, ...]:
        """A fork's records with a version above `after`, in order, as the service opens them; none at the end."""
        return self._do(interactions.history(self._trust, fork_id, after, limit))

    def checkpoint(self) -> SignedCheckpoint:
        """The published checkpoint."""
        return self._do(verbs.checkpoint(self._trust))

    def log_keys(self) -> LogKeys:
        """The log's keys by its own word."""
        return self._do(verbs.log_keys(self._trust))

    def inclusion(self, of: Receipt | int) -> Included:
        """The proof of a leaf, checked; of a receipt: that the log holds what it promised there."""
        return self._do(verbs.inclusion(self._trust, of))

    def consistency(self, old: Checkpoint) -> Growth:
        """The proof, checked, that the log only grew from a checkpoint that was seen before to the published one."""
        return self._do(verbs.consistency(self._trust, old))

    def evidence(self, fork_id: str, named: bytes | int) -> Proven:
        """Evidence of a fork's entry, named by its record id or its version; checked as `forkledger verify` does."""
        return self._do(verbs.evidence(self._trust, fork_id, named))

    def anchors(self, size: int | None = None) -> Anchors:
        """The anchors that cover the first `size` entries; those of the published checkpoint if it is left out."""
        return self._do(verbs.anchors(self._trust, size))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _do(self, call: Call[T]) -> T:
        turn = 1
        while (pause := pause_before_next(came := self._ask(call), turn)) is not None:
            self._pause(pause)
            turn += 1
        return call.read(came)

    def _ask(self, call: Call[T]) -> Answer | Unavailable:
        asked = self._http.stream(
            call.method, f"{self._url}{call.path}", params=call.params, content=call.content, headers=call.headers
        )
        try:
            with asked as answer:
                arriving = Arriving(call, answer)
                for part in answer.iter_raw():
                    arriving.add(part)
                return arriving.whole()
        except Unavailable as error:
            return error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return lost(call, error)


def _through(line: ClientConnection, window: Window, source: Iterator[tuple[Fork, Sent]]) -> Iterator[Acknowledged]:
    """All that one connection carries, until nothing more comes and everything is answered."""
    for frame in window.again():
        line.send(frame)
    while not window.done:
        if not (window.ended or window.full):
            try:
                following = next(source, None)
            except Exception as error:
                following, window.failed = None, error
            if following is None:
                window.ended = True
                continue
            line.send(window.frame(following))
        wait = None if window.ended or window.full else 0
        try:
            acknowledged = window.answered(line.recv(timeout=wait))
        except TimeoutError:
            continue
        if acknowledged is not None:
            yield acknowledged
