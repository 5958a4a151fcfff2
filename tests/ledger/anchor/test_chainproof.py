"""An anchor proof holds against the hash of its block, and each step alone refuses what is wrong."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from trie import HexaryTrie

from ledger import merkle, note
from ledger.anchor import chainproof
from ledger.anchor.chainproof import (
    LONGEST_PROOF,
    STEPS,
    AnchorProof,
    Held,
    Pinned,
    check_anchor,
    check_tree,
    decode_anchor,
    encode_anchor,
)
from ledger.anchor.evmreader import EvmReader
from ledger.errors import BadAnchor, BadProof, Malformed, NotFound, Refused
from ledger.wire.v1 import anchor_pb2 as wire
from tests.anvil import Anvil
from tests.ledger.anchor.anchored import CONTRACT, NOTE_KEY, Chain, Tree
from tests.ledger.written import LOG_KEY, ORIGIN

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/anchor_proof.json").read_text("utf-8"))
LOGS = [note.Ed25519Verifier.from_vkey(VECTOR["log_vkey"])]
OTHER_KEY = note.Ed25519Verifier(LOGS[0].name, LOG_KEY.verifier.public_key)
SAVED = bytes.fromhex(VECTOR["proofs"]["size_4"]["proof"])
PROOF = decode_anchor(SAVED)


def pinned(proof: str = "size_4", **changes: Any) -> Pinned:
    """All that can be pinned, of the vectors' chain and log."""
    names = ("contract", "code_hash", "genesis_hash", "log_id")
    of_vector = {name: bytes.fromhex(VECTOR[name]) for name in names}
    block_hash = bytes.fromhex(VECTOR["proofs"][proof]["block_hash"])
    return Pinned(**{"block_hash": block_hash, "chain_id": VECTOR["chain_id"], **of_vector, **changes})


def refused(proof: AnchorProof | bytes, step: int, said: str, **changes: Any) -> BadAnchor:
    data = proof if isinstance(proof, bytes) else encode_anchor(proof)
    with pytest.raises(BadAnchor) as caught:
        check_anchor(data, pinned(**changes), LOGS)
    assert caught.value.step == step, caught.value
    assert str(caught.value).startswith(f"step {step}, ")
    assert said in str(caught.value)
    return caught.value


# --- what holds ---


@pytest.mark.parametrize("size", [3, 4])
def test_a_proof_made_elsewhere_shows_what_the_contract_held(size: int) -> None:
    made = VECTOR["proofs"][f"size_{size}"]
    data = bytes.fromhex(made["proof"])
    held = check_anchor(data, pinned(f"size_{size}"), LOGS)
    assert (held.size, held.root.hex(), held.sequence) == (size, VECTOR["roots"][str(size)], size - 1)
    assert (held.block.number, held.block.time) == (made["number"], made["time"])
    assert (held.equivocated, held.note_key_hash) == (False, chainproof.note_key_hash(LOGS[0]))
    assert encode_anchor(decode_anchor(data)) == data


def test_the_vectors_are_of_the_contract_that_ships() -> None:
    found = (VECTOR["contract"], VECTOR["code_hash"])
    shipped = chainproof.shipped()
    assert found == (shipped.contract.hex(), shipped.code_hash.hex()), "run tests/vectors/make_anchor_proof.py"


def test_only_the_block_hash_must_be_pinned_beside_the_contract() -> None:
    loose = pinned(chain_id=None, genesis_hash=None, log_id=None)
    assert check_anchor(SAVED, loose, LOGS).size == 4


def test_the_shipped_contract_is_pinned_unless_another_address_is_named() -> None:
    block, other = bytes(32), bytes(range(20))
    assert chainproof.pin(block).contract == chainproof.shipped().contract
    assert chainproof.pin(block, other) == Pinned(block, other, chainproof.shipped().code_hash)


