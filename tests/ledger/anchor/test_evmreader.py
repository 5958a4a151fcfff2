"""What a node says is read, bounded and, where it can be, found out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ledger.anchor import chainproof, evmreader
from ledger.anchor.evmreader import FINALIZED, Anchored, EvmReader
from ledger.errors import BadAnchor, BadProof, LedgerError, Malformed, NotFound, Refused, Unavailable
from tests.anvil import Anvil, running
from tests.ledger.anchor.anchored import CONTRACT, NOTE_KEY, Chain, Tree
from tests.ledger.anchor.liar import Error, Liar, between
from tests.ledger.anchor.test_exchange import answering, dripping
from tests.ledger.written import LOG_KEY, ORIGIN

SIZES = (1, 7, 20, 40)


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with running() as node:
        yield node


@pytest.fixture(scope="module")
def log_id(node: Anvil) -> bytes:
    chain = Chain(node)
    log_id = chain.create()
    chain.anchor(log_id, Tree(), *SIZES)
    return log_id


@pytest.fixture
def liar(node: Anvil, log_id: bytes) -> Iterator[Liar]:
    with between(node) as liar:
        yield liar


@pytest.fixture
def reader(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> Iterator[EvmReader]:
    monkeypatch.setattr(EvmReader, "pause", 0.0)
    reader = EvmReader(liar.url)
    yield reader
    reader.close()


def proof_of(reader: EvmReader, log_id: bytes, contract: bytes = CONTRACT) -> bytes:
    return reader.anchor_proof(reader.block("latest"), 31337, reader.block("0x0").block.hash, contract, log_id)


def check(reader: EvmReader, log_id: bytes, proof: bytes) -> chainproof.Held:
    pinned = chainproof.pin(reader.block("latest").block.hash, log_id=log_id)
    return chainproof.check_anchor(proof, pinned, [LOG_KEY.verifier])


# --- what is there ---


def test_a_node_says_which_chain_it_is_on(reader: EvmReader) -> None:
    assert reader.chain_id() == 31337


def test_a_block_by_number_tag_or_hash_has_the_hash_of_its_fields(reader: EvmReader, node: Anvil) -> None:
    newest = int(node.call("eth_blockNumber"), 16)
    for which, number in (("0x0", 0), ("latest", newest), ("safe", newest - 1), (FINALIZED, newest - 2)):
        header = reader.block(which)
        assert header.block.number == number
        assert chainproof.keccak(header.encoded) == header.block.hash
        assert reader.block(header.block.hash) == header


def test_a_block_that_is_not_there_is_not_found(reader: EvmReader) -> None:
    for which in (bytes(32), "0x99999"):
        with pytest.raises(NotFound, match="has no block 0x"):
            reader.block(which)


def test_what_the_contract_holds_comes_as_a_proof_that_holds(reader: EvmReader, log_id: bytes) -> None:
    held = check(reader, log_id, proof_of(reader, log_id))
    assert (held.size, held.sequence, held.root) == (40, 4, Tree().root(40))


def test_anchors_come_the_newest_first_and_stop_at_the_block(reader: EvmReader, log_id: bytes) -> None:
    last = reader.block("latest").block.number
    tree = Tree()
    expected = [Anchored(size, tree.root(size), at + 1, last - 3 + at) for at, size in enumerate(SIZES)][::-1]
    assert list(reader.anchored(CONTRACT, log_id, last)) == expected
    assert list(reader.anchored(CONTRACT, log_id, last - 2)) == expected[2:]
    assert list(reader.anchored(CONTRACT, bytes(32), last)) == []


def test_created_logs_come_with_origin_and_note_key(reader: EvmReader, log_id: bytes) -> None:
    (found,) = reader.created(CONTRACT, reader.block("latest").block.number)
    assert (found.log_id, found.origin, found.note_key_hash) == (log_id, ORIGIN.encode(), NOTE_KEY)


@pytest.mark.parametrize("blocks", [1, 2, 3, 100])
def test_a_node_that_gives_few_blocks_at_once_is_asked_for_fewer(
    reader: EvmReader, liar: Liar, log_id: bytes, blocks: int
) -> None:
    def bounded(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        asked = parameters[0]
        wide = int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) + 1 > blocks
        return Error(code=-32005, message="query exceeds max block range") if wide else result

    liar.lie = bounded
    last = reader.block("latest").block.number
    assert [each.size for each in reader.anchored(CONTRACT, log_id, last)] == [40, 20, 7, 1]


def test_pages_are_read_only_as_far_as_they_are_wanted(
    reader: EvmReader, liar: Liar, log_id: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evmreader, "MOST_BLOCKS", 2)
    last = reader.block("latest").block.number
    liar.asked.clear()
    assert next(reader.anchored(CONTRACT, log_id, last)).size == 40
    assert [method for method, _ in liar.asked] == ["eth_getLogs"]


# --- lies ---


@pytest.mark.parametrize(
    "change", [{"stateRoot": "0x" + "11" * 32}, {"number": "0x77"}, {"timestamp": "0x1"}, {"extraData": "0x00"}]
)
def test_a_header_field_that_was_changed_is_found_out(reader: EvmReader, liar: Liar, change: dict[str, str]) -> None:
    liar.lie = lambda method, parameters, result: {**result, **change}
    with pytest.raises(BadProof, match=r"block hash: expected 0x.*, the header has 0x"):
        reader.block("latest")


@pytest.mark.parametrize("dressed_up", [False, True])
def test_another_block_than_the_named_one_is_found_out(
    reader: EvmReader, liar: Liar, node: Anvil, dressed_up: bool
) -> None:
    wanted = reader.block("latest").block.hash
    stale = node.call("eth_getBlockByNumber", "0x1", False)
    if dressed_up:
        stale["hash"] = "0x" + wanted.hex()
    liar.lie = lambda method, parameters, result: stale
    with pytest.raises(BadProof, match="block hash"):
        reader.block(wanted)


def test_storage_of_another_log_or_another_block_is_found_out(
    reader: EvmReader, liar: Liar, node: Anvil, log_id: bytes
) -> None:
    true = proof_of(reader, log_id)

    def of_block_before(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getProof":
            return result
        return node.call(method, *parameters[:2], hex(int(parameters[2], 16) - 1))

    def of_another_log(method: str, parameters: list[Any], result: Any) -> Any:
        return {**result, "storageProof": result["storageProof"][::-1]} if method == "eth_getProof" else result

    for lie, step in ((of_block_before, 4), (of_another_log, 5)):
        liar.lie = lie
        proof = proof_of(reader, log_id)
        assert proof != true
        with pytest.raises(BadAnchor) as caught:
            check(reader, log_id, proof)
        assert caught.value.step == step


def test_a_value_beside_the_proof_is_not_even_read(reader: EvmReader, liar: Liar, log_id: bytes) -> None:
    def inflated(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getProof":
            return result
        slots = [{**slot, "value": "0x" + "ff" * 32} for slot in result["storageProof"]]
        return {**result, "storageProof": slots, "codeHash": "0x" + "00" * 32}

    liar.lie = inflated
    assert check(reader, log_id, proof_of(reader, log_id)).size == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"address": "0x" + "11" * 20}, "events of the contract that was asked for"),
        ({"topics": ["0x" + "11" * 32]}, "with the topics that were asked for"),
        ({"removed": True}, "none taken back"),
        ({"blockNumber": "0x99"}, "events of these blocks"),
        ({"blockNumber": None}, "expected a quantity"),
        ({"data": "0x00"}, "expected 96 bytes"),
        ({"data": "no hex"}, "pairs of hex digits"),
    ],
)
def test_an_event_that_was_not_asked_for_is_malformed(
    reader: EvmReader, liar: Liar, log_id: bytes, change: dict[str, Any], said: str
) -> None:
    liar.lie = lambda method, parameters, result: (
        [{**each, **change} for each in result] if method == "eth_getLogs" else result
    )
    with pytest.raises(Malformed, match=said):
        list(reader.anchored(CONTRACT, log_id, reader.block("latest").block.number))


@pytest.mark.parametrize("places", [(3, 2, 1, 0), (0, 0, 1)])
def test_events_twice_or_out_of_order_are_malformed(
    reader: EvmReader, liar: Liar, log_id: bytes, places: tuple[int, ...]
) -> None:
    last = reader.block("latest").block.number
    liar.lie = lambda method, parameters, result: [result[place] for place in places]
    with pytest.raises(Malformed, match="in their order, each once"):
        list(reader.anchored(CONTRACT, log_id, last))


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"", Malformed, "expected JSON"),
        (b"[" * 100_000, Malformed, "expected JSON"),
        (b"[]", Malformed, "the answer to one call"),
        (b'{"id": 2, "result": "0x1"}', Malformed, "the answer to one call"),
        (b'{"id": 1}', Malformed, "a result or an error"),
        (b'{"id": 1, "result": "31337"}', Malformed, "expected a quantity"),
        (b'{"id": 1, "result": "0x01"}', Malformed, "expected a quantity"),
        (b'{"id": 1, "result": 31337}', Malformed, "expected a quantity"),
        (b'{"id": 1, "error": "no\\u001b[31m"}', Refused, r"says no: 'no\\x1b\[31m'"),
        (Error(code=1, message="no"), Refused, "the node says no: 'no'"),
        (503, Unavailable, "answered with 503"),
        (429, Unavailable, "answered with 429"),
    ],
)
def test_an_answer_of_another_form_is_named(
    reader: EvmReader, liar: Liar, answer: Any, error: type[LedgerError], said: str
) -> None:
    liar.lie = lambda method, parameters, result: answer
    with pytest.raises(error, match=said):
        reader.chain_id()


@pytest.mark.parametrize("block", [None, [], "0x", {}, {"hash": "0x00"}, {"hash": "0x" + "00" * 32}])
def test_a_block_of_another_form_is_named(reader: EvmReader, liar: Liar, block: Any) -> None:
    liar.lie = lambda method, parameters, result: block
    with pytest.raises(Malformed if block is not None else NotFound):
        reader.block("latest")


@pytest.mark.parametrize(
    "change",
    [{"storageProof": []}, {"storageProof": None}, {"accountProof": "0x"}, {"accountProof": ["0x" + "00" * 2000]}],
)
def test_a_proof_of_another_form_is_malformed(
    reader: EvmReader, liar: Liar, log_id: bytes, change: dict[str, Any]
) -> None:
    liar.lie = lambda method, parameters, result: {**result, **change} if method == "eth_getProof" else result
    with pytest.raises(Malformed):
        proof_of(reader, log_id)


# --- bounds ---


def test_an_answer_that_does_not_end_is_given_up(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evmreader, "LONGEST_ANSWER", 1000)
    liar.lie = lambda method, parameters, result: "0x" + "1" * 2000
    with closing(EvmReader(liar.url)) as reader, pytest.raises(Refused, match="expected an answer of at most 1000 b"):
        reader.chain_id()


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"])
def test_an_answer_that_drips_is_given_up(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvmReader, "most_seconds", 0.2)
    monkeypatch.setattr(EvmReader, "pause", 0.0)
    expected = pytest.raises(Unavailable, match=r"could not be asked \(no whole answer within 0.2 s\)")
    with answering(dripping(beginning)) as url, closing(EvmReader(url)) as reader, expected:
        reader.chain_id()


def test_a_node_that_fails_for_a_moment_is_asked_again(reader: EvmReader, liar: Liar) -> None:
    answers = iter([500, 429, "0x7a69"])
    liar.lie = lambda method, parameters, result: next(answers)
    assert reader.chain_id() == 31337


def test_a_node_that_is_away_is_unavailable_and_its_key_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvmReader, "pause", 0.0)
    reader = EvmReader("http://user:word@127.0.0.1:9/v2/secret?key=secret")
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        reader.chain_id()
    assert time.monotonic() - started < 10
    assert str(caught.value) == "http://127.0.0.1: eth_chainId could not be asked (ConnectError)"
    reader.close()


def test_a_node_that_repeats_the_urls_token_is_not_quoted_with_it(liar: Liar) -> None:
    liar.lie = lambda method, parameters, result: Error(code=-32000, message="no key secret-1")
    with closing(EvmReader(f"{liar.url}/v2/secret-1")) as reader, pytest.raises(Refused) as caught:
        reader.chain_id()
    assert str(caught.value) == "http://127.0.0.1: eth_chainId: the node says no: 'no key ...'"


@pytest.mark.parametrize("url", ["", "ws://127.0.0.1", "127.0.0.1:8545", "http://", "http://[::1"])
def test_an_address_that_is_no_url_of_a_node_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="expected the http"):
        EvmReader(url)
