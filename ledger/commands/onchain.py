"""The chain that a log is anchored on: looked at before an audit and compared after it, and put into evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from ledger import checkpoint as checkpoints
from ledger import logsource, note, tiles
from ledger.anchor.chainproof import Pinned, check_anchor, check_tree, decode_anchor, encode_anchor, keccak, shipped
from ledger.anchor.evmreader import EvmReader
from ledger.audit import Report, anchors
from ledger.audit.anchors import Seen, Wanted
from ledger.errors import Refused
from ledger.evidence import Anchoring, Evidence
from ledger.logsource import Folder, Log, Website
from ledger.main import microseconds
from ledger.merkle import HashReader, prove_consistency
from ledger.store import Store

_TILES_KEPT = 1024  # 8 MiB: anchors follow each other, so each tile is read once


@dataclass(frozen=True, slots=True)
class OnChain:
    node: str  # URL
    wanted: Wanted
    save: Path | None  # where the proof is written, whatever it shows
    now: Callable[[], int]  # microseconds

    def look(self, log_key: note.Ed25519Verifier) -> Seen:
        node = EvmReader(self.node)
        try:
            seen = anchors.look(node, log_key, self.wanted)
        finally:
            node.close()
        if self.save is not None and seen.proof:
            self.save.write_bytes(seen.proof)
        return seen

    def compare(self, report: Report, seen: Seen, log: Log) -> Report:
        return anchors.compare(report, seen, hashes_of(log, report.covered), self.now())


def on_chain(
    node: str,
    *,
    contract: bytes | None,
    chain_id: int | None,
    genesis_hash: bytes | None,
    log_id: bytes | None,
    block_hash: bytes | None,
    save: Path | None,
) -> OnChain:
    """As the options name it: the contract is the shipped one, unless another address is named."""
    wanted = Wanted(contract or shipped().contract, chain_id, genesis_hash, log_id, block_hash)
    return OnChain(node, wanted, save, microseconds)


def with_anchor(evidence: Evidence, file: Path, target: str) -> Evidence:
    """The evidence with the anchor proof of this file, and the way between both trees as the log at `target` has it.

    The proof is checked as far as it can be without its block's hash. Raises BadAnchor, and Refused where the entry is
    not among the anchored ones.
    """
    proof = decode_anchor(file.read_bytes())
    checkpoint = checkpoints.parse(note.parse(evidence.checkpoint).text)
    log = logsource.open_log(target)
    try:
        key = logsource.stated_key(log) if isinstance(log, Folder | Website) else _key_of(log)
        pinned = Pinned(keccak(proof.header), proof.contract, shipped().code_hash)
        held = check_anchor(encode_anchor(proof), pinned, [key] if key else [])
        small, large = sorted((checkpoint.size, held.size))
        path = prove_consistency(small, large, hashes_of(log, large))
    finally:
        log.close()
    if evidence.entry.leaf_index >= held.size:
        raise Refused(f"{file}: anchors {held.size} entries; this one is leaf {evidence.entry.leaf_index}")
    check_tree(held, checkpoint.size, checkpoint.root, path, evidence.entry.leaf_index + 1)
    return replace(evidence, anchor=Anchoring(encode_anchor(proof), tuple(path)))


def _key_of(store: Store) -> note.Ed25519Verifier:
    return note.Ed25519Verifier.from_vkey(store.setting("log-vkey") or "")


def hashes_of(log: Log, size: int) -> HashReader:
    """Reads the stored hashes of a log of this size, wherever it is, as they are."""
    if isinstance(log, Folder | Website):
        return tiles.hash_reader(size, lru_cache(_TILES_KEPT)(partial(logsource.read_tile, log)))
    return log.hashes
