"""Gives submissions their places: version, previous hash and leaf index, many in one transaction of the store.

Whether a submission is known already, and whether it is the next of its fork, is looked up for all of them before
anything is added: one that loses is refused alone, and the others' transaction goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ledger.door import Submission
from ledger.entry import NO_ENTRY, USER_TRAINING_RECORD, Entry, decode_entry, encode_entry
from ledger.errors import AlreadyRecorded, BadProof, Conflict, Halted, LedgerError, Malformed, NotFound, StaleNumber
from ledger.groupcommit import GroupCommit
from ledger.merkle import HashReader, leaf_hash, stored_hash_index
from ledger.record import decode_body
from ledger.store import Epoch, Head, NewEntry, Store, StoredEntry, Write

_MOST_TIPS = 100_000  # heads kept in memory, of some 200 bytes each

Outcome = StoredEntry | LedgerError


class Sequencer:
    """Queue → one transaction → a stored entry or a refusal for each.

    Idempotent by (fork, record id): the same bytes again get the entry that they became. `now` gives microseconds
    since 1970-01-01 UTC. Once it has an `epoch`, Fenced is raised when another process has begun another one.
    """

    def __init__(self, store: Store, origin: str, now: Callable[[], int]) -> None:
        self._store = store
        self._origin = origin
        self._now = now
        self.epoch: Epoch | None = None
        self.halted: str | None = None  # why
        self._tips: dict[str, Head] = {}  # that this process wrote: what the store says must be this
        self._group = GroupCommit[Submission, StoredEntry](self._commit, time.sleep)

    @property
    def waiting(self) -> int:
        """Submissions that have no place yet."""
        return self._group.waiting

    def append(self, submissions: Sequence[Submission]) -> list[Outcome]:
        """What became of each, once that is durable. Raises Busy and Unavailable for all of them."""
        return self._group.append([(each, each.size) for each in submissions])

    def submit(self, submissions: Sequence[Submission]) -> Future[list[Outcome]]:
        """As `append`, without waiting for it."""
        return self._group.submit([(each, each.size) for each in submissions])

    def close(self) -> None:
        """Take nothing more, and return when all that was taken has its place."""
        self._group.close()

    def _commit(self, submissions: Sequence[Submission]) -> list[Outcome]:
        if self.halted is not None:
            raise Halted(f"append: nothing is taken any more; {self.halted}")
        with self._store.write(self.epoch) as write:
            placed = place(write, self._origin, submissions, self._now(), self._tips)
        # Only now it is so: heads of a transaction that came to nothing would be nobody's.
        if len(self._tips) + len(placed.heads) > _MOST_TIPS:
            self._tips.clear()
        self._tips.update(placed.heads)
        return placed.outcomes


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of each submission, and the new head of each fork that grew."""

    outcomes: list[Outcome]
    heads: dict[str, Head]


def place(
    write: Write, origin: str, submissions: Sequence[Submission], now: int, tips: dict[str, Head] | None = None
) -> Placed:
    """Place submissions in an open transaction, in their order. `tips` are heads that the caller knows to be right.

    A refusal is AlreadyRecorded (other bytes under this record id), StaleNumber (the interaction number is not the
    next), Conflict (the fork exists, made by another body), NotFound (no such fork), or BadProof (what the store holds
    is not what was logged).
    """
    heads = write.heads({each.fork_id for each in submissions})
    known = _known(write, submissions, heads)
    doubtful = {fork_id: head for fork_id, head in heads.items() if (tips or {}).get(fork_id) != head}
    wrong = _wrong_heads(write, doubtful)
    new: list[NewEntry] = []
    winners: list[Submission] = []  # beside `new`
    grown: dict[str, Head] = {}
    outcomes: list[Outcome | int] = []  # an int is a place in `new`
    added: dict[tuple[str, bytes | None], int] = {}  # of this very transaction, where in `new`
    for each in submissions:
        key = (each.fork_id, each.record_id)
        try:
            if key in known:
                outcomes.append(_same(each, known[key]))
            elif key in added:
                outcomes.append(added[key])
            elif each.fork_id in wrong:
                raise wrong[each.fork_id]
            else:
                one = _next(origin, each, heads.get(each.fork_id), now)
                outcomes.append(len(new))
                added[key] = len(new)
                new.append(one)
                winners.append(each)
                heads[each.fork_id] = grown[each.fork_id] = Head(one.version, one.entry_hash, one.interactions)
        except LedgerError as error:
            outcomes.append(error)
    first = write.add(new) if new else 0
    stored = [
        StoredEntry(first + at, one.fork_id, one.version, one.topic, one.data, one.record_id, one.accepted_at)
        for at, one in enumerate(new)
    ]
    results: list[Outcome] = []
    for each, found in zip(submissions, outcomes, strict=True):
        if not isinstance(found, int):
            results.append(found)
        elif winners[found] is each or winners[found].body == each.body:
            results.append(stored[found])
        else:
            results.append(_other_bytes(each, stored[found]))
    return Placed(results, grown)


