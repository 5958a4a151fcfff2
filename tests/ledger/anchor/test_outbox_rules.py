"""The rules of `ledger.anchor.outbox`, each by the failures that it is there for, on a real node.

Rules 2 and 3 are in test_reconcile.py, and more of rule 6 in test_outbox_crashes.py. Blocks come when a test mines one.
`Scene.finish` holds the end of each to the promises: every anchored root is ours, each size is anchored once, nonces
have no gaps, the outbox agrees with the chain.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_account import Account

from ledger.anchor import Public
from ledger.anchor.chain import Block, Fees
from ledger.anchor.outbox import REVERTS
from ledger.errors import Unavailable
from ledger.store import Attempt
from tests.ledger.anchor.anchoring import (
    CAP,
    GWEI,
    KEY,
    SOMEBODY,
    STUCK,
    THIEF,
    Log,
    Scene,
    Wrapped,
    allow,
    anchor_by,
    settled,
)
from tests.ledger.anchor.line import Line

# --- rule 1: what is published, and nothing else ---


def test_entries_that_are_not_published_are_not_anchored(here: Scene) -> None:
    here.log.grow(10)
    worker = here.worker()
    for _ in range(4):
        worker.turn(here.log.public(5))
        here.node.mine()
    assert here.sizes() == [5]
    assert worker.turn(here.log.public(5)).lag == 0


def test_an_empty_log_waits_for_its_first_entry(here: Scene) -> None:
    standing = here.worker().turn(Log().public())
    assert (standing.halted, standing.waiting, here.waiting()) == (None, None, [])


def test_a_published_root_that_is_not_the_logs_own_halts_before_anything_is_sent(here: Scene) -> None:
    standing = here.worker().turn(Public(5, b"\x07" * 32, b""))
    assert "our root is" in str(standing.halted)
    assert here.waiting() == []


def test_a_published_size_that_the_log_does_not_have_halts(here: Scene) -> None:
    standing = here.worker().turn(Public(6, b"\x07" * 32, b""))
    assert standing.halted == "log: size 6 is published, and our log has fewer entries"


# --- rule 4: the newest, one at a time ---


def test_checkpoints_that_come_while_one_is_under_way_are_anchored_by_the_newest_of_them(here: Scene) -> None:
    worker = here.worker()
    for _ in range(4):
        worker.turn(here.log.public())
        here.log.grow(3)
        assert len(here.waiting()) == 1
    here.node.mine()
    here.finish(worker)
    assert here.sizes() == [5, 17]


def test_an_anchor_waits_until_the_one_before_is_as_old_as_was_asked(here: Scene) -> None:
    here.now = int(here.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16) * 1_000_000
    worker = here.worker(every=3600)
    here.finish(worker)
    for entries in (2, 3):  # by what is kept while it is not final, and by what is final
        here.log.grow(entries)
        standing = worker.turn(here.log.public())
        assert (here.waiting(), standing.waiting) == ([], None)
        here.node.mine()
    here.wait(3600 + 600)
    worker.turn(here.log.public())
    assert len(here.waiting()) == 1
    here.finish(worker)
    assert here.sizes() == [5, 10]


def test_a_clock_that_is_a_day_behind_and_put_right_costs_one_anchor_at_most(here: Scene) -> None:
    right = int(here.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16) * 1_000_000
    here.now = right - 86_400 * 1_000_000
    worker = here.worker(every=3600)
    for _ in range(8):
        worker.turn(here.log.public())
        here.node.mine()
        here.wait(10)
        here.log.grow(1)
    here.now = right
    for _ in range(8):
        worker.turn(here.log.public())
        here.node.mine()
        here.wait(10)
        here.log.grow(1)
    assert len(here.sizes()) <= 2


def test_two_workers_of_one_key_and_one_outbox_send_one_transaction(here: Scene) -> None:
    first, second = here.worker(), here.worker(outbox=here.open_outbox("ledger.db"))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            public = here.log.public()
            for _ in range(2):
                list(pool.map(lambda worker, to=public: worker.turn(to), (first, second)))
                assert len(here.waiting()) <= 1
            here.node.mine()
            here.log.grow(2)
    here.finish(first)
    assert second.turn(here.log.public()).settled == here.log.size
    assert here.sizes() == [5, 7, 9, 11, 13]
    assert len(here.outbox.settled(first.backend)) == 5


def test_two_workers_that_find_a_transaction_stuck_raise_its_fee_once(here: Scene) -> None:
    workers = [here.worker(outbox=here.open_outbox("ledger.db")) for _ in range(2)]
    for worker in workers:
        worker.turn(here.log.public())
    here.wait(STUCK)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda worker: worker.turn(here.log.public()), workers))
    assert [one.attempt for one in here.outbox.open(workers[0].backend)] == [0, 1]
    here.finish(workers[1])
    assert here.sizes() == [5]


def test_two_workers_of_one_key_with_an_outbox_each_anchor_each_size_once(here: Scene) -> None:
    outboxes = here.outbox, here.open_outbox("other.db")
    workers = [here.worker(outbox=outbox) for outbox in outboxes]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            public = here.log.public()
            for _ in range(2):
                list(pool.map(lambda worker, to=public: worker.turn(to), workers))
            here.node.mine()
            here.log.grow(2)
    for _ in range(6):
        standings = [worker.turn(here.log.public()) for worker in workers]
        here.node.mine()
    assert {(standing.settled, standing.halted) for standing in standings} == {(here.log.size, None)}
    assert here.sizes() == [5, 7, 9, 11]
    assert here.nonce() == 4  # nothing was spent twice


# --- rule 5: from what the contract holds ---


def test_the_proof_starts_where_another_anchorer_left_the_log(here: Scene) -> None:
    allow(here, Account.from_key(THIEF).address)
    here.log.grow(2)
    anchor_by(here, THIEF, here.log, 6)
    here.node.mine()
    here.finish()
    assert here.sizes() == [6, 7]


def test_a_race_that_another_anchorer_won_costs_one_refused_transaction_and_goes_on(here: Scene) -> None:
    allow(here, Account.from_key(THIEF).address)
    worker = here.worker()
    worker.turn(here.log.public())
    anchor_by(here, THIEF, here.log, 5)  # into the same block, before ours: its tip is higher
    here.node.mine()
    assert (here.nonce(), here.sizes()) == (1, [5])
    here.log.grow(2)
    here.finish(worker)
    assert here.sizes() == [5, 7]
    refused, anchored = here.outbox.settled(worker.backend)
    assert (refused.anchored, anchored.anchored) == (False, True)
    assert refused.cost > 0


def test_what_another_anchored_already_is_not_spent_on(here: Scene) -> None:
    allow(here, Account.from_key(THIEF).address)
    anchor_by(here, THIEF, here.log, 5)
    here.node.mine()
    standing = here.worker().turn(here.log.public())
    assert (standing.anchored, standing.lag, standing.waiting) == (5, 0, None)
    assert here.waiting() == []


# --- rule 6: kept before it is sent, and sent until a block has it ---


def test_a_transaction_that_the_node_dropped_is_sent_again(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    (sent,) = here.waiting()
    here.node.call("anvil_dropTransaction", sent)
    assert here.waiting() == []
    worker.turn(here.log.public())
    assert here.waiting() == [sent]
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_lost_answer_to_a_sent_transaction_costs_nothing(here: Scene, wire: Line) -> None:
    worker = here.worker()
    wire.losing = {"eth_sendRawTransaction"}
    assert "no answer to eth_sendRawTransaction" in str(worker.turn(here.log.public()).waiting)
    assert wire.asked.count("eth_sendRawTransaction") == 1  # nothing below repeats it
    assert len(here.waiting()) == 1
    wire.losing = set()
    assert worker.turn(here.log.public()).waiting is None
    assert len(here.waiting()) == 1
    here.node.mine()
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_lost_answer_to_a_transaction_that_was_mined_at_once_costs_nothing(here: Scene, wire: Line) -> None:
    here.node.call("evm_setAutomine", True)
    worker = here.worker()
    wire.losing = {"eth_sendRawTransaction"}
    worker.turn(here.log.public())
    wire.losing = set()
    assert worker.turn(here.log.public()).anchored == 5
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_block_between_the_look_and_the_sending_costs_nothing(here: Scene) -> None:
    """The transaction that is sent again is in a block by then: the node says that its nonce is too low."""
    here.worker().turn(here.log.public())

    class Late(Wrapped):
        def send(self, data: bytes) -> None:
            here.node.mine()
            self.real.send(data)

    worker = here.worker(chain=Late(here.chain()))
    assert worker.turn(here.log.public()).waiting is None
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_line_that_is_cut_is_waited_for_with_the_last_figures(here: Scene, wire: Line) -> None:
    worker = settled(here)
    wire.cut = True
    here.log.grow(2)
    standing = worker.turn(here.log.public())
    assert standing.halted is None
    assert "no answer to" in str(standing.waiting)
    assert standing.settled == 5
    wire.cut = False
    here.finish(worker)
    assert here.sizes() == [5, 7]


@pytest.mark.parametrize("method", ["eth_getBlockByNumber", "eth_call", "eth_estimateGas", "eth_getTransactionCount"])
def test_an_answer_that_cannot_be_read_is_waited_for(here: Scene, wire: Line, method: str) -> None:
    worker = here.worker()
    for told in (b"<html>", b"[]", b'{"result": "x"}', b'{"result": {}}', b'{"error": {"message": "busy"}}', b"{}"):
        wire.instead = lambda asked, told=told: told if asked == method else None  # type: ignore[misc]
        standing = worker.turn(here.log.public())
        assert standing.halted is None
        assert standing.waiting is not None
    assert here.waiting() == []
    wire.instead = lambda asked: None
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_nonce_that_another_transaction_took_is_given_up_and_the_next_one_used(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.transact(KEY, SOMEBODY)  # the same key elsewhere, at a higher fee: ours is replaced
    here.node.mine()
    assert (here.nonce(), here.sizes()) == (1, [])
    here.finish(worker)
    assert here.sizes() == [5]
    assert [row.anchored for row in here.outbox.settled(worker.backend)] == [False, True]


def test_a_nonce_that_was_taken_is_given_up_only_when_that_is_final(here: Scene) -> None:
    """Taken, given back by a reorganisation, and taken again: what counts is the second time. Then it is given back."""
    empty, worker = Log().public(), here.worker()
    worker.turn(here.log.public())
    for _ in range(2):
        here.transact(KEY, SOMEBODY)
        here.node.mine()
        worker.turn(empty)
        assert worker.turn(empty).halted is None
        here.node.call("anvil_reorg", 1, [])
        worker.turn(empty)
        for sent in here.waiting():
            here.node.call("anvil_dropTransaction", sent)
        here.node.mine(2)
    assert here.outbox.settled(worker.backend) == []
    here.finish(worker)
    assert here.sizes() == [5]
    assert here.nonce() == 1


def test_two_workers_may_settle_a_taken_nonce_at_once(here: Scene) -> None:
    quick, empty = here.worker(), Log().public()
    quick.turn(here.log.public())
    here.transact(KEY, SOMEBODY)
    here.node.mine()

    class Slow(Wrapped):
        asked = 0

        def block(self, which: int | str) -> Block | None:
            self.asked += which == "finalized"
            if which == "finalized" and self.asked == 4:  # to settle by, in its second turn
                quick.turn(empty)
                here.node.mine()
            return self.real.block(which)

    slow = here.worker(chain=Slow(here.chain()))
    assert [worker.turn(empty).halted for worker in (quick, slow)] == [None, None]
    here.node.mine(4)
    assert (slow.turn(empty).halted, len(here.outbox.settled(slow.backend))) == (None, 1)
    here.finish(slow)
    assert here.sizes() == [5]


def test_a_gap_that_a_reorganisation_leaves_is_filled(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.node.mine()
    here.transact(KEY, SOMEBODY)
    here.node.mine()
    here.log.grow(2)
    worker.turn(here.log.public())
    here.node.mine()
    assert here.nonce() == 3
    here.node.call("anvil_reorg", 2, [])  # ours with nonce 2 cannot go before there is one with nonce 1
    assert here.nonce() == 1
    worker = here.worker()
    worker.turn(here.log.public())
    here.node.mine()
    here.log.grow(2)
    here.finish(worker)
    assert here.sizes()[0] == 5
    assert here.sizes()[-1] == 9


# --- rule 7: stuck ---


def test_what_is_stuck_is_sent_again_for_an_eighth_more(here: Scene) -> None:
    chain, worker = here.chain(), here.worker()
    worker.turn(here.log.public())
    here.wait(STUCK)
    worker.turn(here.log.public())
    first, second = here.outbox.open(worker.backend)
    old, new = chain.opened(first.data), chain.opened(second.data)
    assert (old.nonce, old.call) == (new.nonce, new.call)
    assert new.fees.most * 8 >= old.fees.most * 9
    assert new.fees.tip * 8 >= old.fees.tip * 9
    assert here.waiting() == ["0x" + new.hash.hex()]
    here.finish(worker)
    assert here.sizes() == [5]
    assert [row.attempt for row in here.outbox.settled(worker.backend)] == [1]


@pytest.mark.parametrize("size", [6, 7, 10])
def test_what_somebody_else_wrote_into_the_outbox_is_never_signed(here: Scene, size: int) -> None:
    """Who can write to the database, and has no key, plants a transaction that will be found stuck."""
    here.log.grow(5)  # of which two are published
    worker, thief, planted = here.worker(), here.chain(THIEF), Log(5)
    planted.grow(5, b"planted")
    data = thief.sign(0, thief.call(size, planted.root_at(size), []), 200_000, Fees(10 * GWEI, GWEI))
    assert here.outbox.keep(Attempt(worker.backend, 0, 0, size, planted.root_at(size), data, here.now))
    for _ in range(5):
        worker.turn(here.log.public(7))
        here.wait(STUCK)
        here.node.mine()
    assert here.sizes() in ([7], [6, 7])
    assert all(root == here.log.root_at(held) for held, root, _ in here.anchors())


def test_what_is_not_stuck_yet_is_left_at_its_fee(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.wait(STUCK - 1)
    worker.turn(here.log.public())
    restarted = here.worker()  # it has not looked on for long
    here.wait(1)
    restarted.turn(here.log.public())
    assert len(here.outbox.open(worker.backend)) == 1


def test_fees_end_at_the_cap(here: Scene) -> None:
    chain, worker = here.chain(), here.worker(cap=6 * GWEI)
    for _ in range(10):
        standing = worker.turn(here.log.public())
        here.wait(STUCK)
    offers = [chain.opened(one.data).fees.most for one in here.outbox.open(worker.backend)]
    assert len(offers) > 2
    assert max(offers) <= 6 * GWEI
    assert "above the cap of" in str(standing.waiting)
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_base_fee_above_the_cap_is_waited_out_with_nothing_signed(here: Scene) -> None:
    here.node.call("anvil_setNextBlockBaseFeePerGas", hex(CAP))
    here.node.mine()
    worker = here.worker()
    standing = worker.turn(here.log.public())
    assert "above the cap of" in str(standing.waiting)
    assert here.outbox.open(worker.backend) == []
    here.node.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_base_fee_that_rises_above_what_was_offered_is_waited_out_or_outbid(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.node.call("anvil_setNextBlockBaseFeePerGas", hex(2 * CAP))
    here.node.mine()
    assert here.sizes() == []
    for _ in range(3):
        here.wait(STUCK)
        assert worker.turn(here.log.public()).waiting is not None
    assert len(here.outbox.open(worker.backend)) == 1
    here.node.call("anvil_setNextBlockBaseFeePerGas", hex(40 * GWEI))
    here.node.mine()
    worker.turn(here.log.public())
    assert len(here.outbox.open(worker.backend)) == 2
    here.finish(worker)
    assert here.sizes() == [5]


def test_an_original_that_is_mined_after_a_bump_that_was_never_sent_is_the_anchor(here: Scene) -> None:
    here.worker().turn(here.log.public())

    class Unsent(Wrapped):
        def send(self, data: bytes) -> None:
            raise Unavailable("line cut")

    worker = here.worker(chain=Unsent(here.chain()))
    worker.turn(here.log.public())
    here.wait(STUCK)
    worker.turn(here.log.public())
    assert len(here.outbox.open(worker.backend)) == 2
    here.node.mine()
    restarted = here.worker()
    here.finish(restarted)
    assert here.sizes() == [5]
    assert [(row.attempt, row.anchored) for row in here.outbox.settled(restarted.backend)] == [(0, True)]


def test_what_is_stuck_and_overtaken_carries_the_newest_checkpoint_instead(here: Scene) -> None:
    allow(here, Account.from_key(THIEF).address)
    worker = here.worker()
    worker.turn(here.log.public())
    (sent,) = here.waiting()
    here.node.call("anvil_dropTransaction", sent)
    anchor_by(here, THIEF, here.log, 5)
    here.node.mine()
    here.wait(STUCK)
    standing = worker.turn(here.log.public())  # nothing is left to anchor: no fee is raised for it
    assert "not needed any more" in str(standing.waiting)
    here.log.grow(4)
    worker.turn(here.log.public())
    assert [one.size for one in here.outbox.open(worker.backend)] == [5, 9]
    here.finish(worker)
    assert here.sizes() == [5, 9]


# --- rule 8: a dry run first ---


def test_an_anchorer_who_lost_the_right_halts(here: Scene) -> None:
    worker = settled(here)
    allow(here, here.sender, may=False)
    here.log.grow(2)
    standing = worker.turn(here.log.public())
    assert "may not anchor" in str(standing.halted)
    assert here.waiting() == []


def test_a_log_that_did_not_grow_from_what_is_anchored_halts(here: Scene) -> None:
    settled(here)
    standing = here.worker(log=Log(8, b"rewritten")).turn(Log(8, b"rewritten").public())
    assert "at size 5 our root is" in str(standing.halted)
    assert here.waiting() == []


def test_a_proof_that_the_contract_refuses_halts_with_its_words_and_nothing_is_signed(here: Scene) -> None:
    settled(here)
    here.log.grow(3)
    here.log.prove = lambda old, new: [bytes(32)]  # type: ignore[method-assign]
    worker = here.worker()
    standing = worker.turn(here.log.public())
    assert standing.halted == "dry run of the anchor of size 8: contract: NotConsistent(oldSize 5, newSize 8)"
    assert here.outbox.open(worker.backend) == []


def test_an_account_without_funds_is_waited_for_with_nothing_signed(here: Scene) -> None:
    here.node.call("anvil_setBalance", here.sender, hex(10**9))
    here.node.mine()
    worker = here.worker()
    standing = worker.turn(here.log.public())
    assert "has 1000000000 wei" in str(standing.waiting)
    assert standing.balance == 10**9
    assert here.outbox.open(worker.backend) == []
    here.node.call("anvil_setBalance", here.sender, hex(10**20))
    here.node.mine()
    here.finish(worker)
    assert here.sizes() == [5]


def test_funds_that_go_after_the_bytes_were_kept_are_waited_for(here: Scene) -> None:
    class Robbed(Wrapped):
        def sign(self, *arguments: Any) -> bytes:
            here.node.call("anvil_setBalance", here.sender, hex(1))
            return bytes(self.real.sign(*arguments))

    worker = here.worker(chain=Robbed(here.chain()))
    assert "holds too little" in str(worker.turn(here.log.public()).waiting)
    worker = here.worker()
    assert "holds too little" in str(worker.turn(here.log.public()).waiting)
    here.node.call("anvil_setBalance", here.sender, hex(10**20))
    here.finish(worker)
    assert here.sizes() == [5]


def test_a_transaction_that_ran_out_of_gas_is_followed_by_one_with_more(here: Scene) -> None:
    class Mean(Wrapped):
        def gas(self, call: bytes, at: Block) -> int:
            return int(self.real.gas(call, at) * 2 // 3)

    worker = here.worker(chain=Mean(here.chain()))
    worker.turn(here.log.public())
    here.node.mine()
    assert (here.nonce(), here.sizes()) == (1, [])
    here.finish(worker)
    assert here.sizes() == [5]
    assert [row.anchored for row in here.outbox.settled(worker.backend)] == [False, True]


def test_transactions_that_fail_again_and_again_halt_before_the_account_is_empty(here: Scene) -> None:
    class Hopeless(Wrapped):
        def sign(self, nonce: int, call: bytes, gas: int, fees: Fees) -> bytes:
            return bytes(self.real.sign(nonce, call, gas if mended else 30_000, fees))  # taken, but never done

    mended = False
    worker = here.worker(chain=Hopeless(here.chain()))
    for _ in range(REVERTS + 3):
        standing = worker.turn(here.log.public())
        here.node.mine()
    assert here.nonce() == REVERTS
    assert here.outbox.halted(worker.backend) == standing.halted
    assert "refused 3 transactions in a row" in str(standing.halted)
    here.outbox.resume(worker.backend)
    mended = True
    here.finish(worker)
    assert here.sizes() == [5]
