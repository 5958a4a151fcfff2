"""Clients that send records over batches and streams, keep every receipt, and send again what was not answered.

They know nothing of kills: a connection that breaks, a 503 or a 429 means the same bytes again, a moment later, until
each record has its receipt. Anything else that is not a receipt is a failure.
"""

from __future__ import annotations

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from ledger import merkle, note, receipt
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.keys import Signature
from ledger.ledger import Inclusion, check_inclusion
from ledger.receipt import Receipt
from ledger.record import SignedRecord, encode_batch, encode_record
from tests.journeys.stream_client import opened
from tests.ledger.api.test_records import control_bytes
from tests.ledger.written import Writer

AGAIN = 0.05  # seconds before the same is sent again
BROKEN = (httpx.TransportError, WebSocketException, OSError)


@dataclass(frozen=True, slots=True)
class Promised:
    """What a client remembers of a record: its number, its bytes by their hash, and when it was first sent and first
    answered, by one clock."""

    number: int
    record_id: bytes
    body: bytes  # 32
    signature: Signature
    receipt: Receipt
    sent: float
    answered: float


@dataclass(eq=False, slots=True)
class Sent:
    """A record on its way. `at` is when it was sent first."""

    writer: Writer
    record: SignedRecord
    number: int
    at: float | None = None


class Load:
    """Clients and a watcher on one service, wherever it runs just now."""

    def __init__(self, url: str, api_key: str, seed: int) -> None:
        self.url = url
        self.api_key = api_key
        self.failures: list[BaseException] = []
        self.stop = threading.Event()
        self.refused = self.broken = self.repeated = 0  # roughly: threads count them together
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            keys = http.get("/v1/log/keys").raise_for_status().json()
        self.origin = str(keys["origin"])
        self.log = note.Ed25519Verifier.from_vkey(keys["log"])
        self.promises = note.Ed25519Verifier.from_vkey(keys["receipt"])
        self.clients: list[Client] = [
            kind(self, random.Random(seed + number), [Writer(10 * number + one, self.origin) for one in range(forks)])
            for number, (kind, forks) in enumerate([(Batches, 3), (Batches, 1), (Stream, 2), (Stream, 1)])
        ]
        self.watcher = Watcher(self, random.Random(seed - 1))

    def start(self) -> None:
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=60, trust_env=False) as http:
            for client in self.clients:
                for writer in client.writers:
                    http.post("/v1/controls", content=control_bytes(writer.control())).raise_for_status()
        for thread in (*self.clients, self.watcher):
            thread.start()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}

    @property
    def acknowledged(self) -> int:
        return sum(len(client.promised) for client in self.clients)

    @property
    def unanswered(self) -> int:
        return sum(len(client.waiting) for client in self.clients)

    def expect_well(self) -> None:
        if self.failures:
            raise self.failures[0]

    def finish(self) -> None:
        """Begin nothing more, and wait until each record that was begun has its receipt."""
        self.stop.set()
        for thread in (*self.clients, self.watcher):
            if thread.ident is not None:
                thread.join(120)
                assert not thread.is_alive(), "a client still waits for an answer"

    def close(self) -> None:
        for each in (*self.clients, self.watcher):
            each.http.close()


class _Caller(threading.Thread, ABC):
    """Does `turn` again and again; a service that is gone is asked again where it is then."""

    def __init__(self, load: Load, drawn: random.Random) -> None:
        super().__init__(daemon=True)
        self.load = load
        self.drawn = drawn
        # One for all its life: to make one takes longer than what is asked here.
        self.http = httpx.Client(headers=load.headers, timeout=90, trust_env=False)

    def leave(self) -> None:
        """Take nothing up again that a connection had begun."""

    def run(self) -> None:
        try:
            while self.goes_on():
                try:
                    self.turn()
                except BROKEN:
                    self.load.broken += 1
                    self.leave()
                    time.sleep(AGAIN)
        except BaseException as error:
            self.load.failures.append(error)
        finally:
            self.leave()

    def goes_on(self) -> bool:
        return not self.load.stop.is_set()

    @abstractmethod
    def turn(self) -> None:
        """Ask once. Raises one of BROKEN when the service does not answer."""


