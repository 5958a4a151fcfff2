"""Signs what the log has become. Never two checkpoints that contradict each other."""

from __future__ import annotations

from ledger import checkpoint as checkpoints
from ledger import merkle
from ledger.checkpoint import Checkpoint
from ledger.errors import BadProof, Malformed, NotFound
from ledger.ledger import Ledger

_PAGE = 500


def publish(ledger: Ledger) -> bytes:
    """Sign and keep a checkpoint over all entries, if there are any that the last one does not cover.

    Returns the newest signed checkpoint. Raises BadProof, and signs nothing, when the store no longer holds the
    history that was signed before, or when the hashes it has for the entries since are not of their bytes.
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
        root = _root_of_bytes(ledger, before.size if before else 0, size)
        signed = checkpoints.sign(Checkpoint(signer.name, size, root), *ledger.log_keys)
        if store.save_checkpoint(size, signed, after=before.size if before else None):
            return signed
        # Another process published meanwhile: look again.


def _root_of_bytes(ledger: Ledger, covered: int, size: int) -> bytes:
    """The root at `size`, from the signed history and the bytes of every entry since."""
    frontier = merkle.Frontier.at(covered, ledger.store.hashes)
    while frontier.size < size:
        first = frontier.size
        computed: dict[int, bytes] = {}
        for leaf in ledger.store.entries(first, min(_PAGE, size - first)):
            if leaf.leaf_index != frontier.size:
                break
            at = merkle.stored_hash_index(0, leaf.leaf_index)
            computed.update(enumerate(frontier.append(merkle.leaf_hash(leaf.data)), at))
        if frontier.size == first:
            raise BadProof(f"log: leaf {first} is missing")
        try:
            kept = ledger.store.hashes(list(computed))
        except NotFound as error:
            raise BadProof(f"log: {error}") from None
        if kept != list(computed.values()):
            raise BadProof(f"log: the hashes from leaf {first} on are not those of the entries")
    return frontier.root()


def _expect_same_history(before: Checkpoint, size: int, read: merkle.HashReader) -> None:
    if size < before.size:
        raise BadProof(f"log: {before.size} entries were signed, only {size} are left")
    try:
        root = merkle.tree_root(before.size, read)
    except (Malformed, NotFound) as error:  # not Unavailable: a database that is away has damaged nothing
        raise BadProof(
            f"log: the first {before.size} entries were signed, their hashes are damaged ({error})"
        ) from None
    if root != before.root:
        raise BadProof(f"log: the first {before.size} entries are not those that were signed")