def test_a_proof_of_a_fresh_node_holds_and_one_of_an_unwritten_slot_too(anvil: Anvil) -> None:
    chain, tree = Chain(anvil), Tree()
    log_id = chain.create()
    for sequence, size in enumerate((0, 1, 7, 40)):
        if size:
            chain.anchor(log_id, tree, size, after=(0, 0, 1, 7)[sequence])
        held = of_node(anvil, log_id)
        assert (held.size, held.sequence) == (size, sequence)
        assert held.root == tree.root(held.size)
        assert (held.origin_hash, held.note_key_hash) == (keccak(ORIGIN.encode()), NOTE_KEY)


def test_a_mark_of_equivocation_is_read(anvil: Anvil) -> None:
    chain = Chain(anvil)
    log_id = chain.create()
    chain.equivocate(log_id, 5)
    assert of_node(anvil, log_id).equivocated


def of_node(node: Anvil, log_id: bytes) -> Held:
    reader = EvmReader(node.url)
    header = reader.block("latest")
    data = reader.anchor_proof(header, 31337, bytes(32), CONTRACT, log_id)
    reader.close()
    return check_anchor(data, chainproof.pin(header.block.hash, chain_id=31337, log_id=log_id), [LOG_KEY.verifier])


# --- any other byte ---


@given(at=st.integers(0, len(SAVED) - 1), flip=st.integers(1, 255))
def test_a_proof_with_any_byte_changed_is_refused(at: int, flip: int) -> None:
    changed = SAVED[:at] + bytes([SAVED[at] ^ flip]) + SAVED[at + 1 :]
    with pytest.raises(BadAnchor):
        check_anchor(changed, pinned(), LOGS)


def test_a_proof_that_was_cut_off_anywhere_is_refused() -> None:
    for length in range(len(SAVED)):
        with pytest.raises(BadAnchor):
            check_anchor(SAVED[:length], pinned(), LOGS)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_proof_fail_step_1(data: bytes) -> None:
    refused(data, 1, "anchor proof: ")


# --- step 1: the file ---


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected the format forkledger/anchor-proof/v1"),
        (b"\xff" * 100, "do not parse"),
        (bytes(LONGEST_PROOF + 1), f"expected at most {LONGEST_PROOF} bytes"),
        (wire.AnchorProof(format="forkledger/anchor-proof/v2").SerializeToString(), "expected the format"),
        (wire.AnchorProof(format="forkledger/anchor-proof/v1").SerializeToString(), "expected a chain id"),
        (SAVED + SAVED[:10], "do not parse"),
        (SAVED + b"\x4a\x01x", "deterministic serialisation"),
        (SAVED + b"\x10\x01", "deterministic serialisation"),
    ],
)
def test_a_file_that_is_no_anchor_proof_fails_step_1(data: bytes, said: str) -> None:
    refused(data, 1, said)


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"genesis_hash": bytes(31)},
        {"contract": bytes(21)},
        {"log_id": b""},
        {"header": b""},
        {"header": bytes(2049)},
        {"slots": PROOF.slots[:3]},
        {"account": (b"",)},
        {"account": (bytes(1025),)},
        {"account": (b"x",) * 66},
    ],
)
def test_what_no_proof_can_say_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="anchor proof: expected"):
        replace(PROOF, **changes)


def test_a_proof_longer_than_a_reader_takes_is_not_made() -> None:
    with pytest.raises(Refused, match="expected at most"):
        encode_anchor(replace(PROOF, account=(bytes(1024),) * 65))


# --- step 2: the names ---


@pytest.mark.parametrize("name", ["chain_id", "genesis_hash", "contract", "log_id"])
def test_a_proof_of_another_chain_contract_or_log_fails_step_2(name: str) -> None:
    other = 1 if name == "chain_id" else bytes(20 if name == "contract" else 32)
    error = refused(SAVED, 2, f"{name.replace('_', ' ')}: expected ", **{name: other})
    assert isinstance(error.__cause__, Refused)


# --- step 3: the block ---


