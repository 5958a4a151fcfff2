"""The ledger as a library: append, read, follow, prove. Everything else is built on these verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ledger import checkpoint as checkpoints
from ledger import door, merkle, note, receipt
from ledger.checkpoint import Checkpoint
from ledger.door import Submission
from ledger.entry import Entry, SignedControl, decode_entry
from ledger.errors import LedgerError, Malformed, NotFound, Refused
from ledger.evidence import Evidence, LoggedEntry
from ledger.receipt import Receipt
from ledger.record import SignedRecord
from ledger.sequencer import Outcome, Sequencer, expect_hashed
from ledger.store import TOKEN_BYTES, Head, Store, StoredEntry

MAXIMUM_DELAY = 10_000_000  # microseconds from append to a checkpoint that covers it
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An entry, its place, and the path from its leaf to the root of a signed checkpoint."""

    leaf_index: int
    entry: bytes
    proof: list[bytes]
    checkpoint: bytes


class LogReader:
    """A log to read and to prove from, with no key that could sign. `open_read_only` gives it a store.

    `published` reads the checkpoint that the world sees, with its cosignatures; else the newest signed one counts.
    """

    def __init__(
        self, store: Store, log_verifier: note.Ed25519Verifier, published: Callable[[], bytes | None] | None = None
    ) -> None:
        self.store = store
        self._published = published or store.checkpoint
        self.origin = log_verifier.name
        self.log_verifier = log_verifier

    @property
    def log_vkey(self) -> str:
        """The log's public key, to be pinned by whoever checks it."""
        return self.log_verifier.vkey

    def size(self) -> int:
        return self.store.size()

    def head(self, fork_id: str) -> Head:
        found = self.store.head(fork_id)
        if found is None:
            raise NotFound(f"fork {fork_id}: not in this ledger")
        return found

    def entry_at(self, leaf_index: int) -> StoredEntry:
        found = self.store.entries(leaf_index, 1) if leaf_index >= 0 else []
        if not found:
            raise NotFound(f"leaf {leaf_index}: the log has {self.size()} entries")
        return found[0]

    def record(self, fork_id: str, record_id: bytes) -> StoredEntry | None:
        return self.store.record(fork_id, record_id)

    def version(self, fork_id: str, version: int) -> StoredEntry:
        found = self.store.fork_entries(fork_id, version - 1, 1) if 0 < version < 2**63 else []
        if not found or found[0].version != version:
            raise NotFound(f"fork {fork_id} version {version}: not in this ledger")
        return found[0]

    def payloads(self, leaf_index: int) -> dict[int, bytes]:
        return self.store.payloads(leaf_index)

    def read(self, fork_id: str, after: int = 0) -> Iterator[tuple[StoredEntry, Entry]]:
        """A fork's entries with a version above `after`, in order, as stored and decoded.

        Raises Malformed, which names fork and version, at one that cannot be decoded.
        """
        while page := self.store.fork_entries(fork_id, after, _PAGE):
            for stored in page:
                try:
                    entry = decode_entry(stored.data)
                except Malformed as error:
                    raise Malformed(f"fork {fork_id} version {stored.version}: {error}") from None
                yield stored, entry
            after = page[-1].version

    def follow(self, first: int, go_on: Callable[[], bool], look_again: float = 1.0) -> Iterator[StoredEntry]:
        """All entries from leaf `first` on, in log order, and then those that come: none missed, none twice.

        While none comes, `go_on` is asked every `look_again` seconds; False ends it.
        """
        while True:
            page = self.store.entries(first, _PAGE)
            yield from page
            first += len(page)
            while not page and not self.store.wait_for_growth(first, look_again):
                if not go_on():
                    return

    def checkpoint(self) -> bytes:
        """The newest published checkpoint; raises NotFound before the first."""
        signed = self._published()
        if signed is None:
            raise NotFound("checkpoint: none has been published yet")
        return signed

    def _opened(self) -> tuple[bytes, Checkpoint]:
        signed = self.checkpoint()
        return signed, checkpoints.open_checkpoint(signed, self.origin, [self.log_verifier])

    def prove(self, leaf_index: int) -> Inclusion:
        """An entry with its inclusion proof under the newest checkpoint; NotFound when that does not cover it."""
        signed, checkpoint = self._opened()
        logged = self._logged(leaf_index, checkpoint)
        return Inclusion(leaf_index, logged.entry, list(logged.path), signed)

    def evidence(self, leaf_index: int) -> Evidence:
        """What shows, without the log, that an entry is in it and that its signer had the right to sign it.

        Under the newest checkpoint; NotFound when that does not cover the entry.
        """
        signed, checkpoint = self._opened()
        logged = self._logged(leaf_index, checkpoint)
        entry = decode_entry(logged.entry)
        if entry.authority == entry.version:
            return Evidence(signed, logged, None)
        authority = self.version(entry.fork_id, entry.authority)
        return Evidence(signed, logged, self._logged(authority.leaf_index, checkpoint))

    def _logged(self, leaf_index: int, checkpoint: Checkpoint) -> LoggedEntry:
        if not 0 <= leaf_index < checkpoint.size:
            raise NotFound(f"leaf {leaf_index}: the newest checkpoint covers {checkpoint.size} entries")
        path = merkle.prove_inclusion(leaf_index, checkpoint.size, self.store.hashes)
        return LoggedEntry(leaf_index, self.entry_at(leaf_index).data, tuple(path))

    def prove_growth(self, old_size: int) -> tuple[list[bytes], bytes]:
        """A consistency proof from `old_size` to the newest checkpoint, and that checkpoint."""
        signed, checkpoint = self._opened()
        if not 0 <= old_size <= checkpoint.size:
            raise NotFound(f"size {old_size}: the newest checkpoint covers {checkpoint.size} entries")
        return merkle.prove_consistency(old_size, checkpoint.size, self.store.hashes), signed


