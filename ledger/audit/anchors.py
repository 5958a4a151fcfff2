"""Steps 13 to 15: what a chain holds of the log, beside the log itself.

The chain is read first (`look`) and the log after it: what was anchored by then had been published before, so that a
log which lost nothing has it. What the contract held is proven against the hash of the block. That the block is final
is the node's word, unless the auditor named it; so are the earlier anchors, which are read from events. But their count
is proven, and the contract's code takes no root that the one before does not lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

from ledger import note
from ledger.anchor import chainproof
from ledger.anchor.chainproof import Held, keccak
from ledger.anchor.evmreader import FINALIZED, Anchored, EvmReader
from ledger.audit.report import MOST_FAULTS, Fault, Report
from ledger.errors import BadAnchor, BadProof, LedgerError, Refused, Unavailable
from ledger.merkle import HashReader, check_consistency, prove_consistency, tree_root

MOST_ANCHORS = 1 << 18  # compared: one a minute in half a year
STALE = 3600  # seconds: chains finalize within half an hour


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which chain, contract and log the auditor means. Of what is None nothing is expected."""

    contract: bytes  # 20
    chain_id: int | None = None
    genesis_hash: bytes | None = None
    log_id: bytes | None = None
    block_hash: bytes | None = None  # else the newest finalized block, as the node has it


@dataclass(frozen=True, slots=True)
class Seen:
    """A chain at one block: what was proven and the events up to there, or why nothing could be."""

    proof: bytes = b""  # an anchor proof, where `held` was read from one
    held: Held | None = None
    events: tuple[Anchored, ...] = ()  # ascending
    fault: str = ""  # step 13
    named: bool = False  # the auditor named the block
    log_named: bool = False  # and the log's id


def look(node: EvmReader, log_key: note.Ed25519Verifier, wanted: Wanted) -> Seen:
    """Read the chain. What is wrong there is in the answer; raises Unavailable, NotFound, Malformed or Refused where
    the node does not say, or the auditor must say more."""
    # 13. The node is one of this chain.
    chain_id = node.chain_id()
    if wanted.chain_id not in (None, chain_id):
        return Seen(fault=f"chain id: expected {wanted.chain_id}, {node.name} is on {chain_id}")
    try:
        genesis_hash = node.block("0x0").block.hash
        if wanted.genesis_hash not in (None, genesis_hash):
            said = f"genesis: expected 0x{(wanted.genesis_hash or b'').hex()}, {node.name} has 0x{genesis_hash.hex()}"
            return Seen(fault=said)
        header = node.block(wanted.block_hash or FINALIZED)
        # 13. The contract's code, and the log under its id, are the expected ones in that block.
        log_id = wanted.log_id or _log_id(node, log_key, wanted.contract, header.block.number)
        proof = node.anchor_proof(header, chain_id, genesis_hash, wanted.contract, log_id)
        pinned = chainproof.pin(header.block.hash, wanted.contract, chain_id=chain_id, log_id=log_id)
        held = chainproof.check_anchor(proof, pinned, [log_key])
    except BadProof as error:
        return Seen(fault=str(error))
    except BadAnchor as error:
        return Seen(fault=f"anchor proof: {error}")
    newest_first = islice(node.anchored(wanted.contract, log_id, header.block.number), min(held.sequence, MOST_ANCHORS))
    events = tuple(newest_first)[::-1]
    return Seen(proof, held, events, named=wanted.block_hash is not None, log_named=wanted.log_id is not None)


def _log_id(node: EvmReader, log_key: note.Ed25519Verifier, contract: bytes, last: int) -> bytes:
    """The id of the only log of this origin and note key. Anybody can create another: then the auditor must name it."""
    origin, key_hash = log_key.name.encode(), chainproof.note_key_hash(log_key)
    found = [
        event.log_id
        for event in node.created(contract, last)
        if (keccak(event.origin), event.note_key_hash) == (keccak(origin), key_hash)
    ]
    if not found:
        raise BadProof(f"log: expected one of {log_key.name!r} and its note key in the contract, none was created")
    if len(found) > 1:
        ids = ", ".join(each.hex() for each in found)
        raise Refused(f"log id: {len(found)} logs of this origin and note key were created, name one: {ids}")
    return found[0]


