"""Anchors published checkpoints on an EVM chain: never a wrong root, never twice, and never silently not at all.

The rules, each with tests in tests/ledger/anchor (test_outbox_rules.py, test_reconcile.py) under its number:

1. The wish to anchor a checkpoint is the checkpoint itself, kept in the transaction that signed it. Only what is
   published is sent.
2. The chain's id, its genesis block and the contract's code are what was expected, at every turn.
3. What counts is what the contract holds in a block, read by the block's hash. Where that is another history than
   ours, or what was final is gone, the backend halts.
4. One transaction is under way at a time, and it carries the newest published checkpoint.
5. Its proof starts from what the contract holds, whoever anchored that.
6. Signed bytes are kept before they are sent. As long as no block has them they are sent again, the same bytes, in the
   order of their nonces: after a crash, after a reorganisation, after an answer that was lost.
7. What no block takes for long is sent again under the same nonce for higher fees, up to a cap.
8. Nothing is signed that a dry run on the same block refuses: then the backend halts.

A halt is kept, and ends by `Outbox.resume`. No web3 here: the chain is a port (`ledger.anchor.chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ledger.anchor import Public, Standing
from ledger.anchor.chain import Chain, Fees, Identity, market
from ledger.anchor.reconcile import Reconciler, RootAt, Seen, Sent
from ledger.errors import ChainRefused, Halted, LedgerError, NoFunds, NotFound, Unavailable
from ledger.store import Attempt, Outbox

Prove: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""The proof that our log of the second size only added to that of the first (`merkle.prove_consistency`)."""

REVERTS = 3  # transactions in a row that a block took and the contract refused, after a dry run that it did not


@dataclass(frozen=True, slots=True)
class Limits:
    highest_fee: int  # wei a unit of gas, base fee and tip together
    stuck_after: int  # seconds
    every: int = 0  # seconds from one anchor of ours to the next, at least


