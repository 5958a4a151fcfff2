"""Quorums are named by what is in them; ECDSA witnesses are counted once each, and only for what they signed."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from eth_account import Account
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from contracts.compile import SHIPPED
from contracts.tests.bls import quorum_id
from contracts.tests.chain import Chain, typed
from tests.anvil import running

LOG, ROOT, OTHER = (sha256(name).digest() for name in (b"log", b"root", b"other"))
SIZE = 1 << 20
STRUCT = "Checkpoint(bytes32 logId,uint64 size,bytes32 root)"
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
WITNESSES = sorted(
    (Account.from_key(sha256(bytes([at])).digest()) for at in range(8)), key=lambda each: int(each.address, 16)
)
MEMBERS = [each.address for each in WITNESSES]
STRANGER = Account.from_key(sha256(b"stranger").digest())
SHIPPED_QUORUM = json.loads((SHIPPED / "WitnessQuorum.json").read_text())


@pytest.fixture(scope="module")
def contract(chain: Chain) -> Any:
    return chain.deploy(SHIPPED_QUORUM)


@pytest.fixture(scope="module")
def six_of_eight(chain: Chain, contract: Any) -> bytes:
    chain.send(contract.functions.createEcdsaQuorum(6, MEMBERS))
    return quorum_id("ecdsa", 6, MEMBERS)


def signed(chain: Chain, contract: Any, who: Any, log_id: bytes = LOG, size: int = SIZE, root: bytes = ROOT) -> bytes:
    message = {"logId": log_id, "size": size, "root": root}
    return bytes(who.sign_message(typed(chain, contract, "WitnessQuorum", STRUCT, message)).signature)


@pytest.fixture(scope="module")
def signatures(chain: Chain, contract: Any) -> list[bytes]:
    """Of the checkpoint, one of each witness."""
    return [signed(chain, contract, each) for each in WITNESSES]


def cosign(contract: Any, quorum: bytes, signatures: Sequence[bytes]) -> Any:
    return contract.functions.cosignEcdsa(quorum, LOG, SIZE, ROOT, list(signatures))


def test_a_quorum_of_one_is_cosigned_by_that_one(chain: Chain, contract: Any, signatures: list[bytes]) -> None:
    chain.send(contract.functions.createEcdsaQuorum(1, MEMBERS[:1]))
    quorum = quorum_id("ecdsa", 1, MEMBERS[:1])
    assert not contract.functions.isCosigned(quorum, LOG, SIZE, ROOT).call()
    chain.send(cosign(contract, quorum, signatures[:1]))
    assert contract.functions.isCosigned(quorum, LOG, SIZE, ROOT).call()


def test_what_was_cosigned_is_this_checkpoint_by_this_quorum_and_no_other(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    receipt = chain.send(cosign(contract, six_of_eight, signatures[2:]))
    (event,) = contract.events.Cosigned().process_receipt(receipt)
    assert dict(event["args"]) == {
        "quorumId": six_of_eight, "logId": LOG, "size": SIZE, "root": ROOT, "signers": 0b11111100
    }  # fmt: skip
    asked = contract.functions.isCosigned
    assert asked(six_of_eight, LOG, SIZE, ROOT).call()
    for other in (
        asked(OTHER, LOG, SIZE, ROOT),
        asked(six_of_eight, OTHER, SIZE, ROOT),
        asked(six_of_eight, LOG, SIZE + 1, ROOT),
        asked(six_of_eight, LOG, SIZE, OTHER),
    ):
        assert not other.call()


def test_cosigned_again_by_others_is_told_again(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    for brought, signers in ((signatures[2:], 0b11111100), (signatures, 0b11111111)):
        (event,) = contract.events.Cosigned().process_receipt(chain.send(cosign(contract, six_of_eight, brought)))
        assert event["args"]["signers"] == signers


@given(chosen=st.sets(st.integers(0, 7)))
def test_any_signers_are_enough_exactly_when_they_are_six(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], chosen: set[int]
) -> None:
    verb = cosign(contract, six_of_eight, [signatures[at] for at in sorted(chosen)])
    if len(chosen) >= 6:
        verb.call()
    else:
        assert chain.refusal(verb) == ("TooFew", 6, len(chosen))


@given(order=st.permutations(range(8)), taken=st.integers(6, 8))
def test_signatures_in_any_other_order_are_refused(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], order: list[int], taken: int
) -> None:
    order = order[:taken]
    verb = cosign(contract, six_of_eight, [signatures[at] for at in order])
    if order == sorted(order):
        verb.call()
    else:
        first = next(at for at in range(1, taken) if order[at] < order[at - 1])
        assert chain.refusal(verb) == ("NotAscending", first)


@pytest.mark.parametrize("at", range(5))
def test_one_witness_is_not_counted_twice(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], at: int
) -> None:
    given = sorted([*range(5), at])
    verb = cosign(contract, six_of_eight, [signatures[each] for each in given])
    assert chain.refusal(verb) == ("NotAscending", at + 1)


def test_a_signature_spelled_otherwise_is_none(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    good = signatures[5]
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    other_half = r + (SECP256K1_ORDER - s).to_bytes(32, "big") + bytes([55 - v])  # recovers the same signer
    short_v = good[:64] + bytes([v - 27])
    compact = r + (s | (v - 27) << 255).to_bytes(32, "big")  # EIP-2098
    for bad in (other_half, short_v, compact, b"", good[:64], good + b"\0", bytes(65)):
        assert chain.refusal(cosign(contract, six_of_eight, [*signatures[:5], bad])) == ("BadSignature",), bad.hex()


def test_a_stranger_does_not_count_wherever_it_stands(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    strange = signed(chain, contract, STRANGER)
    below = [at for at, each in enumerate(WITNESSES) if int(each.address, 16) < int(STRANGER.address, 16)]
    given = [*(signatures[at] for at in below), strange, *(signatures[at] for at in range(8) if at not in below)]
    assert chain.refusal(cosign(contract, six_of_eight, given)) == ("NotMember", six_of_eight, STRANGER.address.lower())


def test_a_member_beyond_the_last_is_a_stranger(chain: Chain, contract: Any, signatures: list[bytes]) -> None:
    chain.send(contract.functions.createEcdsaQuorum(2, MEMBERS[:2]))
    quorum = quorum_id("ecdsa", 2, MEMBERS[:2])
    told = chain.refusal(cosign(contract, quorum, [signatures[1], signatures[7]]))
    assert told == ("NotMember", quorum, MEMBERS[7].lower())


@pytest.mark.parametrize("other", [(OTHER, SIZE, ROOT), (LOG, SIZE + 1, ROOT), (LOG, SIZE, OTHER)])
def test_a_signature_of_another_checkpoint_does_not_count(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], other: tuple[bytes, int, bytes]
) -> None:
    last = signed(chain, contract, WITNESSES[7], *other)
    told = chain.refusal(cosign(contract, six_of_eight, [*signatures[:5], last]))
    assert told[0] in ("NotMember", "NotAscending")  # it is somebody's, whose nobody knows
    told = chain.refusal(contract.functions.cosignEcdsa(six_of_eight, *other, signatures))
    assert told[0] in ("NotMember", "NotAscending")


def test_a_signature_for_another_chain_or_contract_does_not_count(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    message = {"logId": LOG, "size": SIZE, "root": ROOT}
    right = typed(chain, contract, "WitnessQuorum", STRUCT, message)
    assert bytes(WITNESSES[7].sign_message(right).signature) == signatures[7]
    with running("--chain-id", "31338") as node:
        elsewhere = Chain(node)
        there = elsewhere.deploy(SHIPPED_QUORUM)
        assert there.address == contract.address  # one address everywhere: the chain id alone tells them apart
        foreign = [signed(elsewhere, there, each) for each in WITNESSES]
        elsewhere.send(there.functions.createEcdsaQuorum(6, MEMBERS))
        elsewhere.send(cosign(there, six_of_eight, foreign))
    assert chain.refusal(cosign(contract, six_of_eight, foreign))[0] in ("NotMember", "NotAscending")
    for name, where in (("LedgerAnchor", contract.address), ("WitnessQuorum", STRANGER.address)):
        domain = typed(chain, type("Other", (), {"address": where}), name, STRUCT, message)
        foreign = [bytes(each.sign_message(domain).signature) for each in WITNESSES]
        assert chain.refusal(cosign(contract, six_of_eight, foreign))[0] in ("NotMember", "NotAscending")


def test_a_quorum_is_told_and_kept_as_it_was_made(chain: Chain, contract: Any) -> None:
    members = [*MEMBERS[:3], MEMBERS[5]]
    receipt = chain.send(contract.functions.createEcdsaQuorum(2, members))
    (event,) = contract.events.EcdsaQuorumCreated().process_receipt(receipt)
    made = quorum_id("ecdsa", 2, members)
    assert dict(event["args"]) == {"quorumId": made, "threshold": 2, "members": members}
    kind, threshold, count, place = contract.functions.quorums(made).call()
    assert (kind, threshold, count) == (1, 2, 4)
    code = bytes(chain.w3.eth.get_code(place))
    assert code == b"\xfe" + b"".join(bytes.fromhex(each[2:]).rjust(32, b"\0") for each in members)


def test_nobody_can_call_the_code_that_holds_the_members_or_send_it_money(
    chain: Chain, contract: Any, six_of_eight: bytes
) -> None:
    place = contract.functions.quorums(six_of_eight).call()[3]
    for value in ("0x0", "0x1"):
        with pytest.raises(RuntimeError, match="InvalidFEOpcode"):
            chain.node.call("eth_call", {"from": chain.people[0], "to": place, "value": value}, "latest")


def test_a_quorum_made_again_stays_as_it_is(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    before = contract.functions.quorums(six_of_eight).call()
    receipt = chain.send(contract.functions.createEcdsaQuorum(6, MEMBERS), by=chain.people[1])
    assert not receipt["logs"]
    assert contract.functions.quorums(six_of_eight).call() == before


@pytest.mark.parametrize(("threshold", "count"), [(0, 8), (9, 8), (0, 0), (1, 0), (255, 8)])
def test_a_threshold_is_between_one_and_all(chain: Chain, contract: Any, threshold: int, count: int) -> None:
    verb = contract.functions.createEcdsaQuorum(threshold, MEMBERS[:count])
    assert chain.refusal(verb) == ("BadQuorum", threshold, count)


def test_members_ascend_so_that_one_is_a_member_once(chain: Chain, contract: Any) -> None:
    one, two, three = MEMBERS[:3]
    for members, at in (([one, one], 1), ([two, one], 1), ([one, three, two], 2), (["0x" + "0" * 40, one], 0)):
        assert chain.refusal(contract.functions.createEcdsaQuorum(1, members)) == ("NotAscending", at)


def test_a_quorum_has_at_most_191_members(chain: Chain, contract: Any) -> None:
    addresses = [to_checksum_address(f"0x{at:040x}") for at in range(1, 193)]
    chain.send(contract.functions.createEcdsaQuorum(191, addresses[:191]))
    assert contract.functions.quorums(quorum_id("ecdsa", 191, addresses[:191])).call()[1:3] == [191, 191]
    assert chain.refusal(contract.functions.createEcdsaQuorum(1, addresses)) == ("BadQuorum", 1, 192)


def test_a_quorum_that_nobody_made_cosigns_nothing(chain: Chain, contract: Any, signatures: list[bytes]) -> None:
    assert chain.refusal(cosign(contract, OTHER, signatures)) == ("NoQuorum", OTHER)
    assert chain.refusal(cosign(contract, OTHER, [])) == ("NoQuorum", OTHER)
    verb = contract.functions.cosignBls(OTHER, LOG, SIZE, ROOT, 0, b"")
    assert chain.refusal(verb) == ("NoQuorum", OTHER)


def test_a_quorum_signs_in_its_own_way_only(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    verb = contract.functions.cosignBls(six_of_eight, LOG, SIZE, ROOT, 0b111111, bytes(256))
    assert chain.refusal(verb) == ("NoQuorum", six_of_eight)


def test_a_last_checkpoint_can_be_cosigned_too(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    largest = 2**64 - 1
    given = [signed(chain, contract, each, size=largest) for each in WITNESSES]
    contract.functions.cosignEcdsa(six_of_eight, LOG, largest, ROOT, given).call()
