"""Registers a fork's owner on a chain, for the operator of its log: what `ledger.anchor.registration` describes.

Nothing is signed that the ledger does not bear out, and nothing is sent that the contract would refuse.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.anchor.deploy import Pause, head_of, stands, transact
from ledger.anchor.evm import FORK_REGISTRY, EvmNode, encode_call
from ledger.anchor.registration import ATTESTATION, Registration, check_registration, typed
from ledger.errors import Conflict, Unavailable
from ledger.rights import Rights


@dataclass(frozen=True, slots=True)
class Sent:
    transaction: bytes  # 32
    block: int


def attest(node: EvmNode, registration: Registration, fork_id: str, rights: Rights) -> bytes:
    """The operator's word, by the node's account, that the fork's ledger key named this owner.

    Raises Refused and BadSignature where it did not: then nothing is signed.
    """
    check_registration(registration, fork_id, rights)
    return node.sign_typed(typed(ATTESTATION, registration))


def register(
    node: EvmNode, registration: Registration, consent: bytes, attestation: bytes, highest_fee: int, pause: Pause
) -> Sent:
    """Send it and wait until it is in a block. PUBLIC FOR GOOD. Raises ChainRefused, and then has sent nothing."""
    naming = registration.naming
    registry = f"0x{naming.registry.hex()}"
    # 1. Only to the contract that was meant.
    if node.chain_id() != naming.chain_id:
        raise Conflict(f"chain node: expected chain {naming.chain_id}, it is on {node.chain_id()}")
    if not stands(node, FORK_REGISTRY, registry):
        raise Conflict(f"contract at {registry}: expected the code of ForkRegistry, other code or none stands there")
    # 2. Not in the place of an anchor: another transaction of this account may wait for a block.
    waiting = node.ask("eth_getTransactionCount", (node.sender, "pending"), lambda told: int(told, 16))
    if waiting > node.nonce(head_of(node)):
        raise Unavailable(f"chain: {node.sender} has a transaction under way; run this again once it is in a block")
    # 3. The contract checks the consent, the attestation and the deadline before it is paid for.
    given = (
        naming.ledger_anchor, naming.log_id, naming.fork_id_hash, naming.owner,
        registration.ledger_key, registration.ledger_signature, registration.deadline,
    )  # fmt: skip
    call = encode_call("register", given, consent, attestation, of=FORK_REGISTRY)
    receipt = transact(node, registry, call, highest_fee, pause)
    return Sent(bytes.fromhex(receipt["transactionHash"][2:]), int(receipt["blockNumber"], 16))
