"""The fold: a fork's state is genesis plus the sum of step x q over its active updates.

Everything is an integer. step < 2^24 and |q| <= 127, so |step * q| < 2^31: one product fits an int32, and a sum of up
to 2^32 records stays below 2^63. No sum overflows or rounds, so the order of the records, the size of a batch, the
number of threads and the machine do not matter. Replay needs numpy and no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ledger
from ledger.errors import LedgerError
from modelfork.errors import Diverged, ForkError, Malformed, Unsuited
from modelfork.lineage import check_topic
from modelfork.recording import open_update
from modelfork.update import EMPTY, Update

_STATE_DOMAIN = b"forkledger/state/v1\0"

_FAR = 5  # leaves between two of one fork, from where on reading those in between costs more than it saves
_MOST_AHEAD = 64  # leaves


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The numbers of all cores (dimension,) after the entry of `version`. Read-only, for states are shared."""

    layout_digest: bytes  # 32
    vector: NDArray[np.int64]
    version: int

    def __post_init__(self) -> None:
        if len(self.layout_digest) != 32 or self.vector.dtype != np.int64 or self.vector.ndim != 1:
            raise Malformed("state: expected a layout digest of 32 bytes and a vector of int64")
        self.vector.flags.writeable = False

    @property
    def dimension(self) -> int:
        return self.vector.size

    @property
    def digest(self) -> bytes:
        """32 bytes, for key holders only: whoever has it can test guesses of the state."""
        return state_digest(self.layout_digest, self.vector)


def genesis(layout_digest: bytes, dimension: int) -> State:
    """The state at fork time, version 1: zeros."""
    return State(layout_digest, np.zeros(dimension, np.int64), 1)


def state_digest(layout_digest: bytes, vector: NDArray[np.int64]) -> bytes:
    """SHA-256(domain || layout digest || u64le dimension || little-endian int64 numbers)."""
    running = hashlib.sha256(_STATE_DOMAIN + layout_digest + vector.size.to_bytes(8, "little"))
    running.update(np.ascontiguousarray(vector, "<i8").data)  # no copy where it is so already
    return running.digest()


def advance(state: State, version: int, update: Update) -> State:
    """The state after the record of `version`; `state` stays as it is. Raises Unsuited or Diverged."""
    if update.dimension != state.dimension:
        raise Unsuited(f"update: expected the state's {state.dimension} numbers, got {update.dimension}")
    if version != state.version + 1:
        raise Diverged(f"state: expected version {state.version + 1} next, got {version}", version)
    vector = state.vector.copy()
    _add(vector, update)
    return State(state.layout_digest, vector, version)


def sum_updates(dimension: int, updates: Iterable[Update]) -> NDArray[np.int64]:
    """The sum (dimension,) of updates, in whatever order they come. Sums of parts may be added."""
    vector = np.zeros(dimension, np.int64)
    for update in updates:
        if update.dimension != dimension:
            raise Unsuited(f"update: expected {dimension} numbers, got {update.dimension}")
        _add(vector, update)
    return vector


@dataclass(frozen=True, slots=True)
class Replayed:
    """A fork up to the entry of `state.version`; a later replay may start here.

    `records` counts the fork's records, `checked` those whose state was compared with its commitment.
    """

    origin: str
    fork: ledger.entry.ForkCreated
    state: State
    head: bytes  # leaf hash of the last entry read
    records: int
    checked: int


def replay(
    entries: Iterable[tuple[ledger.StoredEntry, ledger.entry.Entry]],
    payloads: Callable[[int], Mapping[int, bytes]],
    keys: Callable[[ledger.record.Body], ledger.vault.RecordKey],
    origin: str,
    start: Replayed | None = None,
    check_state: bool = True,
) -> Replayed:
    """Rebuild a fork's state from its entries, trusting none of them.

    `entries` is what `Ledger.read(fork_id)` yields; with `start`, what `Ledger.read(fork_id, start.state.version)`
    does. `payloads` gives those of a leaf index, `keys` the key of a record. Raises Diverged, which names fork and
    version and says at which step; the cause, if another error, is chained to it.
    """
    fold = _Fold(origin, payloads, keys, check_state)
    if start is not None:
        fold.resume(start)
    read = iter(entries)
    while True:
        try:
            found = next(read, None)
        except (LedgerError, ForkError) as error:  # bytes that are no entry, named by who read them
            raise Diverged(str(error), fold.version + 1) from error
        if found is None:
            return fold.replayed()
        stored, entry = found
        try:
            fold.take(stored, entry)
        except Diverged:
            raise
        except (LedgerError, ForkError) as error:
            raise Diverged(f"fork {entry.fork_id} version {entry.version}: {error}", entry.version) from error


