"""Signs what the log has become. Never two checkpoints that contradict each other."""

from __future__ import annotations

from ledger import checkpoint as checkpoints
from ledger import merkle
from ledger.checkpoint import Checkpoint
from ledger.errors import BadProof, LedgerError
from ledger.ledger import Ledger


def publish(ledger: Ledger) -> bytes:
    """Sign and keep a checkpoint over all entries, if there are any that the last one does not cover.

    Returns the newest signed checkpoint. Raises BadProof, and signs nothing, when the store no longer holds the
    history that was signed before.
    """
    store, signer = ledger.store, ledger.log_key
    while True:
        last = store.checkpoint()
        before = checkpoints.open_checkpoint(last, signer.name, [signer.verifier]) if last else None
        size = store.size()
        if last is not None and before is not None:
            _expect_same_history(before, size, store.hashes)
            if before.size == size:
                return last
        root = merkle.tree_root(size, store.hashes)
        signed = checkpoints.sign(Checkpoint(signer.name, size, root), signer)
        if store.save_checkpoint(size, signed, after=before.size if before else None):
            return signed
        # Another process published meanwhile: look again.


def _expect_same_history(before: Checkpoint, size: int, read: merkle.HashReader) -> None:
    if size < before.size:
        raise BadProof(f"log: {before.size} entries were signed, only {size} are left")
    try:
        root = merkle.tree_root(before.size, read)
    except LedgerError as error:
        raise BadProof(
            f"log: the first {before.size} entries were signed, their hashes are damaged ({error})"
        ) from None
    if root != before.root:
        raise BadProof(f"log: the first {before.size} entries are not those that were signed")