def compare(report: Report, seen: Seen, read: HashReader, now: int) -> Report:
    """The report with what the chain says beside it. `read` reads the log's hashes, which are not believed: each root
    is tied to that of the audited checkpoint. `now` is in microseconds since 1970-01-01 UTC.

    Raises Unavailable where the log cannot be read any more.
    """
    if seen.held is None:
        return _with(report, [(13, seen.fault)], [])
    held, faults = seen.held, list[tuple[int, str]]()
    notices = _notices(seen, held, now)
    at = f"chain {held.proof.chain_id} block {held.block.number}"
    # 14. The newest anchored root is the log's at that size.
    if not held.size:
        faults.append((14, f"{at}: nothing of this log is anchored"))
    elif report.root is None:
        notices.append("anchor: not compared; no checkpoint of the log held")
    elif held.size > report.covered:
        faults.append(
            (14, f"{at} has an anchor of size {held.size}, root {held.root.hex()}; the log's newest checkpoint that "
                 f"holds covers only {report.covered}, root {report.root.hex()}")
        )  # fmt: skip
    else:
        audited = (report.covered, report.root)
        differs = _differs(audited, held.size, held.root, read)
        if differs:
            faults.append((14, f"{at}, anchor of size {held.size}: {differs}"))
        elif held.size < report.covered:
            notices.append(f"anchor: covers {held.size} of {report.covered} entries; the rest is not anchored yet")
        # 15. So was every one before, and none is missing.
        faults += _check_events(audited, seen, held, read)
    return replace(_with(report, faults, notices), anchor=held, anchors_compared=len(seen.events))


def _check_events(audited: tuple[int, bytes], seen: Seen, held: Held, read: HashReader) -> list[tuple[int, str]]:
    faults = list[tuple[int, str]]()
    first = held.sequence - min(held.sequence, MOST_ANCHORS) + 1
    expected = list(range(first, held.sequence + 1))
    if [event.sequence for event in seen.events] != expected:
        return [
            (15, f"events: expected anchors {first} to {held.sequence} without gaps, the node has {len(seen.events)}")
        ]
    size = 0
    for event in seen.events:
        where = f"event in block {event.block}, anchor {event.sequence} of size {event.size}"
        if event.size <= size:
            faults.append((15, f"{where}: expected one larger than {size}"))
        elif event.size > held.size or (event.sequence == held.sequence) != (event.size == held.size):
            faults.append((15, f"{where}: expected the last one, and no other, to be of size {held.size}"))
        elif differs := _differs(audited, event.size, event.root, read):
            faults.append((15, f"{where}: {differs}"))
        size = max(size, event.size)
    return faults


def _differs(audited: tuple[int, bytes], size: int, root: bytes, read: HashReader) -> str:
    """How an anchored root differs from the log's at this size; empty where it does not. `audited`: size and root."""
    covered, newest = audited
    try:
        path = prove_consistency(size, covered, read)
        try:
            check_consistency(size, covered, root, newest, path)
        except BadProof:
            own = tree_root(size, read)
            check_consistency(size, covered, own, newest, path)
            return f"its root is {root.hex()}, the log's at that size {own.hex()}"
    except Unavailable:
        raise
    except LedgerError as error:
        return f"the log's hashes, read again, are not those of what was audited ({error})"
    return ""


def _notices(seen: Seen, held: Held, now: int) -> list[str]:
    notices = []
    if not seen.named:
        notices.append(
            f"anchor: that block {held.block.number}, 0x{held.block.hash.hex()}, is on the chain and final is the "
            "node's word; compare the hash with another node's, or name it by --block"
        )
        if (age := now // 1_000_000 - held.block.time) > STALE:
            notices.append(f"anchor: that block is {age // 3600} hours old; the node may show an old state")
    if not seen.log_named:
        notices.append(
            f"anchor: the log was found by its name and key, as 0x{held.proof.log_id.hex()}; anybody can create one of "
            "those in a contract: compare the id with the operator's, or name it by --log-id"
        )
    if held.sequence > MOST_ANCHORS:
        notices.append(f"anchor: of {held.sequence} anchors only the newest {MOST_ANCHORS} were compared")
    if held.sequence:
        notices.append(
            "anchor: the newest is proven against the block, the earlier ones are events as the node tells them; the "
            "contract takes none that the one before does not lead to"
        )
    if held.proof.contract != chainproof.shipped().contract:
        notices.append(
            "anchor: the contract is not at the address that follows from its code; whoever put it there may have "
            "written its storage first"
        )
    if held.equivocated:
        notices.append("anchor: the contract was shown two roots at one size, signed by anchorers of this log")
    return notices


def _with(report: Report, faults: list[tuple[int, str]], notices: list[str]) -> Report:
    found = tuple(Fault(None, None, None, step, message) for step, message in faults)
    return replace(
        report,
        faults=(report.faults + found)[:MOST_FAULTS],
        fault_count=report.fault_count + len(found),
        notices=report.notices + tuple(notices),
    )
