"""An owner's monitor of one fork: what it had when last looked at, and whether what came since is the owner's doing.

A look reads the log's checkpoint, checks that the log only grew since the one kept from last time, and reads every
entry that is new. It keeps nothing of a log that is at fault, so that the alarm is raised again until it is gone.

Numbered as ALARMS are; each names leaf and version. A look at a fork says nothing about others: that is an audit's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ledger import checkpoint as checkpoints
from ledger import logsource, note
from ledger.checkpoint import Checkpoint
from ledger.entry import FORK_CREATED, NO_ENTRY, USER_TRAINING_RECORD, Entry, decode_entry
from ledger.errors import LedgerError, Malformed, Refused, Unavailable
from ledger.keys import ED25519, PublicKey
from ledger.logsource import Folder, Log, Website
from ledger.merkle import Frontier, leaf_hash
from ledger.record import decode_body
from ledger.rights import Rights, check_fork_created, check_signer
from ledger.store import Store

ALARMS = {
    1: "the checkpoint is signed by the log",
    2: "the log only grew since last time",
    3: "the entries are those of the checkpoint",
    4: "the fork's head did not go back",
    5: "each new entry of the fork follows the one before",
    6: "a key of the owner signed it",
    7: "the policy's witnesses cosigned the checkpoint",
}
FORMAT = "forkledger/watch/v1"
_PAGE = 256


@dataclass(frozen=True, slots=True)
class Watched:
    """A fork when it was last looked at. `owner_key` is the fork-created's, or as the owner pinned it."""

    fork_id: str
    checkpoint: bytes | None = None  # signed
    roots: tuple[bytes, ...] = ()  # the log's frontier at the checkpoint's size
    version: int = 0
    head: bytes = NO_ENTRY  # leaf hash
    leaf: int | None = None
    interactions: int = 0  # records
    owner_key: bytes | None = None  # 32


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong, at which of ALARMS, and where."""

    step: int
    leaf: int | None
    version: int | None
    message: str

    def __str__(self) -> str:
        leaf, version = ("-" if number is None else number for number in (self.leaf, self.version))
        return f"leaf {leaf} version {version}: {self.message}"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: the fork as it is now, how many entries of it are new, and alarms in the log's order."""

    fork: Watched
    size: int  # of the log
    new: int
    alarms: tuple[Alarm, ...]


def look(
    log: Log,
    log_key: note.Ed25519Verifier,
    before: Watched,
    owner_key: bytes | None = None,
    quorum: Callable[[bytes], object] | None = None,
) -> Look:
    """Look at a fork once. `owner_key` pins the owner's key or its key id; else the fork's first entry is believed.
    `quorum` raises LedgerError for a signed checkpoint that lacks cosignatures: `Policy.check`.

    Raises Unavailable when the log cannot be read, and nothing for an alarm. Where there is one, `before` stays what
    the next look is to start from.
    """
    return _Look(log_key, before, owner_key, quorum).at(log)


