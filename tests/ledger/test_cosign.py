"""Cosignatures: against those of another program, every changed byte, and the witness's rule case by case."""

import base64
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint, note
from ledger.checkpoint import Checkpoint
from ledger.cosign import (
    MAX_TIME,
    Ed25519CosignatureVerifier,
    Ed25519Cosigner,
    MlDsa44Signer,
    MlDsa44Verifier,
    check_growth,
    cosigned_at,
    verifier_from_vkey,
)
from ledger.errors import BadProof, BadSignature, LedgerError, Malformed, Refused, SplitView, StaleSize
from ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash, prove_consistency
from ledger.note import Ed25519Signer, open_note

VECTORS = Path(__file__).parents[1] / "vectors" / "c2sp"  # its README says where they are from
COSIGNED = (VECTORS / "cosigned.txt").read_bytes()
POLICY = (VECTORS / "policy.txt").read_text()
MLDSA_LOG = (VECTORS / "mldsa_log.txt").read_bytes()
MLDSA_LOG_VKEY = (VECTORS / "mldsa_log.vkey").read_text()

ORIGIN, NAME, TIME = "forkledger.example/log", "witness.example/w1", 1_790_866_138
SEED = bytes(range(32))
TREE = Checkpoint(ORIGIN, 20852163, leaf_hash(b"a root"))
TEXT = TREE.encode()

ED25519 = Ed25519Cosigner(NAME, SEED, lambda: TIME)
ML_DSA = MlDsa44Signer(NAME, SEED, lambda: TIME)
BOTH = pytest.mark.parametrize("signer", [ED25519, ML_DSA], ids=["Ed25519", "ML-DSA-44"])


def vkeys() -> list[str]:
    return [word for line in POLICY.splitlines() for word in line.split() if word.count("+") >= 2]


# --- against other programs ---


def test_another_program_s_cosignatures_of_both_types_hold() -> None:
    opened = open_note(COSIGNED, [verifier_from_vkey(vkey) for vkey in vkeys()])
    assert [each.name.removeprefix("example.com/") for each in opened.signatures] == ["log", "w1", "w2", "w3", "pq"]
    assert [cosigned_at(each.signature) for each in opened.signatures[1:]] == [TIME] * 4


def test_another_log_s_own_ml_dsa_signature_with_time_zero_holds() -> None:
    verifier = MlDsa44Verifier.from_vkey(MLDSA_LOG_VKEY)
    assert checkpoint.open_checkpoint(MLDSA_LOG, "example.com/mldsa-log", [verifier]).size == 1
    (signature,) = open_note(MLDSA_LOG, [verifier]).signatures
    assert cosigned_at(signature.signature) == 0


def test_keys_of_other_programs_are_read_and_written_back() -> None:
    for vkey in [*vkeys(), MLDSA_LOG_VKEY]:
        assert verifier_from_vkey(vkey).vkey == vkey


def test_the_standard_s_example_has_the_time_that_its_message_shows() -> None:
    # c2sp.org/tlog-cosignature: "time 1679315147". The key behind it is not published.
    blob = "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    assert cosigned_at(base64.b64decode(blob)[4:]) == 1679315147


def test_a_time_is_read_where_go_reads_it_and_not_from_a_signature_that_has_none() -> None:
    # github.com/transparency-dev/formats, note/note_cosigv1_test.go, TestCosignatureTimestamp.
    blob = "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
    assert cosigned_at(base64.b64decode(blob)[4:]) == 1727964367
    blob = "eQjRQm6eSKzFoiYalgwCPXu2y3ijtg68is9M46JKxuZB+dRfTmeQeDBoXnvxZx2ugnkyV+MUMLXpWs1hPb/W/4xkNQY="
    with pytest.raises(Malformed, match="expected 72 or 2428 bytes, 64 came"):
        cosigned_at(base64.b64decode(blob)[4:])
    with pytest.raises(Malformed, match="at most 2\\^63 - 1"):
        cosigned_at(b"\x80" + bytes(71))


# --- what is signed, spelled out a second time ---


def test_an_ed25519_cosignature_is_over_two_lines_and_the_note_s_text() -> None:
    signature = ED25519.sign(TEXT)
    assert signature[:8] == TIME.to_bytes(8, "big")
    key = Ed25519PublicKey.from_public_bytes(ED25519.verifier.public_key)
    key.verify(signature[8:], b"cosignature/v1\ntime 1790866138\n" + TEXT)


