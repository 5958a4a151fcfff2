"""An anchor proof: what the contract LedgerAnchor held of a log in one block, to be checked by whoever has that block's
hash, without a node. docs/format.md, "Anchor proof".

A node's answer to eth_getProof is a path of Merkle-Patricia nodes from the block's state root down to a value, or to
where that value would stand if there were one. So the node need not be believed, and the proof can be kept.

What is trusted is the block hash alone: that the block is on the chain, and final, is the word of whoever gave it. The
chain id and the genesis hash in a proof are claims, for no header holds them.

Nothing here does I/O. The RLP and trie libraries come with the extra `chain` and are imported when a proof is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from ledger import note
from ledger.errors import BadAnchor, BadProof, LedgerError, Malformed, NotFound, Refused
from ledger.merkle import HASH_SIZE, check_consistency
from ledger.wire.v1 import anchor_pb2 as wire

STEPS = {
    1: "the file is an anchor proof, in its one spelling",
    2: "it is of the chain, the contract and the log id that were expected",
    3: "its block has the trusted hash",
    4: "in that block the contract's account has LedgerAnchor's code",
    5: "the contract's storage holds a log under this id",
    6: "that log has this origin and this note key",
    7: "the anchored tree and the checkpoint's are one log, and what is to be shown is anchored",
}
TREE = 7  # the step that needs a checkpoint beside the proof
TRUSTS = "that the block is on the chain, and final, is the word of whoever gave its hash"

LONGEST_PROOF = 1 << 16  # bytes; five paths through the largest trie known take about 25 KiB
ADDRESS_SIZE = 20
SLOTS = 4  # of a log: root; size, sequence, mark; origin hash; note key hash

_FORMAT = "forkledger/anchor-proof/v1"
_LONGEST_HEADER = 2048  # bytes; Prague's have about 600
_LONGEST_NODE = 1024  # a branch with 16 children has 532
_MOST_NODES = 65  # a key has 64 nibbles
_FEWEST_FIELDS = 15  # of a header; later forks append theirs
_STATE_ROOT, _NUMBER, _TIME = 3, 8, 11  # Yellow Paper, 4.4: the places of these fields never moved
_LOGS = 0  # the contract's storage slot of `mapping(bytes32 logId => Log) logs`

HEADER_FIELDS = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
    "baseFeePerGas",  # EIP-1559
    "withdrawalsRoot",  # EIP-4895
    *("blobGasUsed", "excessBlobGas"),  # EIP-4844
    "parentBeaconBlockRoot",  # EIP-4788
    "requestsHash",  # EIP-7685
)
"""A header's fields in their order, by their names in JSON-RPC. Each fork added its own at the end."""


