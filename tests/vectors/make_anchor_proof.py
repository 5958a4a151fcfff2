"""Make anchor_proof.json: the log of log.json, anchored on an anvil of this machine at sizes 1, 3 and 4.

    python tests/vectors/make_anchor_proof.py

Made on anvil 1.7.1, from its answers to eth_getBlockByNumber and eth_getProof. The bytes are put together here, without
the packages' code: only the node (tests/anvil.py), Keccak and the contract's shipped code are shared.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_abi.abi import encode as abi
from eth_utils.crypto import keccak

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.anvil import Anvil, running  # noqa: E402

LOG, EVIDENCE = (json.loads((HERE / name).read_text("utf-8")) for name in ("log.json", "evidence.json"))
SHIPPED = json.loads((HERE.parents[1] / "ledger/anchor/LedgerAnchor.json").read_text("utf-8"))
FACTORY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
HEADER = [
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "difficulty"),
    *("number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas"),
    *("withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
]
NUMBERS = {"difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"}


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def rlp_string(data: bytes) -> bytes:
    return data if len(data) == 1 and data[0] < 128 else rlp_length(len(data), 128) + data


def rlp_list(items: list[bytes]) -> bytes:
    body = b"".join(items)
    return rlp_length(len(body), 192) + body


def rlp_length(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    written = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(written)]) + written


def varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def field(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def send(node: Anvil, sender: str, to: str, data: bytes) -> None:
    asked = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(5_000_000)}
    sent, receipt = node.call("eth_sendTransaction", asked), None
    while receipt is None:
        receipt = node.call("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x1", receipt


def make(node: Anvil) -> dict[str, Any]:
    sender, contract = node.call("eth_accounts")[0], SHIPPED["address"]
    send(node, sender, FACTORY, bytes(32) + unhex(SHIPPED["bytecode"]))
    # The log, and three checkpoints of it.
    origin, note_key = LOG["origin"], sha256(b64decode(LOG["log_vkey"].split("+", 2)[2])).digest()
    log_id = keccak(abi(["address", "bytes32", "bytes32"], [sender, keccak(origin.encode()), note_key]))
    created = abi(["string", "bytes32", "address"], [origin, note_key, sender])
    send(node, sender, contract, keccak(b"createLog(string,bytes32,address)")[:4] + created)
    a, b, c, d = (bytes.fromhex(leaf) for leaf in LOG["leaf_hashes"])
    ab, cd = node_hash(a, b), node_hash(c, d)
    roots = {1: a, 3: node_hash(ab, c), 4: node_hash(ab, cd)}
    paths = {1: [], 3: [b, c], 4: [c, d, ab]}
    assert roots[4].hex() == LOG["root"]
    for size in (1, 3, 4):
        asked = abi(["bytes32", "uint64", "bytes32", "bytes32[]"], [log_id, size, roots[size], paths[size]])
        send(node, sender, contract, keccak(b"anchor(bytes32,uint64,bytes32,bytes32[])")[:4] + asked)
    # The block of the second, the third and an absent log, as evidence for a smaller and an equal tree.
    first = int.from_bytes(keccak(log_id + bytes(32)), "big")
    newest = node.call("eth_blockNumber")
    proofs = {
        "size_3": proof(node, hex(int(newest, 16) - 1), contract, log_id, first),
        "size_4": proof(node, newest, contract, log_id, first),
        "absent": proof(node, newest, contract, bytes(32), int.from_bytes(keccak(bytes(64)), "big")),
    }
    evidence = bytes.fromhex(EVIDENCE["evidence"][1])
    anchored = evidence + field(5, field(1, bytes.fromhex(proofs["size_3"]["proof"])) + b"".join(
        field(2, node) for node in paths[4]
    ))  # fmt: skip
    return {
        "origin_of_these_bytes": "made on anvil 1.7.1 by make_anchor_proof.py",
        "chain_id": 31337,
        "genesis_hash": node.call("eth_getBlockByNumber", "0x0", False)["hash"][2:],
        "contract": unhex(contract).hex(),
        "code_hash": unhex(SHIPPED["codeHash"]).hex(),
        "log_id": log_id.hex(),
        "log_vkey": LOG["log_vkey"],
        "roots": {str(size): root.hex() for size, root in roots.items()},
        "path_3_to_4": [each.hex() for each in paths[4]],
        "proofs": proofs,
        "evidence_of_leaf_1_with_size_3": anchored.hex(),
    }


def proof(node: Anvil, number: str, contract: str, log_id: bytes, first: int) -> dict[str, Any]:
    block = node.call("eth_getBlockByNumber", number, False)
    values = [unhex("0" * (len(block[name]) % 2) + block[name][2:]) for name in HEADER]
    fields = [value.lstrip(b"\0") if name in NUMBERS else value for name, value in zip(HEADER, values, strict=True)]
    header = rlp_list([rlp_string(each) for each in fields])
    assert keccak(header) == unhex(block["hash"])
    found = node.call("eth_getProof", contract, [f"0x{first + at:064x}" for at in range(4)], number)
    paths = [b"".join(field(1, unhex(each)) for each in slot["proof"]) for slot in found["storageProof"]]
    genesis = node.call("eth_getBlockByNumber", "0x0", False)["hash"]
    message = [
        field(1, b"forkledger/anchor-proof/v1"),
        varint(2 << 3) + varint(31337),
        *(field(at, each) for at, each in enumerate((unhex(genesis), unhex(contract), log_id, header), 3)),
        *(field(7, unhex(each)) for each in found["accountProof"]),
        *(field(8, each) for each in paths),
    ]
    return {
        "block_hash": unhex(block["hash"]).hex(),
        "number": int(number, 16),
        "time": int(block["timestamp"], 16),
        "proof": b"".join(message).hex(),
    }


if __name__ == "__main__":
    with running("--timestamp", "1790000000") as anvil:
        made = make(anvil)
    (HERE / "anchor_proof.json").write_text(json.dumps(made, indent=2) + "\n", "utf-8")