class _Fold:
    """A replay while it runs. The one vector is added to in place; nothing outside sees it before the end."""

    def __init__(
        self,
        origin: str,
        payloads: Callable[[int], Mapping[int, bytes]],
        keys: Callable[[ledger.record.Body], ledger.vault.RecordKey],
        check_state: bool,
    ) -> None:
        self._origin = origin
        self._payloads = payloads
        self._keys = keys
        self._check_state = check_state
        self._fork: ledger.entry.ForkCreated | None = None
        self.version = 0  # of the last entry taken
        self._head = ledger.entry.NO_ENTRY
        self._records = 0
        self._checked = 0

    def resume(self, start: Replayed) -> None:
        if start.origin != self._origin:
            raise Unsuited(f"replay: it starts at a state of the log {start.origin}, not of {self._origin}")
        self._begin(start.fork, start.state.vector)
        self.version, self._head = start.state.version, start.head
        self._records, self._checked = start.records, start.checked

    def replayed(self) -> Replayed:
        if self._fork is None:
            raise Diverged("replay: expected a fork-created entry, got no entry", 1)
        state = State(self._fork.layout_digest, self._vector, self.version)
        return Replayed(self._origin, self._fork, state, self._head, self._records, self._checked)

    def _begin(self, fork: ledger.entry.ForkCreated, vector: NDArray[np.int64]) -> None:
        self._fork = fork
        self._rights = ledger.rights.rights_from(fork)
        self._vector = vector.copy()

    def take(self, stored: ledger.StoredEntry, entry: ledger.entry.Entry) -> None:
        # 1. Place: this log, this fork, the next version.
        _expect(entry.origin == self._origin, "origin: the entry is of another log")
        _expect(self._fork is None or entry.fork_id == self._fork.fork_id, "place: the entry is of another fork")
        _expect(entry.version == self.version + 1, "place: expected version", self.version + 1)
        # 2. Chain: it continues exactly what was read before.
        _expect(entry.previous == self._head, "chain: previous is not the leaf hash of the entry before")
        # 3. Topic: its effect on the state is known; otherwise the replay of this fork ends here.
        check_topic(entry)
        if self._fork is None:
            self._create(entry)
        else:
            self._record(self._fork, stored.leaf_index, entry)
        self.version = entry.version
        self._head = ledger.merkle.leaf_hash(stored.data)

    def _create(self, entry: ledger.entry.Entry) -> None:
        # 4. Signature: by the key that the entry itself names as owner.
        fork = ledger.rights.check_fork_created(self._origin, entry.fork_id, entry.body, entry.signatures)
        _expect(entry.authority == 1, "authority: a fork-created names itself")
        # 5. Genesis: the state that the fork says it began with is the one that replay begins with.
        begun = genesis(fork.layout_digest, fork.dimension)
        _expect(begun.digest == fork.genesis_digest, "genesis: its digest is not the one of the fork-created")
        self._begin(fork, begun.vector)

    def _record(self, fork: ledger.entry.ForkCreated, leaf_index: int, entry: ledger.entry.Entry) -> None:
        # 4. Signature: by the key that earlier entries gave the right, over exactly these bytes.
        _expect(entry.authority == self._rights.authority, "authority: it names another entry than the right came from")
        ledger.rights.check_signer(self._rights, self._origin, entry.topic, entry.body, entry.signatures)
        # 5. Statement: this fork, the next interaction number, the fork's own layout, recipe and dimension.
        body = ledger.record.decode_body(entry.body)
        _expect(body.fork_id == fork.fork_id, "body: it names another fork")
        _expect(body.interaction_number == self._records + 1, "interaction number: expected", self._records + 1)
        _expect(body.layout_digest == fork.layout_digest, "layout: not the one that the fork was created with")
        _expect(body.recipe_digest == fork.recipe_digest, "recipe: not the one that the fork was created with")
        _expect(body.update_dimension == fork.dimension, "dimension: not the one that the fork was created with")
        # 6. Update: the payload is the one named, opens under the record's key at this place, and unpacks.
        key = self._keys(body)
        if body.update_encoding == EMPTY:
            _expect(key.commitment == body.key_commitment, "key: not the one that the body is committed to")
        else:
            _add(self._vector, open_update(body, self._payloads(leaf_index), key, self._origin))
        # 7. State: what the signer had after this record is what replay has.
        if self._check_state:
            digest = state_digest(fork.layout_digest, self._vector)
            commitment = ledger.vault.state_commitment(key.commit_key, digest)
            _expect(commitment == body.state_commitment, "state: not the one that the record is committed to")
            self._checked += 1
        self._records += 1


def _add(vector: NDArray[np.int64], update: Update) -> None:
    if update.encoding != EMPTY:
        vector += np.multiply(update.q, np.int32(update.step), dtype=np.int32)


def _expect(holds: bool, otherwise: str, number: int | None = None) -> None:
    if not holds:
        raise Malformed(otherwise if number is None else f"{otherwise} {number}")


def read_ahead(
    payloads_of: Callable[[int, int], Mapping[int, Mapping[int, bytes]]],
) -> Callable[[int], Mapping[int, bytes]]:
    """Payloads by leaf index for `replay`, fetched several leaves at a time: `payloads_of(first, last)`.

    It looks further ahead the longer a fork's leaves stand close together, and not at all among those of many forks.
    """
    last, end, span = -_FAR, -1, 1  # the last leaf asked for; the first not fetched; how many to fetch
    fetched: Mapping[int, Mapping[int, bytes]] = {}

    def payloads(leaf_index: int) -> Mapping[int, bytes]:
        nonlocal last, end, span, fetched
        if leaf_index >= end or leaf_index <= last:
            span = min(2 * span, _MOST_AHEAD) if 0 < leaf_index - last < _FAR else 1
            end = leaf_index + span
            fetched = payloads_of(leaf_index, end - 1)
        last = leaf_index
        return fetched.get(leaf_index, {})

    return payloads
