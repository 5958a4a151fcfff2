"""Identities and signatures: RFC 8032's own vectors, and every signature that two verifiers could disagree about."""

from hashlib import sha256

import pytest

from ledger.errors import BadSignature, Malformed, Refused
from ledger.keys import (
    ED25519,
    PublicKey,
    Signature,
    SigningKey,
    check_fork_id,
    check_signature,
    public_key_from_wire,
    public_key_to_wire,
    signature_from_wire,
    signature_to_wire,
    signed_message,
)

# RFC 8032, section 7.1: seed, public key, message, signature of tests 1 to 3.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493  # L, the order of the base point (RFC 8032, 5.1)
PRIME = 2**255 - 19
KEY = SigningKey(bytes(range(32)))
MESSAGE = b"a message"

# All points of small order: y = 0 and its square roots, 1, -1, and the two of order 8, and the spellings of the same
# y with PRIME added where it fits. Any of them as A or R makes a signature hold that nobody made.
ORDER_8 = (
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
)
SMALL_ORDER = [
    (y | sign << 255).to_bytes(32, "little") for y in (0, 1, PRIME - 1, PRIME, PRIME + 1, *ORDER_8) for sign in (0, 1)
]


def refused(key: PublicKey, raw: bytes, message: bytes = MESSAGE) -> bool:
    try:
        check_signature(key, Signature(key.key_id, ED25519, raw), message)
    except BadSignature:
        return True
    return False


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(seed))
    assert key.public.raw.hex() == public
    made = key.sign(bytes.fromhex(message))
    assert made.raw.hex() == signature
    check_signature(key.public, made, bytes.fromhex(message))


def test_a_key_id_is_over_domain_algorithm_and_key() -> None:
    assert KEY.public.key_id == sha256(b"forkledger/key/v1\0" + b"\x01" + KEY.public.raw).digest()


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    raw = KEY.sign(MESSAGE).raw
    assert not refused(KEY.public, raw)
    for place in range(64 * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        assert refused(KEY.public, bytes(flipped)), place


@pytest.mark.parametrize("times", range(1, 8))
def test_a_second_spelling_of_s_is_refused(times: int) -> None:
    raw = KEY.sign(MESSAGE).raw
    larger = int.from_bytes(raw[32:], "little") + times * ORDER
    assert refused(KEY.public, raw[:32] + larger.to_bytes(32, "little"))


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_of_small_order_signs_nothing(point: bytes) -> None:
    # With A of order 1, R = S * B holds for every message: R is the base point, S is 1.
    base = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
    for attempt in range(8):  # with A of order 8, one message in eight is enough
        assert refused(PublicKey(ED25519, point), base + (1).to_bytes(32, "little"), MESSAGE + bytes([attempt]))


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_an_r_of_small_order_is_refused(point: bytes) -> None:
    # R and S both of nothing, A of small order: the cofactorless equation itself would hold.
    assert refused(PublicKey(ED25519, (1).to_bytes(32, "little")), point + bytes(32))
    assert refused(KEY.public, point + bytes(32))


def test_a_non_canonical_key_is_refused() -> None:
    # y = PRIME + 1 is the neutral element spelt again; y = PRIME + 3 and so on are ordinary points spelt again.
    for extra in range(19):
        for sign in (0, 1):
            key = PublicKey(ED25519, (PRIME + extra | sign << 255).to_bytes(32, "little"))
            assert refused(key, KEY.sign(MESSAGE).raw)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    assert refused(KEY.public, bytes(length))


def test_a_signature_that_names_another_key_is_refused_before_anything_else() -> None:
    made = KEY.sign(MESSAGE)
    with pytest.raises(BadSignature, match="expected key"):
        check_signature(KEY.public, Signature(bytes(32), ED25519, made.raw), MESSAGE)


def test_a_signature_of_another_algorithm_is_refused() -> None:
    made = KEY.sign(MESSAGE)
    with pytest.raises(BadSignature, match="Ed25519"):
        check_signature(KEY.public, Signature(made.key_id, 2, made.raw), MESSAGE)
    with pytest.raises(Refused, match="algorithm"):
        PublicKey(2, bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(Malformed):
        PublicKey(ED25519, bytes(length))
    with pytest.raises(Malformed):
        SigningKey(bytes(length))


def test_topic_origin_and_body_cannot_be_moved_into_each_other() -> None:
    assert signed_message("t/v1", "o", b"body") == b"forkledger/entry/v1\0t/v1\0o\0body"
    messages = {signed_message("t", "oo", b"b"), signed_message("to", "o", b"b"), signed_message("t", "o", b"ob")}
    assert len(messages) == 3


def test_no_repr_shows_a_seed() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed) not in repr(KEY)


def test_keys_and_signatures_come_back_from_the_wire() -> None:
    made = KEY.sign(MESSAGE)
    assert signature_from_wire(signature_to_wire(made)) == made
    assert public_key_from_wire(public_key_to_wire(KEY.public)) == KEY.public


def test_a_fork_id_is_a_random_uuid_in_one_spelling() -> None:
    good = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert check_fork_id(good) == good
    for bad in (
        "",
        good.upper(),
        good.replace("-", ""),
        good + "\n",
        f"{{{good}}}",
        good.replace("-469f-", "-169f-"),  # not a random one
        good.replace("-a165-", "-c165-"),  # another variant
        good[:-1] + "g",
        good[:-1] + "１",  # a digit, but not an ASCII one
    ):
        with pytest.raises(Malformed):
            check_fork_id(bad)
