"""Whether a log kept the promise of one receipt, as its newest checkpoint shows it.

A log signs both. Where the checkpoint has another entry at the receipt's leaf, or comes after the promised time and
ends before that leaf, the two together are evidence against the log. It needs nothing of the log but what is public.

That a checkpoint was the newest one at that time is the word of whoever read it, unless a witness dated it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ledger import logsource, merkle, note, tiles
from ledger.checkpoint import Checkpoint
from ledger.entry import decode_entry
from ledger.errors import BadProof, LedgerError, NotFound, Unavailable
from ledger.logsource import Folder, Log, Website
from ledger.receipt import Receipt, open_receipt
from ledger.tiles import FULL, Tile
from ledger.tlogproof import OpenCheckpoint

STEPS = {
    1: "the receipt is signed by the log's receipt key",
    2: "the checkpoint is signed as the policy asks, and is of the same log",
    3: "the checkpoint covers the receipt's leaf",
    4: "the leaf there has the receipt's hash",
    5: "its entry is of the receipt's fork and version",
}

KEPT = "kept"
NOT_DUE = "not due yet"
BROKEN = "broken"  # receipt and checkpoint together are evidence against the log
NOT_SHOWN = "not shown"  # a step fails, and what was seen proves nothing to a stranger


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of a promise: the step that is not fulfilled, if any, and what is known by then.

    `found` is another hash at the receipt's leaf and `path` its way to the checkpoint's root.
    """

    outcome: str
    step: int | None = None
    message: str = ""
    receipt: Receipt | None = None
    signed: bytes | None = None  # the checkpoint, once it was found to be this log's
    tree: Checkpoint | None = None
    found: bytes | None = None
    path: tuple[bytes, ...] = ()


def look(signed: bytes, receipt_key: note.Verifier, log: Log, open_checkpoint: OpenCheckpoint, now: int) -> Looked:
    """Compare a signed receipt with a log. `now` is in microseconds since 1970-01-01 UTC, from before the log is read.

    Raises Unavailable when the log cannot be read, and nothing else.
    """
    so_far = Looked(KEPT)

    def ends(outcome: str, step: int, said: object) -> Looked:
        at = f", leaf {so_far.receipt.leaf_index}" if so_far.receipt else ""
        return replace(so_far, outcome=outcome, step=step, message=f"step {step}{at}: {said}")

    # 1. The log's receipt key signed it.
    try:
        receipt = open_receipt(signed, receipt_key)
    except LedgerError as error:
        return ends(NOT_SHOWN, 1, error)
    so_far = replace(so_far, receipt=receipt)
    due = now > receipt.due_by
    # 2. The log has a checkpoint, and signed it.
    try:
        newest = logsource.checkpoint_of(log)
        tree = open_checkpoint(newest)
    except Unavailable:
        raise
    except LedgerError as error:
        return ends(NOT_DUE if isinstance(error, NotFound) and not due else NOT_SHOWN, 2, error)
    if tree.origin != receipt.origin:
        return ends(NOT_SHOWN, 2, f"expected a checkpoint of {receipt.origin!r}, one of {tree.origin!r} came")
    so_far = replace(so_far, signed=newest, tree=tree)
    # 3. It covers the leaf, unless there is time left.
    if receipt.leaf_index >= tree.size:
        return ends(BROKEN if due else NOT_DUE, 3, f"the newest checkpoint covers {tree.size} entries")
    # 4. What it has there is what was promised: else the way of the other leaf to the same root is the proof.
    try:
        here, path = _hash_at(log, receipt.leaf_index, tree.size)
        merkle.check_inclusion(receipt.leaf_index, tree.size, here, path, tree.root)
    except Unavailable:
        raise
    except BadProof as error:
        return ends(NOT_SHOWN, 4, f"the log's hashes are not those of its checkpoint ({error})")
    except LedgerError as error:
        return ends(NOT_SHOWN, 4, error)
    if here != receipt.entry_hash:
        so_far = replace(so_far, found=here, path=tuple(path))
        return ends(BROKEN, 4, f"expected {receipt.entry_hash.hex()}, the log has {here.hex()} there")
    # 5. The entry of that hash stands where the receipt says in its fork.
    try:
        data = _entry_at(log, receipt.leaf_index, tree.size)
        if merkle.leaf_hash(data) != here:
            return ends(NOT_SHOWN, 5, "the entry that the log shows is not the one of this hash")
        entry = decode_entry(data)
    except Unavailable:
        raise
    except LedgerError as error:
        return ends(NOT_SHOWN, 5, error)
    if (entry.fork_id, entry.version) != (receipt.fork_id, receipt.version):
        said = f"expected fork {receipt.fork_id} version {receipt.version}, the entry is of another place"
        return ends(BROKEN, 5, said)
    return so_far


def _hash_at(log: Log, leaf: int, size: int) -> tuple[bytes, list[bytes]]:
    if isinstance(log, Folder | Website):
        read = tiles.hash_reader(size, partial(logsource.read_tile, log))
    else:
        read = log.hashes
    (here,) = read([merkle.stored_hash_index(0, leaf)])
    return here, merkle.prove_inclusion(leaf, size, read)


def _entry_at(log: Log, leaf: int, size: int) -> bytes:
    if not isinstance(log, Folder | Website):
        page = log.entries(leaf, 1)
        if not page or page[0].leaf_index != leaf:
            raise NotFound("entry: missing")
        return page[0].data
    index, place = divmod(leaf, FULL)
    entries, trouble = logsource.read_bundle(log, Tile(None, index, min(FULL, size - index * FULL)))
    if len(entries) <= place:
        raise trouble or NotFound("entry: missing")
    return entries[place]
