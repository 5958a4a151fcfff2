"""Gives a submission its place: version, previous hash and leaf index, in the store's own transaction.

One synchronous function for each kind of submission; concurrent callers queue in the store and share transactions.
"""

from __future__ import annotations

from functools import lru_cache

from ledger.entry import (
    FORK_CREATED,
    NO_ENTRY,
    RESERVED_TOPICS,
    USER_TRAINING_RECORD,
    Entry,
    ForkCreated,
    SignedControl,
    admit_fork_created,
    decode_entry,
    decode_fork_created,
    encode_entry,
)
from ledger.errors import AlreadyRecorded, BadProof, Conflict, Malformed, NotFound, Refused, StaleNumber
from ledger.merkle import HashReader, leaf_hash, stored_hash_index
from ledger.record import SignedRecord, admit, decode_body
from ledger.rights import check_fork_created, check_signer, rights_from
from ledger.store import Head, NewEntry, StoredEntry
from ledger.store.sqlite import SqliteStore, Write


def sequence_control(store: SqliteStore, origin: str, control: SignedControl, now: int) -> StoredEntry:
    """Append a control event. Today that is `fork-created`; the same bytes again get the first entry back."""
    if control.topic in RESERVED_TOPICS:
        raise Refused(f"topic {control.topic}: specified, but not taken by this version")
    if control.topic != FORK_CREATED:
        raise Refused(f"topic: expected {FORK_CREATED}, got another")
    created = admit_fork_created(control.body)
    check_fork_created(origin, created.fork_id, control.body, control.signatures)

    def place(write: Write) -> StoredEntry:
        if write.head(created.fork_id) is not None:
            first = write.entry(created.fork_id, 1)
            expect_hashed(first, write.hashes)
            if decode_entry(first.data).body != control.body:
                raise Conflict(f"fork {created.fork_id}: exists already, created by another body")
            return first
        entry = Entry(origin, created.fork_id, 1, NO_ENTRY, FORK_CREATED, control.body, control.signatures, authority=1)
        return _add(write, entry, 0, None, {}, now)

    return store.append(place)


def sequence_record(store: SqliteStore, origin: str, record: SignedRecord, now: int) -> StoredEntry:
    """Append a record. Idempotent by (fork, record id).

    Raises AlreadyRecorded (other bytes under this record id), StaleNumber (the interaction number is not the
    next), Refused or Malformed (the door), BadSignature (not the owner's), NotFound (no such fork).
    """
    body = admit(record)
    # A fork's first entry never changes, so all that depends on it alone is checked before the write lock.
    first = store.first_entry(body.fork_id)
    if first is None:
        raise NotFound(f"fork {body.fork_id}: not in this ledger")
    created = _created_by(first.data)
    check_signer(rights_from(created), origin, USER_TRAINING_RECORD, record.body, record.signatures)
    for name in ("layout_digest", "recipe_digest"):
        if getattr(body, name) != getattr(created, name):
            raise Refused(f"{name}: expected the one that the fork was created with")
    if body.update_dimension != created.dimension:
        raise Refused(f"update_dimension: expected {created.dimension}, got {body.update_dimension}")

    def place(write: Write) -> StoredEntry:
        known = write.record(body.fork_id, body.record_id)
        if known is not None:
            expect_hashed(known, write.hashes)
            if decode_entry(known.data).body != record.body:
                raise AlreadyRecorded(f"record {body.record_id.hex()}: recorded with other bytes", known.leaf_index)
            return known
        head = write.head(body.fork_id)
        if head is None:
            raise NotFound(f"fork {body.fork_id}: no head beside its entries; run an audit")
        _expect_last(write, body.fork_id, head)
        if body.interaction_number != head.interactions + 1:
            raise StaleNumber(
                f"interaction_number: expected {head.interactions + 1}, got {body.interaction_number}",
                head.interactions + 1,
            )
        entry = Entry(
            origin,
            body.fork_id,
            head.version + 1,
            head.entry_hash,
            USER_TRAINING_RECORD,
            record.body,
            record.signatures,
            authority=1,
        )
        return _add(write, entry, body.interaction_number, body.record_id, dict(record.payloads), now)

    return store.append(place)


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


def _expect_last(write: Write, fork_id: str, head: Head) -> None:
    """Raise BadProof unless `head`, which is only cached, is that of the fork's last entry."""
    try:
        last = write.entry(fork_id, head.version)
        entry = decode_entry(last.data)
        holds = (entry.fork_id, entry.version, leaf_hash(last.data)) == (fork_id, head.version, head.entry_hash)
        records = decode_body(entry.body).interaction_number if entry.topic == USER_TRAINING_RECORD else 0
        holds = holds and records == head.interactions
    except (Malformed, NotFound):
        holds = False
    if not holds:
        raise BadProof(f"fork {fork_id}: the head is not that of its last entry; run an audit")


@lru_cache(maxsize=10_000)
def _created_by(first: bytes) -> ForkCreated:
    return decode_fork_created(decode_entry(first).body)


def _add(
    write: Write, entry: Entry, interactions: int, record_id: bytes | None, payloads: dict[int, bytes], now: int
) -> StoredEntry:
    data = encode_entry(entry)
    new = NewEntry(
        fork_id=entry.fork_id,
        version=entry.version,
        topic=entry.topic,
        data=data,
        entry_hash=leaf_hash(data),
        interactions=interactions,
        record_id=record_id,
        accepted_at=now,
        payloads=payloads,
    )
    leaf_index = write.add(new)
    return StoredEntry(leaf_index, entry.fork_id, entry.version, entry.topic, data, record_id, now)
