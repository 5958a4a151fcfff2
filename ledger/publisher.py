"""Makes the log public, in an order that a crash may interrupt anywhere without two histories ever being shown:

1. a checkpoint is signed and kept in the store, only after the one it grew from (`ledger.publish`);
2. the tiles that it speaks of are written;
3. witnesses are asked for their signatures on it;
4. it is published, last of all, if the policy's quorum signed.

What was signed and not published yet is taken up again by the next turn. What was published is never gone back on.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ledger import checkpoint as checkpoints
from ledger import merkle, note
from ledger.checkpoint import Checkpoint
from ledger.errors import BadProof, Fenced, LedgerError, Malformed, NotFound
from ledger.ledger import Ledger
from ledger.policy import Policy
from ledger.publicfolder import PublicFolder
from ledger.publish import publish
from ledger.tiles import (
    FULL,
    Tile,
    bundles_between,
    encode_bundle,
    encode_tile,
    tile_hashes_indices,
    tiles_between,
)
from ledger.witness.client import Standing, Witnesses


class Publisher:
    """Publishes one log into one folder. With `witnesses`, only what the quorum of `policy` has cosigned.

    Raises BadProof, and then nothing may be published, when the folder shows another history than the store; Fenced
    when another process has taken over.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: PublicFolder,
        policy: Policy | None = None,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._policy = policy
        self._witnesses = witnesses
        self._one = threading.Lock()
        self._public = self._check()

    @property
    def folder(self) -> PublicFolder:
        return self._folder

    @property
    def size(self) -> int:
        """How many entries the published checkpoint covers."""
        return self._public.size if self._public else 0

    @property
    def witnessed(self) -> bool:
        """Whether a quorum of witnesses is asked for before anything is published."""
        return self._witnesses is not None

    def standings(self) -> dict[str, Standing]:
        """What is known of each witness."""
        return self._witnesses.standings() if self._witnesses else {}

    def close(self) -> None:
        if self._witnesses:
            self._witnesses.close()

    def current(self) -> bytes | None:
        """The published checkpoint; where no witness has to be asked, one that covers every entry that is there now."""
        if self._witnesses is not None or self._ledger.fenced():
            return self._folder.checkpoint()
        return self.publish()

    def publish(self) -> bytes | None:
        """One turn. Returns the published checkpoint; None while there is none, for want of a quorum."""
        with self._one, self._folder.alone():
            if self._ledger.fenced():  # another publishes now, perhaps under another policy
                raise Fenced("public log: another process writes to this log now, and publishes it")
            # 1. Signed, after the one before, and after nothing that the folder shows otherwise: a database may fall
            # back under a running service (a failover to a standby that lagged) and outgrow what is public in one turn.
            try:
                public, shown = self._check(), self._folder.checkpoint()
                signed = publish(self._ledger)
            except BadProof as error:
                self._ledger.halt(str(error))
                raise
            latest = self._open(signed)
            self._public = public
            if public is not None and public.size == latest.size:
                return shown
            # 2. Tiles.
            full = self._write_tiles(latest.size)
            # 3. Cosignatures.
            if self._witnesses is not None:
                before = self.size
                signed += b"".join(line.encode() for line in self._cosignatures(signed, before, latest.size))
            # 4. Public.
            if self._policy is not None and not self._quorum(signed):
                return shown
            self._folder.put_checkpoint(signed)
            self._public = latest
            for tile in full:  # only now: whoever reads under the checkpoint before still asks for the partial ones
                self._folder.drop_partials(tile)
            return signed

    def _cosignatures(self, signed: bytes, before: int, size: int) -> Sequence[note.Signature]:
        if self._witnesses is None:
            return ()
        hashes = self._ledger.store.hashes
        return self._witnesses.collect(signed, before, lambda old: merkle.prove_consistency(old, size, hashes))

    def _quorum(self, signed: bytes) -> bool:
        if self._policy is None:
            return True
        try:
            self._policy.check(signed)
        except LedgerError:
            return False
        return True

    def _write_tiles(self, size: int) -> list[Tile]:
        """Write the tiles of a tree of this size, from the last published one on. Returns those that are full.

        Hashes and entries were compared before signing.
        """
        store, written = self._ledger.store, []
        for tile in tiles_between(self.size, size):
            self._folder.put_tile(tile, encode_tile(store.hashes(tile_hashes_indices(tile))))
            written.append(tile)
        for bundle in bundles_between(self.size, size):
            entries = store.entries(bundle.index * FULL, bundle.width)
            self._folder.put_tile(bundle, encode_bundle([entry.data for entry in entries]))
            written.append(bundle)
        return [tile for tile in written if tile.width == FULL]

    # --- at the start ---

    def _check(self) -> Checkpoint | None:
        """What is public. BadProof unless the signed history holds all of it, and the store the signed history."""
        shown = self._folder.checkpoint()
        if shown is None:
            return None
        public = self._open(shown)
        signed = self._ledger.store.checkpoint()
        if signed is None:
            raise BadProof(
                f"public log: {public.size} entries are published in {self._folder.path}, the database has signed "
                "none; it was restored or replaced, and must not sign another history"
            )
        self._expect_grown(public, self._open(signed))
        return public

    def _expect_grown(self, public: Checkpoint, signed: Checkpoint) -> None:
        if public.size > signed.size:
            raise BadProof(
                f"public log: {public.size} entries are published in {self._folder.path}, only {signed.size} are "
                "signed in the database; it was restored or replaced, and must not sign another history"
            )
        try:
            root = merkle.tree_root(public.size, self._ledger.store.hashes)
        except (Malformed, NotFound):  # not Unavailable: a database that is away shows no other history
            root = b""
        if root != public.root or (public.size == signed.size and signed.root != public.root):
            raise BadProof(
                f"public log: the first {public.size} entries in the database are not those published in "
                f"{self._folder.path}"
            )

    def _open(self, signed: bytes) -> Checkpoint:
        return checkpoints.open_checkpoint(signed, self._ledger.origin, [self._ledger.log_verifier])
