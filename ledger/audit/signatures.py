"""Signature checks, in batches, on as many processes as are lent: by far the most of an audit's work.

The walk over the log queues what is to be checked and goes on. A batch is a pure function of bytes, and what it finds
is filed under the entry's place: the report is the same for any number of processes.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from ledger.audit.report import Faults
from ledger.errors import BadSignature
from ledger.keys import ED25519, PublicKey, Signature, check_signature

_BATCH = 512  # signatures: some 25 ms of work, 200 KB to hand over
_BATCH_HERE = 64  # where nothing is handed over
FROM = 20_000  # signatures: a second's work
_AHEAD = 4  # batches under way for each process


class Claim(NamedTuple):
    """That `key` (32) signed: `signed` is the signature (64) and then the message."""

    leaf: int
    fork_id: str
    version: int
    key: bytes
    signed: bytes


class Signatures:
    """A queue of claims. `settle` waits for all of them; what does not hold is added to the faults as step 6."""

    def __init__(self, faults: Faults, processes: int = 0) -> None:
        """With fewer than two `processes` each batch is checked here, when it is full."""
        self._faults = faults
        self._processes = processes
        self._open: list[Claim] = []
        self._under_way: deque[tuple[list[Claim], Future[list[int]]]] = deque()
        self._batch, self._most_under_way = _BATCH_HERE, 0
        self._pool: ProcessPoolExecutor | None = None

    def expect(self, count: int) -> None:
        """So many are to come. For a few it is not worth starting other processes."""
        if self._processes < 2 or count < FROM:
            return
        # spawn: no thread or open file of this process is copied into the others
        self._pool = ProcessPoolExecutor(self._processes, mp_context=get_context("spawn"), initializer=_leave_ctrl_c)
        self._batch, self._most_under_way = _BATCH, _AHEAD * self._processes

    def add(self, claim: Claim) -> None:
        self._open.append(claim)

    def collect(self) -> None:
        """Hand over full batches, and take back what is done when enough is under way. Bounds memory."""
        for begin in range(0, len(self._open) - self._batch + 1, self._batch):
            self._start(self._open[begin : begin + self._batch])
        self._open = self._open[len(self._open) // self._batch * self._batch :]
        while len(self._under_way) > self._most_under_way:
            self._finish()

    def settle(self) -> None:
        self.collect()
        batch, self._open = self._open, []
        if batch:
            self._start(batch)
        while self._under_way:
            self._finish()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _start(self, batch: list[Claim]) -> None:
        if self._pool is not None:
            try:
                done = self._pool.submit(bad_signatures, [(claim.key, claim.signed) for claim in batch])
            except BrokenProcessPool:
                self._pool = None
            else:
                self._under_way.append((batch, done))
                return
        self._file(batch, bad_signatures([(claim.key, claim.signed) for claim in batch]))

    def _finish(self) -> None:
        batch, done = self._under_way[0]
        try:
            bad = done.result()
        except BrokenProcessPool:  # a process was killed, for memory perhaps: what it had is done here
            bad = bad_signatures([(claim.key, claim.signed) for claim in batch])
        self._under_way.popleft()  # now only: an interrupted wait loses nothing
        self._file(batch, bad)

    def _file(self, batch: list[Claim], bad: list[int]) -> None:
        for number in bad:
            leaf, fork_id, version, raw, signed = batch[number]
            key = PublicKey(ED25519, raw)
            try:
                check_signature(key, Signature(key.key_id, ED25519, signed[:64]), signed[64:])
            except BadSignature as error:
                self._faults.add(leaf, fork_id, version, 6, str(error))


def bad_signatures(claims: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """Which of these (key, signature || message) do not hold, by number. The rule is that of `keys.check_signature`."""
    bad = []
    for number, (key, signed) in enumerate(claims):
        try:
            crypto_sign_open(signed, key)
        except CryptoError:
            bad.append(number)
    return bad


def _leave_ctrl_c() -> None:
    """Ctrl-C goes to every process of a terminal; the first one alone decides what becomes of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