class Client(_Caller):
    """Writes the records of its forks, some at a time, in an order of its own."""

    def __init__(self, load: Load, drawn: random.Random, writers: Sequence[Writer]) -> None:
        super().__init__(load, drawn)
        self.writers = writers
        self.waiting: list[Sent] = []
        self.promised: list[Promised] = []
        self._recent: list[tuple[Sent, str]] = []  # with the receipt that came first

    def goes_on(self) -> bool:
        return bool(self.waiting) or super().goes_on()

    def turn(self) -> None:
        if not self.waiting:
            time.sleep(self.drawn.uniform(0, 0.01))
            begun = [self.drawn.choice(self.writers) for _ in range(self.drawn.choice((1, 3, 20, 60)))]
            self.waiting = [Sent(writer, writer.next(), writer.written) for writer in begun]
        # Something that has its receipt already goes along: it must get the same one.
        known = self.drawn.sample(self._recent, min(len(self._recent), self.drawn.choice((0, 0, 1, 3))))
        self.load.repeated += len(known)
        answers = self.ask([each for each, _ in known] + self.waiting)
        for each, first in known:
            answer = next(answers)
            if not self._put_off(answer):
                assert answer.get("receipt") == first, (each.number, answer)
        put_off = False
        for each in list(self.waiting):
            answer = next(answers)
            if put_off and answer.get("status") == 409:  # what it follows was not recorded, or nobody knows
                assert answer["error"]["code"] == "stale_number", answer
            elif self._put_off(answer):
                put_off = True
            else:
                self._keep(each, answer)
        if put_off:
            self.leave()
            time.sleep(AGAIN)

    def _put_off(self, answer: dict[str, Any]) -> bool:
        if answer.get("status") not in (429, 503):
            return False
        self.load.refused += 1
        return True

    def _keep(self, sent: Sent, answer: dict[str, Any]) -> None:
        assert "receipt" in answer, answer
        said = receipt.open_receipt(answer["receipt"].encode(), self.load.promises)
        assert (said.fork_id, said.version) == (sent.writer.fork_id, sent.number + 1)
        assert sent.at is not None
        body, record_id = sha256(sent.record.body).digest(), sent.writer.record_id(sent.number)
        (signature,) = sent.record.signatures
        self.promised.append(Promised(sent.number, record_id, body, signature, said, sent.at, time.monotonic()))
        self.waiting.remove(sent)
        self._recent = [*self._recent[-20:], (sent, answer["receipt"])]

    def _mark(self, sent: Sequence[Sent]) -> None:
        for each in sent:
            each.at = each.at or time.monotonic()

    @abstractmethod
    def ask(self, sent: Sequence[Sent]) -> Iterator[dict[str, Any]]:
        """Send these in this order. Gives of each what became of it, and raises one of BROKEN when nobody says."""


class Batches(Client):
    def ask(self, sent: Sequence[Sent]) -> Iterator[dict[str, Any]]:
        self._mark(sent)
        answer = self.http.post(
            self.load.url + "/v1/records/batch", content=encode_batch([each.record for each in sent])
        )
        if answer.status_code in (429, 503):
            return iter([{"status": answer.status_code}] * len(sent))
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert len(results) == len(sent)
        return iter(results)


class Stream(Client):
    """Now and then it leaves in the middle, and sends what was not answered over another connection."""

    def __init__(self, load: Load, drawn: random.Random, writers: Sequence[Writer]) -> None:
        super().__init__(load, drawn, writers)
        self._stream: ClientConnection | None = None
        self._open = ExitStack()
        self._over = ""
        self._answered = 0

    def leave(self) -> None:
        self._stream = None
        with suppress(*BROKEN):
            self._open.close()

    def ask(self, sent: Sequence[Sent]) -> Iterator[dict[str, Any]]:
        if self._stream is None or self._over != self.load.url:
            self.leave()
            self._over = self.load.url
            self._stream = self._open.enter_context(opened(self._over, self.load.api_key))
            self._answered = 0
        self._mark(sent)
        for each in sent:
            self._stream.send(encode_record(each.record))
        return self._answers(self._stream, self.drawn.randrange(len(sent)) if self.drawn.random() < 0.05 else -1)

    def _answers(self, stream: ClientConnection, leaves_at: int) -> Iterator[dict[str, Any]]:
        while True:
            if leaves_at == 0:
                raise OSError("enough")
            leaves_at -= 1
            answer = json.loads(stream.recv(timeout=90))
            assert answer["n"] == self._answered
            self._answered += 1
            yield answer


@dataclass(slots=True)
class Seen:
    """Checkpoints, signed by the log, in the order in which they were fetched."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    first: bytes = b""


class Watcher(_Caller):
    """Fetches checkpoints, keeps every one, and has inclusion of promised entries proved to it meanwhile."""

    def __init__(self, load: Load, drawn: random.Random) -> None:
        super().__init__(load, drawn)
        self.seen = Seen()
        self.proved = 0

    def turn(self) -> None:
        time.sleep(0.02)
        self.fetch()
        client = self.drawn.choice(self.load.clients)
        if client.promised:
            self.expect_included(self.drawn.choice(client.promised).receipt)

    def fetch(self) -> Checkpoint | None:
        """The checkpoint of this moment, unless the service cannot say it."""
        answer = self.http.get(self.load.url + "/checkpoint")
        if answer.status_code in (404, 503):
            return None
        assert answer.status_code == 200, answer.text
        return self._keep(answer.content)

    def expect_included(self, said: Receipt) -> None:
        answer = self.http.get(self.load.url + "/v1/log/proofs/inclusion", params={"leaf": said.leaf_index})
        if answer.status_code in (404, 503):  # 404: no checkpoint covers it yet
            return
        assert answer.status_code == 200, answer.text
        told = answer.json()
        inclusion = Inclusion(
            told["leaf_index"],
            note.decode_base64(told["entry"], "entry"),
            [bytes.fromhex(node) for node in told["proof"]],
            told["checkpoint"].encode(),
        )
        check_inclusion(inclusion, self.load.origin, self.load.log)
        assert inclusion.leaf_index == said.leaf_index
        assert merkle.leaf_hash(inclusion.entry) == said.entry_hash
        self._keep(inclusion.checkpoint)
        self.proved += 1

    def _keep(self, signed: bytes) -> Checkpoint:
        found = open_checkpoint(signed, self.load.origin, [self.load.log])
        kept = self.seen.checkpoints
        if not kept:
            self.seen.first = signed
        elif kept[-1].size > found.size:
            raise AssertionError(f"the log went back from {kept[-1].size} to {found.size} entries")
        if not kept or kept[-1] != found:
            kept.append(found)
        return found


def until(holds: Callable[[], object], load: Load, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        load.expect_well()
        assert time.monotonic() < end, what
        time.sleep(0.005)
