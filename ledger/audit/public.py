"""The audit of a public log, by its URL or as a folder of files: checkpoint, entry bundles, hash tiles (tlog-tiles)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from ledger import checkpoint as checkpoints
from ledger import logsource, note, tiles
from ledger.audit.bookmark import Bookmark
from ledger.audit.chains import Chains, Place
from ledger.audit.report import Faults, Report
from ledger.audit.signatures import Signatures
from ledger.audit.tree import TileTree
from ledger.checkpoint import Checkpoint
from ledger.entry import decode_entry
from ledger.errors import LedgerError, Malformed, NotFound, Unavailable
from ledger.logsource import Page, PublicLog
from ledger.tiles import FULL, HEIGHT, Tile

_MARK_EVERY = 1 << 20  # entries


@dataclass(frozen=True, slots=True)
class Trust:
    """What an auditor knows of a log beforehand: its key and, by a policy, who else must have signed a checkpoint."""

    log_key: note.Ed25519Verifier
    quorum: Callable[[bytes], object] | None = None  # raises LedgerError for a checkpoint that lacks cosignatures
    first_use: bool = False  # the key is the log's own word


def audit_public(
    log: PublicLog,
    trust: Trust,
    kept: bytes | None,
    progress: Callable[[int, int], None],
    *,
    processes: int = 0,
    bookmark: Bookmark | None = None,
    mark: Callable[[Bookmark], None] | None = None,
    signatures: bool = True,
) -> Report:
    """Check everything that the log publishes. What is wrong is in the report; raises Unavailable alone, when the log
    cannot be read on.

    `kept` is the signed checkpoint of an earlier audit. `progress` is told how many entries of how many are done, and
    may end the audit by raising. `bookmark` is where an earlier run was interrupted, and `mark` is given such places.
    Without `signatures` no record's signature is checked, which the report says.
    """
    return _Audit(log, trust, kept, progress, processes, mark, signatures).run(bookmark)


class _Audit:
    def __init__(
        self,
        log: PublicLog,
        trust: Trust,
        kept: bytes | None,
        progress: Callable[[int, int], None],
        processes: int,
        mark: Callable[[Bookmark], None] | None,
        signatures: bool,
    ) -> None:
        self._log = log
        self._trust = trust
        self._kept_note = kept
        self._kept: Checkpoint | None = None
        self._progress = progress
        self._mark = mark
        self._faults = Faults()
        self._fault = self._faults.add
        self._notices: list[str] = []
        self._signatures = Signatures(self._faults, processes) if signatures else None
        self._chains = Chains(self._faults, trust.log_key.name, self._signatures)
        self._tree = TileTree(self._check_tile)
        self._edge: Sequence[bytes] = ()  # the leaves that fill no tile
        self._entries = 0
        self._gap = False  # a leaf's hash is not known: no root can be right
        self._whole = True  # between two pages: what is known is of whole tiles
        self._last = b""  # entry

    def run(self, bookmark: Bookmark | None) -> Report:
        self._notices.append("payloads: a public log has none of them; that they are kept was not checked")
        if self._trust.first_use:
            self._notices.append(
                "log key: not pinned, taken from the log itself; whoever serves the log can have made it up"
            )
        if self._signatures is None:
            self._notices.append("signatures: those of records were not checked")
        try:
            checkpoint, signed = self._check_checkpoint()
            if checkpoint is not None:
                self._take_up(bookmark, checkpoint.size)
                self._walk(checkpoint)
                if self._signatures is not None:
                    self._signatures.settle()
                if not self._check_root(checkpoint):
                    checkpoint = None
        finally:
            if self._signatures is not None:
                self._signatures.close()
        return Report(
            origin=self._trust.log_key.name,
            entries=self._entries,
            records=self._chains.records,
            forks=len(self._chains.forks),
            covered=checkpoint.size if checkpoint else 0,
            root=checkpoint.root if checkpoint else None,
            checkpoint=signed if checkpoint else None,
            faults=self._faults.first(),
            fault_count=self._faults.count,
            notices=tuple(self._notices),
        )

    # --- 10, 11, 12: before the first leaf ---

    def _check_checkpoint(self) -> tuple[Checkpoint | None, bytes]:
        if self._kept_note is not None:
            try:
                self._kept = self._open(self._kept_note)
            except LedgerError as error:
                self._fault(None, None, None, 11, f"kept checkpoint: not one of this log ({error})")
        try:
            signed = self._log.read(logsource.CHECKPOINT, logsource.LONGEST_NOTE)
            checkpoint = self._open(signed)
        except Unavailable:
            raise
        except LedgerError as error:
            self._fault(None, None, None, 10, str(error))
            self._notices.append("entries: not checked; without a checkpoint nobody knows how many there are")
            return None, b""
        if self._trust.quorum is not None:
            try:
                self._trust.quorum(signed)
            except LedgerError as error:
                self._fault(None, None, None, 12, str(error))
        if self._kept is not None and self._kept.size > checkpoint.size:
            self._fault(
                checkpoint.size, None, None, 11,
                f"kept checkpoint: the log had {self._kept.size} entries, only {checkpoint.size} are here",
            )  # fmt: skip
        return checkpoint, signed

    def _open(self, signed: bytes) -> Checkpoint:
        return checkpoints.open_checkpoint(signed, self._trust.log_key.name, [self._trust.log_key])

    # --- 3 to 6, 8, 11: page by page ---

    def _walk(self, checkpoint: Checkpoint) -> None:
        size, marked = checkpoint.size, self._entries
        if self._signatures is not None:
            self._signatures.expect(size - self._entries)
        try:
            self._progress(self._entries, size)
            with closing(logsource.read_pages(self._log, self._entries, size)) as pages:
                for page in pages:
                    self._whole = False
                    known = self._check_page(page)
                    self._whole = page.tile.width == FULL
                    if self._signatures is not None:
                        self._signatures.collect()
                    self._progress(self._entries, size)
                    if not known:
                        self._notices.append(f"entries: from leaf {page.first} on not checked")
                        return
                    if self._entries - marked >= _MARK_EVERY and self._whole:
                        self._make_mark()
                        marked = self._entries
        except BaseException:
            if self._whole:
                self._make_mark()
            raise
        if not self._gap:
            self._tree.finish()

    def _check_page(self, page: Page) -> bool:
        """Returns whether anything at all is known of the page's leaves."""
        hashes = self._chains.check_page(page.first, page.entries, page.hashes)
        self._entries += len(hashes)
        if page.trouble is not None:
            self._fault(page.first + len(hashes), None, None, 3, str(page.trouble))
        if page.hashes_trouble is not None:
            self._fault(page.first, None, None, 8, str(page.hashes_trouble))
        elif b"".join(hashes) != page.hashes:
            stated = tiles.decode_tile(page.tile, page.hashes)
            self._compare_hashes(page, hashes, stated)
            hashes += stated[len(hashes) :]  # for entries that did not come, as the log has them
        if page.entries:
            self._last = page.entries[-1]
        if len(hashes) < page.tile.width:
            self._gap = True
        if self._gap:
            return bool(hashes)
        if page.tile.width < FULL:
            self._edge = hashes
        self._check_kept_root(page, hashes)
        if page.tile.width == FULL:
            self._tree.add(hashes)
        return True

    def _compare_hashes(self, page: Page, hashes: Sequence[bytes], published: Sequence[bytes]) -> None:
        for at, (computed, stated) in enumerate(zip(hashes, published, strict=False)):
            if computed != stated:
                leaf = page.first + at
                place = self._chains.placed.get(leaf) or self._place(leaf, page.entries[at])
                self._fault(*place, 8, f"{page.tile.path}: hash {at} is not that of this entry")

    def _check_tile(self, tile: Tile, hashes: list[bytes]) -> None:
        """Step 8, above the leaves."""
        level, first = tile.level or 0, tile.index * FULL
        try:
            stated = tiles.decode_tile(tile, logsource.read_tile(self._log, tile))
        except (NotFound, Malformed) as error:
            self._fault(((first + 1) << HEIGHT * level) - 1, None, None, 8, str(error))
            return
        for at, (computed, found) in enumerate(zip(hashes, stated, strict=True)):
            if computed != found:
                last = ((first + at + 1) << HEIGHT * level) - 1
                self._fault(last, None, None, 8, f"{tile.path}: hash {at} is not that of what is under it")

    def _check_kept_root(self, page: Page, hashes: Sequence[bytes]) -> None:
        """Step 11, when these leaves after what the tree holds reach the size that was kept."""
        if self._kept is None or not page.first < self._kept.size <= page.first + len(hashes):
            return
        size = self._kept.size
        last = size - 1 - page.first
        if self._tree.root(hashes[: last + 1]) != self._kept.root:
            at = self._place(size - 1, page.entries[last]) if last < len(page.entries) else Place(size - 1, None, None)
            self._fault(
                *at, 11,
                f"kept checkpoint of size {size}: the entries before it were changed since",
            )  # fmt: skip

    def _place(self, leaf: int, data: bytes) -> Place:
        try:
            entry = decode_entry(data)
        except LedgerError:
            return Place(leaf, None, None)
        return Place(leaf, entry.fork_id, entry.version)

    # --- 10: after the last leaf ---

    def _check_root(self, checkpoint: Checkpoint) -> bool:
        if self._gap:
            self._notices.append("root: not compared; entries are missing")
            return False
        if self._tree.root(self._edge) == checkpoint.root:
            return True
        at = self._place(checkpoint.size - 1, self._last) if checkpoint.size else Place(None, None, None)
        self._fault(
            *at,
            10,
            f"checkpoint of size {checkpoint.size}: its root is not that of the first {checkpoint.size} entries",
        )
        return False

    # --- being interrupted ---

    def _take_up(self, bookmark: Bookmark | None, size: int) -> None:
        if bookmark is None or bookmark.size > size:
            return
        if (bookmark.log_key, bookmark.kept) != (self._trust.log_key.vkey, self._kept_note):
            return
        self._tree = TileTree(self._check_tile, bookmark.levels)
        self._chains.forks = dict(bookmark.forks)
        self._chains.records = bookmark.records
        self._entries = bookmark.size

    def _make_mark(self) -> None:
        """Give away how far the audit has come, once all signatures up to there are known to hold."""
        if self._mark is None or not self._entries:
            return
        if self._signatures is not None:
            self._signatures.settle()
        if self._faults.count:
            return
        self._mark(
            Bookmark(
                self._trust.log_key.vkey, self._kept_note, self._entries, self._chains.records,
                self._tree.levels, self._chains.forks,
            )
        )  # fmt: skip
