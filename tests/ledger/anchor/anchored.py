"""A log of numbered leaves, anchored on an anvil by its unlocked account: what proofs are made and read with."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from ledger import merkle
from ledger.anchor import chainproof
from tests.anvil import Anvil
from tests.ledger.written import LOG_KEY, ORIGIN

FACTORY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"  # CREATE2, stands on anvil from its first block
SHIPPED: dict[str, Any] = json.loads(resources.files("ledger.anchor").joinpath("LedgerAnchor.json").read_text())
CONTRACT = bytes.fromhex(SHIPPED["address"][2:])
NOTE_KEY = chainproof.note_key_hash(LOG_KEY.verifier)


@dataclass
class Tree:
    """Any leaf hashes."""

    leaves: list[bytes] = field(default_factory=lambda: [merkle.leaf_hash(b"%d" % n) for n in range(40)])
    stored: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        frontier = merkle.Frontier()
        self.stored = [node for leaf in self.leaves for node in frontier.append(leaf)]

    def read(self, places: Any) -> list[bytes]:
        return [self.stored[place] for place in places]

    def root(self, size: int) -> bytes:
        return merkle.tree_root(size, self.read)

    def path(self, old: int, new: int) -> list[bytes]:
        return merkle.prove_consistency(old, new, self.read)


class Chain:
    """The contract on a node, with logs in it."""

    def __init__(self, node: Anvil) -> None:
        self.node = node
        self.sender = node.call("eth_accounts")[0]
        self.send(FACTORY, bytes(32) + bytes.fromhex(SHIPPED["bytecode"][2:]))

    def send(self, to: str | None, data: bytes) -> dict[str, Any]:
        """The receipt of a transaction that succeeded; to nobody, it deploys."""
        asked = {"from": self.sender, "data": "0x" + data.hex(), "gas": hex(5_000_000), **({"to": to} if to else {})}
        sent = self.node.call("eth_sendTransaction", asked)
        receipt: dict[str, Any] | None = None
        deadline = time.monotonic() + 30
        while receipt is None and time.monotonic() < deadline:
            receipt = self.node.call("eth_getTransactionReceipt", sent)
        assert receipt, "no receipt"
        assert receipt["status"] == "0x1", receipt
        return receipt

    def do(self, signature: str, *arguments: object, contract: bytes = CONTRACT) -> dict[str, Any]:
        types = signature[signature.index("(") + 1 : -1].split(",")
        return self.send("0x" + contract.hex(), keccak(signature.encode())[:4] + encode(types, arguments))

    def create(self, origin: str = ORIGIN, note_key: bytes = NOTE_KEY, contract: bytes = CONTRACT) -> bytes:
        """The id of a new log."""
        self.do("createLog(string,bytes32,address)", origin, note_key, self.sender, contract=contract)
        return bytes(
            keccak(encode(["address", "bytes32", "bytes32"], [self.sender, keccak(origin.encode()), note_key]))
        )

    def anchor(self, log_id: bytes, tree: Tree, *sizes: int, after: int = 0, contract: bytes = CONTRACT) -> None:
        """Anchor the log at these sizes in turn; it stands at `after`."""
        for size in sizes:
            asked = (log_id, size, tree.root(size), tree.path(after, size))
            self.do("anchor(bytes32,uint64,bytes32,bytes32[])", *asked, contract=contract)
            after = size

    def equivocate(self, log_id: bytes, size: int) -> None:
        """Show the contract two roots at this size, both signed by an anchorer."""
        signer = Account.from_key(bytes(31) + b"\7")
        self.do("setAnchorer(bytes32,address,bool)", log_id, signer.address, True)
        roots = (bytes(31) + b"\1", bytes(31) + b"\2")
        signed = [signer.sign_typed_data(full_message=_typed(log_id, size, root)).signature for root in roots]
        self.do(
            "proveEquivocation(bytes32,uint64,bytes32,bytes,bytes32,bytes)",
            *(log_id, size, roots[0], bytes(signed[0]), roots[1], bytes(signed[1])),
        )

    def deploy_again(self) -> bytes:
        """The same code at another address, as whoever likes can put it there."""
        return bytes.fromhex(self.send(None, bytes.fromhex(SHIPPED["bytecode"][2:]))["contractAddress"][2:])


def _typed(log_id: bytes, size: int, root: bytes) -> dict[str, Any]:
    """A checkpoint as an anchorer signs it (EIP-712)."""
    domain = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    checkpoint = {"logId": "bytes32", "size": "uint64", "root": "bytes32"}
    return {
        "types": {
            name: [{"name": each, "type": kind} for each, kind in fields.items()]
            for name, fields in {"EIP712Domain": domain, "Checkpoint": checkpoint}.items()
        },
        "primaryType": "Checkpoint",
        "domain": {"name": "LedgerAnchor", "version": "1", "chainId": 31337, "verifyingContract": SHIPPED["address"]},
        "message": {"logId": log_id, "size": size, "root": root},
    }
