"""The audit compares a log with what a chain holds of it, and names what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger import logsource, merkle, note, tiles
from ledger.anchor import chainproof
from ledger.anchor.evmreader import EvmReader
from ledger.audit import Report, Trust, anchors, audit_public
from ledger.audit.anchors import STALE, Seen, Wanted, compare, look
from ledger.errors import LedgerError, NotFound, Refused, Unavailable
from ledger.logsource import Folder
from tests.anvil import Anvil, running
from tests.ledger.anchor.anchored import CONTRACT, Chain, Tree
from tests.ledger.anchor.liar import Error, Liar, between
from tests.ledger.tiled import Forks, write_log
from tests.ledger.written import LOG_KEY

SIZE = 300
ENTRIES = Forks().grow(SIZE)
TREE = Tree([merkle.leaf_hash(data) for data in ENTRIES])
SIZES = (1, 100, 256, 280)


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with running() as node:
        yield node


@pytest.fixture(scope="module")
def chain(node: Anvil) -> Chain:
    return Chain(node)


@pytest.fixture(scope="module")
def log_id(chain: Chain) -> bytes:
    """A log that is anchored at SIZES, all final."""
    log_id = chain.create()
    chain.anchor(log_id, TREE, *SIZES)
    chain.node.mine(2)
    return log_id


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_log(tmp_path_factory.mktemp("log"), ENTRIES))


@pytest.fixture
def liar(node: Anvil, log_id: bytes) -> Iterator[Liar]:
    with between(node) as liar:
        yield liar


def seen_at(url: str, key: note.Ed25519Verifier = LOG_KEY.verifier, **wanted: Any) -> Seen:
    reader = EvmReader(url)
    try:
        return look(reader, key, Wanted(**{"contract": CONTRACT, **wanted}))
    finally:
        reader.close()


def audited(log: Folder, seen: Seen, now: int = 0) -> Report:
    report = audit_public(log, Trust(LOG_KEY.verifier), None, lambda *_: None)
    assert report.clean
    return compare(report, seen, tiles.hash_reader(report.covered, partial(logsource.read_tile, log)), now)


def fault(report: Report) -> tuple[int, str]:
    assert report.first_fault is not None
    assert not report.clean
    return report.first_fault.step, report.first_fault.message


# --- what holds ---


def test_a_log_whose_anchors_are_its_own_is_clean(log: Folder, node: Anvil, log_id: bytes) -> None:
    report = audited(log, seen_at(node.url, log_id=log_id, chain_id=31337))
    assert report.clean, report.first_fault
    assert report.anchor is not None
    assert (report.anchor.size, report.anchor.root, report.anchor.sequence) == (280, TREE.root(280), 4)
    assert (report.anchor.proof.chain_id, report.anchor.proof.log_id, report.anchors_compared) == (31337, log_id, 4)
    assert "anchor: covers 280 of 300 entries; the rest is not anchored yet" in report.notices


def test_the_log_is_found_by_its_origin_and_note_key(log: Folder, node: Anvil, log_id: bytes) -> None:
    report = audited(log, seen_at(node.url))
    assert report.anchor is not None
    assert (report.clean, report.anchor.proof.log_id) == (True, log_id)
    # Anybody can create a log of this name and key, so an auditor who did not name the id is told of it.
    named = audited(log, seen_at(node.url, log_id=log_id))
    assert [any("found by its name and key" in one for one in each.notices) for each in (report, named)] == [
        True,
        False,
    ]


def test_a_block_that_the_auditor_names_is_taken_and_nobody_s_word_is_needed(
    log: Folder, node: Anvil, log_id: bytes
) -> None:
    earlier = seen_at(node.url).held
    assert earlier is not None
    block = bytes.fromhex(node.call("eth_getBlockByNumber", hex(earlier.block.number - 1), False)["hash"][2:])
    report = audited(log, seen_at(node.url, log_id=log_id, block_hash=block))
    assert report.anchor is not None
    assert (report.clean, report.anchor.block.hash, report.anchor.size) == (True, block, 256)
    assert not any("node's word" in notice for notice in report.notices)


def test_the_saved_proof_is_one_that_holds_alone(node: Anvil, log_id: bytes) -> None:
    seen = seen_at(node.url, log_id=log_id)
    assert seen.held is not None
    pinned = chainproof.pin(seen.held.block.hash, log_id=log_id)
    assert chainproof.check_anchor(seen.proof, pinned, [LOG_KEY.verifier]) == seen.held


def test_an_old_block_is_told_of(log: Folder, node: Anvil, log_id: bytes) -> None:
    seen = seen_at(node.url, log_id=log_id)
    assert seen.held is not None
    for later, told in ((STALE, False), (STALE + 1, True), (5 * 3600, True)):
        report = audited(log, seen, (seen.held.block.time + later) * 1_000_000)
        assert any("the node may show an old state" in notice for notice in report.notices) == told
        assert report.clean


# --- step 13: the chain, the contract, the log ---


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"chain_id": 1}, "chain id: expected 1, http://127.0.0.1 is on 31337"),
        ({"genesis_hash": bytes(32)}, f"genesis: expected 0x{'00' * 32}, http://127.0.0.1 has 0x"),
        ({"log_id": bytes(32)}, "the contract has none of this id"),
        ({"contract": bytes(19) + b"\x01", "log_id": bytes(32)}, "none at this address"),
        (
            {"contract": bytes.fromhex("4e59b44847b379578588920cA78FbF26c0B4956C"), "log_id": bytes(32)},
            "code hash: expected LedgerAnchor's",
        ),
        ({"contract": bytes(19) + b"\x01"}, "expected one of 'example.org/log' and its note key in the contract"),
    ],
)
def test_another_chain_contract_or_log_is_a_fault_of_step_13(
    log: Folder, node: Anvil, log_id: bytes, wanted: dict[str, Any], said: str
) -> None:
    report = audited(log, seen_at(node.url, **wanted))
    step, message = fault(report)
    assert (step, report.fault_count, report.anchor) == (13, 1, None)
    assert said in message


def test_the_genesis_hash_that_was_pinned_is_compared(log: Folder, node: Anvil, log_id: bytes) -> None:
    genesis = bytes.fromhex(node.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
    assert audited(log, seen_at(node.url, log_id=log_id, genesis_hash=genesis)).clean


def test_a_log_of_another_origin_or_note_key_is_a_fault_of_step_13(log: Folder, chain: Chain, log_id: bytes) -> None:
    others = chain.create("elsewhere.example/log"), chain.create(note_key=bytes(31) + b"\1")
    chain.node.mine(2)
    for other, said in zip(others, ("origin: expected 'example.org/log'", "note key: expected that of"), strict=True):
        step, message = fault(audited(log, seen_at(chain.node.url, log_id=other)))
        assert (step, said in message) == (13, True), message


def test_where_another_made_a_log_of_the_same_name_the_id_is_needed(anvil: Anvil) -> None:
    chain = Chain(anvil)
    own = chain.create()
    chain.sender = anvil.call("eth_accounts")[1]
    squatted = chain.create()
    anvil.mine(2)
    with pytest.raises(Refused, match=f"name one: {squatted.hex()}, {own.hex()}"):
        seen_at(anvil.url)
    assert seen_at(anvil.url, log_id=own).held is not None


def test_the_same_code_at_another_address_is_told_of(log: Folder, chain: Chain) -> None:
    other = chain.deploy_again()
    log_id = chain.create(contract=other)
    chain.anchor(log_id, TREE, 300, contract=other)
    chain.node.mine(2)
    report = audited(log, seen_at(chain.node.url, contract=other))
    assert report.clean
    assert any("not at the address that follows from its code" in notice for notice in report.notices)


def test_a_mark_of_equivocation_is_told_of(log: Folder, anvil: Anvil) -> None:
    chain = Chain(anvil)
    log_id = chain.create()
    chain.anchor(log_id, TREE, 300)
    chain.equivocate(log_id, 5)
    anvil.mine(2)
    report = audited(log, seen_at(anvil.url))
    assert any("two roots at one size, signed by anchorers" in notice for notice in report.notices)
    assert report.anchor is not None
    assert report.anchor.equivocated


# --- step 14: the newest anchor ---


def test_a_log_of_which_nothing_is_anchored_is_at_fault(log: Folder, anvil: Anvil) -> None:
    chain = Chain(anvil)
    log_id = chain.create()
    chain.anchor(log_id, TREE, 300)  # in no final block yet
    anvil.mine(1)
    step, message = fault(audited(log, seen_at(anvil.url)))
    assert (step, message.endswith("nothing of this log is anchored")) == (14, True)


def test_a_log_with_another_root_than_the_anchored_one_is_at_fault_and_both_are_named(
    node: Anvil, log_id: bytes, tmp_path: Path
) -> None:
    other = Forks(2).grow(SIZE)
    report = audited(Folder(write_log(tmp_path, other)), seen_at(node.url))
    step, message = fault(report)
    own = Tree([merkle.leaf_hash(data) for data in other]).root(280)
    assert step == 14
    assert f"anchor of size 280: its root is {TREE.root(280).hex()}, the log's at that size {own.hex()}" in message
    assert [found.step for found in report.faults] == [14, 15, 15, 15]  # the first entry is the same


def test_a_log_that_was_cut_back_behind_its_anchor_is_at_fault_and_both_are_named(
    node: Anvil, log_id: bytes, tmp_path: Path
) -> None:
    report = audited(Folder(write_log(tmp_path, ENTRIES[:279])), seen_at(node.url))
    step, message = fault(report)
    assert step == 14
    assert f"an anchor of size 280, root {TREE.root(280).hex()}" in message
    assert f"covers only 279, root {TREE.root(279).hex()}" in message


def test_a_log_without_a_checkpoint_that_holds_is_not_compared(log: Folder, node: Anvil, log_id: bytes) -> None:
    report = audit_public(log, Trust(LOG_KEY.verifier), None, lambda *_: None)
    report = compare(replace(report, covered=0, root=None), seen_at(node.url), lambda _: [], 0)
    assert "anchor: not compared; no checkpoint of the log held" in report.notices


def test_hashes_that_changed_since_they_were_audited_are_a_fault(log: Folder, node: Anvil, log_id: bytes) -> None:
    report = audit_public(log, Trust(LOG_KEY.verifier), None, lambda *_: None)
    for read in (lambda places: [bytes(32)] * len(places), missing):
        step, message = fault(compare(report, seen_at(node.url), read, 0))
        assert (step, "read again, are not those of what was audited" in message) == (14, True)


def missing(_: object) -> list[bytes]:
    raise NotFound("tile/0/000: missing")


def away(_: object) -> list[bytes]:
    raise Unavailable("away")


def test_a_log_that_cannot_be_read_any_more_ends_it(log: Folder, node: Anvil, log_id: bytes) -> None:
    report = audit_public(log, Trust(LOG_KEY.verifier), None, lambda *_: None)
    with pytest.raises(Unavailable):
        compare(report, seen_at(node.url), away, 0)


# --- step 15: the anchors before ---


def of_events(change: Callable[[list[Any]], list[Any]]) -> Callable[[str, list[Any], Any], Any]:
    """A lie about the anchors alone."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        return change(result) if method == "eth_getLogs" and len(parameters[0]["topics"]) > 1 else result

    return lie


