"""What a chain says of our log and of what we sent, set against what we know. Rules 2 and 3 of `ledger.anchor.outbox`.

Raises Halted for what must not be, Unavailable for what passes by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from ledger.anchor.chain import Block, Chain, Held, Identity, Receipt, Sender
from ledger.errors import Conflict, Halted, NotFound, Unavailable
from ledger.store import Attempt, Outbox, Settled

RootAt: TypeAlias = Callable[[int], bytes]
"""The root of our log's first entries, this many (`merkle.tree_root`). Raises NotFound where the log has fewer."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A nonce that is not settled: the attempts that were kept for it, and which of them is in a block."""

    attempts: tuple[Attempt, ...]  # at least one, by number
    mined: Attempt | None = None
    receipt: Receipt | None = None  # of the one that is

    @property
    def nonce(self) -> int:
        return self.attempts[0].nonce

    @property
    def newest(self) -> Attempt:
        return self.attempts[-1]


@dataclass(frozen=True, slots=True)
class Seen:
    """The chain at one moment, in accordance with our log."""

    head: Block
    held: Held
    sender: Sender
    safe: int  # size of the newest anchor in a safe block
    settled: int  # in a finalized one
    passed: tuple[Sent, ...]  # nonces that blocks have gone past, by nonce
    pending: tuple[Sent, ...]  # those that a block can take next, without a gap
    newest: tuple[bytes, int] | None  # our newest anchor's transaction and block