def test_a_block_with_another_hash_than_the_trusted_one_fails_step_3() -> None:
    stale = bytes.fromhex(VECTOR["proofs"]["size_3"]["block_hash"])
    refused(SAVED, 3, f"expected 0x{stale.hex()}, the header has 0x", block_hash=stale)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"\xff", "header: expected RLP"),
        (b"\x80", "at least 15 fields"),
        (rlp.encode([b""] * 14), "at least 15 fields"),
        (rlp.encode([b""] * 15), "a state root of 32 bytes"),
        (rlp.encode([*[bytes(32)] * 8, b"\0\1", *[b""] * 6]), "block number: expected an integer"),
        (rlp.encode([*[bytes(32)] * 8, b"\1", b"", b"", [b""], *[b""] * 3]), "block time: expected an integer"),
        (b"\xc1" * 40, "header: expected RLP"),
        (rlp.encode(PROOF.header), "at least 15 fields"),
    ],
)
def test_a_header_that_is_none_fails_step_3_also_if_its_hash_is_trusted(header: bytes, said: str) -> None:
    refused(replace(PROOF, header=header), 3, said, block_hash=keccak(header))


def test_a_header_with_fields_of_a_later_fork_is_read() -> None:
    header = rlp.encode([*rlp.decode(PROOF.header), bytes(32), b"\1"])
    assert chainproof.read_header(header, keccak(header)).number == VECTOR["proofs"]["size_4"]["number"]


# --- step 4: the account ---


def test_another_code_at_the_address_fails_step_4() -> None:
    refused(SAVED, 4, f"code hash: expected LedgerAnchor's, 0x{'00' * 32}, got 0x", code_hash=bytes(32))


def test_an_address_without_an_account_fails_step_4(anvil: Anvil) -> None:
    nobody = bytes(19) + b"\xfe"
    anvil.mine()  # the state root of an anvil's first block leaves out its accounts
    reader = EvmReader(anvil.url)
    header = reader.block("latest")
    data = reader.anchor_proof(header, 31337, bytes(32), nobody, bytes(32))
    reader.close()
    with pytest.raises(BadAnchor, match=r"step 4, .*none at this address"):
        check_anchor(data, chainproof.pin(header.block.hash, nobody), LOGS)


@pytest.mark.parametrize(
    "change",
    [
        lambda nodes: nodes[1:],
        lambda nodes: nodes[:-1],
        lambda nodes: (),
        lambda nodes: nodes[::-1],
        lambda nodes: (*nodes, nodes[0]),
        lambda nodes: (*nodes, b"\x80"),
        lambda nodes: (*nodes[:-1], nodes[-1] + b"\x80"),
        lambda nodes: PROOF.slots[0],
    ],
    ids=["without its root", "without its leaf", "none", "turned", "twice", "one more", "longer", "another trie's"],
)
def test_nodes_that_are_not_exactly_those_on_the_way_fail_step_4_or_5(
    change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]],
) -> None:
    error = refused(replace(PROOF, account=change(PROOF.account)), 4, "account: ")
    assert isinstance(error.__cause__, BadProof)
    for at in range(4):
        slots = [*PROOF.slots]
        slots[at] = change(slots[at]) if slots[at] != change(slots[at]) else PROOF.account
        error = refused(replace(PROOF, slots=tuple(slots)), 5, "storage: ")
        assert isinstance(error.__cause__, BadProof)


# --- step 5: the slots ---


def test_the_slots_of_a_log_in_another_order_fail_step_5() -> None:
    root, figures, origin, key = PROOF.slots
    refused(replace(PROOF, slots=(figures, root, origin, key)), 5, "storage: ")


def test_a_log_that_the_contract_has_not_fails_step_5_and_the_nodes_show_it() -> None:
    data = bytes.fromhex(VECTOR["proofs"]["absent"]["proof"])
    error = refused(data, 5, "the contract has none of this id", log_id=bytes(32))
    assert isinstance(error.__cause__, NotFound)


