"""A fork in memory, and how it comes there: from a snapshot where one holds, else from its first entry, then entry by
entry. What it is then is the same either way, and never ahead of the ledger.
"""

from __future__ import annotations

import logging
import threading

import ledger
from modelfork.history import key_finder
from modelfork.interaction import Interaction
from modelfork.lesson import lesson_of
from modelfork.recording import Particulars, Writer, open_interaction
from modelfork.rehearse import Memory
from modelfork.replay import Replayed, read_ahead, replay
from modelfork.snapshots import Snapshots, Taught

EVERY = 32  # entries from one snapshot to the next, and a sixteenth of all: fewer are replayed as fast as one is read

_LOG = logging.getLogger("forkledger")


class LiveFork:
    """A fork in service custody. `read` and `memory` are what its entries up to `read.state.version` make them.

    Whoever works with it holds `lock`; `users` counts those who do or wait for it, and belongs to whoever counts.
    """

    def __init__(
        self, log: ledger.Ledger, keystore: ledger.KeyStore, fork_id: str, snapshots: Snapshots | None
    ) -> None:
        """Reads its keys and nothing else. Raises NotFound where they are not kept here."""
        keys = keystore.fork_keys(fork_id)
        self.users = 0
        self.lock = threading.RLock()
        self._log = log
        self._fork_id = fork_id
        self._root = keys.root
        self._owner = keys.owner
        self._key_of = key_finder(keystore, fork_id)
        self._snapshots = snapshots
        self._forget()

    def _forget(self) -> None:
        self.memory = Memory()
        self.read: Replayed | None = None
        self._writer: Writer | None = None
        self._kept = 0  # the version of the snapshot that stands
        self._since: list[Taught] | None = None  # what taught after it; None where no further one can be made

    def caught_up(self) -> tuple[Replayed, Writer]:
        """The fork with all that the ledger holds of it: the entries of another process, or all of them, are read."""
        try:
            if self.read is None:
                self._begin()
            return self._catch_up()
        except BaseException:
            self._forget()  # half-read memory must not be read on
            raise

    def _begin(self) -> None:
        """Begin at a snapshot, if there is one that holds."""
        if self._snapshots is None:
            return
        self._since = []
        key = ledger.vault.snapshot_key(self._root)
        found = self._snapshots.load(key, self._log.origin, self._fork_id, self._is_of_the_ledger)
        if found is not None:
            self.read, self._kept = found.replayed, found.replayed.state.version
            for taught in found.taught:
                self.memory.remember(taught.record_id, taught.interaction)

    def _is_of_the_ledger(self, read: Replayed) -> bool:
        # 1. Place: it begins and ends with entries of the fork as the ledger has them.
        first = ledger.entry.decode_entry(self._log.version(self._fork_id, 1).data)
        last = self._log.version(self._fork_id, read.state.version).data
        if first.body != ledger.entry.encode_fork_created(read.fork) or ledger.merkle.leaf_hash(last) != read.head:
            return False
        # 2. State: the one that the last record is committed to.
        entry = ledger.entry.decode_entry(last)
        if entry.topic != ledger.entry.USER_TRAINING_RECORD:
            return False
        body = ledger.record.decode_body(entry.body)
        commitment = ledger.vault.state_commitment(self._key_of(body).commit_key, read.state.digest)
        return body.interaction_number == read.records and body.state_commitment == commitment

    def _catch_up(self) -> tuple[Replayed, Writer]:
        after = self.read.state.version if self.read else 0
        if self.read is None or self._writer is None or self._log.head(self._fork_id).version > after:
            payloads = read_ahead(self._log.store.payloads_of)
            entries = self._log.read(self._fork_id, after)
            self.read = replay(entries, payloads, self._key_of, self._log.origin, start=self.read)
            for stored, entry in self._log.read(self._fork_id, after):
                if entry.version > self.read.state.version:
                    break  # it came while we read
                if entry.topic == ledger.entry.USER_TRAINING_RECORD:
                    body = ledger.record.decode_body(entry.body)
                    opened = open_interaction(body, payloads(stored.leaf_index), self._key_of(body), self._log.origin)
                    self._remember(body.record_id, *opened)
            self._writer = Writer(self._log.origin, self.read.fork, self._owner, self._root)
        return self.read, self._writer

    def go_on(self, read: Replayed, record_id: bytes, interaction: Interaction, particulars: Particulars) -> None:
        """Take in a record that is durable: `read` is the fork with it."""
        self.read = read
        self._remember(record_id, interaction, particulars)

    def _remember(self, record_id: bytes, interaction: Interaction, particulars: Particulars) -> None:
        self.memory.remember(record_id, interaction)
        if self._since is not None and may_teach(interaction):
            self._since.append(Taught(record_id, interaction, particulars))

    def keep(self) -> None:
        """Leave a snapshot where enough came since the last. A disk that takes none costs time later, nothing else."""
        if self._snapshots is None or self._since is None or self.read is None:
            return
        version = self.read.state.version
        if version - self._kept < max(EVERY, self._kept // 16):
            return
        try:
            saved = self._snapshots.save(ledger.vault.snapshot_key(self._root), self.read, self._since, self._kept)
        except OSError as error:
            _LOG.warning("a snapshot could not be written: %s", type(error).__name__)
            saved = False
        self._kept, self._since = version, [] if saved else None


def may_teach(interaction: Interaction) -> bool:
    """Whether a rehearsal memory may be made of it: of what taught something and of what was judged."""
    return interaction.teaches and (interaction.is_verdict or lesson_of(interaction) is not None)