def with_size(event: dict[str, Any], size: int) -> dict[str, Any]:
    return {**event, "topics": [*event["topics"][:2], f"0x{size:064x}"]}


def with_root(event: dict[str, Any], root: bytes) -> dict[str, Any]:
    return {**event, "data": "0x" + root.hex() + event["data"][66:]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda events: events[:1] + events[2:], "expected anchors 1 to 4 without gaps, the node has 3"),
        (lambda events: [], "expected anchors 1 to 4 without gaps, the node has 0"),
        (lambda events: [with_size(events[0], 100), *events[1:]], "its root is"),
        (lambda events: [events[0], with_size(events[1], 256), *events[2:]], "its root is"),
        (lambda events: [events[0], with_root(with_size(events[1], 1), TREE.root(1)), *events[2:]], "larger than 1"),
        (lambda events: [*events[:2], with_size(events[2], 290), events[3]], "and no other, to be of size 280"),
        (lambda events: [*events[:3], with_size(events[3], 257)], "expected the last one"),
        (
            lambda events: [events[0], with_root(events[1], bytes(32)), *events[2:]],
            f"its root is {'00' * 32}, the log's",
        ),
    ],
)
def test_an_anchor_of_another_root_or_one_that_is_missing_is_a_fault(
    log: Folder, liar: Liar, log_id: bytes, change: Callable[[list[Any]], list[Any]], said: str
) -> None:
    liar.lie = of_events(change)
    report = audited(log, seen_at(liar.url, log_id=log_id))
    step, message = fault(report)
    assert (step, said in message) == (15, True), message


