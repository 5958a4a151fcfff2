"""The library agrees with RFC 9380 and with py_ecc, and takes nothing for a point that is none."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls import G2ProofOfPossession as Bls
from py_ecc.bls.hash_to_curve import hash_to_G2, map_to_curve_G1, map_to_curve_G2
from py_ecc.optimized_bls12_381 import FQ, FQ2, G1, b2, curve_order, field_modulus, is_on_curve, multiply, neg

from contracts.compile import HERE, compile_all
from contracts.tests.bls import SIGNATURE_TAG, Witness, g1, g2, uncompressed
from contracts.tests.chain import Chain
from tests.anvil import running

MESSAGE = b"a message"
WITNESSES = [Witness(secret) for secret in (1, 2, curve_order - 3, 0x5EED)]
RFC_TAG = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"
RFC_HASHES = {  # RFC 9380, J.10.1: P.x and P.y, each c0 and c1
    b"": (
        "0141ebfbdca40eb85b87142e130ab689c673cf60f1a3e98d69335266f30d9b8d4ac44c1038e9dcdd5393faf5c41fb78a",
        "05cb8437535e20ecffaef7752baddf98034139c38452458baeefab379ba13dff5bf5dd71b72418717047f5b0f37da03d",
        "0503921d7f6a12805e72940b963c0cf3471c7b2a524950ca195d11062ee75ec076daf2d4bc358c4b190c0c98064fdd92",
        "12424ac32561493f3fe3c260708a12b7c620e7be00099a974e259ddc7d1f6395c3c811cdd19f1e8dbf3e9ecfdcbab8d6",
    ),
    b"abc": (
        "02c2d18e033b960562aae3cab37a27ce00d80ccd5ba4b7fe0e7a210245129dbec7780ccc7954725f4168aff2787776e6",
        "139cddbccdc5e91b9623efd38c49f81a6f83f175e80b06fc374de9eb4b41dfe4ca3a230ed250fbe3a2acf73a41177fd8",
        "1787327b68159716a37440985269cf584bcb1e621d3a7202be6ea05c4cfe244aeb197642555a0645fb87bf7466b2ba48",
        "0aa65dae3c8d732d10ecd2c50f8a1baf3001578f71c694e03866e9f3d49ac1e1ce70dd94a733534f106d4cec0eddd16",
    ),
}


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    return compile_all(HERE / "tests" / "BlsHarness.sol")["BlsHarness"]


@pytest.fixture(scope="module")
def harness(chain: Chain, compiled: dict[str, Any]) -> Any:
    return chain.deploy(compiled).functions


@pytest.fixture(scope="module")
def signature() -> bytes:
    return uncompressed(WITNESSES[0].sign(MESSAGE))


@pytest.mark.parametrize("message", RFC_HASHES)
def test_a_message_is_hashed_to_the_point_that_the_standard_gives(harness: Any, message: bytes) -> None:
    expected = b"".join(bytes(16) + bytes.fromhex(part.rjust(96, "0")) for part in RFC_HASHES[message])
    assert harness.hashToG2(message, RFC_TAG).call() == expected


@settings(max_examples=10)
@given(message=st.binary(max_size=300), tag=st.binary(min_size=1, max_size=255))
def test_any_message_is_hashed_as_py_ecc_does(harness: Any, message: bytes, tag: bytes) -> None:
    assert harness.hashToG2(message, tag).call() == g2(hash_to_G2(message, tag, Bls.xmd_hash_function))


@settings(max_examples=25)
@given(secret=st.integers(1, curve_order - 1))
def test_any_key_is_compressed_as_py_ecc_does(harness: Any, secret: int) -> None:
    for point in (multiply(G1, secret), neg(multiply(G1, secret))):
        witness = Witness(secret) if point == multiply(G1, secret) else Witness(curve_order - secret)
        assert harness.compress(g1(point)).call() == witness.public


def test_the_sign_of_y_turns_in_the_middle_of_the_field(harness: Any) -> None:
    """At y that no key will ever have: its first 32 bytes are those of the middle."""
    middle = (field_modulus - 1) // 2  # RFC 9380's sgn0 is another sign: here it is whether y > -y
    for y, first in ((0, 0x80), (middle - 1, 0x80), (middle, 0x80), (middle + 1, 0xA0), (field_modulus - 1, 0xA0)):
        assert harness.compress(bytes(64) + y.to_bytes(64, "big")).call() == bytes([first]) + bytes(47)


@pytest.mark.parametrize("which", [0b0001, 0b1000, 0b1010, 0b1111])
def test_the_sum_is_of_the_keys_that_are_named_and_no_other(harness: Any, which: int) -> None:
    secrets = sum(witness.secret for at, witness in enumerate(WITNESSES) if which >> at & 1) % curve_order
    keys = b"".join(witness.key for witness in WITNESSES)
    expected = g1(multiply(G1, secrets)) if secrets else bytes(128)
    assert harness.sum(keys, which).call() == expected


def test_a_key_can_be_added_to_itself_and_to_its_opposite(harness: Any) -> None:
    key, opposite = WITNESSES[3].key, g1(neg(multiply(G1, WITNESSES[3].secret)))
    assert harness.sum(key + key, 3).call() == g1(multiply(G1, 2 * WITNESSES[3].secret))
    assert harness.sum(key + opposite, 3).call() == bytes(128)


def test_no_key_is_infinity(harness: Any) -> None:
    assert harness.sum(WITNESSES[0].key, 0).call() == bytes(128)


def test_a_signature_holds_for_its_key_message_and_tag_alone(harness: Any, signature: bytes) -> None:
    key = WITNESSES[0].key
    assert harness.verify(key, MESSAGE, SIGNATURE_TAG, signature).call()
    assert not harness.verify(WITNESSES[1].key, MESSAGE, SIGNATURE_TAG, signature).call()
    assert not harness.verify(key, MESSAGE + b"\0", SIGNATURE_TAG, signature).call()
    assert not harness.verify(key, MESSAGE, SIGNATURE_TAG + b"\0", signature).call()
    minus = bytearray(signature)
    for at in (128, 192):  # the negative of a point: y is p - y
        y = int.from_bytes(signature[at : at + 64], "big")
        minus[at : at + 64] = (field_modulus - y).to_bytes(64, "big")
    assert not harness.verify(key, MESSAGE, SIGNATURE_TAG, bytes(minus)).call()


def _outside(in_g2: bool) -> bytes:
    """A point that is on the curve and not in the subgroup: one whose cofactor nobody cleared."""
    if in_g2:
        return g2(map_to_curve_G2(FQ2((5, 7))))
    return g1(map_to_curve_G1(FQ(5)))


def _changed(point: bytes, at: int, value: int) -> bytes:
    return point[:at] + value.to_bytes(64, "big") + point[at + 64 :]


NO_KEYS = {
    "not on the curve": _changed(WITNESSES[0].key, 64, 1),
    "not in the subgroup": _outside(in_g2=False),
    "not below p": _changed(WITNESSES[0].key, 0, int.from_bytes(WITNESSES[0].key[:64], "big") + field_modulus),
    "padded with ones": b"\x01" + WITNESSES[0].key[1:],
}


@pytest.mark.parametrize("why", NO_KEYS)
def test_a_key_that_is_no_point_of_the_group_is_refused(chain: Chain, harness: Any, signature: bytes, why: str) -> None:
    verb = harness.verify(NO_KEYS[why], MESSAGE, SIGNATURE_TAG, signature)
    assert chain.refusal(verb) == ("BadPoint",)


@pytest.mark.parametrize("why", ["not on the curve", "not in the subgroup", "not below p", "padded with ones"])
def test_a_signature_that_is_no_point_of_the_group_is_refused(
    chain: Chain, harness: Any, signature: bytes, why: str
) -> None:
    bad = {
        "not on the curve": _changed(signature, 192, 1),
        "not in the subgroup": _outside(in_g2=True),
        "not below p": _changed(signature, 64, int.from_bytes(signature[64:128], "big") + field_modulus),
        "padded with ones": b"\x01" + signature[1:],
    }[why]
    assert chain.refusal(harness.verify(WITNESSES[0].key, MESSAGE, SIGNATURE_TAG, bad)) == ("BadPoint",)


def test_infinity_is_neither_a_key_nor_a_signature(chain: Chain, harness: Any, signature: bytes) -> None:
    key = WITNESSES[0].key
    for pair in ((bytes(128), bytes(256)), (key, bytes(256)), (bytes(128), signature)):
        assert chain.refusal(harness.verify(pair[0], MESSAGE, SIGNATURE_TAG, pair[1])) == ("Infinity",)


@pytest.mark.parametrize("length", [0, 48, 127, 129, 256])
def test_a_key_has_128_bytes(chain: Chain, harness: Any, signature: bytes, length: int) -> None:
    key = (WITNESSES[0].key + bytes(128))[:length]
    assert chain.refusal(harness.verify(key, MESSAGE, SIGNATURE_TAG, signature)) == ("BadLength", 128, length)
    assert chain.refusal(harness.compress(key)) == ("BadLength", 128, length)


@pytest.mark.parametrize("length", [0, 96, 255, 257])
def test_a_signature_has_256_bytes(chain: Chain, harness: Any, signature: bytes, length: int) -> None:
    given = (signature + bytes(1))[:length]
    verb = harness.verify(WITNESSES[0].key, MESSAGE, SIGNATURE_TAG, given)
    assert chain.refusal(verb) == ("BadLength", 256, length)


def test_a_chain_without_the_precompiles_is_named_and_not_believed(compiled: dict[str, Any], signature: bytes) -> None:
    with running("--hardfork", "cancun") as node:
        old = Chain(node)
        harness = old.deploy(compiled).functions
        told = old.refusal(harness.verify(WITNESSES[0].key, MESSAGE, SIGNATURE_TAG, signature))
        assert told == ("NoPrecompile", "0x" + "11".rjust(40, "0"))
        told = old.refusal(harness.sum(WITNESSES[0].key, 1))
        assert told == ("NoPrecompile", "0x" + "0b".rjust(40, "0"))


def test_the_points_outside_of_the_subgroup_are_on_the_curve(harness: Any) -> None:
    """Else the tests above would show less than they say: the additions, which look for the curve alone, take them."""
    assert harness.sum(_outside(in_g2=False), 1).call() == _outside(in_g2=False)
    assert is_on_curve(map_to_curve_G2(FQ2((5, 7))), b2)
