"""The audit of a database: entries with their columns, payloads, node hashes, heads and checkpoints beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ledger import checkpoint as checkpoints
from ledger import note
from ledger.audit.chains import Chains, Place
from ledger.audit.report import Faults, Report
from ledger.audit.signatures import Signatures
from ledger.checkpoint import Checkpoint
from ledger.errors import BadSignature, LedgerError, Malformed
from ledger.merkle import Frontier, leaf_hash, stored_hash_index
from ledger.record import Body, payload_digest
from ledger.store import Snapshot, Store

_TELL_EVERY = 64  # entries
_Item = TypeVar("_Item")


def audit(
    store: Store,
    log_verifier: note.Ed25519Verifier | None,
    kept: bytes | None,
    progress: Callable[[int, int], None],
    processes: int = 0,
) -> Report:
    """Check everything in the store. Raises nothing for a fault: all that are found are in the report.

    `log_verifier` is the log's key as the caller knows it: pinned, or kept from last time. Without one the key is
    taken from the database, and the report says so. `kept` is the signed checkpoint of an earlier audit. `progress` is
    told how many entries of how many are done. Of a large log so many other `processes` check the
    signatures, if more than one.
    """
    return _Audit(log_verifier, kept, progress, processes).run(store)


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
        self,
        verifier: note.Ed25519Verifier | None,
        kept: bytes | None,
        progress: Callable[[int, int], None],
        processes: int,
    ) -> None:
        self._verifier = verifier
        self._key_known = verifier is not None
        self._kept_note = kept
        self._kept: Checkpoint | None = None
        self._progress = progress
        self._faults = Faults()
        self._fault = self._faults.add
        self._notices: list[str] = []
        self._signatures = Signatures(self._faults, processes)
        self._chains = Chains(self._faults, verifier.name if verifier else None, self._signatures)
        self._frontier = Frontier()
        self._entries = 0
        self._gap = False  # a leaf is missing: hashes have no place any more, and no root can be right
        self._newest: tuple[Checkpoint, bytes] | None = None
        self._wrong_roots = 0

    def run(self, store: Store) -> Report:
        try:
            self._check_all(store)
            self._signatures.settle()
        finally:
            self._signatures.close()
        covered, signed = self._newest or (None, None)
        self._check_cover(covered.size if covered else 0)
        return Report(
            origin=self._chains.origin,
            entries=self._entries,
            records=self._chains.records,
            forks=len(self._chains.forks),
            covered=covered.size if covered else 0,
            root=covered.root if covered else None,
            checkpoint=signed,
            faults=self._faults.first(),
            fault_count=self._faults.count,
            notices=tuple(self._notices),
        )

    def _check_all(self, store: Store) -> None:
        try:
            with store.snapshot() as snapshot:
                self._check_file(snapshot)
                self._check_key(snapshot)
                self._check_log(snapshot)
                self._check_heads(snapshot)
                self._check_kept()
        except sqlite3.DatabaseError as error:
            self._fault(self._entries, None, None, 1, f"file: SQLite cannot read on ({error})")
        except Malformed as error:  # PostgreSQL's word for the same
            self._fault(self._entries, None, None, 1, f"database: cannot be read on ({error})")

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
                self._chains.origin = self._verifier.name
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
        self._signatures.expect(total)
        hashes, payloads = _Stream(snapshot.hashes()), _Stream(snapshot.payloads())
        published = _Stream(snapshot.checkpoints())
        self._progress(0, total)
        self._check_roots(published, 0, Place(None, None, None))
        leaf = 0
        for row in snapshot.rows():
            if row.leaf_index != leaf:
                self._gap = True
                self._fault(leaf, None, None, 3, f"log: leaf {leaf} is missing, {row.leaf_index} comes next")
                leaf = row.leaf_index
            data = row.data if row.data is not None else b""
            here = leaf_hash(data)
            believed = hashes.next is not None and hashes.next[1] == here
            at, body = self._chains.check(leaf, data, here, row, believed=believed)
            self._check_payloads(at, leaf, body, payloads)
            self._check_hashes(at, leaf, here, hashes)
            leaf += 1
            self._entries += 1
            self._check_roots(published, leaf, at)
            if self._entries % _TELL_EVERY == 0:
                self._signatures.collect()
                self._progress(self._entries, total)
        self._progress(self._entries, total)
        self._check_what_is_left(leaf, hashes, payloads, published, snapshot.misplaced_payloads())

    def _check_payloads(
        self, at: Place, leaf: int, body: Body | None, payloads: _Stream[tuple[int, int, bytes | None]]
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

    def _check_hashes(self, at: Place, leaf: int, here: bytes, stored: _Stream[tuple[int, bytes | None]]) -> None:
        """Step 8."""
        computed = self._frontier.append(here)
        if self._gap:
            return
        for level, node in enumerate(computed):
            index = stored_hash_index(0, leaf) + level
            while stored.next is not None and stored.next[0] < index:
                self._fault(*at, 8, f"node hash {stored.next[0]}: stored, but no tree has it")
                stored.take()
            if stored.next is None or stored.next[0] != index:
                self._fault(*at, 8, f"node hash {index} (level {level}): missing")
                continue
            if stored.next[1] != node:
                self._fault(*at, 8, f"node hash {index} (level {level}): not the hash of what is under it")
            stored.take()

    def _check_roots(self, published: _Stream[tuple[int, bytes | None]], size: int, at: Place) -> None:
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
            fork = self._chains.forks.get((fork_id or "").encode())
            if fork is None or fork_id is None:
                self._fault(None, fork_id, version, 9, "head: of a fork that has no entries")
                continue
            seen.add(fork_id)
            if (version, head, interactions) != (fork.version, fork.head, fork.interactions):
                self._fault(fork.leaf, fork_id, fork.version, 9, "head: not the fork's last entry")
        for named, fork in self._chains.forks.items():
            if named.decode() not in seen:
                self._fault(fork.leaf, named.decode(), fork.version, 9, "head: missing")

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
