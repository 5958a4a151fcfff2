"""Rules 2 and 3 of `ledger.anchor.outbox`: the chain is the one that is meant, and its history and ours are one.

On a real node, which is reorganised, exchanged and made to forget.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.anchor import Confirmation
from ledger.anchor.chain import Block, Held, Receipt, Sender
from tests.anvil import Anvil
from tests.ledger.anchor.anchoring import (
    KEY,
    Log,
    Scene,
    Wrapped,
    anchor_by,
    scene,
    settled,
)

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


def test_looking_at_what_must_not_be_tells_it_and_halts_nobody(here: Scene) -> None:
    here.identity = replace(here.identity, code=bytes(32))
    worker = here.worker()
    assert "expected code at" in str(worker.look(here.log.public()).halted)
    assert here.outbox.halted(worker.backend) is None


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


def test_two_blocks_that_are_reorganised_away_are_made_good_in_the_order_of_nonces(here: Scene) -> None:
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

    class Listed(Wrapped):
        def send(self, data: bytes) -> None:
            sent.append(self.real.opened(data).nonce)
            self.real.send(data)

    sent: list[int] = []
    worker = here.worker(chain=Listed(here.chain()))
    worker.turn(here.log.public())
    assert sent == [0, 1]
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


def test_a_contract_that_holds_less_than_was_final_halts(here: Scene) -> None:
    settled(here)
    here.log.grow(1)

    class Forgetful(Wrapped):
        def held(self, at: Block) -> Held:
            return Held(0, here.log.root_at(0))

    standing = here.worker(chain=Forgetful(here.chain())).turn(here.log.public())
    assert standing.halted == "contract: it holds size 0, and size 5 was final"
    assert here.waiting() == []


def test_a_next_nonce_below_one_that_was_final_halts(here: Scene) -> None:
    settled(here)
    here.log.grow(1)

    class Forgetful(Wrapped):
        def account(self, at: Block) -> Sender:
            return replace(self.real.account(at), nonce=0)

    standing = here.worker(chain=Forgetful(here.chain())).turn(here.log.public())
    assert "the next nonce is 0, and nonce 0 was final" in str(standing.halted)
    assert here.waiting() == []


def test_a_receipt_that_names_another_anchor_than_was_sent_halts(here: Scene) -> None:
    here.worker().turn(here.log.public())
    here.node.mine()

    class Liar(Wrapped):
        def receipt(self, transaction: bytes) -> Receipt | None:
            receipt = self.real.receipt(transaction)
            return receipt and replace(receipt, held=Held(5, bytes(32)))

    standing = here.worker(chain=Liar(here.chain())).turn(here.log.public())
    assert standing.halted == "chain: nonce 0 was to anchor size 5, and anchored another"


def test_a_receipt_of_another_branch_settles_nothing(here: Scene) -> None:
    worker = here.worker()
    worker.turn(here.log.public())
    here.node.mine(5)

    class Torn(Wrapped):
        def receipt(self, transaction: bytes) -> Receipt | None:
            receipt = self.real.receipt(transaction)
            return receipt and replace(receipt, block_hash=bytes(32))

    here.worker(chain=Torn(here.chain())).turn(here.log.public())
    assert here.outbox.settled(worker.backend) == []
    here.finish(worker)


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