@dataclass(frozen=True, slots=True)
class AnchorProof:
    """Nobody has checked it. Raises Malformed for what no proof can say."""

    chain_id: int
    genesis_hash: bytes  # 32
    contract: bytes  # 20
    log_id: bytes  # 32
    header: bytes  # RLP
    account: tuple[bytes, ...]  # trie nodes, RLP, the root first
    slots: tuple[tuple[bytes, ...], ...]  # (4,): likewise

    def __post_init__(self) -> None:
        if not 0 < self.chain_id < 1 << 64:
            raise Malformed(f"anchor proof: expected a chain id from 1 to 2^64 - 1, {self.chain_id} came")
        for name, size in (("genesis_hash", HASH_SIZE), ("contract", ADDRESS_SIZE), ("log_id", HASH_SIZE)):
            if len(getattr(self, name)) != size:
                raise Malformed(f"anchor proof: expected {size} bytes of {name}, {len(getattr(self, name))} came")
        if not 0 < len(self.header) <= _LONGEST_HEADER:
            raise Malformed(f"anchor proof: expected a header of 1 to {_LONGEST_HEADER} bytes, {len(self.header)} came")
        if len(self.slots) != SLOTS:
            raise Malformed(f"anchor proof: expected paths to {SLOTS} slots, {len(self.slots)} came")
        for nodes in (self.account, *self.slots):
            if len(nodes) > _MOST_NODES:
                raise Malformed(f"anchor proof: expected at most {_MOST_NODES} nodes a path, {len(nodes)} came")
            for each in nodes:
                if not 0 < len(each) <= _LONGEST_NODE:
                    raise Malformed(f"anchor proof: expected a node of 1 to {_LONGEST_NODE} bytes, {len(each)} came")


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a verifier knows beforehand. Of what is None nothing is expected."""

    block_hash: bytes  # 32: the one thing to trust
    contract: bytes  # 20
    code_hash: bytes  # 32
    chain_id: int | None = None
    genesis_hash: bytes | None = None
    log_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Block:
    hash: bytes  # 32
    number: int
    time: int  # seconds since 1970-01-01 UTC, by the chain's own clock
    state_root: bytes  # 32


@dataclass(frozen=True, slots=True)
class Held:
    """What the contract held of the log in that block."""

    proof: AnchorProof
    block: Block
    size: int  # of the newest anchored checkpoint; 0 before the first
    root: bytes  # 32
    sequence: int  # how many checkpoints were anchored
    equivocated: bool  # the contract was shown two roots at one size, signed by anchorers of the log
    origin_hash: bytes  # 32
    note_key_hash: bytes  # 32


class Shipped(NamedTuple):
    """A contract that comes with this package: one address and one code hash on every chain."""

    contract: bytes
    code_hash: bytes


@cache
def shipped(name: str = "LedgerAnchor") -> Shipped:
    """Its address follows from its code (EIP-1014). At another address the same code may stand on storage that whoever
    put it there wrote first, and then holds nobody to anything: pin the address, not the code alone."""
    written = json.loads(resources.files("ledger.anchor").joinpath(f"{name}.json").read_bytes())
    return Shipped(bytes.fromhex(written["address"][2:]), bytes.fromhex(written["codeHash"][2:]))


def pin(
    block_hash: bytes,
    contract: bytes | None = None,
    *,
    chain_id: int | None = None,
    genesis_hash: bytes | None = None,
    log_id: bytes | None = None,
) -> Pinned:
    """What to expect of a proof: the shipped contract, unless another address is named."""
    return Pinned(block_hash, contract or shipped().contract, shipped().code_hash, chain_id, genesis_hash, log_id)


# --- the file ---


def encode_anchor(proof: AnchorProof) -> bytes:
    data = wire.AnchorProof(
        format=_FORMAT,
        chain_id=proof.chain_id,
        genesis_hash=proof.genesis_hash,
        contract=proof.contract,
        log_id=proof.log_id,
        header=proof.header,
        account=proof.account,
        slots=[wire.TriePath(nodes=nodes) for nodes in proof.slots],
    ).SerializeToString(deterministic=True)
    if len(data) > LONGEST_PROOF:
        raise Refused(f"anchor proof: expected at most {LONGEST_PROOF} bytes, got {len(data)}")
    return data


def decode_anchor(data: bytes) -> AnchorProof:
    """Read a proof, and tolerate no later field: what it does not understand it cannot check. Raises Malformed."""
    if len(data) > LONGEST_PROOF:
        raise Malformed(f"anchor proof: expected at most {LONGEST_PROOF} bytes, got {len(data)}")
    message = wire.AnchorProof()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"anchor proof: {len(data)} bytes do not parse as AnchorProof") from None
    if message.format != _FORMAT:
        raise Malformed(f"anchor proof: expected the format {_FORMAT}, got another")
    proof = AnchorProof(
        chain_id=message.chain_id,
        genesis_hash=message.genesis_hash,
        contract=message.contract,
        log_id=message.log_id,
        header=message.header,
        account=tuple(message.account),
        slots=tuple(tuple(path.nodes) for path in message.slots),
    )
    if encode_anchor(proof) != data:
        raise Malformed("anchor proof: expected the deterministic serialisation of known fields, got another")
    return proof


def is_anchor(data: bytes) -> bool:
    """Whether these bytes begin as an anchor proof does, and so no evidence."""
    return data.startswith(wire.AnchorProof(format=_FORMAT).SerializeToString())


# --- the check ---


def check_anchor(data: bytes, pinned: Pinned, logs: Sequence[note.Ed25519Verifier]) -> Held:
    """Check an anchor proof by steps 1 to 6 of STEPS. `logs` are the keys of the logs that are believed.

    Raises BadAnchor, which names the first step that fails, and Refused where the extra `chain` is missing.
    """
    _libraries()
    with _step(1, "file"):
        proof = decode_anchor(data)
    with _step(2, "names"):
        _expect_names(proof, pinned)
    with _step(3, "block"):
        block = read_header(proof.header, pinned.block_hash)
    at = f"block {block.number}, contract 0x{proof.contract.hex()}"
    with _step(4, at):
        storage_root = _storage_root(proof, block.state_root, pinned.code_hash)
    at = f"{at}, log {proof.log_id.hex()}"
    with _step(5, at):
        held = _read_log(proof, block, storage_root)
    with _step(6, at):
        _expect_log(held, logs)
    return held


def check_tree(held: Held, size: int, root: bytes, path: Sequence[bytes], entries: int) -> None:
    """Step 7: that the first `entries` entries of the checkpoint with this size and root are anchored.

    `path` is the consistency proof from the smaller of the two trees to the larger, empty where they are the same.
    Raises BadAnchor.
    """
    with _step(TREE, f"block {held.block.number}, anchor of size {held.size}"):
        if entries > held.size:
            raise NotFound(f"anchor: expected one of {entries} entries or more, one of {held.size} is there")
        if size <= held.size:
            check_consistency(size, held.size, root, held.root, path)
        else:
            check_consistency(held.size, size, held.root, root, path)


@contextmanager
def _step(number: int, where: str) -> Iterator[None]:
    try:
        yield
    except LedgerError as error:
        raise BadAnchor(number, f"step {number}, {where}: {error}") from error


def _expect_names(proof: AnchorProof, pinned: Pinned) -> None:
    expected = {"contract": pinned.contract, "genesis hash": pinned.genesis_hash, "log id": pinned.log_id}
    found = {"contract": proof.contract, "genesis hash": proof.genesis_hash, "log id": proof.log_id}
    if pinned.chain_id is not None and proof.chain_id != pinned.chain_id:
        raise Refused(f"chain id: expected {pinned.chain_id}, got {proof.chain_id}")
    for name, value in expected.items():
        if value is not None and found[name] != value:
            raise Refused(f"{name}: expected 0x{value.hex()}, got 0x{found[name].hex()}")


def read_header(header: bytes, block_hash: bytes) -> Block:
    """A header that has this hash. Raises BadProof, and Malformed for one that no chain of today has."""
    lib = _libraries()
    # Hashed before it is read: what is read after this, the chain wrote.
    found = lib.keccak(header)
    if found != block_hash:
        raise BadProof(f"block hash: expected 0x{block_hash.hex()}, the header has 0x{found.hex()}")
    fields = _decoded(header, "header")
    if not isinstance(fields, list) or len(fields) < _FEWEST_FIELDS:
        raise Malformed(f"header: expected a list of at least {_FEWEST_FIELDS} fields")
    state_root, number, time = fields[_STATE_ROOT], fields[_NUMBER], fields[_TIME]
    if not isinstance(state_root, bytes) or len(state_root) != HASH_SIZE:
        raise Malformed(f"header: expected a state root of {HASH_SIZE} bytes")
    return Block(block_hash, _integer(number, "block number"), _integer(time, "block time"), state_root)


def _storage_root(proof: AnchorProof, state_root: bytes, code_hash: bytes) -> bytes:
    value = _look_up(state_root, _libraries().keccak(proof.contract), proof.account, "account")
    if not value:
        raise NotFound("account: none at this address")
    account = _decoded(value, "account")
    if not isinstance(account, list) or len(account) != 4 or not all(isinstance(each, bytes) for each in account):
        raise Malformed("account: expected nonce, balance, storage root and code hash")
    if account[3] != code_hash:
        raise Refused(f"code hash: expected LedgerAnchor's, 0x{code_hash.hex()}, got 0x{account[3].hex()}")
    found: bytes = account[2]
    return found


def _read_log(proof: AnchorProof, block: Block, storage_root: bytes) -> Held:
    root, packed, origin_hash, note_key_hash = (
        _slot_value(storage_root, place, nodes)
        for place, nodes in zip(slots_of(proof.log_id), proof.slots, strict=True)
    )
    if not any(note_key_hash):
        raise NotFound("log: the contract has none of this id")
    figures = int.from_bytes(packed, "big")  # packed from the low bits on
    size, sequence, equivocated = figures & _UINT64, figures >> 64 & _UINT64, bool(figures >> 128 & 0xFF)
    return Held(proof, block, size, root, sequence, equivocated, origin_hash, note_key_hash)


def _expect_log(held: Held, logs: Sequence[note.Ed25519Verifier]) -> None:
    if not logs:
        raise Refused("note key: expected an Ed25519 key of the log to compare with, none is known")
    named = [each for each in logs if _libraries().keccak(each.name.encode()) == held.origin_hash]
    if not named:
        raise Refused(f"origin: expected {' or '.join(repr(each.name) for each in logs)}, the contract has another")
    if not any(note_key_hash(each) == held.note_key_hash for each in named):
        raise Refused(f"note key: expected that of {named[0].vkey}, the contract has another")


def note_key_hash(key: note.Ed25519Verifier) -> bytes:
    """What the contract keeps of the key that signs a log's notes: the hash of what its vkey encodes."""
    return sha256(bytes([note.ED25519]) + key.public_key).digest()


