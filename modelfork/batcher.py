"""Continuous batching: answers of different users are computed together, and join and leave between two tokens.

One thread has the rows under way. In turn it feeds waiting prompts, a bounded number of their tokens, and computes
one token for every row, each with its own cores and sampling. Whoever asked takes the tokens from a queue of their
own. The thread lives while there is something to answer.

What a row says does not depend on who is beside it, beyond the rounding of floats: a product of many rows adds in
another order than a product of one. Where two tokens are as good as equally likely, that may decide between them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ledger.errors import Busy
from modelfork.base import Base
from modelfork.cores import Running
from modelfork.generate import Sampling, choose, room_for
from modelfork.kvcache import RowCache

MOST_ROWS = 16
MOST_WAITING = 256
MOST_SECONDS = 30.0  # that a prompt waits for a place
FED = 256  # tokens of prompts, padded to one length, between two tokens of the rows under way
RETRY_AFTER = 2.0  # seconds


@dataclass(slots=True, eq=False)
class _Row:
    """An answer that is wanted. `said` takes its tokens, then None; or what it failed of."""

    numbers: Tensor  # (dimension,)
    prompt: list[int]
    sampling: Sampling
    left: int  # tokens that may still come
    drawn: torch.Generator
    said: SimpleQueue[int | BaseException | None] = field(default_factory=SimpleQueue)
    fed: int = 0  # tokens of the prompt that are in the cache
    token: int = 0  # to be fed next
    given_up: bool = False  # nobody wants the rest


class Batcher:
    """Answers for many threads. `most_rows` at once; at most `most_waiting` wait, none longer than `most_seconds`.

    First come, first served. While another thread uses the model too, which is one that learns, each has it half of
    the time: after waiting for it, rows go on for as long as they waited.
    """

    def __init__(
        self,
        base: Base,
        most_rows: int = MOST_ROWS,
        most_waiting: int = MOST_WAITING,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        self._base = base
        self._most_rows = most_rows
        self._most_waiting = most_waiting
        self._most_seconds = most_seconds
        self._lock = threading.Lock()  # around the two fields below, for moments
        self._waiting: deque[_Row] = deque()
        self._alive = False  # the thread is there; the fields below are its own
        self._arriving: list[_Row] = []  # whose prompts are fed
        self._prompts = RowCache(base)
        self._rows: list[_Row] = []  # that speak
        self._cache = RowCache(base)
        self._running: tuple[list[_Row], bool, Running] = ([], False, None)  # cores, and whose they are

    def generate(
        self, state: NDArray[np.int64], prompt: Sequence[int], sampling: Sampling
    ) -> Generator[int, None, None]:
        """The tokens of `generate.generate`, computed together with those of others. Close it to want no more.

        Raises TooLong at once; Busy at the first token, where too many wait or none of the places came free in time.
        """
        most = min(room_for(self._base, prompt), sampling.max_tokens)
        drawn = torch.Generator().manual_seed(sampling.seed % 2**63)
        row = _Row(self._base.cores.numbers(state), list(prompt), sampling, most, drawn)
        return self._said(row)

    def _said(self, row: _Row) -> Generator[int, None, None]:
        self._enter(row)
        try:
            said = self._first(row)
            while said is not None:
                if isinstance(said, BaseException):
                    raise said
                yield said
                said = row.said.get()
        finally:
            row.given_up = True

    def _enter(self, row: _Row) -> None:
        with self._lock:
            if len(self._waiting) >= self._most_waiting:
                raise Busy(f"answers: {self._most_waiting} wait already", RETRY_AFTER)
            if not self._alive:
                threading.Thread(target=self._run, name="batcher").start()
                self._alive = True
            self._waiting.append(row)

    def _first(self, row: _Row) -> int | BaseException | None:
        try:
            return row.said.get(timeout=self._most_seconds)
        except Empty:
            with self._lock:
                if row in self._waiting:
                    self._waiting.remove(row)
                    raise Busy(f"answers: no place came free in {self._most_seconds:g} s", RETRY_AFTER) from None
            return row.said.get()  # it has its place: its prompt is long

    # --- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._goes_on():
            asked = time.monotonic()
            with self._base.cores.lock, torch.inference_mode():
                got = time.monotonic()
                self._step()
                while self._has_work() and time.monotonic() - got < got - asked:
                    self._step()

    def _goes_on(self) -> bool:
        """Asked by the thread alone, which ends where it is False: the next to come starts another."""
        with self._lock:
            self._alive = self._has_work()
            if not self._alive:
                self._running = ([], False, None)
            return self._alive

    def _has_work(self) -> bool:
        return bool(self._waiting or self._arriving or self._rows)

    def _step(self) -> None:
        """Some tokens of prompts, then one of every row."""
        self._admit()
        try:
            self._feed()
        except Exception as error:  # nobody knows which row it was; those that speak have no part in it
            self._arriving = _failed(self._arriving, error)
        try:
            self._join()
            for row in [row for row in self._rows if row.given_up]:
                self._leave(row)
            if self._rows:
                self._say()
        except Exception as error:
            self._rows, self._cache = _failed(self._rows, error), RowCache(self._base)

    def _admit(self) -> None:
        """Waiting prompts that fit side by side into what is fed at once, or one alone."""
        if all(row.given_up for row in self._arriving):
            self._arriving = []
        if self._arriving:
            return
        with self._lock:
            while self._waiting and len(self._rows) + len(self._arriving) < self._most_rows:
                more = [*self._arriving, self._waiting[0]]
                if len(more) > 1 and len(more) * max(len(row.prompt) for row in more) > FED:
                    break
                self._arriving.append(self._waiting.popleft())
        self._prompts = RowCache(self._base, len(self._arriving))

    def _feed(self) -> None:
        """Some more of the arriving prompts, but the last token of each."""
        pieces = [row.prompt[row.fed : min(row.fed + FED, len(row.prompt) - 1)] for row in self._arriving]
        width = max(map(len, pieces), default=0)
        if width:
            padded = [piece + [self._base.pad] * (width - len(piece)) for piece in pieces]
            with self._base.cores.running(self._cores_of(self._arriving)):
                self._prompts.feed(self._base.placed(padded), list(map(len, pieces)))
        for row, piece in zip(self._arriving, pieces, strict=True):
            row.fed += len(piece)

    def _join(self) -> None:
        """Rows whose prompt is fed speak from now on, first with its last token."""
        if any(row.fed < len(row.prompt) - 1 for row in self._arriving):
            return
        joining, self._arriving = self._arriving, []
        self._rows += joining
        for at, row in enumerate(joining):
            row.token = row.prompt[-1]
            self._cache.take(self._prompts, at)
        self._prompts = RowCache(self._base)

    def _say(self) -> None:
        """One token of every row."""
        with self._base.cores.running(self._cores_of(self._rows)):
            logits = self._cache.feed(self._base.placed([[row.token] for row in self._rows]))  # (rows, vocabulary)
        likeliest = logits.argmax(-1).tolist()  # of all at once: one by one it takes as long as a layer
        for row, one, token in list(zip(self._rows, logits, likeliest, strict=True)):
            if not self._says(row, one[None], token):
                self._leave(row)

    def _says(self, row: _Row, logits: Tensor, likeliest: int) -> bool:
        """Draw the row's next token; False where it was the last."""
        row.token = likeliest
        if row.sampling.temperature > 0:
            try:
                row.token = int(choose(logits, row.sampling.temperature, row.sampling.top_p, row.drawn))
            except Exception as error:  # logits that are none, of a fork whose numbers have run away: it fails alone
                row.said.put(error)
                return False
        row.said.put(row.token)
        row.left -= 1
        if row.token in self._base.ends or row.left < 1:
            row.said.put(None)
            return False
        return True

    def _leave(self, row: _Row) -> None:
        """The last row takes its place, here as in the cache."""
        at = self._rows.index(row)
        self._cache.drop(at)
        self._rows[at] = self._rows[-1]
        self._rows.pop()

    def _cores_of(self, rows: list[_Row]) -> Running:
        """The cores of these rows, kept until others are asked for; merged for one that nobody is beside."""
        alone = len(self._rows) + len(self._arriving) == 1
        if self._running[:2] != (rows, alone):
            numbers = torch.stack([row.numbers for row in rows])  # (rows, dimension)
            running = self._base.cores.merged(numbers[0]) if alone else self._base.cores.by_row(numbers)
            self._running = (list(rows), alone, running)
        return self._running[2]


def _failed(rows: list[_Row], error: Exception) -> list[_Row]:
    """Tell them; none is left."""
    for row in rows:
        row.said.put(error)
    return []