class EvmAnchor:
    """A `ledger.anchor.Anchor`. `now` tells microseconds since 1970-01-01 UTC."""

    def __init__(
        self,
        chain: Chain,
        expected: Identity,
        outbox: Outbox,
        root_at: RootAt,
        prove: Prove,
        limits: Limits,
        now: Callable[[], int],
    ) -> None:
        place = (expected.chain, chain.contract.lower(), chain.log_id.hex(), chain.sender.lower())
        self.backend = "evm:" + ":".join(map(str, place))
        self._chain = chain
        self._outbox = outbox
        self._root_at = root_at
        self._prove = prove
        self._limits = limits
        self._now = now
        self._reconciler = Reconciler(self.backend, chain, expected, outbox, root_at)
        self._standing = Standing(self.backend)
        self._waiting_since: tuple[int, int, int] | None = None  # nonce, attempt, microseconds
        self._under_way: set[int] = set()  # nonces seen pending
        self._reverts = 0

    def close(self) -> None:
        self._chain.close()

    def turn(self, public: Public) -> Standing:
        """One step. Whatever the world does raises nothing: it is waited for; what must not be halts the backend."""
        return self._stand(public, self._step, self._halt)

    def look(self, public: Public) -> Standing:
        """How things stand, without a step: nothing is sent, and nothing written down."""
        return self._stand(public, self._look, lambda _: None)

    def _stand(self, public: Public, step: Callable[[Public], object], halt: Callable[[str], None]) -> Standing:
        self._standing = replace(self._standing, waiting=None)
        try:
            self._standing = self._known(public)
            if self._standing.halted is None:
                step(public)
        except LedgerError as error:
            if isinstance(error, Unavailable) and not isinstance(error, Halted):
                self._standing = replace(self._standing, waiting=str(error))
            else:  # also a proof that cannot be made, and kept bytes that are no transaction
                self._standing = replace(self._standing, halted=str(error))
                halt(str(error))
        return self._standing

    def _halt(self, reason: str) -> None:
        self._reverts = 0  # whoever resumes has looked
        try:
            self._outbox.halt(self.backend, reason)
        except Unavailable as away:
            self._standing = replace(self._standing, waiting=str(away))

    def _known(self, public: Public) -> Standing:
        """What the outbox alone tells, for as long as the chain cannot be asked, or must not be trusted."""
        last = self._outbox.last_anchored(self.backend)
        final = last.size if last else 0
        anchored = max(self._standing.anchored, final)
        return replace(
            self._standing,
            anchored=anchored,
            safe=max(self._standing.safe, final),
            settled=max(self._standing.settled, final),
            lag=max(0, public.size - anchored),
            halted=self._outbox.halted(self.backend),
            cost=self._outbox.cost(self.backend),
        )

    def _look(self, public: Public) -> Seen:
        # Rule 1. What is published is our log.
        try:
            root = self._root_at(public.size)
        except NotFound:
            raise Halted(f"log: size {public.size} is published, and our log has fewer entries") from None
        if root != public.root:
            raise Halted(f"log: at size {public.size} our root is {root.hex()}, {public.root.hex()} is published")
        # Rules 2 and 3.
        seen = self._reconciler.look()
        transaction, block = seen.newest or (None, None)
        self._standing = replace(
            self._standing,
            pending=max((one.newest.size for one in seen.pending), default=0),
            anchored=seen.held.size,
            safe=seen.safe,
            settled=seen.settled,
            lag=max(0, public.size - seen.held.size),
            balance=seen.sender.balance,
            transaction=transaction,
            block=block,
        )
        return seen

    def _step(self, public: Public) -> None:
        seen = self._look(public)
        self._count_reverts(seen)
        self._reconciler.settle(seen)
        self._standing = replace(self._standing, cost=self._outbox.cost(self.backend))
        if seen.pending:
            self._send_again(seen, public)
        elif public.size > seen.held.size and self._is_time(seen):
            fees = self._fees(seen)
            self._send(public.size, seen, seen.sender.nonce, 0, fees)

    def _is_time(self, seen: Seen) -> bool:
        """Whether those before are long enough ago: what is published meanwhile is anchored with the next."""
        if not self._limits.every:
            return True
        last = self._outbox.last_anchored(self.backend)
        times = [attempt.at for attempt in self._outbox.open(self.backend)] + ([last.at] if last else [])
        clocks = self._now(), seen.head.time * 1_000_000
        for at in times:
            # Where our clock is behind, the chain's counts: else every block would be paid for. What is to come by both
            # was written by a clock that was wrong: it must not stop this for years.
            ago = next((clock - at for clock in clocks if clock >= at), None)
            if ago is not None and ago < self._limits.every * 1_000_000:
                return False
        return True

    def found_under(self, attempt: Attempt) -> str:
        """The hash of a transaction that was kept."""
        return f"0x{self._chain.opened(attempt.data).hash.hex()}"

    # --- sending ---

    def _send(self, size: int, seen: Seen, nonce: int, attempt: int, fees: Fees) -> None:
        """A published checkpoint, for the first time or in place of what is stuck."""
        root = self._root_at(size)
        # Rule 5.
        call = self._chain.call(size, root, self._prove(seen.held.size, size))
        # Rule 8.
        try:
            gas = self._chain.gas(call, seen.head)
        except ChainRefused as refused:
            raise Halted(f"dry run of the anchor of size {size}: {refused}") from None
        self._keep_and_send(seen, nonce, attempt, size, root, call, gas, fees)

    def _send_again(self, seen: Seen, public: Public) -> None:
        # Rule 6. A node that refuses the bytes may take them for more.
        refused: Unavailable | None = None
        for one in seen.pending:
            self._under_way.add(one.nonce)
            try:
                self._chain.send(one.newest.data)
            except Unavailable as error:
                refused = refused or error
        # Rule 7.
        first = seen.pending[0]
        if self._stuck(first):
            self._bump(first, seen, public)
        elif refused:
            raise refused

    def _stuck(self, first: Sent) -> bool:
        """Whether no block has taken it for long, as long as this process looks on."""
        now = self._now()
        place = (first.nonce, first.newest.attempt)
        if self._waiting_since is None or self._waiting_since[:2] != place:
            self._waiting_since = (*place, now)
        return now - self._waiting_since[2] >= self._limits.stuck_after * 1_000_000

    def _bump(self, first: Sent, seen: Seen, public: Public) -> None:
        old = self._chain.opened(first.newest.data)
        fees = _raised(old.fees, self._fees(seen))
        if fees.most > self._limits.highest_fee:
            raise Unavailable(
                f"chain: nonce {first.nonce} is stuck at {old.fees.most} wei a unit of gas, and an eighth more is "
                f"above the cap of {self._limits.highest_fee} wei"
            )
        # The same checkpoint, unless the contract has it from another. The call is made again from our own log: bytes
        # that a database holds are no reason to sign anything.
        size = first.newest.size if seen.held.size < first.newest.size <= public.size else public.size
        if size <= seen.held.size:  # nothing to spend on
            raise Unavailable(f"chain: nonce {first.nonce} is stuck, and not needed any more: size {size} is anchored")
        self._send(size, seen, first.nonce, first.newest.attempt + 1, fees)

    def _keep_and_send(
        self, seen: Seen, nonce: int, attempt: int, size: int, root: bytes, call: bytes, gas: int, fees: Fees
    ) -> None:
        limit = (gas + gas // 4) << self._reverts  # one that failed may have run out of it
        if seen.sender.balance < limit * fees.most:
            raise NoFunds(
                f"chain: {self._chain.sender} has {seen.sender.balance} wei, the anchor of size {size} may take "
                f"{limit * fees.most} wei"
            )
        data = self._chain.sign(nonce, call, limit, fees)
        if not self._outbox.keep(Attempt(self.backend, nonce, attempt, size, root, data, self._now())):
            raise Unavailable(f"outbox: another worker of this key has nonce {nonce}, or has halted")
        self._under_way.add(nonce)
        self._waiting_since = (nonce, attempt, self._now())
        self._chain.send(data)
        self._standing = replace(self._standing, pending=size)

    def _fees(self, seen: Seen) -> Fees:
        tip = self._chain.tip()
        fees = market(tip, seen.head.base_fee, self._limits.highest_fee)
        if fees is None:
            raise Unavailable(
                f"chain: base fee and tip are {seen.head.base_fee + tip} wei a unit of gas, above the cap of "
                f"{self._limits.highest_fee} wei"
            )
        return fees

    def _count_reverts(self, seen: Seen) -> None:
        """A transaction that costs and anchors nothing may happen: another was quicker. Not again and again."""
        for one in seen.passed:
            if one.nonce in self._under_way and one.receipt:
                self._under_way.remove(one.nonce)
                self._reverts = 0 if one.receipt.held else self._reverts + 1
        if self._reverts >= REVERTS:
            raise Halted(
                f"contract: it refused {self._reverts} transactions in a row, each after a dry run that passed"
            )


def _raised(old: Fees, now: Fees) -> Fees:
    """Both an eighth above the old, for nodes take no less than a tenth; more where the market is above that."""
    return Fees(max(-(-old.most * 9 // 8), now.most), max(-(-old.tip * 9 // 8), now.tip))
