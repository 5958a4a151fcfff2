"""What a node tells of a fork's registration, and what of it cannot be so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_utils import keccak

from ledger.anchor.deploy import create_log, deploy, transact
from ledger.anchor.evm import FORK_REGISTRY, EvmNode, encode_call
from ledger.anchor.evmreader import EvmReader
from ledger.anchor.registration import ATTESTATION, CONSENT, Naming, Recorded, fork_id_hash, sign_naming, typed
from ledger.errors import Malformed, NotFound
from tests.anvil import running
from tests.ledger.anchor.anchoring import ADMIN, CAP, NOTE_KEY_HASH, ORIGIN, SOMEBODY, THIEF
from tests.ledger.anchor.liar import Liar, between
from tests.ledger.written import Writer

FORK, OWNER = Writer(1), Account.from_key(THIEF)
REGISTRY = bytes.fromhex(FORK_REGISTRY.address[2:])
OTHER = "0x" + "ee" * 32


@pytest.fixture(scope="module")
def scene() -> Iterator[tuple[Liar, Recorded]]:
    """A chain with one registered fork behind a node that may lie, and what is so."""
    with running() as node:
        sender = EvmNode(node.url, ADMIN, 10)
        node.call("anvil_setBalance", sender.sender, hex(10**20))
        anchor = deploy(sender, CAP, node.mine)
        deploy(sender, CAP, node.mine, contract=FORK_REGISTRY)
        log_id = create_log(sender, anchor, ORIGIN, NOTE_KEY_HASH, sender.sender, CAP, node.mine)
        owner, contract = (bytes.fromhex(each[2:]) for each in (OWNER.address, anchor))
        made = sign_naming(
            Naming(31337, REGISTRY, contract, log_id, fork_id_hash(FORK.fork_id), owner), FORK.key, 2**32
        )
        wallet = EvmNode(node.url, THIEF, 10)
        given = (
            contract, log_id, made.naming.fork_id_hash, owner, made.ledger_key, made.ledger_signature, made.deadline
        )  # fmt: skip
        consent, attestation = wallet.sign_typed(typed(CONSENT, made)), sender.sign_typed(typed(ATTESTATION, made))
        call = encode_call("register", given, consent, attestation, of=FORK_REGISTRY)
        receipt = transact(sender, FORK_REGISTRY.address, call, CAP, node.mine)
        attester = bytes.fromhex(sender.sender[2:])
        wallet.close()
        sender.close()
        transaction, block = bytes.fromhex(receipt["transactionHash"][2:]), int(receipt["blockNumber"], 16)
        with between(node) as liar:
            yield (
                liar,
                Recorded(made.naming, made.ledger_key, made.ledger_signature, attester, block, transaction, owner, 0),
            )


@pytest.fixture
def liar(scene: tuple[Liar, Recorded]) -> Iterator[Liar]:
    scene[0].node.mine()
    yield scene[0]
    scene[0].lie = lambda method, parameters, result: result


@pytest.fixture
def so(scene: tuple[Liar, Recorded]) -> Recorded:
    return scene[1]


def read(liar: Liar, chain_fork_id: bytes) -> Recorded:
    node = EvmReader(liar.url)
    try:
        return node.recorded(REGISTRY, 31337, chain_fork_id, node.block("latest"))
    finally:
        node.close()


def words(told: str, **changes: str) -> str:
    """An answer with other words in these places."""
    found = [told[2 + 64 * at : 66 + 64 * at] for at in range(len(told) // 64)]
    for at, word in changes.items():
        found[int(at.removeprefix("at"))] = word
    return "0x" + "".join(found)


def test_a_registration_is_read_as_it_was_made(liar: Liar, so: Recorded) -> None:
    assert read(liar, so.naming.chain_fork_id) == so


def test_it_is_read_in_one_block(liar: Liar, so: Recorded) -> None:
    """By its hash, and events up to it."""
    read(liar, so.naming.chain_fork_id)
    asked = dict(liar.asked)
    head = liar.node.call("eth_getBlockByNumber", "latest", False)
    assert asked["eth_call"][1] == {"blockHash": head["hash"], "requireCanonical": True}
    assert asked["eth_getLogs"][0]["toBlock"] == head["number"]


def test_a_fork_that_nobody_registered_is_not_searched_for(liar: Liar) -> None:
    liar.asked.clear()
    with pytest.raises(NotFound, match="no fork 0x" + "dd" * 32):
        read(liar, b"\xdd" * 32)
    assert "eth_getLogs" not in dict(liar.asked)


def test_the_owner_after_a_transfer_is_the_one_that_the_contract_holds(liar: Liar, so: Recorded) -> None:
    liar.lie = lambda method, _, result: (
        words(result, at4=SOMEBODY[2:].zfill(64), at5="2".zfill(64)) if method == "eth_call" else result
    )
    assert read(liar, so.naming.chain_fork_id) == replace(so, owner=bytes.fromhex(SOMEBODY[2:]), transfers=2)


def test_an_owner_that_came_from_nowhere_is_named(liar: Liar, so: Recorded) -> None:
    liar.lie = lambda method, _, result: words(result, at4=SOMEBODY[2:].zfill(64)) if method == "eth_call" else result
    with pytest.raises(Malformed, match="two owners, and nothing was transferred"):
        read(liar, so.naming.chain_fork_id)


@pytest.mark.parametrize("at", range(4))
def test_a_contract_and_an_event_of_two_forks_are_not_put_together(liar: Liar, so: Recorded, at: int) -> None:
    liar.lie = lambda method, _, result: words(result, **{f"at{at}": OTHER[2:]}) if method == "eth_call" else result
    with pytest.raises(Malformed, match="are of two forks"):
        read(liar, so.naming.chain_fork_id)


def test_a_registration_of_another_fork_is_not_taken_for_the_one_asked_for(liar: Liar, so: Recorded) -> None:
    """Though the contract and the event agree."""

    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method == "eth_call":
            return words(result, at2=OTHER[2:])
        return (
            [{**each, "data": words(each["data"], at1=OTHER[2:])} for each in result]
            if method == "eth_getLogs"
            else result
        )

    liar.lie = lie
    with pytest.raises(Malformed, match="are of two forks"):
        read(liar, so.naming.chain_fork_id)


def test_a_registration_without_its_event_is_none(liar: Liar, so: Recorded) -> None:
    liar.lie = lambda method, _, result: [] if method == "eth_getLogs" else result
    with pytest.raises(NotFound, match="no event of the registration"):
        read(liar, so.naming.chain_fork_id)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"at3": "20".zfill(64)}, "expected a signature of 64 bytes"),
        ({"at5": "41".zfill(64)}, "expected a signature of 64 bytes"),
    ],
)
def test_an_event_of_another_form_is_refused(liar: Liar, so: Recorded, change: dict[str, str], why: str) -> None:
    def lie(method: str, _: list[Any], result: Any) -> Any:
        return (
            [{**each, "data": words(each["data"], **change)} for each in result] if method == "eth_getLogs" else result
        )

    liar.lie = lie
    with pytest.raises(Malformed, match=why):
        read(liar, so.naming.chain_fork_id)


@pytest.mark.parametrize("told", ["0x", "0x" + "00" * 191, 7, None])
def test_what_is_no_answer_of_the_registry_is_refused(liar: Liar, so: Recorded, told: Any) -> None:
    liar.lie = lambda method, _, result: told if method == "eth_call" else result
    if isinstance(told, int):
        liar.lie = lambda method, _, result: [told] if method == "eth_call" else result
    with pytest.raises(Malformed):
        read(liar, so.naming.chain_fork_id)


def test_the_code_at_an_address_is_told(liar: Liar) -> None:
    node = EvmReader(liar.url)
    assert keccak(node.code(REGISTRY, node.block("latest"))) == FORK_REGISTRY.code_hash
    assert node.code(bytes(20), node.block("latest")) == b""
    node.close()