class Ledger(LogReader):
    """One log over one store, to append to. Safe to use from several threads and, on one database, several processes.

    `now` gives microseconds since 1970-01-01 UTC; it is used for receipts only. Checkpoints are signed by `log_key`,
    and by `second_key` where there is one.
    """

    def __init__(
        self,
        store: Store,
        log_key: note.Ed25519Signer,
        receipt_key: note.Ed25519Signer,
        now: Callable[[], int],
        published: Callable[[], bytes | None] | None = None,
        second_key: note.Signer | None = None,
    ) -> None:
        if receipt_key.name != receipt.key_name(log_key.name):
            raise Refused(f"receipt key: expected the name {receipt.key_name(log_key.name)}")
        kept = store.keep_setting("log-vkey", log_key.vkey)
        if kept != log_key.vkey:
            raise Refused("log key: this ledger belongs to another log key")
        super().__init__(store, log_key.verifier, published)
        self.log_key = log_key
        self.log_keys: tuple[note.Signer, ...] = (log_key, second_key) if second_key else (log_key,)
        self._receipt_key = receipt_key
        self._sequencer = Sequencer(store, self.origin, now)

    def take_over(self, random: Callable[[int], bytes]) -> None:
        """Become the one that writes: whoever took over before is fenced. Without it an append takes its turn."""
        self._sequencer.epoch = self.store.take_over(random(TOKEN_BYTES))

    def halt(self, reason: str) -> None:
        """Take nothing more: the log contradicts what is public of it, and no promise could be kept."""
        self._sequencer.halted = reason

    def close(self) -> None:
        """Finish what was taken, take nothing more, and close the store."""
        self._sequencer.close()
        self.store.close()

    @property
    def receipt_vkey(self) -> str:
        return self._receipt_key.vkey

    @property
    def waiting(self) -> int:
        """Submissions that were taken and have no place yet."""
        return self._sequencer.waiting

    def fenced(self) -> bool:
        """Whether another process has taken over the writing: then this one never writes to the log again."""
        epoch = self._sequencer.epoch
        return epoch is not None and self.store.epoch() != epoch

    def create_fork(self, control: SignedControl) -> bytes:
        """Append a fork's first entry. Returns the signed receipt; the same bytes again return the same one."""
        admitted = [door.admit_control(self.origin, control)]
        return _one(self.promise(admitted, self._sequencer.append(admitted)))

    def append(self, record: SignedRecord) -> bytes:
        """Append a record. Returns the signed receipt, once it is durable; the same bytes again return it again.

        Raises what `door.admit_records` and `sequencer.place` refuse with; Busy or Unavailable, which say nothing
        about the record. Nothing is written when it raises another than Unavailable; then asking again finds out.
        """
        return _one(self.append_all([record]))

    def append_all(self, records: Sequence[SignedRecord]) -> list[bytes | LedgerError]:
        """Append records in this order: of each its receipt or why it was refused. Durable when it returns."""
        admitted = self.admit(records)
        return self.promise(admitted, self._sequencer.append(_passed(admitted)))

    # The three steps of `append_all`, for callers that must not wait in the middle one.

    def admit(self, records: Sequence[SignedRecord]) -> list[Submission | LedgerError]:
        """The door: of each record what is to be placed, or why it does not pass."""
        return door.admit_records(self.store, self.origin, records)

    def submit(self, admitted: Sequence[Submission | LedgerError]) -> Future[list[Outcome]]:
        """Queue those that passed the door. What became of each of them comes when all of it is durable."""
        return self._sequencer.submit(_passed(admitted))

    def promise(
        self, admitted: Sequence[Submission | LedgerError], outcomes: Sequence[Outcome]
    ) -> list[bytes | LedgerError]:
        """Of each record that came to the door its signed receipt, or why it was refused there or in its place."""
        placed = iter(outcomes)
        results = [each if isinstance(each, LedgerError) else next(placed) for each in admitted]
        return [self._promise(each) if isinstance(each, StoredEntry) else each for each in results]

    def receipt_of(self, stored: StoredEntry) -> bytes:
        """The receipt of a stored entry: always the same bytes. BadProof when it is not the one that was logged."""
        expect_hashed(stored, self.store.hashes)
        return self._promise(stored)

    def _promise(self, stored: StoredEntry) -> bytes:
        promise = Receipt(
            origin=self.origin,
            fork_id=stored.fork_id,
            version=stored.version,
            leaf_index=stored.leaf_index,
            entry_hash=merkle.leaf_hash(stored.data),
            accepted_at=stored.accepted_at,
            due_by=stored.accepted_at + MAXIMUM_DELAY,
        )
        return receipt.sign(promise, self._receipt_key)

    def open_receipt(self, signed: bytes) -> Receipt:
        return receipt.open_receipt(signed, self._receipt_key.verifier)


def _passed(admitted: Sequence[Submission | LedgerError]) -> list[Submission]:
    return [each for each in admitted if isinstance(each, Submission)]


def _one(results: Sequence[bytes | LedgerError]) -> bytes:
    (result,) = results
    if isinstance(result, LedgerError):
        raise result
    return result


def check_inclusion(inclusion: Inclusion, origin: str, verifier: note.Verifier) -> Checkpoint:
    """What `Ledger.prove` says, checked without the ledger. Raises BadSignature, BadProof or Malformed."""
    # 1. The checkpoint is signed by the log.
    checkpoint = checkpoints.open_checkpoint(inclusion.checkpoint, origin, [verifier])
    # 2. The path leads from the entry's own bytes to the signed root.
    leaf = merkle.leaf_hash(inclusion.entry)
    merkle.check_inclusion(inclusion.leaf_index, checkpoint.size, leaf, inclusion.proof, checkpoint.root)
    return checkpoint
