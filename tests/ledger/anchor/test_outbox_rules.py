"""The eight rules of `ledger.anchor.outbox`, each by the failures that it is there for, on a real node.

Blocks come when a test mines one. `Scene.finish` holds the end of each to the promises: every anchored root is ours,
each size is anchored once, nonces have no gaps, the outbox agrees with the chain.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from ledger.anchor import Confirmation, Public
from ledger.anchor.chain import Block, Fees
from ledger.anchor.evm import EvmChain, encode_call
from ledger.anchor.outbox import REVERTS
from ledger.errors import Unavailable
from tests.anvil import Anvil
from tests.ledger.anchor.anchoring import ADMIN, CAP, GWEI, KEY, STUCK, THIEF, Log, Scene, scene
from tests.ledger.anchor.line import Line, line

SOMEBODY = "0x" + "11" * 20


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, "--no-mining") as made:
        yield made


@pytest.fixture
def wire(here: Scene) -> Iterator[Line]:
    with line(here.url) as made:
        here.url = made.url
        yield made


def settled(here: Scene) -> Any:
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


# --- rule 2: the right chain and the right code ---


@pytest.mark.parametrize(
    ("meant", "words"),
    [
        ({"chain": 1}, "expected chain id 1, 31337 came"),
        ({"genesis": bytes(32)}, "expected genesis block"),
        ({"code": bytes(32)}, "expected code at"),
    ],
)
def test_another_chain_or_code_than_expected_halts_at_the_start(here: Scene, meant: Any, words: str) -> None:
    here.identity = replace(here.identity, **meant)
    standing = here.worker().turn(here.log.public())
    assert words in str(standing.halted)
    assert here.waiting() == []


def test_a_new_process_tells_what_is_known_while_it_is_halted_or_the_node_is_away(here: Scene) -> None:
    worker = settled(here)
    here.log.grow(2)
    here.node.stop()
    away = here.worker().turn(here.log.public())
    assert (away.anchored, away.settled, away.lag, away.halted) == (5, 5, 2, None)
    here.outbox.halt(worker.backend, "somebody said so")
    halted = here.worker().look(here.log.public())
    assert (halted.settled, halted.lag, halted.halted, halted.waiting) == (5, 2, "somebody said so", None)
    assert halted.cost == here.outbox.cost(worker.backend) > 0


def test_a_halt_outlives_the_process_and_ends_by_a_persons_word(here: Scene) -> None:
    right, here.identity = here.identity, replace(here.identity, code=bytes(32))
    worker = here.worker()
    reason = worker.turn(here.log.public()).halted
    here.identity = right
    restarted = here.worker()
    assert restarted.turn(here.log.public()).halted == reason
    assert here.waiting() == []
    here.outbox.resume(worker.backend)
    here.finish(restarted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--chain-id", "31338"), "expected chain id 31337, 31338 came"),
        (("--timestamp", "1700000000"), "expected genesis block"),
    ],
)
def test_a_node_that_comes_back_as_another_chain_halts(here: Scene, options: tuple[str, ...], words: str) -> None:
    worker = settled(here)
    here.node.stop()
    assert "no answer" in str(worker.turn(here.log.public()).waiting)
    other = Anvil(*options, port=here.node.port)
    other.start()
    try:
        here.log.grow(3)
        assert words in str(worker.turn(here.log.public()).halted)
        assert int(other.call("eth_blockNumber"), 16) == 0
    finally:
        other.stop()


def test_a_change_of_chain_between_two_turns_is_seen_without_an_error_in_between(here: Scene) -> None:
    worker = settled(here)
    here.node.stop()
    other = Anvil("--timestamp", "1700000000", port=here.node.port)
    other.start()
    try:
        assert "expected genesis block" in str(worker.turn(here.log.public()).halted)
    finally:
        other.stop()


def test_other_code_at_the_contracts_address_halts(here: Scene) -> None:
    worker = settled(here)
    here.node.call("anvil_setCode", here.contract, "0x00")
    here.node.mine()
    here.log.grow(1)
    assert "expected code at" in str(worker.turn(here.log.public()).halted)


# --- rule 3: what the contract holds is ours, and what was final stays ---


def test_an_anchor_goes_from_pending_over_safe_to_final(here: Scene) -> None:
    worker = here.worker()
    seen = []
    for _ in range(4):
        seen.append(worker.turn(here.log.public()).confirmation(5))
        here.node.mine()
    assert seen == list(Confirmation)


def test_looking_changes_nothing(here: Scene) -> None:
    worker = here.worker()
    assert worker.look(here.log.public()).lag == 5
    assert here.waiting() == []
    worker.turn(here.log.public())
    here.node.mine(5)
    assert worker.look(here.log.public()).settled == 5
    assert len(here.outbox.open(worker.backend)) == 1


def test_the_standing_names_transaction_block_cost_and_balance(here: Scene) -> None:
    standing = here.finish()
    (line,) = here.node.call("eth_getLogs", {"fromBlock": "0x0", "address": here.contract})[-1:]
    receipt = here.node.call("eth_getTransactionReceipt", line["transactionHash"])
    assert standing.transaction == bytes.fromhex(line["transactionHash"][2:])
    assert standing.block == int(line["blockNumber"], 16)
    assert standing.cost == int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert standing.balance == 10**20 - standing.cost


def test_a_block_that_is_reorganised_away_is_made_good_with_the_same_bytes(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    (sent,) = here.waiting()
    here.node.mine()
    assert worker.turn(here.log.public()).anchored == 5
    here.node.call("anvil_reorg", 1, [])  # anvil forgets the transaction; a real node would take it back
    assert here.sizes() == []
    assert worker.turn(here.log.public()).pending == 5
    assert here.waiting() == [sent]
    here.finish(worker)
    assert here.sizes() == [5]


@pytest.mark.parametrize("restarted", [False, True])
def test_two_blocks_that_are_reorganised_away_are_made_good_in_the_order_of_nonces(
    here: Scene, restarted: bool
) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.node.mine()
    here.log.grow(3)
    worker.turn(here.log.public())
    here.node.mine()
    assert here.sizes() == [5, 8]
    here.node.call("anvil_reorg", 2, [])
    assert here.sizes() == []
    here.log.grow(4)
    worker = here.worker() if restarted else worker
    worker.turn(here.log.public())
    assert len(here.waiting()) == 2
    here.node.mine()
    assert here.sizes() == [5, 8]
    here.finish(worker)
    assert here.sizes() == [5, 8, 12]


def test_a_reorganisation_of_what_was_final_halts(here: Scene) -> None:
    worker = settled(here)
    here.node.call("anvil_reorg", 4, [])
    here.log.grow(1)
    standing = worker.turn(here.log.public())
    assert "was final as" in str(standing.halted)
    assert here.waiting() == []


def test_a_node_that_is_behind_what_was_final_is_waited_for_and_one_that_passes_it_by_halts(here: Scene) -> None:
    worker = settled(here)
    here.node.call("anvil_rollback", 4)
    here.log.grow(1)
    standing = worker.turn(here.log.public())
    assert standing.halted is None
    assert "was final already" in str(standing.waiting)
    here.node.mine(4)
    assert "was final as" in str(worker.turn(here.log.public()).halted)
    assert here.waiting() == []


def test_a_node_that_lost_its_state_halts(here: Scene, tmp_path: Path) -> None:
    genesis = here.node.call("eth_getBlockByNumber", "0x0", False)
    worker = settled(here)
    here.node.stop()
    other = Anvil("--timestamp", str(int(genesis["timestamp"], 16)), port=here.node.port)
    other.start()  # the same genesis block and nothing after it
    try:
        assert "was final already" in str(worker.turn(here.log.public()).waiting)
        other.mine(20)
        assert "was final as" in str(worker.turn(here.log.public()).halted)
    finally:
        other.stop()


def test_a_node_that_kept_its_state_goes_on_where_it_was(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state.json"), "--preserve-historical-states")
    with scene(tmp_path, "--no-mining", *state) as here:
        worker = settled(here)
        here.node.stop(keep=True)
        here.log.grow(2)
        assert worker.turn(here.log.public()).waiting is not None
        here.node.start()
        here.finish(worker)
        assert here.sizes() == [5, 7]


def test_another_root_on_another_branch_halts(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.node.mine()
    worker.turn(here.log.public())
    here.node.call("anvil_reorg", 1, [])
    anchor_by(here, KEY, Log(5, b"forged"), 5)
    here.node.mine()
    standing = worker.turn(here.log.public())
    assert "at size 5 our root is" in str(standing.halted)
    assert here.waiting() == []


def test_a_size_on_chain_that_our_log_does_not_have_halts(here: Scene) -> None:
    anchor_by(here, KEY, Log(9), 9)
    here.node.mine()
    standing = here.worker().turn(here.log.public())
    assert standing.halted == "contract: it holds size 9, and our log has fewer entries"


def test_a_log_that_the_contract_does_not_know_is_waited_for(here: Scene) -> None:
    here.log_id = bytes(32)
    standing = here.worker().turn(here.log.public())
    assert "knows no log" in str(standing.waiting)
    assert here.waiting() == []


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
            return bytes(self.real.sign(nonce, call, 30_000, fees))  # enough to be taken, never to be done

    worker = here.worker(chain=Hopeless(here.chain()))
    for _ in range(REVERTS + 3):
        standing = worker.turn(here.log.public())
        here.node.mine()
    assert here.nonce() == REVERTS
    assert here.outbox.halted(worker.backend) == standing.halted
    assert "refused 3 transactions in a row" in str(standing.halted)
    here.outbox.resume(worker.backend)
    restarted = here.worker()
    here.finish(restarted)
    assert here.sizes() == [5]


class Wrapped:
    """A chain that is the real one but for what a test says."""

    def __init__(self, real: EvmChain) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)
