"""Puts a contract on a chain, and creates the log in its own. What is done already is found and not done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.anchor.chain import Block, market
from ledger.anchor.evm import LEDGER_ANCHOR, Artifact, EvmChain, EvmNode, address, encode_call, keccak
from ledger.errors import ChainRefused, Conflict, Refused, Unavailable

FACTORY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
"""The deterministic deployment proxy (github.com/Arachnid/deterministic-deployment-proxy): CREATE2 by anybody, so that
the same code has the same address on every chain."""

_SALT = bytes(32)
_WAIT = 300  # pauses at most until a transaction is in a block

Pause = Callable[[], None]
"""Returns after about a second."""


def deploy(
    node: EvmNode, highest_fee: int, pause: Pause, plainly: bool = False, contract: Artifact = LEDGER_ANCHOR
) -> str:
    """Put the contract where it belongs and return its address. Raises Refused where no factory stands.

    `plainly` does without the factory: at another address, and once more each time.
    """
    # 1. Perhaps it is there.
    if not plainly and stands(node, contract, contract.address):
        return contract.address
    # 2. Through the factory, whose answer to the right code is the right address.
    if not plainly and not node.code(FACTORY, head_of(node)):
        raise Refused(f"chain {node.chain_id()}: no CREATE2 factory stands at {FACTORY}; deploy plainly there")
    to, code = (None, contract.creation) if plainly else (FACTORY, _SALT + contract.creation)
    receipt = transact(node, to, code, highest_fee, pause)
    placed = address(receipt["contractAddress"]) if plainly else contract.address
    # 3. What stands there is ours.
    if not stands(node, contract, placed):
        raise Conflict(
            f"contract at {placed}: expected the code with hash {contract.code_hash.hex()}, other code stands there"
        )
    return placed


def stands(node: EvmNode, contract: Artifact, at: str) -> bool:
    """Whether the contract's code stands at an address."""
    return keccak(node.code(at, head_of(node))) == contract.code_hash


def log_id_of(creator: str, origin: str, note_key_hash: bytes) -> bytes:
    """The id of the log that this address creates: keccak256(abi.encode(creator, keccak256(origin), note key hash))."""
    return keccak(bytes(12) + bytes.fromhex(creator[2:]) + keccak(origin.encode()) + note_key_hash)


def create_log(
    node: EvmNode, contract: str, origin: str, note_key_hash: bytes, anchorer: str, highest_fee: int, pause: Pause
) -> bytes:
    """Create the log, administered by the node's account, and return its id. `anchorer` may anchor in it."""
    log_id = log_id_of(node.sender, origin, note_key_hash)
    if EvmChain(node, node.chain_id(), contract, log_id).held(head_of(node)) is None:
        transact(node, contract, encode_call("createLog", origin, note_key_hash, anchorer), highest_fee, pause)
    return log_id


def head_of(node: EvmNode) -> Block:
    head = node.block("latest")
    if head is None:
        raise Unavailable("chain node: expected a latest block, it has none")
    return head


def transact(node: EvmNode, to: str | None, data: bytes, highest_fee: int, pause: Pause) -> Any:
    """Send one transaction and wait until it is in a block. Returns the receipt."""
    head = head_of(node)
    fees = market(node.tip(), head.base_fee, highest_fee)
    if fees is None:
        raise Unavailable(
            f"chain: the base fee of {head.base_fee} wei and the tip are above the cap of {highest_fee} wei"
        )
    signed = node.sign(
        chainId=node.chain_id(),
        nonce=node.nonce(head),
        value=0,
        data=data,
        gas=node.gas(to, data, head) * 5 // 4,
        maxFeePerGas=fees.most,
        maxPriorityFeePerGas=fees.tip,
        **({} if to is None else {"to": address(to)}),
    )
    name = "0x" + keccak(signed).hex()
    node.send(signed)
    for _ in range(_WAIT):
        receipt = node.ask("eth_getTransactionReceipt", (name,), lambda told: told)
        if receipt is not None:
            if receipt["status"] != "0x1":
                raise ChainRefused(f"transaction {name}: reverted", "")
            return receipt
        pause()
    raise Unavailable(f"transaction {name}: in no block yet; run this again once it is")
