"""The whole-log audit: reads a ledger file from the first leaf to the last and believes none of it.

Pure but for reading: which key to trust and which checkpoint was seen last time are handed in, and so a file that was
rewritten consistently, and signed again, is found out too. Memory grows with the number of forks, not of entries.

What no one can check from the file alone: the column `accepted_at`, the log's own note of the time, which nobody
signed; and whether entries that no checkpoint covers yet are all that were acknowledged (receipts tell). An entry of a
topic that this version does not know is a fault, for no door of this version takes one; its fork's chain and signatures
are checked on by the owner's key that is known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from ledger import checkpoint as checkpoints
from ledger import note
from ledger.checkpoint import Checkpoint
from ledger.entry import (
    FORK_CREATED,
    LONGEST_ENTRY,
    NO_ENTRY,
    RESERVED_TOPICS,
    TOPICS,
    USER_TRAINING_RECORD,
    Entry,
    ForkCreated,
    decode_entry,
)
from ledger.errors import BadSignature, LedgerError, Malformed
from ledger.merkle import Frontier, leaf_hash, stored_hash_index
from ledger.record import Body, decode_body, payload_digest
from ledger.rights import Rights, check_fork_created, check_signer, rights_from
from ledger.store.sqlite import Row, Snapshot, SqliteStore

STEPS = {
    1: "the file is sound by SQLite's own checks, and has a ledger's tables and nothing else",
    2: "the log's key is the expected one",
    3: "every entry parses, has its place, and its columns say what its bytes say",
    4: "each fork's entries form a chain",
    5: "the topic is known and the body parses and fits its fork",
    6: "the owner's key signed it",
    7: "every payload that a body names is there, and no other",
    8: "every stored node hash is the hash of what is under it",
    9: "every cached head is the fork's last entry",
    10: "every published checkpoint is signed by the log, and its root is that of the entries; where the log's key is "
    "known, one covers entries",
    11: "the log only grew since the checkpoint that was kept from last time",
}
MOST_FAULTS = 100  # kept; more are only counted
_TELL_EVERY = 256  # entries
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, at which of the numbered STEPS, and where. What belongs to no one entry has no leaf."""

    leaf: int | None
    fork_id: str | None
    version: int | None
    step: int
    message: str

    def __str__(self) -> str:
        leaf, version = _or_dash(self.leaf), _or_dash(self.version)
        return f"leaf {leaf} fork {self.fork_id or '-'} version {version}: {self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. `faults` are in log order and at most MOST_FAULTS; `fault_count` counts all."""

    origin: str | None
    entries: int
    records: int
    forks: int
    covered: int  # size of the newest checkpoint that holds
    root: bytes | None  # its root
    checkpoint: bytes | None  # it, to be kept for the next audit if this one found no fault
    faults: tuple[Fault, ...]
    fault_count: int
    notices: tuple[str, ...]  # not damage, but to be known

    @property
    def clean(self) -> bool:
        return not self.fault_count

    @property
    def first_fault(self) -> Fault | None:
        return self.faults[0] if self.faults else None


def audit(
    store: SqliteStore,
    log_verifier: note.Ed25519Verifier | None,
    kept: bytes | None,
    progress: Callable[[int, int], None],
) -> Report:
    """Check everything in the store. Raises nothing for a fault: all that are found are in the report.

    `log_verifier` is the log's key as the caller knows it: pinned, or kept from last time. Without one the key is
    taken from the file, and the report says so. `kept` is the signed checkpoint of an earlier audit. `progress` is
    told how many entries of how many are done.
    """
    return _Audit(log_verifier, kept, progress).run(store)


class _Place(NamedTuple):
    """The names of an entry in a report."""

    leaf: int | None
    fork_id: str | None
    version: int | None


@dataclass(slots=True)
class _Fork:
    """What later entries of a fork are judged by."""

    leaf: int
    version: int
    head: bytes  # 32
    interactions: int = 0
    created: ForkCreated | None = None
    rights: Rights | None = None


