"""What every function of the contracts costs, in gas, as a whole transaction: gas.json, which a test compares.

    python contracts/gas.py

Everything in it is fixed (keys, sizes, hashes), so the figures are exact. What depends on the size of the tree is taken
at 2^10, 2^20 and 2^30 leaves: from old sizes spread over [N, 2N), and for `anchor` in steps of 1, 60 and 3,600 entries.
Smallest, median and largest are kept. Huge trees have equal leaves and are never built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from statistics import median_low
from typing import Any

from eth_account import Account
from py_ecc.optimized_bls12_381 import curve_order

from contracts.compile import HERE
from contracts.tests.bls import Witness, cosignature, quorum_id, uncompressed
from contracts.tests.chain import Chain, shipped, typed
from contracts.tests.trees import equal_leaves, level, read_huge
from contracts.tests.world import ANCHORER, BUYER, CLAIM, OWNER, TRANSFER, world
from ledger.entry import USER_TRAINING_RECORD, Entry, encode_entry
from ledger.merkle import leaf_hash, prove_consistency, prove_inclusion, tree_root
from tests.anvil import running
from tests.ledger.written import ORIGIN, Writer

FILE = HERE / "gas.json"
SIZES = {"2^10": 2**10, "2^20": 2**20, "2^30": 2**30}
STEPS = 1, 60, 3_600  # entries between two anchors: each, and one a second for a minute and for an hour
QUORUMS = (1, 1), (6, 8), (32, 32)  # threshold, members
STARTS = 21  # old sizes for each size
NOTE_KEY = sha256(b"\x01" + bytes(32)).digest()
CHECKPOINT = "Checkpoint(bytes32 logId,uint64 size,bytes32 root)"
FORK = Writer(1)
NEVER = 2**40  # a deadline, seconds since 1970: figures must not depend on the day

Spread = dict[str, int]


def measure(chain: Chain) -> dict[str, Any]:
    return {
        "LedgerAnchor": _ledger_anchor(chain),
        "WitnessQuorum": _witness_quorum(chain),
        "ForkRegistry": _fork_registry(chain),
        "ContributionClaims": _contribution_claims(chain),
    }


def as_text(gas: dict[str, Any]) -> str:
    return json.dumps(gas, indent=1) + "\n"


def _ledger_anchor(chain: Chain) -> dict[str, Any]:
    contract = chain.deploy(shipped("LedgerAnchor"))
    verbs, me, other = contract.functions, *chain.people[:2]
    log = b""

    def created(size: int = 0) -> int:
        """A fresh log, grown to this size at once; what creating it cost."""
        nonlocal log
        number = sha256(log).hexdigest()[:16]
        spent = used(chain, verbs.createLog(f"log.example/{number}", NOTE_KEY, me))
        log = verbs.logIdOf(me, f"log.example/{number}", NOTE_KEY).call()
        if size:
            used(chain, verbs.anchor(log, size, tree_root(size, read_huge), []))
        return spent

    def signature(size: int, root: bytes) -> bytes:
        message = {"logId": log, "size": size, "root": root}
        return bytes(ANCHORER.sign_message(typed(chain, contract, "LedgerAnchor", CHECKPOINT, message)).signature)

    def grown(old: int, new: int) -> tuple[bytes, int, bytes, list[bytes]]:
        return log, new, tree_root(new, read_huge), prove_consistency(old, new, read_huge)

    def anchor(size: int) -> Iterator[int]:
        for old in starts(size):
            for step in STEPS:
                created(old)
                yield used(chain, verbs.anchor(*grown(old, old + step)))

    def anchor_signed(size: int) -> Iterator[int]:
        for old in starts(size):
            created(old)
            used(chain, verbs.setAnchorer(log, ANCHORER.address, True))
            given = grown(old, old + 60)
            yield used(chain, verbs.anchorSigned(*given, signature(given[1], given[2])))

    def pin_current(size: int) -> Iterator[int]:
        created(size)
        yield used(chain, verbs.pin(log, size, tree_root(size, read_huge), []))

    def pin_past(size: int) -> Iterator[int]:
        for old in starts(size):
            new = old + 3_600
            created(new)
            proof = prove_consistency(old, new, read_huge)
            yield used(chain, verbs.pin(log, old, tree_root(old, read_huge), proof))

    def verify_inclusion(size: int) -> Iterator[int]:
        for old in starts(size):
            created(old)
            index = old // 3
            proof = prove_inclusion(index, old, read_huge)
            yield used(chain, verbs.verifyInclusion(log, old, level(0), index, proof))

    gas: dict[str, Any] = {"deploy": _deployment(chain, "LedgerAnchor"), "createLog": created()}
    gas["first anchor"] = used(chain, verbs.anchor(log, 60, tree_root(60, read_huge), []))
    gas["setAnchorer"] = used(chain, verbs.setAnchorer(log, ANCHORER.address, True))
    given = log, 120, level(1), signature(120, level(1)), level(2), signature(120, level(2))
    gas["proveEquivocation"] = used(chain, verbs.proveEquivocation(*given))
    gas["proposeAdmin"] = used(chain, verbs.proposeAdmin(log, other))
    gas["acceptAdmin"] = used(chain, verbs.acceptAdmin(log), by=other)
    for name, verb in (
        ("anchor", anchor),
        ("anchorSigned", anchor_signed),
        ("pin the current size", pin_current),
        ("pin an earlier size", pin_past),
        ("verifyInclusion", verify_inclusion),
    ):
        gas[name] = by_size(verb)
    return gas


def _witness_quorum(chain: Chain) -> dict[str, Any]:
    """Of quorums of each size: as many of its first members sign as must."""
    contract = chain.deploy(shipped("WitnessQuorum"))
    verbs, log, size = contract.functions, sha256(b"log").digest(), 2**20
    seeds = [sha256(b"%d" % i).digest() for i in range(max(members for _, members in QUORUMS))]
    signers = sorted(map(Account.from_key, seeds), key=lambda each: str(each.address).lower())
    witnesses = sorted((Witness(int.from_bytes(seed[1:])) for seed in seeds), key=lambda each: each.key_hash)
    registered = [used(chain, verbs.registerBlsKey(each.key, each.possession)) for each in witnesses]
    gas: dict[str, Any] = {"deploy": _deployment(chain, "WitnessQuorum"), "registerBlsKey": median_low(registered)}
    for verb in ("createEcdsaQuorum", "createBlsQuorum", "cosignEcdsa", "cosignBls"):
        gas[verb] = {}
    for threshold, members in QUORUMS:
        name = f"{threshold} of {members}"
        root = sha256(name.encode()).digest()

        addresses = [each.address for each in signers[:members]]
        message = typed(chain, contract, "WitnessQuorum", CHECKPOINT, {"logId": log, "size": size, "root": root})
        signatures = [bytes(each.sign_message(message).signature) for each in signers[:threshold]]
        quorum = quorum_id("ecdsa", threshold, addresses)
        gas["createEcdsaQuorum"][name] = used(chain, verbs.createEcdsaQuorum(threshold, addresses))
        gas["cosignEcdsa"][name] = used(chain, verbs.cosignEcdsa(quorum, log, size, root, signatures))

        # The sum of their signatures is the signature of the sum of their secrets.
        together = Witness(sum(each.secret for each in witnesses[:threshold]) % curve_order)
        aggregate = uncompressed(together.sign(cosignature(log, size, root)))
        quorum = quorum_id("bls", threshold, [each.key_hash for each in witnesses[:members]])
        keys = [each.key for each in witnesses[:members]]
        gas["createBlsQuorum"][name] = used(chain, verbs.createBlsQuorum(threshold, keys))
        given = quorum, log, size, root, 2**threshold - 1, aggregate
        gas["cosignBls"][name] = used(chain, verbs.cosignBls(*given))
    return gas


def _fork_registry(chain: Chain) -> dict[str, Any]:
    there = world(chain, "log.example/registry")
    transfer = there.registry.functions.transfer
    gas = {"deploy": _deployment(chain, "ForkRegistry")}
    gas["register"] = used(chain, there.register(there.registration(FORK, OWNER.address, deadline=NEVER)))
    fork = there.id_of(FORK)
    gas["transfer"] = used(chain, transfer(fork, BUYER.address), by=OWNER.address)
    message = {"chainForkId": fork, "to": OWNER.address, "transfers": 1, "deadline": NEVER}
    signature = there.signed(TRANSFER, message, BUYER)
    gas["transferSigned"] = used(chain, there.registry.functions.transferSigned(fork, OWNER.address, NEVER, signature))
    return gas


def _contribution_claims(chain: Chain) -> dict[str, Any]:
    """Of one record of some 600 bytes, at every leaf of the tree. The first claim of 256 leaves pays for their word."""
    record = FORK.record(1)
    entry = encode_entry(
        Entry(
            ORIGIN, FORK.fork_id, 2, sha256(b"before").digest(), USER_TRAINING_RECORD, record.body, record.signatures, 1
        )
    )
    read, leaf = equal_leaves(entry), leaf_hash(entry)
    there = world(chain, ORIGIN)
    used(chain, there.register(there.registration(FORK, OWNER.address, deadline=NEVER)))
    fork, registry = there.id_of(FORK), there.registry.address

    def claim(size: int) -> Iterator[int]:
        there.grow(size + 77, read)
        for index in (size // 3, size // 3 + 1):
            proof = prove_inclusion(index, size + 77, read)
            verb = there.claims.functions.claim(registry, fork, size + 77, index, entry, proof)
            yield used(chain, verb, by=OWNER.address)

    def claim_signed(size: int) -> Iterator[int]:
        for index in (size // 5, size // 5 + 1):
            message = {"registry": registry, "chainForkId": fork, "index": index, "leafHash": leaf, "deadline": NEVER}
            proof, signature = prove_inclusion(index, size + 77, read), there.signed(CLAIM, message, OWNER)
            yield used(
                chain,
                there.claims.functions.claimSigned(registry, fork, size + 77, index, entry, proof, NEVER, signature),
            )

    return {
        "deploy": _deployment(chain, "ContributionClaims"),
        "claim": by_size(claim),
        "claimSigned": by_size(claim_signed),
    }


def used(chain: Chain, verb: Any, by: str | None = None) -> int:
    return int(chain.send(verb, by)["gasUsed"])


def starts(size: int) -> list[int]:
    """Sizes spread over [size, 2 size), of every shape: the same each time."""
    return [size + int.from_bytes(sha256(b"%d" % i).digest()) % size for i in range(STARTS)]


def by_size(verb: Callable[[int], Iterator[int]]) -> dict[str, Spread]:
    return {name: spread(list(verb(size))) for name, size in SIZES.items()}


def spread(figures: list[int]) -> Spread:
    return {"least": min(figures), "median": median_low(figures), "most": max(figures)}


def _deployment(chain: Chain, name: str) -> int:
    """Through the factory, whatever block it was in."""
    at = shipped(name)["address"]
    for number in range(chain.w3.eth.block_number + 1):
        for sent in chain.w3.eth.get_block(number, True)["transactions"]:
            if sent["input"].hex().endswith(shipped(name)["bytecode"][2:]):
                return int(chain.w3.eth.get_transaction_receipt(sent["hash"])["gasUsed"])
    raise AssertionError(f"{name} was not deployed at {at}")


if __name__ == "__main__":
    with running() as _node:
        FILE.write_text(as_text(measure(Chain(_node))))
    print(FILE.read_text(), end="")