class Reconciler:
    """Looks at the chain for one backend. Nothing that it remembers is needed after a restart."""

    def __init__(self, backend: str, chain: Chain, expected: Identity, outbox: Outbox, root_at: RootAt) -> None:
        self._backend = backend
        self._chain = chain
        self._expected = expected
        self._outbox = outbox
        self._root_at = root_at
        self._taken: dict[int, int] = {}  # nonces of others' transactions, and the block at which that was found

    def look(self) -> Seen:
        # From the oldest to the newest, so that none is ahead of the next.
        final, safe = self._chain.block("finalized"), self._chain.block("safe")
        head = self._chain.block("latest")
        if head is None:
            raise Unavailable("chain node: expected a latest block, it has none")
        # 1. It is the chain that is meant, and it still has what was final.
        identity = self._chain.identity(head)
        self._expect(identity, "chain")
        self._expect(identity, "genesis")
        last = self._outbox.last_anchored(self._backend)
        if last is not None:
            self._expect_block(head, last)
        self._expect(identity, "code")
        # 2. What the contract holds is ours.
        held = self._expect_ours(head, last)
        sender = self._chain.account(head)
        if not sender.may_anchor:
            raise Halted(f"contract: {self._chain.sender} may not anchor in this log (any more)")
        for settled in self._outbox.settled(self._backend, after=sender.nonce - 1, limit=1):
            self._expect_block(head, settled)
            raise Halted(
                f"chain: the next nonce is {sender.nonce}, and nonce {settled.nonce} was final in block {settled.block}"
            )
        # 3. What became of what we sent.
        sent = [tuple(attempts) for _, attempts in groupby(self._open(), lambda one: one.nonce)]
        passed = tuple(self._passed(one) for one in sent if one[0].nonce < sender.nonce)
        waiting = [Sent(one) for one in sent if one[0].nonce >= sender.nonce]
        pending = tuple(one for place, one in enumerate(waiting, sender.nonce) if one.nonce == place)
        settled_size = self._size_at(final, last.size if last else 0)
        safe_size = self._size_at(safe, settled_size)
        return Seen(head, held, sender, safe_size, settled_size, passed, pending, self._newest(passed, last))

    def settle(self, seen: Seen) -> None:
        """Write down what became for good of nonces that blocks have gone past."""
        final = self._chain.block("finalized")
        self._taken = {
            one.nonce: self._taken.get(one.nonce, seen.head.number) for one in seen.passed if one.receipt is None
        }
        for one in seen.passed:
            settled = self._settlement(one, final) if final else None
            if settled is not None:
                try:
                    self._outbox.settle(settled)
                except Conflict:
                    continue  # another worker of this key was quicker; its word stands

    # --- what must be so ---

    def _expect(self, identity: Identity, field: str) -> None:
        want, came = (getattr(each, field) for each in (self._expected, identity))
        if want != came:
            shown = [each.hex() if isinstance(each, bytes) else each for each in (want, came)]
            what = {"chain": "chain id", "genesis": "genesis block", "code": f"code at {self._chain.contract}"}[field]
            raise Halted(f"chain: expected {what} {shown[0]}, {shown[1]} came")

    def _expect_block(self, head: Block, settled: Settled) -> None:
        """The block that was final still stands. One that a node has not reached yet is waited for."""
        if head.number < settled.block:
            raise Unavailable(f"chain node: it is at block {head.number}, block {settled.block} was final already")
        block = self._chain.block(settled.block)
        if block is None or block.hash != settled.block_hash:
            came = "none" if block is None else block.hash.hex()
            raise Halted(f"chain: block {settled.block} was final as {settled.block_hash.hex()}, {came} came")

    def _expect_ours(self, head: Block, last: Settled | None) -> Held:
        held = self._chain.held(head)
        if held is None:
            raise Unavailable(f"contract {self._chain.contract}: it knows no log {self._chain.log_id.hex()} (yet)")
        if last is not None and held.size < last.size:
            raise Halted(f"contract: it holds size {held.size}, and size {last.size} was final")
        if held.size > 0:
            try:
                root = self._root_at(held.size)
            except NotFound:
                raise Halted(f"contract: it holds size {held.size}, and our log has fewer entries") from None
            if root != held.root:
                raise Halted(f"contract: at size {held.size} our root is {root.hex()}, it holds {held.root.hex()}")
        return held

    # --- what became of what we sent ---

    def _open(self) -> list[Attempt]:
        return self._outbox.open(self._backend)

    def _passed(self, attempts: tuple[Attempt, ...]) -> Sent:
        for attempt in reversed(attempts):
            receipt = self._chain.receipt(self._chain.opened(attempt.data).hash)
            if receipt is not None:
                if receipt.held not in (None, Held(attempt.size, attempt.root)):
                    raise Halted(
                        f"chain: nonce {attempt.nonce} was to anchor size {attempt.size}, and anchored another"
                    )
                return Sent(attempts, attempt, receipt)
        return Sent(attempts)

    def _settlement(self, one: Sent, final: Block) -> Settled | None:
        """None while it may still change."""
        if one.mined is None or one.receipt is None:
            # Another transaction took the nonce: nobody knows in which block, but at the latest in that one.
            if final.number < self._taken[one.nonce]:
                return None
            return _settled(one.newest, False, final.number, final.hash, 0, final.time)
        receipt = one.receipt
        if final.number < receipt.block:
            return None
        block = self._chain.block(receipt.block)
        if block is None or block.hash != receipt.block_hash:
            return None  # the node's answers are of two branches; it will make up its mind
        return _settled(one.mined, receipt.held is not None, block.number, block.hash, receipt.cost, block.time)

    def _size_at(self, block: Block | None, otherwise: int) -> int:
        """How large the anchored log was at a block. Few nodes keep the state of blocks some minutes old."""
        try:
            held = self._chain.held(block) if block else None
        except Unavailable:
            held = None
        return max(held.size, otherwise) if held else otherwise

    def _newest(self, passed: Sequence[Sent], last: Settled | None) -> tuple[bytes, int] | None:
        for one in reversed(passed):
            if one.mined and one.receipt and one.receipt.held:
                return self._chain.opened(one.mined.data).hash, one.receipt.block
        attempt = last and self._outbox.attempt(self._backend, last.nonce, last.attempt)
        return (self._chain.opened(attempt.data).hash, last.block) if last and attempt else None


def _settled(one: Attempt, anchored: bool, block: int, block_hash: bytes, cost: int, time: int) -> Settled:
    at = time * 1_000_000
    return Settled(one.backend, one.nonce, one.attempt, one.size, one.root, anchored, block, block_hash, cost, at)