def slots_of(log_id: bytes) -> tuple[bytes, ...]:
    """The places of a log's four slots in the contract's storage."""
    first = int.from_bytes(_libraries().keccak(log_id + _LOGS.to_bytes(32, "big")), "big")
    return tuple(((first + at) % (1 << 256)).to_bytes(32, "big") for at in range(SLOTS))


# --- RLP and the trie ---

_UINT64 = (1 << 64) - 1


class _Libraries(NamedTuple):
    keccak: Any
    rlp: Any
    Trie: Any


@cache
def _libraries() -> _Libraries:
    try:
        import rlp
        from eth_utils import keccak
        from trie import HexaryTrie
    except ImportError:
        raise Refused("anchor proof: expected the extra `chain`: pip install 'forkledger[chain]'") from None
    return _Libraries(keccak, rlp, HexaryTrie)


def keccak(data: bytes) -> bytes:
    """Keccak-256, the chain's hash."""
    hashed: bytes = _libraries().keccak(data)
    return hashed


def encode_header(fields: Mapping[str, bytes]) -> bytes:
    """A header's RLP, of as many of HEADER_FIELDS as there are. Raises Malformed where one between is missing."""
    present = [name in fields for name in HEADER_FIELDS]
    count = sum(present)
    if count < _FEWEST_FIELDS or not all(present[:count]):
        raise Malformed(f"header: expected at least {_FEWEST_FIELDS} fields without a gap")
    encoded: bytes = _libraries().rlp.encode([fields[name] for name in HEADER_FIELDS[:count]])
    return encoded


