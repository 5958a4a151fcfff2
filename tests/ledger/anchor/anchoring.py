"""A growing log that is anchored on a real anvil, and what must be true of it in the end, whatever happened between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account import Account

from ledger import merkle
from ledger.anchor import Public, Standing
from ledger.anchor.chain import Identity
from ledger.anchor.deploy import create_log, deploy
from ledger.anchor.evm import CODE_HASH, EvmChain, EvmNode, encode_call, keccak
from ledger.anchor.outbox import EvmAnchor, Limits
from ledger.errors import NotFound
from ledger.store import Outbox
from ledger.store.sqlite import open_store
from tests.anvil import Anvil, running

GWEI = 10**9
CAP = 100 * GWEI
STUCK = 60  # seconds
NOTE_KEY_HASH = bytes(range(32))
ORIGIN = "log.example/anchored"
SOMEBODY = "0x" + "11" * 20
ANCHORED = "0x" + keccak(b"Anchored(bytes32,uint64,bytes32,uint64,address)").hex()

# Keys of this test alone; what an anvil prints as its own must not hold funds anywhere else.
ADMIN, KEY, THIEF = (bytes(31) + bytes([n]) for n in (11, 12, 13))


class Log:
    """Leaf hashes without a ledger around them. `label` makes another history."""

    def __init__(self, size: int = 0, label: bytes = b"leaf") -> None:
        self._label = label
        self._frontier = merkle.Frontier()
        self._stored: list[bytes] = []
        self.grow(size)

    @property
    def size(self) -> int:
        return self._frontier.size

    def grow(self, entries: int, label: bytes | None = None) -> None:
        for _ in range(entries):
            leaf = merkle.leaf_hash((label or self._label) + b"%d" % self.size)
            self._stored += self._frontier.append(leaf)

    def root_at(self, size: int) -> bytes:
        if size > self.size:
            raise NotFound(f"log: expected at most {self.size} entries, {size} were asked for")
        return merkle.tree_root(size, lambda places: [self._stored[place] for place in places])

    def prove(self, old: int, new: int) -> list[bytes]:
        return merkle.prove_consistency(old, new, lambda places: [self._stored[place] for place in places])

    def public(self, size: int | None = None) -> Public:
        size = self.size if size is None else size
        return Public(size, self.root_at(size), b"")


class Scene:
    """One log with five entries, one chain, one outbox; a clock that stands still."""

    def __init__(self, node: Anvil, folder: Path) -> None:
        self.node = node
        self.log = Log(5)
        self.now = 1_700_000_000_000_000  # microseconds
        self.url = node.url
        self._folder = folder
        self._opened: list[Any] = []
        for key in (ADMIN, KEY, THIEF):
            node.call("anvil_setBalance", Account.from_key(key).address, hex(10**20))
        admin = EvmNode(node.url, ADMIN, 30)
        self.sender = str(Account.from_key(KEY).address)
        self.contract = deploy(admin, CAP, node.mine)
        self.log_id = create_log(admin, self.contract, ORIGIN, NOTE_KEY_HASH, self.sender, CAP, node.mine)
        admin.close()
        genesis = bytes.fromhex(node.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
        self.identity = Identity(31337, genesis, CODE_HASH)
        self.outbox = self.open_outbox("ledger.db")

    def open_outbox(self, name: str) -> Outbox:
        store = open_store(self._folder / name)
        self._opened.append(store)
        return store.outbox

    def chain(self, key: bytes = KEY) -> EvmChain:
        chain = EvmChain(EvmNode(self.url, key, 5), 31337, self.contract, self.log_id)
        self._opened.append(chain)
        return chain

    def worker(
        self, chain: Any = None, outbox: Any = None, log: Log | None = None, cap: int = CAP, every: int = 0
    ) -> EvmAnchor:
        """One that was just started: it knows the outbox and the chain, and nothing else."""
        log = log or self.log
        limits = Limits(cap, STUCK, every)
        return EvmAnchor(
            chain or self.chain(),
            self.identity,
            outbox or self.outbox,
            log.root_at,
            log.prove,
            limits,
            lambda: self.now,
        )

    def close(self) -> None:
        for each in self._opened:
            each.close()

    def wait(self, seconds: int) -> None:
        self.now += seconds * 1_000_000

    # --- what the chain says, asked apart from the code under test ---

    def anchors(self) -> list[tuple[int, bytes, str]]:
        """Size, root and block hash of every Anchored line of the log."""
        asked = {"fromBlock": "0x0", "address": self.contract, "topics": [ANCHORED, "0x" + self.log_id.hex()]}
        return [
            (int(line["topics"][2], 16), bytes.fromhex(line["data"][2:66]), line["blockHash"])
            for line in self.node.call("eth_getLogs", asked)
        ]

    def sizes(self) -> list[int]:
        return [size for size, _, _ in self.anchors()]

    def nonce(self) -> int:
        return int(self.node.call("eth_getTransactionCount", self.sender, "latest"), 16)

    def waiting(self) -> list[str]:
        """Hashes of our transactions that the node would put in a block."""
        return [
            each["hash"]
            for kind in self.node.call("txpool_content").values()
            for sender, by_nonce in kind.items()
            if sender.lower() == self.sender.lower()
            for each in by_nonce.values()
        ]

    def transact(self, key: bytes, to: str, data: bytes = b"", **fields: Any) -> None:
        """Another's transaction, or one of ours that the worker knows nothing of."""
        account = Account.from_key(key)
        nonce = int(self.node.call("eth_getTransactionCount", account.address, "latest"), 16)
        whole = {
            "type": 2,
            "chainId": 31337,
            "nonce": nonce,
            "to": to,
            "value": 0,
            "data": data,
            "gas": 500_000,
            "maxFeePerGas": 90 * GWEI,
            "maxPriorityFeePerGas": 20 * GWEI,
            **fields,
        }
        self.node.call("eth_sendRawTransaction", "0x" + bytes(account.sign_transaction(whole).raw_transaction).hex())

    # --- the end ---

    def finish(self, worker: EvmAnchor | None = None) -> Standing:
        """Go on until all is final, and hold the promises to it."""
        worker = worker or self.worker()
        public = self.log.public()
        for _ in range(20):
            standing = worker.turn(public)
            if standing.halted or (standing.settled == public.size and not self.outbox.open(worker.backend)):
                break
            self.node.mine()
            self.wait(STUCK // 2)
        assert standing.halted is None
        assert (standing.settled, standing.lag, standing.waiting) == (public.size, 0, None)
        self.check(worker.backend)
        return standing

    def check(self, backend: str) -> None:
        anchors = self.anchors()
        # 1. What is anchored is ours, and once.
        assert all(root == self.log.root_at(size) for size, root, _ in anchors)
        assert len(set(self.sizes())) == len(anchors)
        # 2. The outbox has every nonce that it used, without a gap, and the chain has gone past all of them.
        rows = self.outbox.settled(backend)
        nonces = [row.nonce for row in rows]
        assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
        assert nonces[-1] + 1 == self.nonce()
        # 3. It agrees with the chain on what each of them anchored, and on what that cost.
        ours = [(row.size, row.root, "0x" + row.block_hash.hex()) for row in rows if row.anchored]
        assert set(ours) <= set(anchors)
        assert len(set(ours)) == len(ours)
        assert self.outbox.cost(backend) == sum(row.cost for row in rows)


def settled(here: Scene) -> EvmAnchor:
    """A worker that has seen its first anchor finalized."""
    worker = here.worker()
    here.finish(worker)
    return worker


def anchor_by(here: Scene, key: bytes, log: Log, size: int, old: int = 0, **fields: Any) -> None:
    """Anchor past the worker. With the worker's own key it is a thief's transaction."""
    call = encode_call("anchor", here.log_id, size, log.root_at(size), log.prove(old, size))
    here.transact(key, here.contract, call, **fields)


def allow(here: Scene, who: str, may: bool = True) -> None:
    here.transact(ADMIN, here.contract, encode_call("setAnchorer", here.log_id, who, may))
    here.node.mine()


class Wrapped:
    """A chain that is the real one but for what a test says."""

    def __init__(self, real: EvmChain) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@contextmanager
def scene(folder: Path, *options: str) -> Iterator[Scene]:
    with running(*options) as node:
        made = Scene(node, folder)
        try:
            yield made
        finally:
            made.close()
