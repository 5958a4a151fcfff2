"""One BLS signature stands for all its signers, each of whom has shown to have the secret of a key."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest
from py_ecc.bls import G2ProofOfPossession as Bls
from py_ecc.bls.g2_primitives import G1_to_pubkey, pubkey_to_G1
from py_ecc.optimized_bls12_381 import G1, add, curve_order, multiply, neg

from contracts.compile import SHIPPED
from contracts.tests.bls import (
    POSSESSION_TAG,
    Witness,
    cosignature,
    g1,
    quorum_id,
    together,
    uncompressed,
)
from contracts.tests.chain import Chain
from tests.anvil import running

LOG, ROOT, OTHER = (sha256(name).digest() for name in (b"log", b"root", b"other"))
SIZE = 1 << 20
WITNESSES = sorted(
    (Witness(int.from_bytes(sha256(bytes([at])).digest(), "big") % curve_order) for at in range(8)),
    key=lambda each: each.key_hash,
)
HASHES = [each.key_hash for each in WITNESSES]
SHIPPED_QUORUM = json.loads((SHIPPED / "WitnessQuorum.json").read_text())


@pytest.fixture(scope="module")
def contract(chain: Chain) -> Any:
    return chain.deploy(SHIPPED_QUORUM)


@pytest.fixture(scope="module")
def six_of_eight(chain: Chain, contract: Any) -> bytes:
    for each in WITNESSES:
        chain.send(contract.functions.registerBlsKey(each.key, each.possession))
    chain.send(contract.functions.createBlsQuorum(6, [each.key for each in WITNESSES]))
    return quorum_id("bls", 6, HASHES)


@pytest.fixture(scope="module")
def signatures() -> list[bytes]:
    """Of the checkpoint, one of each witness, compressed."""
    return [each.sign(cosignature(LOG, SIZE, ROOT)) for each in WITNESSES]


def bits(members: Iterable[int]) -> int:
    return sum(1 << at for at in members)


def cosign(contract: Any, quorum: bytes, signers: int, aggregate: bytes) -> Any:
    return contract.functions.cosignBls(quorum, LOG, SIZE, ROOT, signers, aggregate)


def aggregate_of(signatures: list[bytes], members: Iterable[int]) -> bytes:
    return together(signatures[at] for at in members)


def test_a_quorum_of_one_is_cosigned_by_that_one(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    chain.send(contract.functions.createBlsQuorum(1, [WITNESSES[3].key]))
    quorum = quorum_id("bls", 1, [HASHES[3]])
    chain.send(cosign(contract, quorum, 1, uncompressed(signatures[3])))
    assert contract.functions.isCosigned(quorum, LOG, SIZE, ROOT).call()
    assert not contract.functions.isCosigned(six_of_eight, LOG, SIZE, ROOT).call()


@pytest.mark.parametrize("members", [range(6), range(2, 8), (0, 1, 3, 4, 6, 7), range(7), range(8)])
def test_six_or_more_of_eight_cosign_a_checkpoint_by_what_py_ecc_aggregates(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], members: Iterable[int]
) -> None:
    receipt = chain.send(cosign(contract, six_of_eight, bits(members), aggregate_of(signatures, members)))
    (event,) = contract.events.Cosigned().process_receipt(receipt)
    assert dict(event["args"]) == {
        "quorumId": six_of_eight, "logId": LOG, "size": SIZE, "root": ROOT, "signers": bits(members)
    }  # fmt: skip
    assert contract.functions.isCosigned(six_of_eight, LOG, SIZE, ROOT).call()
    for other in ((OTHER, SIZE, ROOT), (LOG, SIZE + 1, ROOT), (LOG, SIZE, OTHER)):
        assert not contract.functions.isCosigned(six_of_eight, *other).call()


@pytest.mark.parametrize("count", range(6))
def test_fewer_than_six_are_too_few(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], count: int
) -> None:
    aggregate = aggregate_of(signatures, range(count)) if count else bytes(256)
    told = chain.refusal(cosign(contract, six_of_eight, bits(range(count)), aggregate))
    assert told == ("TooFew", 6, count)


def test_who_did_not_sign_cannot_be_named_as_a_signer(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    five, six = aggregate_of(signatures, range(5)), aggregate_of(signatures, range(6))
    assert chain.refusal(cosign(contract, six_of_eight, bits(range(6)), five)) == ("NotSigned",)
    assert chain.refusal(cosign(contract, six_of_eight, bits(range(7)), six)) == ("NotSigned",)
    assert chain.refusal(cosign(contract, six_of_eight, bits(range(1, 7)), six)) == ("NotSigned",)


def test_one_witness_is_not_counted_twice(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    twice = together([*signatures[:5], signatures[4]])
    for signers in (bits(range(5)), bits(range(6)), bits(range(5)) + 16):  # a bit cannot be set twice: it carries
        told = chain.refusal(cosign(contract, six_of_eight, signers, twice))
        assert told in (("TooFew", 6, signers.bit_count()), ("NotSigned",))


@pytest.mark.parametrize("at", [8, 9, 191, 255])
def test_a_signer_beyond_the_last_member_is_nobody(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], at: int
) -> None:
    signers = bits([*range(6), at])
    told = chain.refusal(cosign(contract, six_of_eight, signers, aggregate_of(signatures, range(6))))
    assert told == ("NoSuchMember", signers, 8)


def test_a_strangers_signature_spoils_the_aggregate(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes]
) -> None:
    stranger = Witness(12345).sign(cosignature(LOG, SIZE, ROOT))
    for aggregate in (together([*signatures[:5], stranger]), together([*signatures[:6], stranger])):
        assert chain.refusal(cosign(contract, six_of_eight, bits(range(6)), aggregate)) == ("NotSigned",)


@pytest.mark.parametrize("changed", [(OTHER, SIZE, ROOT), (LOG, SIZE + 1, ROOT), (LOG, SIZE, OTHER)])
def test_an_aggregate_counts_for_its_checkpoint_alone(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], changed: tuple[bytes, int, bytes]
) -> None:
    verb = contract.functions.cosignBls(six_of_eight, *changed, bits(range(6)), aggregate_of(signatures, range(6)))
    assert chain.refusal(verb) == ("NotSigned",)


def test_a_signature_under_another_tag_or_prefix_does_not_count(
    chain: Chain, contract: Any, six_of_eight: bytes
) -> None:
    chain.send(contract.functions.createBlsQuorum(1, [WITNESSES[3].key]))
    quorum, who, message = quorum_id("bls", 1, [HASHES[3]]), WITNESSES[3], cosignature(LOG, SIZE, ROOT)
    bare = message.removeprefix(b"forkledger/cosignature/v1\0")
    for other in (
        Bls._CoreSign(who.secret, message, POSSESSION_TAG),
        who.sign(bare),
        who.sign(b"forkledger/cosignature/v2\0" + bare),
    ):
        assert chain.refusal(cosign(contract, quorum, 1, uncompressed(other))) == ("NotSigned",)


def test_a_cosignature_counts_on_every_chain_where_the_keys_are_a_quorum(
    six_of_eight: bytes, signatures: list[bytes]
) -> None:
    with running("--chain-id", "31338") as node:
        elsewhere = Chain(node)
        there = elsewhere.deploy(SHIPPED_QUORUM)
        for each in WITNESSES[:2]:
            elsewhere.send(there.functions.registerBlsKey(each.key, each.possession))
        elsewhere.send(there.functions.createBlsQuorum(2, [each.key for each in WITNESSES[:2]]))
        quorum = quorum_id("bls", 2, HASHES[:2])
        elsewhere.send(cosign(there, quorum, 0b11, aggregate_of(signatures, range(2))))


@pytest.mark.parametrize("length", [0, 96, 255, 257])
def test_an_aggregate_has_256_bytes(
    chain: Chain, contract: Any, six_of_eight: bytes, signatures: list[bytes], length: int
) -> None:
    aggregate = (aggregate_of(signatures, range(6)) + b"\0")[:length]
    told = chain.refusal(cosign(contract, six_of_eight, bits(range(6)), aggregate))
    assert told == ("BadLength", 256, length)


def test_an_aggregate_at_infinity_counts_for_nobody(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    assert chain.refusal(cosign(contract, six_of_eight, bits(range(6)), bytes(256))) == ("Infinity",)


def test_two_opposite_keys_do_not_sign_everything(chain: Chain, contract: Any) -> None:
    """Their holder can register both. Their sum is infinity, which would hold with the signature at infinity."""
    pair = sorted((Witness(77), Witness(curve_order - 77)), key=lambda each: each.key_hash)
    for each in pair:
        chain.send(contract.functions.registerBlsKey(each.key, each.possession))
    chain.send(contract.functions.createBlsQuorum(2, [each.key for each in pair]))
    quorum = quorum_id("bls", 2, [each.key_hash for each in pair])
    both = together(each.sign(cosignature(LOG, SIZE, ROOT)) for each in pair)
    assert both == bytes(256)
    assert chain.refusal(cosign(contract, quorum, 0b11, both)) == ("Infinity",)


def test_a_rogue_key_would_sign_for_all_and_is_refused_for_lack_of_possession(chain: Chain, contract: Any) -> None:
    # 1. Who knows the victim's key chooses a key whose sum with it is one of their own: then they sign for both, alone.
    victim, attacker = WITNESSES[0], Witness(666)
    rogue = add(multiply(G1, attacker.secret), neg(pubkey_to_G1(victim.public)))
    message = cosignature(LOG, SIZE, ROOT)
    both = [victim.public, G1_to_pubkey(rogue)]
    assert Bls.FastAggregateVerify(both, message, attacker.sign(message))
    # 2. They do not know that key's secret, so no proof of theirs holds for it: not their own key's, not the victim's.
    for secret in (attacker.secret, victim.secret):
        proof = uncompressed(Bls._CoreSign(secret, G1_to_pubkey(rogue), POSSESSION_TAG))
        assert chain.refusal(contract.functions.registerBlsKey(g1(rogue), proof)) == ("NotSigned",)
    for stolen in (victim.possession, attacker.possession):
        assert chain.refusal(contract.functions.registerBlsKey(g1(rogue), stolen)) == ("NotSigned",)


def test_a_key_is_registered_by_its_own_possession_alone(chain: Chain, contract: Any) -> None:
    one, two = Witness(1001), Witness(1002)
    register = contract.functions.registerBlsKey
    assert chain.refusal(register(one.key, two.possession)) == ("NotSigned",)
    signed = uncompressed(one.sign(one.public))  # the right message, as a cosignature
    assert chain.refusal(register(one.key, signed)) == ("NotSigned",)
    of_key = uncompressed(Bls._CoreSign(one.secret, one.key, POSSESSION_TAG))  # of the key uncompressed
    assert chain.refusal(register(one.key, of_key)) == ("NotSigned",)
    assert not contract.functions.registered(one.key_hash).call()
    (event,) = contract.events.BlsKeyRegistered().process_receipt(chain.send(register(one.key, one.possession)))
    assert dict(event["args"]) == {"keyHash": one.key_hash, "publicKey": one.key}
    assert contract.functions.registered(one.key_hash).call()
    assert not chain.send(register(one.key, one.possession), by=chain.people[1])["logs"]


def test_a_key_that_is_no_point_or_infinity_is_not_registered(chain: Chain, contract: Any) -> None:
    one = Witness(1003)
    register = contract.functions.registerBlsKey
    bad = one.key[:-1] + bytes([one.key[-1] ^ 1])
    assert chain.refusal(register(bad, one.possession)) == ("BadPoint",)
    assert chain.refusal(register(bytes(128), bytes(256))) == ("Infinity",)
    assert chain.refusal(register(bytes(128), one.possession)) == ("Infinity",)
    assert chain.refusal(register(one.public, one.possession)) == ("BadLength", 128, 48)
    assert chain.refusal(register(one.key + b"\0", one.possession)) == ("BadLength", 128, 129)
    assert chain.refusal(register(one.key, one.possession[:-1])) == ("BadLength", 256, 255)


def test_a_quorum_is_of_registered_keys_in_ascending_order(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    one, two, three = (each.key for each in WITNESSES[:3])
    create = contract.functions.createBlsQuorum
    for keys, at in (([one, one], 1), ([two, one], 1), ([one, three, two], 2)):
        assert chain.refusal(create(1, keys)) == ("NotAscending", at)
    stranger = Witness(1004)
    assert chain.refusal(create(1, [stranger.key])) == ("NotRegistered", stranger.key_hash)
    longer = one + b"\0"
    assert chain.refusal(create(1, [longer]))[0] == "NotRegistered"
    for threshold, count in ((0, 2), (3, 2), (1, 0)):
        told = chain.refusal(create(threshold, [one, two][:count]))
        assert told == ("BadQuorum", threshold, count)


def test_a_quorum_is_told_and_kept_as_it_was_made(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    keys = [each.key for each in WITNESSES[2:5]]
    receipt = chain.send(contract.functions.createBlsQuorum(2, keys))
    (event,) = contract.events.BlsQuorumCreated().process_receipt(receipt)
    made = quorum_id("bls", 2, HASHES[2:5])
    assert dict(event["args"]) == {"quorumId": made, "threshold": 2, "keyHashes": HASHES[2:5]}
    kind, threshold, count, place = contract.functions.quorums(made).call()
    assert (kind, threshold, count) == (2, 2, 3)
    assert bytes(chain.w3.eth.get_code(place)) == b"\xfe" + b"".join(keys)
    assert not chain.send(contract.functions.createBlsQuorum(2, keys), by=chain.people[1])["logs"]
    assert contract.functions.quorums(made).call()[3] == place


def test_a_bls_quorum_takes_no_ecdsa_signatures(chain: Chain, contract: Any, six_of_eight: bytes) -> None:
    verb = contract.functions.cosignEcdsa(six_of_eight, LOG, SIZE, ROOT, [bytes(65)] * 6)
    assert chain.refusal(verb) == ("NoQuorum", six_of_eight)


@pytest.mark.slow
def test_the_largest_quorum_of_191_keys_can_be_made_and_all_of_it_can_sign(chain: Chain, contract: Any) -> None:
    many = sorted((Witness(2_000_000 + at) for at in range(191)), key=lambda each: each.key_hash)
    for each in many:
        chain.send(contract.functions.registerBlsKey(each.key, each.possession))
    chain.send(contract.functions.createBlsQuorum(191, [each.key for each in many]))
    quorum = quorum_id("bls", 191, [each.key_hash for each in many])
    # The sum of their signatures is the signature of the sum of their secrets.
    secret = sum(each.secret for each in many) % curve_order
    aggregate = uncompressed(Bls.Sign(secret, cosignature(LOG, SIZE, ROOT)))
    receipt = chain.send(cosign(contract, quorum, bits(range(191)), aggregate))
    assert receipt["gasUsed"] < 600_000
    assert chain.refusal(cosign(contract, quorum, bits(range(190)), aggregate)) == ("TooFew", 191, 190)
