"""An auditor's view of an EVM chain: a node's JSON-RPC, without web3. What can be checked is not believed.

A header is hashed again from its fields, and what the contract holds comes as a proof (`chainproof`) under that header.
What nobody can check here is the node's word for which blocks are on the chain and final, and for which events
there were. Every answer is bounded in size and time, and its form is checked.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ledger.anchor import chainproof
from ledger.anchor.chainproof import ADDRESS_SIZE, HEADER_FIELDS, AnchorProof, Block, keccak, path_nodes, slots_of
from ledger.anchor.exchange import Exchange
from ledger.anchor.registration import Naming, Recorded
from ledger.errors import BadProof, Malformed, NotFound, Refused, Unavailable
from ledger.merkle import HASH_SIZE

FINALIZED = "finalized"

LONGEST_ANSWER = 16 << 20  # bytes
MOST_BLOCKS = 100_000  # of events asked for at once; halved for a node that wants fewer

_TRIES = 4
_HEX = re.compile(r"0x([0-9a-fA-F]{2})*", re.ASCII)
_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})", re.ASCII)
_QUANTITIES = {
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"),
}
_LENGTHS = {"miner": ADDRESS_SIZE, "logsBloom": 256, "nonce": 8, "extraData": None}  # of all others a hash's


@dataclass(frozen=True, slots=True)
class Header:
    """A block whose fields have the hash that was stated or asked for."""

    block: Block
    encoded: bytes  # RLP


@dataclass(frozen=True, slots=True)
class Created:
    """An event: the log was created in the contract."""

    log_id: bytes  # 32
    admin: bytes  # 20
    origin: bytes
    note_key_hash: bytes  # 32
    block: int


@dataclass(frozen=True, slots=True)
class Anchored:
    """An event: a checkpoint was anchored."""

    size: int
    root: bytes  # 32
    sequence: int  # 1, 2, … without gaps in a log
    block: int


class EvmReader:
    """One node. Raises Unavailable where it gives no answer, Refused where it says no, Malformed for an answer of
    another form, NotFound, and BadProof for a header that has not its hash."""

    pause = 0.5  # seconds after the first try; doubled each time
    most_seconds = 60.0  # of one answer

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused("node: expected the http(s) URL of its JSON-RPC")
        self.name = f"{parts.scheme}://{parts.hostname}"  # the rest of a URL may hold a key
        headers = {"content-type": "application/json"}
        self._exchange = Exchange(url, headers, self.most_seconds, LONGEST_ANSWER, proxied=True)

    def close(self) -> None:
        self._exchange.close()

    def chain_id(self) -> int:
        return _quantity(self._call("eth_chainId"), "eth_chainId")

    def block(self, which: bytes | str) -> Header:
        """The block of this hash, number (0x…) or tag."""
        if isinstance(which, bytes):
            method, asked = "eth_getBlockByHash", "0x" + which.hex()
        else:
            method, asked = "eth_getBlockByNumber", which
        found = self._call(method, asked, False)
        if found is None:
            raise NotFound(f"{self.name}: has no block {asked}")
        where = f"{method} {asked}"
        fields = _object(found, where)
        stated = which if isinstance(which, bytes) else _data(fields.get("hash"), f"{where}, hash", HASH_SIZE)
        encoded = chainproof.encode_header(
            {name: _field(name, fields[name], where) for name in HEADER_FIELDS if fields.get(name) is not None}
        )
        try:
            return Header(chainproof.read_header(encoded, stated), encoded)
        except BadProof as error:
            raise BadProof(f"{self.name}: {where}: {error} (or has fields that this version does not know)") from None

    def anchor_proof(self, header: Header, chain_id: int, genesis_hash: bytes, contract: bytes, log_id: bytes) -> bytes:
        """What the contract holds of the log in this block, as a proof that nobody has checked."""
        places = ["0x" + place.hex() for place in slots_of(log_id)]
        where = "eth_getProof"
        found = _object(self._call(where, "0x" + contract.hex(), places, hex(header.block.number)), where)
        slots = found.get("storageProof")
        if not isinstance(slots, list) or len(slots) != len(places):
            raise Malformed(f"{where}: expected {len(places)} storage proofs")
        paths = [_nodes(_object(slot, where).get("proof"), f"{where}, slot {at}") for at, slot in enumerate(slots)]
        account = _nodes(found.get("accountProof"), f"{where}, account")
        proof = AnchorProof(chain_id, genesis_hash, contract, log_id, header.encoded, account, tuple(paths))
        return chainproof.encode_anchor(proof)

    def created(self, contract: bytes, last: int) -> Iterator[Created]:
        """Every log that was created in the contract up to block `last`, by the node's word, the newest first."""
        for event in self._events(contract, [_CREATED], last):
            (_, log_id, admin), where = _topics(event, 3), "LogCreated"
            # (string origin, bytes32 noteKeyHash): offset, note key hash, length, origin with zeros behind
            data = _data(event.get("data"), where)
            length = int.from_bytes(data[64:96], "big")
            if len(data) != 96 + -(-length // 32) * 32 or int.from_bytes(data[:32], "big") != 64:
                raise Malformed(f"{where}: expected an origin and a note key hash")
            yield Created(log_id, admin[-ADDRESS_SIZE:], data[96 : 96 + length], data[32:64], _block_of(event))

    def anchored(self, contract: bytes, log_id: bytes, last: int) -> Iterator[Anchored]:
        """Every anchor of the log up to block `last`, by the node's word, the newest first."""
        for event in self._events(contract, [_ANCHORED, log_id], last):
            (_, _, size), where = _topics(event, 3), "Anchored"
            data = _data(event.get("data"), where, 96)  # root, sequence, anchorer
            sequence = int.from_bytes(data[32:64], "big")
            yield Anchored(int.from_bytes(size, "big"), data[:32], sequence, _block_of(event))

    def code(self, of: bytes, at: Header) -> bytes:
        """What stands at an address in this block, by the node's word."""
        return _data(self._call("eth_getCode", "0x" + of.hex(), _at(at)), "eth_getCode")

    def recorded(self, registry: bytes, chain_id: int, chain_fork_id: bytes, at: Header) -> Recorded:
        """A fork's registration, and its owner in this block, by the node's word. Raises NotFound without one."""
        # 1. What the contract holds: (ledgerAnchor, logId, forkIdHash, ledgerKey, owner, transfers).
        asked = {"to": "0x" + registry.hex(), "data": "0x" + (keccak(_FORK_OF.encode())[:4] + chain_fork_id).hex()}
        held = _words(_data(self._call("eth_call", asked, _at(at)), _FORK_OF, 6 * 32))
        owner, transfers = held[4][-ADDRESS_SIZE:], int.from_bytes(held[5], "big")
        if not any(owner):
            raise NotFound(f"chain owner: no fork 0x{chain_fork_id.hex()} in the registry 0x{registry.hex()}")
        # 2. The event of its one registration: ledgerAnchor, forkIdHash, ledgerKey, offset, attester; length, bytes.
        event = next(self._events(registry, [_REGISTERED, chain_fork_id], at.block.number), None)
        if event is None:
            raise NotFound(f"{self.name}: has no event of the registration of 0x{chain_fork_id.hex()}")
        (_, _, first_owner, log_id), where = _topics(event, 4), "Registered"
        told = _words(_data(event.get("data"), where, 8 * 32))
        anchor, fork_id_hash, ledger_key, offset, attester, length, *signature = told
        if (int.from_bytes(offset, "big"), int.from_bytes(length, "big")) != (5 * 32, 64):
            raise Malformed(f"{where}: expected a signature of 64 bytes")
        # 3. Both are of the fork that was asked for, and say the same.
        naming = Naming(
            chain_id, registry, anchor[-ADDRESS_SIZE:], log_id, fork_id_hash, first_owner[-ADDRESS_SIZE:]
        )  # fmt: skip
        if held[:4] != [anchor, log_id, fork_id_hash, ledger_key] or naming.chain_fork_id != chain_fork_id:
            raise Malformed(f"{self.name}: what the registry holds and its event are of two forks")
        if not transfers and owner != naming.owner:
            raise Malformed(f"{self.name}: the registry and its event name two owners, and nothing was transferred")
        transaction = _data(event.get("transactionHash"), where, HASH_SIZE)
        return Recorded(
            naming, ledger_key, b"".join(signature), attester[-ADDRESS_SIZE:], _block_of(event), transaction,
            owner, transfers,
        )  # fmt: skip

    def _events(self, contract: bytes, topics: Sequence[bytes | str], last: int) -> Iterator[dict[str, Any]]:
        """The contract's events with these first topics from block `last` down to 0, page by page."""
        address = "0x" + contract.hex()
        wanted = [each if isinstance(each, str) else "0x" + each.hex() for each in topics]
        wanted[0] = "0x" + keccak(wanted[0].encode()).hex()
        blocks = MOST_BLOCKS
        while last >= 0:
            first = max(0, last - blocks + 1)
            asked = {"address": address, "topics": wanted, "fromBlock": hex(first), "toBlock": hex(last)}
            try:
                page = self._call("eth_getLogs", asked)
            except Refused:  # nodes bound the blocks or the events of one answer, each in words of its own
                if blocks == 1:
                    raise
                blocks //= 2
                continue
            yield from self._page(page, address, wanted, first, last)
            last = first - 1

    def _page(self, page: object, address: str, topics: Sequence[str], first: int, last: int) -> list[dict[str, Any]]:
        where = f"eth_getLogs {first} to {last}"
        if not isinstance(page, list):
            raise Malformed(f"{where}: expected a list")
        events = [_object(event, where) for event in page]
        places = []
        for event in events:
            found = event.get("topics")
            if str(event.get("address")).lower() != address or not isinstance(found, list):
                raise Malformed(f"{where}: expected events of the contract that was asked for")
            if [str(each).lower() for each in found[: len(topics)]] != topics or event.get("removed"):
                raise Malformed(f"{where}: expected events with the topics that were asked for, none taken back")
            if not first <= _block_of(event) <= last:
                raise Malformed(f"{where}: expected events of these blocks, got one of {_block_of(event)}")
            places.append((_block_of(event), _quantity(event.get("logIndex"), f"{where}, logIndex")))
        if sorted(set(places)) != places:
            raise Malformed(f"{where}: expected events in their order, each once")
        return events[::-1]

    def _call(self, method: str, *parameters: object) -> Any:
        for turn in range(_TRIES):
            try:
                return self._ask(method, parameters)
            except Unavailable:
                if turn == _TRIES - 1:
                    raise
            time.sleep(self.pause * 2**turn)
        raise AssertionError("unreachable")

    def _ask(self, method: str, parameters: Sequence[object]) -> Any:
        where = f"{self.name}: {method}"
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            status, body = self._exchange.post(json.dumps(asked).encode())
        except Unavailable as error:
            raise Unavailable(f"{where} could not be asked ({error})") from None
        except Malformed as error:
            raise Refused(f"{where}: {error}") from None
        if status == 429 or status >= 500:
            raise Unavailable(f"{where} was answered with {status}")
        try:
            told = _parsed(body)
        except ValueError:
            raise Malformed(f"{where}: expected JSON, status {status} came without") from None
        if not isinstance(told, dict) or told.get("id") != 1:
            raise Malformed(f"{where}: expected the answer to one call")
        if (refusal := told.get("error")) is not None:
            said = refusal.get("message") if isinstance(refusal, dict) else refusal
            raise Refused(f"{where}: the node says no: {self._exchange.without_secrets(str(said))[:200]!r}")
        if "result" not in told:
            raise Malformed(f"{where}: expected a result or an error")
        return told["result"]


_CREATED = "LogCreated(bytes32,address,string,bytes32)"
_ANCHORED = "Anchored(bytes32,uint64,bytes32,uint64,address)"
_REGISTERED = "Registered(bytes32,address,bytes32,address,bytes32,bytes32,bytes,address)"
_FORK_OF = "forkOf(bytes32)"


# --- forms of JSON-RPC ---


def _parsed(body: bytes) -> Any:
    """Raises ValueError for what is no JSON, or nested deeper than any answer is.

    Python's own bound on that is no bound where a library raised it, as py_ecc does: then a hostile answer would end
    the process.
    """
    depth = 0
    for bracket in _BRACKETS.finditer(body):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
    return json.loads(body)


_BRACKETS = re.compile(rb"[\[\]{}]")
_DEEPEST = 64  # those in strings are counted as well


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected an object")
    return value


def _quantity(value: object, where: str) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise Malformed(f"{where}: expected a quantity, 0x and hex digits without leading zeros")
    return int(value, 16)


def _data(value: object, where: str, length: int | None = None) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise Malformed(f"{where}: expected 0x and pairs of hex digits")
    found = bytes.fromhex(value[2:])
    if length is not None and len(found) != length:
        raise Malformed(f"{where}: expected {length} bytes, {len(found)} came")
    return found


def _field(name: str, value: object, where: str) -> bytes:
    """A header's field as RLP has it: a number in its shortest form, anything else as it is."""
    where = f"{where}, {name}"
    if name in _QUANTITIES:
        number = _quantity(value, where)
        return number.to_bytes((number.bit_length() + 7) // 8, "big")
    return _data(value, where, _LENGTHS.get(name, HASH_SIZE))


def _nodes(value: object, where: str) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        raise Malformed(f"{where}: expected a list of trie nodes")
    return path_nodes([_data(each, where) for each in value])


def _topics(event: dict[str, Any], count: int) -> list[bytes]:
    topics = event["topics"]
    if len(topics) != count:
        raise Malformed(f"event: expected {count} topics, {len(topics)} came")
    return [_data(each, "topic", HASH_SIZE) for each in topics]


def _at(header: Header) -> dict[str, Any]:
    return {"blockHash": "0x" + header.block.hash.hex(), "requireCanonical": True}  # EIP-1898


def _words(data: bytes) -> list[bytes]:
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def _block_of(event: dict[str, Any]) -> int:
    return _quantity(event.get("blockNumber"), "event, blockNumber")
