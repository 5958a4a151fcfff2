"""The chain that `forkledger audit --chain` is told of: looked at before the log, compared after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from ledger import logsource, note, tiles
from ledger.anchor.chainproof import shipped
from ledger.anchor.evmreader import EvmReader
from ledger.audit import Report, anchors
from ledger.audit.anchors import Seen, Wanted
from ledger.logsource import Log
from ledger.main import microseconds
from ledger.merkle import HashReader

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
        return anchors.compare(report, seen, _hashes(log, report.covered), self.now())


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


def _hashes(log: Log, size: int) -> HashReader:
    if isinstance(log, logsource.Folder | logsource.Website):
        return tiles.hash_reader(size, lru_cache(_TILES_KEPT)(partial(logsource.read_tile, log)))
    return log.hashes
