"""The adapter in front of a real node: what it reads, what it sends, and how it names what goes wrong."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from eth_account import Account

from ledger.anchor.chain import Fees, Held
from ledger.anchor.deploy import FACTORY, create_log, deploy, log_id_of
from ledger.anchor.evm import ADDRESS, CODE_HASH, EvmChain, EvmNode, address, encode_call, keccak
from ledger.errors import ChainRefused, Malformed, NoFunds, Refused, Unavailable
from tests.anvil import Anvil
from tests.ledger.anchor.anchoring import ADMIN, CAP, GWEI, KEY, NOTE_KEY_HASH, ORIGIN, THIEF, Scene
from tests.ledger.anchor.line import Line

FEES = Fees(10 * GWEI, GWEI)


@pytest.fixture
def admin(here: Scene) -> Iterator[EvmNode]:
    node = EvmNode(here.url, ADMIN, 5)
    yield node
    node.close()


def signed(chain: EvmChain, here: Scene, nonce: int = 0, gas: int = 200_000, fees: Fees = FEES) -> bytes:
    return chain.sign(nonce, chain.call(5, here.log.root_at(5), []), gas, fees)


def latest(chain: EvmChain) -> int:
    head = chain.block("latest")
    assert head is not None
    return head.number


# --- keys and places stay out of words ---


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"\xab" * 31, b"\xab" * 33])
def test_a_key_that_is_none_is_refused_without_being_shown(key: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        EvmNode("http://127.0.0.1:1", key, 1)
    assert str(caught.value) == "chain key: expected the 32 bytes of a secp256k1 private key"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["", "node.example/token-secret", "ws://node.example/token-secret"])
def test_a_node_that_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Refused, match=r"expected the http\(s\) URL of its JSON-RPC \(--chain-rpc\)") as caught:
        EvmNode(url, ADMIN, 1)
    assert "secret" not in str(caught.value)


def test_neither_the_key_nor_the_url_is_shown() -> None:
    key = bytes(31) + b"\x07"
    node = EvmNode("http://127.0.0.1:1/token-secret", key, 1)
    with pytest.raises(Unavailable) as caught:
        node.chain_id()
    assert str(caught.value) == "chain node: no answer to eth_chainId (ConnectError)"
    assert caught.value.__suppress_context__
    shown = repr(node) + str(node) + repr(EvmChain(node, 1, ADDRESS, bytes(32)))
    assert key.hex() not in shown
    assert "secret" not in shown
    node.close()


# --- deploying ---


def test_deploying_twice_is_deploying_once(anvil: Anvil) -> None:
    node = EvmNode(anvil.url, ADMIN, 5)
    anvil.call("anvil_setBalance", node.sender, hex(10**20))
    assert deploy(node, CAP, anvil.mine) == ADDRESS
    sent = anvil.call("eth_getTransactionCount", node.sender, "latest")
    other = EvmNode(anvil.url, THIEF, 5)  # without funds, and needs none
    assert deploy(other, CAP, anvil.mine) == deploy(node, CAP, anvil.mine) == ADDRESS
    assert anvil.call("eth_getTransactionCount", node.sender, "latest") == sent == "0x1"
    assert keccak(bytes.fromhex(anvil.call("eth_getCode", ADDRESS, "latest")[2:])) == CODE_HASH
    node.close()
    other.close()


def test_a_chain_without_the_factory_is_named_and_deployed_to_plainly(anvil: Anvil) -> None:
    node = EvmNode(anvil.url, ADMIN, 5)
    anvil.call("anvil_setBalance", node.sender, hex(10**20))
    anvil.call("anvil_setCode", FACTORY, "0x")
    with pytest.raises(Refused, match=f"chain 31337: no CREATE2 factory stands at {FACTORY}"):
        deploy(node, CAP, anvil.mine)
    placed = deploy(node, CAP, anvil.mine, plainly=True)
    assert placed != ADDRESS
    log_id = create_log(node, placed, ORIGIN, NOTE_KEY_HASH, node.sender, CAP, anvil.mine)
    head = node.block("latest")
    assert head is not None
    assert EvmChain(node, 31337, placed, log_id).held(head) is not None
    node.close()


def test_creating_a_log_twice_is_creating_it_once(here: Scene, admin: EvmNode) -> None:
    before = here.node.call("eth_blockNumber")
    log_id = create_log(admin, here.contract, ORIGIN, NOTE_KEY_HASH, here.sender, CAP, here.node.mine)
    assert log_id == here.log_id == log_id_of(admin.sender, ORIGIN, NOTE_KEY_HASH)
    assert here.node.call("eth_blockNumber") == before


def test_the_contract_has_the_same_log_id(here: Scene, admin: EvmNode) -> None:
    asked = {"to": here.contract, "data": "0x" + encode_call("logIdOf", admin.sender, ORIGIN, NOTE_KEY_HASH).hex()}
    assert here.node.call("eth_call", asked, "latest") == "0x" + here.log_id.hex()


def test_a_base_fee_above_the_cap_is_not_paid_for_a_deployment(anvil: Anvil) -> None:
    node = EvmNode(anvil.url, ADMIN, 5)
    anvil.call("anvil_setBalance", node.sender, hex(10**20))
    with pytest.raises(Unavailable, match="above the cap of 10 wei"):
        deploy(node, 10, anvil.mine)
    node.close()


# --- reading ---


def test_what_a_contract_holds_is_read_as_of_a_block(here: Scene) -> None:
    chain = here.chain()
    before = chain.block("latest")
    chain.send(signed(chain, here))
    here.node.mine()
    after = chain.block("latest")
    assert before is not None
    assert after is not None
    assert chain.held(before) == Held(0, here.log.root_at(0))
    assert chain.held(after) == Held(5, here.log.root_at(5))
    assert (chain.account(before).nonce, chain.account(after).nonce) == (0, 1)
    assert chain.account(after).balance < chain.account(before).balance == 10**20
    assert chain.block(before.number) == before
    assert chain.block(after.number + 1) is None


def test_a_block_that_was_reorganised_away_is_not_answered_for(here: Scene) -> None:
    chain = here.chain()
    chain.send(signed(chain, here))
    here.node.mine()
    gone = chain.block("latest")
    assert gone is not None
    here.node.call("anvil_reorg", 1, [])
    for read in (chain.held, chain.account, chain.identity):
        with pytest.raises(Unavailable):
            read(gone)


def test_what_may_anchor_is_read_from_the_contract(here: Scene) -> None:
    head = here.chain().block("latest")
    assert head is not None
    assert here.chain(KEY).account(head).may_anchor
    assert not here.chain(THIEF).account(head).may_anchor


def test_a_receipt_tells_block_cost_and_what_was_anchored(here: Scene) -> None:
    chain = here.chain()
    data = signed(chain, here)
    name = chain.opened(data).hash
    chain.send(data)
    assert chain.receipt(name) is None
    here.node.mine()
    told = here.node.call("eth_getTransactionReceipt", "0x" + name.hex())
    receipt = chain.receipt(name)
    assert receipt is not None
    assert (receipt.block, receipt.block_hash.hex()) == (int(told["blockNumber"], 16), told["blockHash"][2:])
    assert receipt.held == Held(5, here.log.root_at(5))
    assert receipt.cost == int(told["gasUsed"], 16) * int(told["effectiveGasPrice"], 16)


def test_the_receipt_of_a_reverted_transaction_says_that_nothing_was_anchored(here: Scene) -> None:
    chain = here.chain()
    data = signed(chain, here, gas=30_000)
    chain.send(data)
    here.node.mine()
    receipt = chain.receipt(chain.opened(data).hash)
    assert receipt is not None
    assert receipt.held is None
    assert receipt.cost > 0


# --- sending ---


def test_a_transaction_is_read_back_from_its_bytes(here: Scene) -> None:
    chain = here.chain()
    data = signed(chain, here, nonce=3)
    opened = chain.opened(data)
    assert (opened.nonce, opened.gas, opened.fees) == (3, 200_000, FEES)
    assert opened.call == chain.call(5, here.log.root_at(5), [])
    assert opened.hash == keccak(data)
    assert Account.recover_transaction(data) == here.sender
    assert signed(chain, here, nonce=3) == data  # the same bytes each time


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x02\xc0", b"\x00" * 100])
def test_bytes_that_are_no_transaction_are_refused(here: Scene, data: bytes) -> None:
    with pytest.raises(Malformed, match="expected an EIP-1559 transaction"):
        here.chain().opened(data)


def test_sending_the_same_again_is_nothing_waiting_or_mined(here: Scene) -> None:
    chain = here.chain()
    data = signed(chain, here)
    chain.send(data)
    chain.send(data)
    here.node.mine()
    chain.send(data)
    assert here.sizes() == [5]


def test_a_send_whose_answer_is_lost_is_not_repeated_below(here: Scene, wire: Line) -> None:
    chain = here.chain()
    wire.losing = {"eth_sendRawTransaction"}
    with pytest.raises(Unavailable, match="no answer to eth_sendRawTransaction"):
        chain.send(signed(chain, here))
    assert wire.asked == ["eth_sendRawTransaction"]


@pytest.mark.parametrize(
    "words",
    [
        "already known",
        "AlreadyKnown",
        "transaction already imported",
        "nonce too low: next nonce 4, tx nonce 3",
        "OldNonce",
    ],
)
def test_nodes_words_for_the_same_again_are_success(here: Scene, wire: Line, words: str) -> None:
    wire.instead = lambda method: json.dumps({"id": 1, "error": {"code": -32000, "message": words}}).encode()
    chain = here.chain()
    chain.send(signed(chain, here))


def test_an_account_without_funds_is_an_error_of_its_own(here: Scene) -> None:
    here.node.call("anvil_setBalance", here.sender, hex(1))
    chain = here.chain()
    with pytest.raises(NoFunds, match=f"{here.sender} holds too little"):
        chain.send(signed(chain, here))


def test_a_refusal_in_the_nodes_own_words_is_told_short_and_printable(here: Scene, wire: Line) -> None:
    wire.instead = lambda method: json.dumps({"id": 1, "error": {"message": "pool\x1b[2J full " + "x" * 999}}).encode()
    chain = here.chain()
    with pytest.raises(Unavailable) as caught:
        chain.send(signed(chain, here))
    assert str(caught.value).startswith("chain node: eth_sendRawTransaction: pool?[2J full x")
    assert len(str(caught.value)) < 300


def test_a_revert_carries_the_contracts_error_and_its_figures(here: Scene) -> None:
    chain = here.chain()
    head = chain.block("latest")
    assert head is not None
    with pytest.raises(ChainRefused) as caught:
        chain.gas(chain.call(0, bytes(32), []), head)
    assert str(caught.value) == "contract: NotGrown(have 0, came 0)"
    assert (caught.value.name, caught.value.figures) == ("NotGrown", (("have", "0"), ("came", "0")))
    with pytest.raises(ChainRefused, match=f"NotAnchorer.*{here.chain(THIEF).sender.lower()}"):
        here.chain(THIEF).gas(chain.call(5, bytes(32), []), head)


def test_a_revert_that_is_none_of_the_contracts_is_told_as_the_node_told_it(here: Scene, wire: Line) -> None:
    chain = here.chain()
    head = chain.block("latest")
    assert head is not None
    told = {"code": 3, "message": "execution reverted", "data": "0xdeadbeef"}
    wire.instead = lambda method: json.dumps({"id": 1, "error": told}).encode()
    with pytest.raises(ChainRefused) as caught:
        chain.gas(b"", head)
    assert (str(caught.value), caught.value.name) == ("contract: execution reverted", "")


# --- a node that is away, or says what no node says ---


def test_a_cut_line_is_unavailable_and_whole_again_without_a_new_adapter(here: Scene, wire: Line) -> None:
    chain = here.chain()
    first = latest(chain)
    wire.cut = True
    with pytest.raises(Unavailable):
        latest(chain)
    wire.cut = False
    assert latest(chain) == first


def test_a_node_that_never_answers_is_given_up_in_time(here: Scene, wire: Line) -> None:
    never = threading.Event()

    def say_nothing(method: str) -> None:
        never.wait(10)

    wire.instead = say_nothing
    node = EvmNode(here.url, KEY, 0.2)
    with pytest.raises(Unavailable, match=r"no answer to eth_chainId \((ReadTimeout|no whole answer within 0.2 s)\)"):
        node.chain_id()
    never.set()
    node.close()


@pytest.mark.parametrize("figure", ["-0x1", "0x" + "f" * 65, hex(1 << 63), "0x", None, 5])
def test_a_figure_that_none_of_ours_can_be_is_no_answer(here: Scene, wire: Line, figure: object) -> None:
    told = json.dumps({"jsonrpc": "2.0", "id": 1, "result": figure}).encode()
    wire.instead = lambda method: told if method in ("eth_getTransactionCount", "eth_chainId") else None
    standing = here.worker().turn(here.log.public())
    assert standing.waiting == "chain node: what it answered to eth_chainId cannot be read"
    wire.instead = lambda method: told if method == "eth_getTransactionCount" else None
    standing = here.worker().turn(here.log.public())
    assert standing.waiting == "chain node: what it answered to eth_getTransactionCount cannot be read"
    assert standing.halted is None


def test_a_node_that_repeats_the_urls_token_is_not_quoted_with_it(here: Scene, wire: Line) -> None:
    refusal = {"code": -32000, "message": f"no key secret-1 at {wire.url}/v2/secret-1?key=secret-2"}
    wire.instead = lambda method: json.dumps({"jsonrpc": "2.0", "id": 1, "error": refusal}).encode()
    here.url = f"{wire.url}/v2/secret-1?key=secret-2"
    standing = here.worker().turn(here.log.public())
    assert standing.waiting == f"chain node: eth_getBlockByNumber: no key ... at {wire.url}/v2/...?key=..."


def test_json_that_is_nested_too_deeply_is_no_answer(here: Scene, wire: Line) -> None:
    wire.instead = lambda method: b"[" * 200_000
    assert (
        here.worker().turn(here.log.public()).waiting == "chain node: expected JSON in answer to eth_getBlockByNumber"
    )


@pytest.mark.parametrize(
    "text", ["", "0x", "0x" + "11" * 19, "0x" + "zz" * 20, "4e59b44847b379578588920cA78FbF26c0B4956D"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="expected 0x and 40 hexadecimal digits"):
        address(text)


# --- beside the chain ---


def test_json_that_is_nested_too_deeply_still_ends_no_process_that_has_it_imported() -> None:
    """py_ecc lifts Python's bound on recursion, and what reads JSON would then run out of stack."""
    program = "import ledger.anchor.evm, json; json.loads('[' * 200_000)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "RecursionError" in done.stderr) == (1, True)