def test_a_contract_without_storage_has_no_log(anvil: Anvil) -> None:
    Chain(anvil)
    with pytest.raises(BadAnchor, match=r"step 5, .*the contract has none of this id"):
        of_node(anvil, bytes(32))


# --- step 6: the log ---


def test_a_log_of_another_origin_or_note_key_fails_step_6() -> None:
    elsewhere = note.Ed25519Verifier("elsewhere.example/log", LOGS[0].public_key)
    for logs, said in (
        ([elsewhere], "origin: expected 'elsewhere"),
        ([OTHER_KEY], "note key: "),
        ([], "none is known"),
    ):
        with pytest.raises(BadAnchor, match=f"step 6, .*{said}"):
            check_anchor(SAVED, pinned(), logs)
    assert check_anchor(SAVED, pinned(), [elsewhere, OTHER_KEY, *LOGS]).size == 4


# --- step 7: the tree ---


def test_a_checkpoint_that_is_the_anchored_one_or_leads_to_it_or_goes_on_from_it_holds() -> None:
    held, tree = check_anchor(SAVED, pinned(), LOGS), Tree()
    for anchored in (1, 7, 8, 40):
        held = replace(held, size=anchored, root=tree.root(anchored))
        for size in range(1, 41):
            path = tree.path(min(size, anchored), max(size, anchored))
            check_tree(held, size, tree.root(size), path, min(size, anchored))
            with pytest.raises(BadAnchor, match="step 7, "):
                check_tree(held, size, bytes(32), path, 1)
            if path:
                with pytest.raises(BadAnchor, match="step 7, "):
                    check_tree(held, size, tree.root(size), [*path[:-1], bytes(32)], 1)


def test_entries_beyond_the_anchored_ones_are_not_anchored() -> None:
    held, tree = check_anchor(SAVED, pinned(), LOGS), Tree()
    held = replace(held, size=7, root=tree.root(7))
    check_tree(held, 8, tree.root(8), tree.path(7, 8), 7)
    with pytest.raises(BadAnchor, match=r"step 7, .*expected one of 8 entries or more, one of 7 is there"):
        check_tree(held, 8, tree.root(8), tree.path(7, 8), 8)
    with pytest.raises(BadAnchor, match="one of 0 is there"):
        check_tree(replace(held, size=0, root=merkle.EMPTY_ROOT), 8, tree.root(8), [], 1)


# --- beside the steps ---


def test_a_node_that_stands_inside_another_is_no_node_of_the_path() -> None:
    """Where keys share all but their end, a leaf is shorter than a hash and stands in its parent itself."""
    trie = HexaryTrie({})
    near, far = bytes(32), bytes(31) + b"\1"
    trie[near], trie[far] = b"\5", b"\6"
    whole = [rlp.encode(node) for node in trie.get_proof(near)]
    assert [len(node) < 32 for node in whole] == [False, True, True]
    assert chainproof._look_up(trie.root_hash, near, whole[:1], "trie") == b"\5"
    assert chainproof._look_up(trie.root_hash, bytes(31) + b"\2", whole[:1], "trie") == b""
    with pytest.raises(BadProof, match="expected exactly the 1 nodes on the way, 3 came"):
        chainproof._look_up(trie.root_hash, near, whole, "trie")


def test_the_steps_are_numbered_without_gaps() -> None:
    assert list(STEPS) == list(range(1, 8))


def test_the_note_key_hash_is_that_of_what_a_vkey_encodes() -> None:
    assert chainproof.note_key_hash(LOG_KEY.verifier) == sha256(b"\x01" + LOG_KEY.verifier.public_key).digest()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: None) -> None:
    with pytest.raises(Refused, match=r"pip install 'forkledger\[chain\]'"):
        check_anchor(SAVED, pinned(), LOGS)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = builtins.__import__

    def without_trie(name: str, *rest: Any) -> Any:
        if name == "trie":
            raise ImportError(name)
        return real(name, *rest)

    chainproof._libraries.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_trie)
    yield
    chainproof._libraries.cache_clear()