def test_an_ml_dsa_cosignature_is_over_the_cosigned_message_with_an_empty_context() -> None:
    signature = ML_DSA.sign(TEXT)
    assert signature[:8] == TIME.to_bytes(8, "big")
    message = (
        b"subtree/v1\n\x00"
        + b"\x12witness.example/w1"
        + b"\x00\x00\x00\x00\x6a\xbe\x72\xda"
        + b"\x16forkledger.example/log"
        + b"\x00\x00\x00\x00\x00\x00\x00\x00"
        + b"\x00\x00\x00\x00\x01\x3e\x2d\xc3"
        + leaf_hash(b"a root")
    )
    key = MLDSA44PublicKey.from_public_bytes(ML_DSA.verifier.public_key)
    key.verify(signature[8:], message, b"")
    with pytest.raises(InvalidSignature):
        key.verify(signature[8:], message, b"a context")


def test_a_log_signs_its_checkpoint_with_both_types_and_witnesses_add_theirs() -> None:
    ed25519, ml_dsa = Ed25519Signer(ORIGIN, SEED), MlDsa44Signer(ORIGIN, SEED, lambda: 0)
    signed = checkpoint.sign(TREE, ed25519, ml_dsa)
    known: tuple[list[note.Verifier], ...] = ([ed25519.verifier], [ml_dsa.verifier])
    for verifiers in (*known, [each for one in known for each in one]):
        assert checkpoint.open_checkpoint(signed, ORIGIN, verifiers) == TREE
    cosigned = signed + b"".join(
        note.Signature(signer.name, signer.key_id, signer.sign(TEXT)).encode() for signer in (ED25519, ML_DSA)
    )
    opened = open_note(cosigned, [ed25519.verifier, ml_dsa.verifier, ED25519.verifier, ML_DSA.verifier])
    assert [each.name for each in opened.signatures] == [ORIGIN, ORIGIN, NAME, NAME]


def test_a_witness_does_not_stand_in_for_the_log() -> None:
    signed = note.sign(TEXT, [ED25519, ML_DSA])
    with pytest.raises(BadSignature, match="by the log"):
        checkpoint.open_checkpoint(signed, ORIGIN, [ED25519.verifier, ML_DSA.verifier])


# --- what does not hold ---


@BOTH
def test_no_changed_byte_of_a_signature_holds(signer: Ed25519Cosigner | MlDsa44Signer) -> None:
    signature = signer.sign(TEXT)
    for i in range(len(signature)):
        changed = bytearray(signature)
        changed[i] ^= 1 << i % 8
        with pytest.raises(BadSignature):
            signer.verifier.verify(TEXT, bytes(changed))


@BOTH
def test_no_changed_byte_of_the_text_holds(signer: Ed25519Cosigner | MlDsa44Signer) -> None:
    signature = signer.sign(TEXT)
    for i in range(len(TEXT)):
        changed = bytearray(TEXT)
        changed[i] ^= 1 << i % 7
        with pytest.raises((BadSignature, Malformed)):
            signer.verifier.verify(bytes(changed), signature)


@BOTH
@pytest.mark.parametrize("cut", [0, 8, 71, -1])
def test_a_signature_of_another_length_does_not_hold(signer: Ed25519Cosigner | MlDsa44Signer, cut: int) -> None:
    signature = signer.sign(TEXT)
    for other in (signature[:cut], signature + b"\x00"):
        with pytest.raises(BadSignature, match=f"expected {len(signature)} bytes"):
            signer.verifier.verify(TEXT, other)


@BOTH
def test_a_time_beyond_2_to_63_does_not_hold_even_if_signed(signer: Ed25519Cosigner | MlDsa44Signer) -> None:
    signature = (MAX_TIME + 1).to_bytes(8, "big") + signer.sign(TEXT)[8:]
    with pytest.raises(BadSignature, match="time of at most"):
        signer.verifier.verify(TEXT, signature)


@pytest.mark.parametrize("time", [-1, MAX_TIME + 1])
def test_a_clock_that_is_out_of_range_signs_nothing(time: int) -> None:
    for signer in (Ed25519Cosigner(NAME, SEED, lambda: time), MlDsa44Signer(NAME, SEED, lambda: time)):
        with pytest.raises(Malformed, match="cosignature time"):
            signer.sign(TEXT)


@BOTH
@pytest.mark.parametrize("text", [b"any text\n", TEXT + b"an extension line\n", TEXT[:-1], b""])
def test_nothing_but_a_checkpoint_is_cosigned(signer: Ed25519Cosigner | MlDsa44Signer, text: bytes) -> None:
    with pytest.raises(Malformed):
        signer.sign(text)


def test_an_ml_dsa_key_verifies_no_text_but_a_checkpoint() -> None:
    # The signed message holds origin, size and root alone: without this an extension line would pass unsigned.
    with pytest.raises(Malformed):
        ML_DSA.verifier.verify(TEXT + b"an extension line\n", ML_DSA.sign(TEXT))


