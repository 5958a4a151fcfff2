"""An anchored log of real entries, with its forks: what ForkRegistry and ContributionClaims are tried on."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_account import Account

from contracts.tests.chain import Chain, shipped, typed
from contracts.tests.trees import Reader, reader
from ledger.merkle import prove_consistency, prove_inclusion, tree_root
from tests.ledger.written import ORIGIN, Writer, fill, open_ledger

NOTE_KEY = sha256(b"\x01" + b"k" * 32).digest()
ANCHORER, OWNER, BUYER, STRANGER = (
    Account.from_key(sha256(name).digest()) for name in (b"anchorer", b"owner", b"buyer", b"stranger")
)
_REGISTRATION = (
    "(address ledgerAnchor,bytes32 logId,bytes32 forkIdHash,address owner,"
    "bytes32 ledgerKey,bytes ledgerSignature,uint64 deadline)"
)
REGISTER, ATTEST = "Register" + _REGISTRATION, "Attest" + _REGISTRATION
TRANSFER = "Transfer(bytes32 chainForkId,address to,uint64 transfers,uint64 deadline)"
CLAIM = "Claim(address registry,bytes32 chainForkId,uint64 index,bytes32 leafHash,uint64 deadline)"


def entries_of_a_ledger(folder: Path) -> tuple[list[Writer], list[bytes]]:
    """The bytes of a real ledger with two forks, five records each, in turns."""
    ledger = open_ledger(folder / "ledger.db")
    try:
        writers = fill(ledger, forks=2, records=5)
        return writers, [ledger.entry_at(index).data for index in range(ledger.size())]
    finally:
        ledger.close()


@dataclass(slots=True)
class World:
    chain: Chain
    anchor: Any
    registry: Any
    claims: Any
    log: bytes

    def key_signs(self, writer: Writer, owner: str) -> bytes:
        """The fork's own key names an owner on this chain."""
        ask = self.registry.functions.ledgerMessage(self.anchor.address, self.log, fork_hash(writer), owner)
        return writer.key.sign(ask.call()).raw

    def registration(self, writer: Writer, owner: str, **changes: Any) -> dict[str, Any]:
        return {
            "ledgerAnchor": self.anchor.address,
            "logId": self.log,
            "forkIdHash": fork_hash(writer),
            "owner": owner,
            "ledgerKey": writer.key.public.raw,
            "ledgerSignature": self.key_signs(writer, owner),
            "deadline": self.chain.now() + 3600,
            **changes,
        }

    def signed(self, struct: str, message: dict[str, Any], key: Any, /, **domain: Any) -> bytes:
        contract, name = (self.claims, "ContributionClaims") if struct == CLAIM else (self.registry, "ForkRegistry")
        return bytes(key.sign_message(typed(self.chain, contract, name, struct, message, **domain)).signature)

    def register(self, given: dict[str, Any], owner: Any = OWNER, anchorer: Any = ANCHORER) -> Any:
        consent, attestation = self.signed(REGISTER, given, owner), self.signed(ATTEST, given, anchorer)
        return self.registry.functions.register(tuple(given.values()), consent, attestation)

    def id_of(self, writer: Writer) -> bytes:
        found: bytes = self.registry.functions.chainForkIdOf(self.anchor.address, self.log, fork_hash(writer)).call()
        return found

    def grow(self, size: int, read: Reader, pin: bool = True) -> None:
        """Anchor the log at this size, and pin it."""
        have, root = self.anchor.functions.logs(self.log).call()[1], tree_root(size, read)
        proof = prove_consistency(have, size, read)
        self.chain.send(self.anchor.functions.anchor(self.log, size, root, proof))
        if pin:
            self.chain.send(self.anchor.functions.pin(self.log, size, root, []))


def fork_hash(writer: Writer) -> bytes:
    return sha256(writer.fork_id.encode()).digest()


def world(chain: Chain, origin: str = ORIGIN) -> World:
    """All contracts deployed, and a log of this origin that the chain's first person and ANCHORER anchor."""
    anchor, registry, claims = (
        chain.deploy(shipped(name)) for name in ("LedgerAnchor", "ForkRegistry", "ContributionClaims")
    )
    me = chain.people[0]
    chain.send(anchor.functions.createLog(origin, NOTE_KEY, me))
    log = anchor.functions.logIdOf(me, origin, NOTE_KEY).call()
    chain.send(anchor.functions.setAnchorer(log, ANCHORER.address, True))
    for account in (OWNER, BUYER, STRANGER):
        chain.admit(account.address)
    return World(chain, anchor, registry, claims, log)


def path_of(entries: list[bytes], index: int, size: int) -> list[bytes]:
    return prove_inclusion(index, size, reader(entries))