class _Stream(Generic[_Item]):
    """An iterator that shows its next item before it is taken."""

    def __init__(self, items: Iterator[_Item]) -> None:
        self._items = items
        self.next: _Item | None = next(items, None)

    def take(self) -> _Item | None:
        taken, self.next = self.next, next(self._items, None)
        return taken


class _Audit:
    def __init__(
        self, verifier: note.Ed25519Verifier | None, kept: bytes | None, progress: Callable[[int, int], None]
    ) -> None:
        self._verifier = verifier
        self._key_known = verifier is not None
        self._origin = verifier.name if verifier else None
        self._kept_note = kept
        self._kept: Checkpoint | None = None
        self._progress = progress
        self._faults: list[Fault] = []
        self._fault_count = 0
        self._notices: list[str] = []
        self._forks: dict[str, _Fork] = {}
        self._frontier = Frontier()
        self._entries = self._records = 0
        self._gap = False  # a leaf is missing: hashes have no place any more, and no root can be right
        self._newest: tuple[Checkpoint, bytes] | None = None
        self._wrong_roots = 0

    def run(self, store: SqliteStore) -> Report:
        try:
            with store.snapshot() as snapshot:
                self._check_file(snapshot)
                self._check_key(snapshot)
                self._check_log(snapshot)
                self._check_heads(snapshot)
                self._check_kept()
        except sqlite3.DatabaseError as error:
            self._fault(self._entries, None, None, 1, f"file: SQLite cannot read on ({error})")
        covered, signed = self._newest or (None, None)
        self._check_cover(covered.size if covered else 0)
        return Report(
            origin=self._origin,
            entries=self._entries,
            records=self._records,
            forks=len(self._forks),
            covered=covered.size if covered else 0,
            root=covered.root if covered else None,
            checkpoint=signed,
            faults=tuple(sorted(self._faults, key=lambda fault: (fault.leaf is None, fault.leaf or 0))),
            fault_count=self._fault_count,
            notices=tuple(self._notices),
        )

    def _fault(self, leaf: int | None, fork_id: str | None, version: int | None, step: int, message: str) -> None:
        self._fault_count += 1
        if len(self._faults) < MOST_FAULTS:
            self._faults.append(Fault(leaf, fork_id, version, step, message))

    # --- 1, 2: before the first leaf ---

    def _check_file(self, snapshot: Snapshot) -> None:
        for problem in snapshot.problems():
            self._fault(None, None, None, 1, f"file: {problem}")
        for stranger in snapshot.strangers():
            self._fault(None, None, None, 1, f"schema: {stranger}")

    def _check_key(self, snapshot: Snapshot) -> None:
        stated = snapshot.setting("log-vkey")
        if self._verifier is not None:
            if stated is not None and stated != self._verifier.vkey:
                self._fault(
                    None, None, None, 2,
                    f"log key: expected {self._verifier.vkey}, pinned or kept from last time; the file states another",
                )  # fmt: skip
        else:
            self._notices.append(
                "log key: not pinned, taken from the file itself; whoever can rewrite the file can rewrite this"
            )
            try:
                self._verifier = note.Ed25519Verifier.from_vkey(stated or "")
                self._origin = self._verifier.name
            except Malformed as error:
                self._fault(None, None, None, 2, f"log key: the file states none that can be read ({error})")
        if self._kept_note is not None:
            try:
                self._kept = self._open(self._kept_note)
            except LedgerError as error:
                self._fault(None, None, None, 11, f"kept checkpoint: not one of this log ({error})")

    def _open(self, signed: bytes) -> Checkpoint:
        if self._verifier is None:
            raise BadSignature("checkpoint: no log key to check it with")
        return checkpoints.open_checkpoint(signed, self._verifier.name, [self._verifier])

    # --- 3 to 8, 10, 11: leaf by leaf ---

    def _check_log(self, snapshot: Snapshot) -> None:
        total = snapshot.size()
        hashes, payloads = _Stream(snapshot.hashes()), _Stream(snapshot.payloads())
        published = _Stream(snapshot.checkpoints())
        self._progress(0, total)
        self._check_roots(published, 0, _Place(None, None, None))
        leaf = 0
        for row in snapshot.rows():
            if row.leaf_index != leaf:
                self._gap = True
                self._fault(leaf, None, None, 3, f"log: leaf {leaf} is missing, {row.leaf_index} comes next")
                leaf = row.leaf_index
            at, body = self._check_entry(row, hashes.next)
            self._check_payloads(at, row.leaf_index, body, payloads)
            self._check_hashes(at, row, hashes)
            leaf += 1
            self._entries += 1
            self._check_roots(published, leaf, at)
            if self._entries % _TELL_EVERY == 0:
                self._progress(self._entries, total)
        self._progress(self._entries, total)
        self._check_what_is_left(leaf, hashes, payloads, published, snapshot.misplaced_payloads())

    def _check_entry(self, row: Row, stored: tuple[int, bytes | None] | None) -> tuple[_Place, Body | None]:
        """Steps 3 to 6 of one entry. Returns where it stands and, of a record, the body."""
        data = row.data if row.data is not None else b""
        here = leaf_hash(data)
        # 3. It parses, has its place, and its columns say what its bytes say.
        at = _Place(row.leaf_index, row.fork_id, row.version)
        try:
            entry = decode_entry(data)
        except LedgerError as error:
            self._fault(*at, 3, str(error))
            self._advance(at, here)
            return at, None
        if row.fork_id is None or (stored is not None and stored[1] == here):
            # Two of three agree: bytes that have the hash stored for them are not those that were damaged.
            at = _Place(row.leaf_index, entry.fork_id, entry.version)
        self._origin = self._origin or entry.origin
        self._compare(at, "origin", self._origin, entry.origin)
        self._compare(at, "fork column", entry.fork_id, row.fork_id)
        self._compare(at, "version column", entry.version, row.version)
        self._compare(at, "topic column", entry.topic, row.topic)
        if row.accepted_at is None:
            self._fault(*at, 3, "accepted_at column: expected an integer")
        if len(data) > LONGEST_ENTRY:
            self._fault(*at, 3, f"entry: expected at most {LONGEST_ENTRY} bytes, got {len(data)}")
        # 4. It follows the fork's entry before.
        before = self._forks.get(at.fork_id or "")
        self._compare(at, "version", before.version + 1 if before else 1, entry.version, step=4)
        if entry.previous != (before.head if before else NO_ENTRY):
            self._fault(*at, 4, "previous: not the hash of the fork's entry before")
        fork = self._advance(at, here)
        # 5, 6. What it says, and who says so.
        try:
            return at, self._check_statement(at, row, entry, fork)
        except LedgerError as error:
            self._fault(*at, 6 if isinstance(error, BadSignature) else 5, str(error))
            return at, None

    def _advance(self, at: _Place, here: bytes) -> _Fork:
        """The fork of this entry, which is now its head: a broken entry is not blamed on the next one as well."""
        leaf = at.leaf or 0
        fork = self._forks.get(at.fork_id or "")
        if fork is None:
            fork = _Fork(leaf, at.version or 1, here)
            if at.fork_id is not None:
                self._forks[at.fork_id] = fork
        else:
            fork.leaf, fork.version, fork.head = leaf, at.version or fork.version + 1, here
        return fork

    def _check_statement(self, at: _Place, row: Row, entry: Entry, fork: _Fork) -> Body | None:
        if entry.topic == FORK_CREATED:
            self._compare(at, "record id column", None, row.record_id)
            if entry.version != 1:
                self._fault(*at, 5, "fork-created: the fork exists already")
                return None
            created = check_fork_created(entry.origin, entry.fork_id, entry.body, entry.signatures)
            self._compare(at, "authority", 1, entry.authority, step=6)
            fork.created, fork.rights = created, rights_from(created)
            return None
        if entry.version == 1:
            self._fault(*at, 5, f"topic: expected {FORK_CREATED} as a fork's first entry")
        if entry.topic != USER_TRAINING_RECORD:
            self._fault(*at, 5, f"topic: {_named(entry.topic)} is not known to this version; replay of this fork halts")
            self._compare(at, "record id column", None, row.record_id)
            self._check_owner(at, entry, fork)
            return None
        self._records += 1
        fork.interactions += 1
        body = decode_body(entry.body)
        self._compare(at, "record id column", body.record_id, row.record_id)
        self._compare(at, "fork of the body", entry.fork_id, body.fork_id, step=5)
        if body.interaction_number != fork.interactions:
            self._compare(at, "interaction number", fork.interactions, body.interaction_number, step=5)
            fork.interactions = body.interaction_number  # one gap is one fault
        self._check_owner(at, entry, fork)
        if fork.created is None:
            return body
        for name in ("layout_digest", "recipe_digest"):
            if getattr(body, name) != getattr(fork.created, name):
                self._fault(*at, 5, f"{name}: not the one that the fork was created with")
        self._compare(at, "update_dimension", fork.created.dimension, body.update_dimension, step=5)
        return body

    def _check_owner(self, at: _Place, entry: Entry, fork: _Fork) -> None:
        """Step 6, of whatever comes after a fork's first entry."""
        if fork.rights is None:
            self._fault(*at, 6, "signature: no owner is known to judge it by, the fork's first entry does not hold")
            return
        self._compare(at, "authority", fork.rights.authority, entry.authority, step=6)
        try:
            check_signer(fork.rights, entry.origin, entry.topic, entry.body, entry.signatures)
        except BadSignature as error:
            self._fault(*at, 6, str(error))

    def _compare(self, at: _Place, what: str, expected: object, found: object, step: int = 3) -> None:
        if expected != found:
            self._fault(*at, step, f"{what}: expected {_shown(expected)}, found {_shown(found)}")

    def _check_payloads(
        self, at: _Place, leaf: int, body: Body | None, payloads: _Stream[tuple[int, int, bytes | None]]
    ) -> None:
        """Step 7. Where the body does not parse, nobody knows what it names: that is a fault already."""
        self._skip_payloads(leaf, payloads)
        named = dict(body.payloads) if body else {}
        while payloads.next is not None and payloads.next[0] == leaf:
            _, kind, payload = payloads.next
            payloads.take()
            digest = named.pop(kind, None)
            if digest is None:
                self._fault(*at, 7, f"payload {kind}: here, but no body names it")
            elif payload is None or payload_digest(kind, payload) != digest:
                self._fault(*at, 7, f"payload {kind}: its digest is not the one that the body names")
        for kind in named:
            self._fault(*at, 7, f"payload {kind}: named by the body, but not here")

    def _skip_payloads(self, leaf: int, payloads: _Stream[tuple[int, int, bytes | None]]) -> None:
        while payloads.next is not None and payloads.next[0] < leaf:
            stray, kind, _ = payloads.next
            payloads.take()
            self._fault(stray, None, None, 7, f"payload {kind}: here, but there is no such leaf")

    def _check_hashes(self, at: _Place, row: Row, stored: _Stream[tuple[int, bytes | None]]) -> None:
        """Step 8."""
        computed = self._frontier.append(leaf_hash(row.data if row.data is not None else b""))
        if self._gap:
            return
        for level, node in enumerate(computed):
            index = stored_hash_index(0, row.leaf_index) + level
            while stored.next is not None and stored.next[0] < index:
                self._fault(*at, 8, f"node hash {stored.next[0]}: stored, but no tree has it")
                stored.take()
            if stored.next is None or stored.next[0] != index:
                self._fault(*at, 8, f"node hash {index} (level {level}): missing")
                continue
            if stored.next[1] != node:
                self._fault(*at, 8, f"node hash {index} (level {level}): not the hash of what is under it")
            stored.take()

    def _check_roots(self, published: _Stream[tuple[int, bytes | None]], size: int, at: _Place) -> None:
        """Steps 10 and 11 where the log has `size` entries. The last entry that a checkpoint covers stands for it."""
        root = None if self._gap else self._frontier.root() if self._is_due(published, size) else None
        while published.next is not None and published.next[0] <= size:
            stated_size, signed = published.next
            published.take()
            try:
                checkpoint = self._open(signed if signed is not None else b"")
            except LedgerError as error:
                self._fault(*at, 10, f"checkpoint of size {stated_size}: {error}")
                continue
            if checkpoint.size != stated_size:
                self._fault(*at, 10, f"checkpoint of size {stated_size}: the note says size {checkpoint.size}")
            elif checkpoint.root != root:
                self._wrong_roots += 1
                if self._wrong_roots == 1:  # all that follow cover the same change
                    self._fault(*at, 10, f"checkpoint of size {size}: its root is not that of the first {size} entries")
            else:
                self._newest = checkpoint, signed or b""
        if self._kept is not None and self._kept.size == size and self._kept.root != root:
            self._fault(*at, 11, f"kept checkpoint of size {size}: the entries before it were changed since")

    def _is_due(self, published: _Stream[tuple[int, bytes | None]], size: int) -> bool:
        """Whether a root is needed here: one costs as many hashes as the tree has edges."""
        due = published.next is not None and published.next[0] <= size
        return due or (self._kept is not None and self._kept.size == size)

    def _check_what_is_left(
        self,
        size: int,
        hashes: _Stream[tuple[int, bytes | None]],
        payloads: _Stream[tuple[int, int, bytes | None]],
        published: _Stream[tuple[int, bytes | None]],
        misplaced: int,
    ) -> None:
        """Whatever stands after the last entry."""
        if hashes.next is not None and not self._gap:
            self._fault(size, None, None, 8, f"node hash {hashes.next[0]}: stored, but no tree has it")
        self._skip_payloads(1 << 63, payloads)
        if misplaced:
            self._fault(None, None, None, 7, f"payloads: {misplaced} stand under no leaf")
        while published.next is not None:
            signed_size = published.next[0]
            published.take()
            self._fault(size, None, None, 10, f"checkpoint: {signed_size} entries were signed, only {size} are here")

    # --- 9, 11: after the last leaf ---

    def _check_heads(self, snapshot: Snapshot) -> None:
        seen = set()
        for fork_id, version, head, interactions in snapshot.heads():
            fork = self._forks.get(fork_id or "")
            if fork is None or fork_id is None:
                self._fault(None, fork_id, version, 9, "head: of a fork that has no entries")
                continue
            seen.add(fork_id)
            if (version, head, interactions) != (fork.version, fork.head, fork.interactions):
                self._fault(fork.leaf, fork_id, fork.version, 9, "head: not the fork's last entry")
        for fork_id, fork in self._forks.items():
            if fork_id not in seen:
                self._fault(fork.leaf, fork_id, fork.version, 9, "head: missing")

    def _check_kept(self) -> None:
        if self._kept is None:
            return
        if self._kept.size > self._frontier.size:
            self._fault(
                self._frontier.size, None, None, 11,
                f"kept checkpoint: the log had {self._kept.size} entries, only {self._frontier.size} are here",
            )  # fmt: skip
        elif self._newest is None or self._newest[0].size < self._kept.size:
            newest = self._newest[0].size if self._newest else 0
            self._fault(
                None, None, None, 11,
                f"kept checkpoint: covered {self._kept.size} entries, the newest that holds covers {newest}",
            )  # fmt: skip

    def _check_cover(self, covered: int) -> None:
        """What no checkpoint covers, anyone can have cut off or invented. With nothing covered, that is all."""
        if self._entries and not covered:
            nothing = "checkpoint: nothing is covered; anyone could have changed, dropped or invented any entry"
            self._notices.append(nothing)
            if self._key_known:
                self._fault(None, None, None, 10, nothing)
        elif self._entries > covered:
            self._notices.append(
                f"checkpoint: covers {covered} entries; {self._entries - covered} are not yet covered, and could be "
                "cut off or invented without the log's key"
            )


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else "none" if value is None else str(value)


def _named(topic: str) -> str:
    """A topic in a message: one that is specified by its name, anything else as a reader may safely see it."""
    return topic if topic in TOPICS | RESERVED_TOPICS else ascii(topic[:64])


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)