def test_an_ml_dsa_cosignature_names_its_cosigner_and_an_ed25519_one_does_not() -> None:
    with pytest.raises(BadSignature):
        MlDsa44Verifier("witness.example/w2", ML_DSA.verifier.public_key).verify(TEXT, ML_DSA.sign(TEXT))
    Ed25519CosignatureVerifier("witness.example/w2", ED25519.verifier.public_key).verify(TEXT, ED25519.sign(TEXT))


def test_a_log_s_plain_signature_is_no_cosignature_of_the_same_key_and_the_other_way_round() -> None:
    log = Ed25519Signer(NAME, SEED)
    with pytest.raises(BadSignature):
        ED25519.verifier.verify(TEXT, TIME.to_bytes(8, "big") + log.sign(TEXT))
    with pytest.raises(BadSignature):
        log.verifier.verify(TEXT, ED25519.sign(TEXT)[8:])
    assert len({log.key_id, ED25519.key_id, ML_DSA.key_id}) == 3


def test_names_longer_than_their_length_byte_are_refused_for_ml_dsa() -> None:
    MlDsa44Signer("n" * 255, SEED, lambda: TIME).sign(Checkpoint("o" * 255, 1, TREE.root).encode())
    with pytest.raises(Malformed, match="key name: expected at most 255 bytes"):
        MlDsa44Signer("ü" * 128, SEED, lambda: TIME)
    with pytest.raises(Malformed, match="origin: expected at most 255 bytes"):
        ML_DSA.sign(Checkpoint("o" * 256, 1, TREE.root).encode())


@given(st.text(min_size=1, max_size=40), st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.integers(0))
def test_any_checkpoint_that_is_cosigned_verifies(origin: str, size: int, root: bytes, time: int) -> None:
    try:
        text = Checkpoint(origin, size, root).encode()
    except Malformed:
        return
    time %= MAX_TIME + 1
    for signer in (Ed25519Cosigner(NAME, SEED, lambda: time), MlDsa44Signer(NAME, SEED, lambda: time)):
        signature = signer.sign(text)
        signer.verifier.verify(text, signature)
        assert cosigned_at(signature) == time
        assert verifier_from_vkey(signer.vkey) == signer.verifier


# --- keys ---


def test_secret_keys_come_back_from_their_text_form() -> None:
    ed25519 = Ed25519Cosigner.from_skey(ED25519.skey(), lambda: TIME)
    ml_dsa = MlDsa44Signer.from_skey(ML_DSA.skey(), lambda: TIME)
    assert (ed25519.seed, ed25519.vkey) == (SEED, ED25519.vkey)
    assert (ml_dsa.seed, ml_dsa.vkey) == (SEED, ML_DSA.vkey)


def test_a_secret_key_of_another_type_is_refused() -> None:
    plain = Ed25519Signer(NAME, SEED).skey()
    for skey in (plain, ML_DSA.skey()):
        with pytest.raises(Malformed, match="expected signature type 0x04"):
            Ed25519Cosigner.from_skey(skey, lambda: TIME)
    for skey in (plain, ED25519.skey()):
        with pytest.raises(Malformed, match="expected signature type 0x06"):
            MlDsa44Signer.from_skey(skey, lambda: TIME)


@BOTH
def test_no_changed_character_of_a_secret_key_is_read(signer: Ed25519Cosigner | MlDsa44Signer) -> None:
    skey = signer.skey()
    for i in range(0, len(skey), 3):
        changed = skey[:i] + chr(ord(skey[i]) + 1) + skey[i + 1 :]
        with pytest.raises(Malformed):
            type(signer).from_skey(changed, lambda: TIME)


@BOTH
def test_a_secret_shows_in_no_repr(signer: Ed25519Cosigner | MlDsa44Signer) -> None:
    assert repr(signer) == f"{type(signer).__name__}(name='{NAME}')"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    for make in (Ed25519Cosigner, MlDsa44Signer):
        with pytest.raises(Malformed, match="seed: expected 32 bytes"):
            make(NAME, bytes(length), lambda: TIME)
    for verifier in (Ed25519CosignatureVerifier, MlDsa44Verifier):
        with pytest.raises(Malformed, match="public key: expected"):
            verifier(NAME, bytes(length))