def expect_hashed(stored: StoredEntry, read: HashReader) -> None:
    """Raise BadProof unless a stored entry has the leaf hash that the log has in its place, and stands where it says.

    Before the log signs anything about an entry that it reads again.
    """
    try:
        (logged,) = read([stored_hash_index(0, stored.leaf_index)])
        entry = decode_entry(stored.data)
        holds = (logged, entry.fork_id, entry.version) == (leaf_hash(stored.data), stored.fork_id, stored.version)
    except (Malformed, NotFound):
        holds = False
    if not holds:
        raise BadProof(f"leaf {stored.leaf_index}: the entry is not the one that was logged there; run an audit")


def _known(
    write: Write, submissions: Sequence[Submission], heads: dict[str, Head]
) -> Mapping[tuple[str, bytes | None], StoredEntry | BadProof]:
    """Entries that submissions became before, by fork and record id; None is a fork's first entry."""
    records = write.records({(s.fork_id, s.record_id) for s in submissions if s.record_id is not None})
    begun = {s.fork_id for s in submissions if s.record_id is None and s.fork_id in heads}
    firsts = write.entries({(fork_id, 1) for fork_id in begun}) if begun else {}
    found: dict[tuple[str, bytes | None], StoredEntry] = {
        **{(fork_id, record_id): entry for (fork_id, record_id), entry in records.items()},
        **{(fork_id, None): entry for (fork_id, _), entry in firsts.items()},
    }
    if not found:
        return {}
    read = _leaf_hashes(write, found.values())
    return {key: _as_logged(entry, read) for key, entry in found.items()}


def _as_logged(entry: StoredEntry, read: HashReader) -> StoredEntry | BadProof:
    try:
        expect_hashed(entry, read)
    except BadProof as error:
        return error
    return entry


def _leaf_hashes(write: Write, entries: Collection[StoredEntry]) -> HashReader:
    """Reads the leaf hashes of these entries: by one query for all, since everybody waits, unless one is damaged."""
    try:
        places = [stored_hash_index(0, entry.leaf_index) for entry in entries]
        hashes = dict(zip(places, write.hashes(places), strict=True))
    except (Malformed, NotFound):
        return write.hashes  # one by one, so that each has an error of its own
    return lambda wanted: [hashes[place] for place in wanted]


def _same(submission: Submission, known: StoredEntry | BadProof) -> StoredEntry:
    if isinstance(known, BadProof):
        raise known
    if decode_entry(known.data).body != submission.body:
        raise _other_bytes(submission, known)
    return known


def _other_bytes(submission: Submission, known: StoredEntry) -> Conflict:
    if submission.record_id is None:
        return Conflict(f"fork {submission.fork_id}: exists already, created by another body")
    return AlreadyRecorded(f"record {submission.record_id.hex()}: recorded with other bytes", known.leaf_index)


def _next(origin: str, submission: Submission, head: Head | None, now: int) -> NewEntry:
    """The entry that a submission becomes as the next of its fork, after `head`."""
    if submission.record_id is not None:
        if head is None:
            raise NotFound(f"fork {submission.fork_id}: no head beside its entries; run an audit")
        if submission.interaction_number != head.interactions + 1:
            raise StaleNumber(
                f"interaction_number: expected {head.interactions + 1}, got {submission.interaction_number}",
                head.interactions + 1,
            )
    elif head is not None:
        raise NotFound(f"fork {submission.fork_id}: a head, but no first entry; run an audit")
    version, previous = (head.version + 1, head.entry_hash) if head else (1, NO_ENTRY)
    entry = Entry(
        origin, submission.fork_id, version, previous, submission.topic, submission.body, submission.signatures,
        authority=1,
    )  # fmt: skip
    data = encode_entry(entry)
    return NewEntry(
        fork_id=submission.fork_id,
        version=version,
        topic=submission.topic,
        data=data,
        entry_hash=leaf_hash(data),
        interactions=submission.interaction_number,
        record_id=submission.record_id,
        accepted_at=now,
        payloads=submission.payloads,
    )


def _wrong_heads(write: Write, heads: dict[str, Head]) -> dict[str, BadProof]:
    """Which of these heads, that are only cached, are not those of their fork's last entry."""
    lasts = write.entries({(fork_id, head.version) for fork_id, head in heads.items()}) if heads else {}
    wrong = {}
    for fork_id, head in heads.items():
        last = lasts.get((fork_id, head.version))
        try:
            entry = decode_entry(last.data if last else b"")
            holds = (entry.fork_id, entry.version, leaf_hash(last.data if last else b"")) == (
                fork_id, head.version, head.entry_hash,
            )  # fmt: skip
            records = decode_body(entry.body).interaction_number if entry.topic == USER_TRAINING_RECORD else 0
            holds = holds and records == head.interactions
        except Malformed:
            holds = False
        if not holds:
            wrong[fork_id] = BadProof(f"fork {fork_id}: the head is not that of its last entry; run an audit")
    return wrong