def test_of_very_many_anchors_the_newest_are_compared(
    log: Folder, node: Anvil, log_id: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "MOST_ANCHORS", 2)
    report = audited(log, seen_at(node.url, log_id=log_id))
    assert report.clean, report.first_fault
    assert "anchor: of 4 anchors only the newest 2 were compared" in report.notices


# --- a node that lies, or does not say ---


def test_a_node_that_lies_about_its_block_or_its_storage_is_a_fault(
    log: Folder, liar: Liar, node: Anvil, log_id: bytes
) -> None:
    def about_its_block(method: str, parameters: list[Any], result: Any) -> Any:
        return {**result, "stateRoot": "0x" + "11" * 32} if method == "eth_getBlockByNumber" else result

    def about_its_storage(method: str, parameters: list[Any], result: Any) -> Any:
        return node.call(method, *parameters[:2], "latest") if method == "eth_getProof" else result

    node.mine()
    for lie, said in ((about_its_block, "block hash: expected"), (about_its_storage, "step 4, ")):
        liar.lie = lie
        step, message = fault(audited(log, seen_at(liar.url, log_id=log_id)))
        assert (step, said in message) == (13, True), message


def test_a_node_that_shows_a_stale_block_is_found_out_by_the_named_hash(
    log: Folder, liar: Liar, node: Anvil, log_id: bytes
) -> None:
    wanted = bytes.fromhex(node.call("eth_getBlockByNumber", "latest", False)["hash"][2:])
    stale = node.call("eth_getBlockByNumber", "0x2", False)
    liar.lie = lambda method, parameters, result: stale if method == "eth_getBlockByHash" else result
    step, message = fault(audited(log, seen_at(liar.url, log_id=log_id, block_hash=wanted)))
    assert (step, f"expected 0x{wanted.hex()}" in message) == (13, True)


def test_a_node_that_says_no_ends_it_before_the_log_is_read(liar: Liar, log_id: bytes) -> None:
    liar.lie = lambda method, parameters, result: Error(code=1, message="no") if method == "eth_getProof" else result
    with pytest.raises(Refused, match="the node says no: 'no'"):
        seen_at(liar.url, log_id=log_id)
    liar.lie = lambda method, parameters, result: None if method.startswith("eth_getBlock") else result
    with pytest.raises(LedgerError, match="has no block 0x0"):
        seen_at(liar.url, log_id=log_id)