def test_verifier_keys_are_told_apart_by_their_type() -> None:
    plain = Ed25519Signer(NAME, SEED).verifier
    for verifier in (plain, ED25519.verifier, ML_DSA.verifier):
        assert verifier_from_vkey(verifier.vkey) == verifier
    with pytest.raises(Malformed, match="expected signature type 0x04, 0x06 came"):
        Ed25519CosignatureVerifier.from_vkey(ML_DSA.vkey)
    with pytest.raises(Malformed, match="expected signature type 0x06, 0x01 came"):
        MlDsa44Verifier.from_vkey(plain.vkey)


@pytest.mark.parametrize("signature_type", [0x00, 0x02, 0x05, 0x07, 0xFF])
def test_a_verifier_key_of_an_unknown_type_is_refused(signature_type: int) -> None:
    with pytest.raises(Malformed, match=f"0x01, 0x04 or 0x06, {signature_type:#04x} came"):
        verifier_from_vkey(note.encode_vkey(NAME, signature_type, bytes(32)))


# --- the witness's rule ---

LEAVES = [leaf_hash(b"entry %d" % i) for i in range(20)]


def tree(size: int, fork: bytes = b"") -> tuple[Checkpoint, list[bytes]]:
    frontier, hashes = Frontier(), list[bytes]()
    for i in range(size):
        hashes += frontier.append(leaf_hash(fork) if fork and i == 4 else LEAVES[i])
    return Checkpoint(ORIGIN, size, frontier.root()), hashes


def proof(old: int, new: int, fork: bytes = b"") -> list[bytes]:
    _, hashes = tree(new, fork)
    return prove_consistency(old, new, lambda wanted: [hashes[place] for place in wanted])


def test_a_first_checkpoint_of_any_size_is_cosigned_without_proof() -> None:
    for size in range(20):
        check_growth(None, 0, [], tree(size)[0])


def test_growth_from_the_stored_checkpoint_is_cosigned() -> None:
    for old in range(20):
        for new in range(old, 20):
            check_growth(tree(old)[0], old, proof(old, new), tree(new)[0])


def test_an_old_size_above_the_new_one_is_malformed_even_where_it_is_the_stored_one() -> None:
    for known in (None, tree(3)[0], tree(9)[0]):
        with pytest.raises(Malformed, match="from 0 to it, 9 came"):
            check_growth(known, 9, [], tree(7)[0])


def test_an_old_size_that_is_not_the_stored_one_is_stale_and_names_that() -> None:
    for known, stored in ((None, 0), (tree(5)[0], 5), (tree(12)[0], 12)):
        for old in set(range(8)) - {stored}:
            with pytest.raises(StaleSize) as caught:
                check_growth(known, old, proof(old, 8), tree(8)[0])
            assert caught.value.size == stored


def test_another_root_at_the_stored_size_is_a_split_view_whatever_the_old_size() -> None:
    known, other = tree(7)[0], tree(7, b"another")[0]
    for old in range(8):
        with pytest.raises(SplitView) as caught:
            check_growth(known, old, [], other)
        assert caught.value.size == 7


def test_a_larger_tree_of_another_history_has_no_proof_that_holds() -> None:
    known, other = tree(7)[0], tree(12, b"another")[0]
    for claimed in (proof(7, 12), proof(7, 12, b"another"), []):
        with pytest.raises(BadProof):
            check_growth(known, 7, claimed, other)


def test_the_same_checkpoint_again_is_cosigned_but_not_with_a_proof() -> None:
    known = tree(7)[0]
    check_growth(known, 7, [], known)
    with pytest.raises(BadProof, match="expected no hashes"):
        check_growth(known, 7, [LEAVES[0]], known)


def test_a_first_checkpoint_with_a_proof_is_refused() -> None:
    with pytest.raises(BadProof, match="expected no hashes"):
        check_growth(None, 0, [LEAVES[0]], tree(7)[0])


def test_an_empty_tree_that_was_cosigned_is_as_nothing_cosigned() -> None:
    check_growth(Checkpoint(ORIGIN, 0, EMPTY_ROOT), 0, [], tree(7)[0])


def test_another_log_s_checkpoint_is_never_growth() -> None:
    with pytest.raises(Refused, match="expected the log"):
        check_growth(Checkpoint("other.example/log", 0, EMPTY_ROOT), 0, [], tree(7)[0])


@given(st.integers(1, 19), st.integers(1, 19), st.data())
def test_a_changed_proof_is_never_cosigned(old: int, new: int, data: st.DataObject) -> None:
    claimed = proof(min(old, new), max(old, new))
    if not claimed:
        return
    at = data.draw(st.integers(0, len(claimed) - 1))
    changed = bytearray(claimed[at])
    changed[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    claimed[at] = bytes(changed)
    with pytest.raises(LedgerError):
        check_growth(tree(min(old, new))[0], min(old, new), claimed, tree(max(old, new))[0])
