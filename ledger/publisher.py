"""Makes the log public, in an order that a crash may interrupt anywhere without two histories ever being shown:

1. a checkpoint is signed and kept in the store, only after the one it grew from (`ledger.publish`);
2. the tiles that it speaks of are written;
3. witnesses are asked for their signatures on it;
4. it is published, last of all, if the policy's quorum signed.

What was signed and not published yet is taken up again by the next turn. What was published is never gone back on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ledger import checkpoint as checkpoints
from ledger import merkle
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


@dataclass(frozen=True, slots=True)
class _Public:
    """The published checkpoint, as it stands in the folder and opened."""

    signed: bytes
    tree: Checkpoint


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
        self._tiled: Checkpoint | None = None  # the tree whose tiles a turn before has written, quorum or not

    @property
    def folder(self) -> PublicFolder:
        return self._folder

    @property
    def size(self) -> int:
        """How many entries the published checkpoint covers."""
        return self._public.tree.size if self._public else 0

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
        if self._witnesses is None:
            with suppress(Fenced):
                return self.publish()
        return self._folder.checkpoint()

    def publish(self) -> bytes | None:
        """One turn. Returns the published checkpoint; None while there is none, for want of a quorum."""
        with self._one, self._folder.alone():
            if self._ledger.fenced():  # another publishes now, perhaps under another policy
                raise Fenced("public log: another process writes to this log now, and publishes it")
            # 1. Signed, after the one before, and after nothing that the folder shows otherwise: a database may fall
            # back under a running service (a failover to a standby that lagged) and outgrow what is public in one turn.
            try:
                public = self._check()
                signed = publish(self._ledger)
            except BadProof as error:
                self._ledger.halt(str(error))
                raise
            tree = self._open(signed)
            if public != self._public:  # another process has published meanwhile, or the folder was lost
                self._tiled = None
            self._public = public
            if public is not None and public.tree.size == tree.size and self._suffices(public.signed):
                return public.signed
            before = self.size
            # 2. Tiles.
            self._write_tiles(tree)
            # 3. Cosignatures.
            if self._witnesses is not None:
                hashes = self._ledger.store.hashes
                given = self._witnesses.collect(
                    signed, before, lambda old: merkle.prove_consistency(old, tree.size, hashes)
                )
                signed += b"".join(line.encode() for line in given)
            # 4. Public.
            if not self._suffices(signed):
                return public.signed if public else None
            self._folder.put_checkpoint(signed)
            self._public = _Public(signed, tree)
            # Only now: whoever reads under the checkpoint before still asks for the partial ones.
            for tile in _all_between(before, tree.size):
                if tile.width == FULL:
                    self._folder.drop_partials(tile)
            return signed

    def _suffices(self, signed: bytes) -> bool:
        """Whether the policy's quorum signed: what was published under another policy, or none, may lack it."""
        return self._policy is None or _has_quorum(self._policy, signed)

    def _write_tiles(self, tree: Checkpoint) -> None:
        """Write what this tree has and neither the published one nor that of an earlier turn had.

        Hashes and entries were compared before signing.
        """
        for tile in _all_between(self._tiled_before(tree), tree.size):
            self._folder.put_tile(tile, self._content(tile))
        self._tiled = tree

    def _tiled_before(self, tree: Checkpoint) -> int:
        """How much of this tree has its tiles already. Those of no quorum count only if they are of its history."""
        tiled = self._tiled
        if tiled is None or not self.size < tiled.size <= tree.size:
            return self.size
        return tiled.size if merkle.tree_root(tiled.size, self._ledger.store.hashes) == tiled.root else self.size

    def _content(self, tile: Tile) -> bytes:
        store = self._ledger.store
        if tile.level is None:
            return encode_bundle([entry.data for entry in store.entries(tile.index * FULL, tile.width)])
        return encode_tile(store.hashes(tile_hashes_indices(tile)))

    # --- what is public ---

    def _check(self) -> _Public | None:
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
        return _Public(shown, public)

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


def _all_between(old: int, new: int) -> Iterator[Tile]:
    """Tiles and entry bundles that a tree of size `new` has and one of size `old` had not."""
    yield from tiles_between(old, new)
    yield from bundles_between(old, new)


def _has_quorum(policy: Policy, signed: bytes) -> bool:
    try:
        policy.check(signed)
    except LedgerError:
        return False
    return True