def path_nodes(nodes: Sequence[bytes]) -> tuple[bytes, ...]:
    """The nodes of eth_getProof's answer as a proof has them: nodes send an empty trie as a node, or as none."""
    return () if list(nodes) == [_EMPTY_NODE] else tuple(nodes)


_EMPTY_NODE = b"\x80"


def _look_up(root: bytes, key: bytes, nodes: Sequence[bytes], where: str) -> bytes:
    """The value under a key of the trie with this root, empty where the nodes show that there is none."""
    lib = _libraries()
    trie = lib.Trie({lib.keccak(each): each for each in nodes}, root)
    # The trie reads a node only where its parent has its hash. What it raises for nodes that are none has no one name.
    try:
        value = trie.get(key)
        path = [lib.rlp.encode(each) for each in trie.get_proof(key)]
    except Exception as error:
        raise BadProof(
            f"{where}: the trie nodes do not lead from root 0x{root.hex()} ({type(error).__name__})"
        ) from None
    # One spelling: exactly the nodes on the way, in order, without those that stand inside another.
    way = [each for at, each in enumerate(path) if at == 0 or len(each) >= HASH_SIZE]
    if list(nodes) != way:
        raise BadProof(f"{where}: expected exactly the {len(way)} nodes on the way, {len(nodes)} came")
    found: bytes = value
    return found


def _slot_value(storage_root: bytes, place: bytes, nodes: Sequence[bytes]) -> bytes:
    """The 32 bytes of a storage slot; zeros where it was never written."""
    value = _look_up(storage_root, _libraries().keccak(place), nodes, "storage")
    decoded = _decoded(value, "storage") if value else b""
    if not isinstance(decoded, bytes) or len(decoded) > 32:
        raise Malformed("storage: expected a value of at most 32 bytes")
    return decoded.rjust(32, b"\0")


def _decoded(data: bytes, where: str) -> Any:
    try:
        return _libraries().rlp.decode(data)
    except Exception as error:  # its own errors, and RecursionError for lists in lists in lists
        raise Malformed(f"{where}: expected RLP ({type(error).__name__})") from None


def _integer(field: object, where: str) -> int:
    if not isinstance(field, bytes) or len(field) > 8 or field.startswith(b"\0"):
        raise Malformed(f"{where}: expected an integer of at most 8 bytes in its shortest form")
    return int.from_bytes(field, "big")