class _Look:
    def __init__(
        self,
        log_key: note.Ed25519Verifier,
        before: Watched,
        owner_key: bytes | None,
        quorum: Callable[[bytes], object] | None,
    ) -> None:
        self._log_key = log_key
        self._fork = before
        self._pinned = owner_key
        self._quorum = quorum
        self._alarms: list[Alarm] = []
        self._new = 0

    def at(self, log: Log) -> Look:
        before = self._fork
        if before.owner_key is not None and not self._is_owner(PublicKey(ED25519, before.owner_key)):
            self._alarm(6, None, None, "owner's key: the fork has another one than the pinned one")
        tree = self._read(log)
        if any(alarm.step == 2 for alarm in self._alarms) and before.leaf is not None:
            self._check_old_head(log, before)
        return Look(self._fork, tree.size if tree else 0, self._new, tuple(self._alarms))

    def _alarm(self, step: int, leaf: int | None, version: int | None, message: str) -> None:
        self._alarms.append(Alarm(step, leaf, version, message))

    def _read(self, log: Log) -> Checkpoint | None:
        before = self._fork
        # 1. The checkpoint is signed by the log.
        try:
            known = self._open(before.checkpoint) if before.checkpoint else None
            signed = logsource.checkpoint_of(log)
            tree = self._open(signed)
        except Unavailable:
            raise
        except LedgerError as error:
            self._alarm(1, None, None, str(error))
            return None
        # 7. So did its witnesses: else the log may have shown this to nobody but this owner.
        if self._quorum is not None:
            try:
                self._quorum(signed)
            except LedgerError as error:
                self._alarm(7, None, None, str(error))
        # 2. The log only grew since last time.
        size = known.size if known else 0
        if tree.size < size:
            self._alarm(2, None, None, f"log: had {size} entries, only {tree.size} are here")
            return tree
        if known and tree.size == size and tree.root != known.root:
            self._alarm(2, None, None, f"log: two different trees of {size} entries were signed")
            return tree
        frontier = Frontier(size, before.roots)
        for leaf, data in _entries_of(log, size, tree.size):
            if data is None:
                self._alarm(3, leaf, None, "entry: missing")
                return tree
            here = leaf_hash(data)
            frontier.append(here)
            self._check(leaf, data, here)
        if frontier.root() != tree.root:
            # 2, 3. What was seen before and the new entries do not make up what was signed.
            message = f"log: its new entries do not lead from the {size} seen before to the root of {tree.size}"
            self._alarm(2 if size else 3, None, None, message)
        self._fork = replace(self._fork, checkpoint=signed, roots=frontier.roots)
        return tree

    def _open(self, signed: bytes) -> Checkpoint:
        return checkpoints.open_checkpoint(signed, self._log_key.name, [self._log_key])

    # --- 4 to 6: an entry of the log that is new ---

    def _check(self, leaf: int, data: bytes, here: bytes) -> None:
        if self._fork.fork_id.encode() not in data:  # nearly all are of other forks
            return
        try:
            entry = decode_entry(data)
        except LedgerError as error:
            self._alarm(5, leaf, None, str(error))
            return
        if entry.fork_id != self._fork.fork_id:
            return
        self._new += 1
        version, head = self._fork.version, self._fork.head
        if entry.version <= version:
            self._alarm(4, leaf, entry.version, f"head: went back from version {version} to {entry.version}")
        elif (entry.version, entry.previous) != (version + 1, head):
            self._alarm(5, leaf, entry.version, f"entry: does not follow the head so far, version {version}")
        try:
            self._check_signed(entry)
        except LedgerError as error:
            self._alarm(6, leaf, entry.version, str(error))
        self._fork = replace(self._fork, version=entry.version, head=here, leaf=leaf)

    def _check_signed(self, entry: Entry) -> None:
        owner = self._fork.owner_key
        if owner is None and entry.topic == FORK_CREATED:
            created = check_fork_created(entry.origin, entry.fork_id, entry.body, entry.signatures)
            if not self._is_owner(created.owner_key):
                raise Refused("fork-created: names another owner's key than the pinned one")
            self._fork = replace(self._fork, owner_key=created.owner_key.raw)
            return
        if owner is None:
            raise Refused("signature: no key of the owner is known to judge it by")
        if entry.topic != USER_TRAINING_RECORD:
            raise Refused(f"topic: {entry.topic[:64]!a} is nothing that an owner signs today")
        rights = Rights(PublicKey(ED25519, owner), 1)
        check_signer(rights, entry.origin, entry.topic, entry.body, entry.signatures)
        body = decode_body(entry.body)
        # What the owner signed for another place, in this fork or in another of theirs, is not signed for this one.
        if body.fork_id != entry.fork_id:
            raise Refused("record: signed for another fork")
        expected = self._fork.interactions + 1
        if body.interaction_number != expected:
            raise Refused(f"record: expected interaction {expected}, the owner signed it as {body.interaction_number}")
        self._fork = replace(self._fork, interactions=expected)

    def _is_owner(self, key: PublicKey) -> bool:
        return self._pinned is None or self._pinned in (key.raw, key.key_id)

    def _check_old_head(self, log: Log, before: Watched) -> None:
        """Step 4, where the log is not the one that was seen: whether the head of then stands in it still."""
        leaf = before.leaf or 0
        for _, data in _entries_of(log, leaf, leaf + 1):
            if data is None or leaf_hash(data) != before.head:
                self._alarm(4, leaf, before.version, f"head: went back, version {before.version} is not there any more")


def _entries_of(log: Log, first: int, size: int) -> Iterator[tuple[int, bytes | None]]:
    """Entries by leaf from the first on, none where one is missing: then nothing more comes."""
    with closing(_bundles_of(log, first, size)) as pages:
        for leaf, entries in pages:
            if leaf > first or leaf + len(entries) <= first:
                break
            for data in entries[first - leaf :]:
                yield first, data
                first += 1
    if first < size:
        yield first, None


def _bundles_of(log: Log, first: int, size: int) -> Generator[tuple[int, list[bytes]], None, None]:
    if isinstance(log, Folder | Website):
        return logsource.read_bundles(log, first, size)
    return _stored(log, first, size)


def _stored(store: Store, first: int, size: int) -> Generator[tuple[int, list[bytes]], None, None]:
    while first < size:
        page = store.entries(first, min(_PAGE, size - first))
        entries = [stored.data for at, stored in enumerate(page) if stored.leaf_index == first + at]
        if entries:
            yield first, entries
        if len(entries) < min(_PAGE, size - first):
            return
        first += len(entries)


# --- what is kept between two looks ---


def write(file: Path, log_key: str, fork: Watched) -> None:
    """Replace what was kept, wholly or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    fields = {
        "format": FORMAT,
        "log_key": log_key,
        "fork_id": fork.fork_id,
        "checkpoint": (fork.checkpoint or b"").decode(),
        "roots": [root.hex() for root in fork.roots],
        "version": fork.version,
        "head": fork.head.hex(),
        "leaf": fork.leaf,
        "interactions": fork.interactions,
        "owner_key": fork.owner_key.hex() if fork.owner_key else None,
    }
    draft.write_text(json.dumps(fields, indent=2) + "\n")
    draft.replace(file)


def read(file: Path) -> tuple[note.Ed25519Verifier, Watched] | None:
    """The log's key and the fork as they were kept; None before the first time. Raises Malformed."""
    try:
        fields = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise Malformed(f"watch: {file} is not what an earlier watch kept") from None
    try:
        if fields["format"] != FORMAT:
            raise ValueError
        fork = Watched(
            fork_id=fields["fork_id"],
            checkpoint=fields["checkpoint"].encode() or None,
            roots=tuple(bytes.fromhex(root) for root in fields["roots"]),
            version=int(fields["version"]),
            head=bytes.fromhex(fields["head"]),
            leaf=fields["leaf"],
            interactions=int(fields["interactions"]),
            owner_key=bytes.fromhex(fields["owner_key"]) if fields["owner_key"] else None,
        )
        return note.Ed25519Verifier.from_vkey(fields["log_key"]), fork
    except (ValueError, KeyError, TypeError, AttributeError, Malformed):
        raise Malformed(f"watch: {file} is not what an earlier watch kept") from None
