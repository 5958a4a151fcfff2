"""The C2SP checkpoint: our golden vectors, those of other logs, and all that is nearly a checkpoint."""

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.checkpoint import Checkpoint, open_checkpoint, parse, sign
from ledger.errors import BadSignature, LedgerError, Malformed, Refused
from ledger.merkle import EMPTY_ROOT, Frontier, check_consistency, leaf_hash
from ledger.note import Ed25519Signer, Ed25519Verifier

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "checkpoint.json").read_text("utf-8"))
OURS: list[dict[str, Any]] = VECTORS["ours"]
FOREIGN: list[dict[str, Any]] = VECTORS["foreign"]

ORIGIN = "forkledger.example/log"
ROOT = leaf_hash(b"a root")
SIGNER = Ed25519Signer(ORIGIN, bytes(range(32)))
WITNESS = Ed25519Signer("witness.example/w1", bytes([7]) * 32)
CHECKPOINT = Checkpoint(ORIGIN, 20852163, ROOT)
SIGNED = sign(CHECKPOINT, SIGNER)


def checkpoint_of(vector: dict[str, Any]) -> Checkpoint:
    return Checkpoint(vector["origin"], vector["size"], bytes.fromhex(vector["root"]))


# --- golden vectors ---


@pytest.mark.parametrize("vector", OURS, ids=lambda v: str(v["size"]))
def test_a_checkpoint_is_signed_to_the_bytes_of_the_vector(vector: dict[str, Any]) -> None:
    signer = Ed25519Signer(vector["origin"], bytes.fromhex(vector["seed"]))
    assert signer.vkey == vector["vkey"]
    assert sign(checkpoint_of(vector), signer) == vector["signed"].encode()


@pytest.mark.parametrize("vector", OURS + FOREIGN, ids=lambda v: f"{v['origin'][:10]}-{v['size']}")
def test_the_signed_bytes_of_the_vector_open_to_its_checkpoint(vector: dict[str, Any]) -> None:
    verifier = Ed25519Verifier.from_vkey(vector["vkey"])
    assert open_checkpoint(vector["signed"].encode(), vector["origin"], [verifier]) == checkpoint_of(vector)


@pytest.mark.parametrize("vector", OURS + FOREIGN, ids=lambda v: f"{v['origin'][:10]}-{v['size']}")
def test_the_signature_of_the_vector_is_over_the_three_lines_says_another_implementation(
    vector: dict[str, Any],
) -> None:
    text, line = vector["signed"].split("\n\n")
    blob = base64.b64decode(line.strip().rsplit(" ", 1)[1])
    key = base64.b64decode(vector["vkey"].split("+", 2)[2])
    assert key[0] == 1
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(blob[4:], text.encode() + b"\n")
    if "seed" in vector:
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["seed"]))
        assert private.sign(text.encode() + b"\n") == blob[4:]


def test_the_roots_of_our_vectors_are_those_of_their_leaves() -> None:
    frontier, roots = Frontier(), {0: EMPTY_ROOT}
    for index in range(1000):
        frontier.append(leaf_hash(b"entry %d" % index))
        roots[frontier.size] = frontier.root()
    for vector in OURS:
        assert vector["size"] > 1000 or vector["root"] == roots[vector["size"]].hex()


def test_another_log_s_checkpoints_are_consistent() -> None:
    old, new = (checkpoint_of(each) for each in FOREIGN)
    growth = VECTORS["foreign_growth"]
    assert (old.size, new.size) == (growth["old"], growth["new"])
    check_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(each) for each in growth["proof"]])


def test_the_standard_s_example_is_parsed_and_written_back() -> None:
    # c2sp.org/tlog-checkpoint. The key behind its signature is not published.
    text = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoint.encode() == text


def test_go_s_tree_is_parsed_and_written_back() -> None:
    # golang.org/x/mod/sumdb/tlog, note_test.go: the root is the leaf hash of "hello world"; the origin has spaces.
    text = b"go.sum database tree\n123456789012\nTszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=\n"
    checkpoint = parse(text)
    assert checkpoint == Checkpoint("go.sum database tree", 123456789012, leaf_hash(b"hello world"))
    assert checkpoint.encode() == text


# --- the three lines ---

ROOT64 = base64.b64encode(ROOT)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"log\n7\n",
        b"log\n7\n" + ROOT64,
        b"log\n7\n" + ROOT64 + b"\n\n",
        b"log\n7\n" + ROOT64 + b"\nan extension line\n",
        b"log\n7\n" + ROOT64 + b"\nan extension line",
        b"\nlog\n7\n" + ROOT64 + b"\n",
        b"\n7\n" + ROOT64 + b"\n",
        b"log\n\n" + ROOT64 + b"\n",
        b"log\r\n7\r\n" + ROOT64 + b"\r\n",
        b"log\n7 \n" + ROOT64 + b"\n",
        b"log\n 7\n" + ROOT64 + b"\n",
        b"log\n07\n" + ROOT64 + b"\n",
        b"log\n00\n" + ROOT64 + b"\n",
        b"log\n+7\n" + ROOT64 + b"\n",
        b"log\n-7\n" + ROOT64 + b"\n",
        b"log\n-0\n" + ROOT64 + b"\n",
        b"log\n7.0\n" + ROOT64 + b"\n",
        b"log\n7e1\n" + ROOT64 + b"\n",
        b"log\n0x7\n" + ROOT64 + b"\n",
        b"log\n1_000\n" + ROOT64 + b"\n",
        "log\n٧\n".encode() + ROOT64 + b"\n",  # an Arabic seven, which int() takes
        "log\n７\n".encode() + ROOT64 + b"\n",
        "log\n1٧\n".encode() + ROOT64 + b"\n",
        b"log\n9223372036854775808\n" + ROOT64 + b"\n",
        b"log\n99999999999999999999\n" + ROOT64 + b"\n",
        b"log\n" + b"9" * 10_000 + b"\n" + ROOT64 + b"\n",
        b"log\n7\n" + ROOT64[:-1] + b"\n",
        b"log\n7\n" + ROOT64 + b"=\n",
        b"log\n7\n" + ROOT64[:-2] + b"==\n",
        b"log\n7\n" + ROOT64 + b" \n",
        b"log\n7\n" + ROOT64[:20] + b" " + ROOT64[20:] + b"\n",
        b"log\n7\n" + base64.b64encode(bytes(31)) + b"\n",
        b"log\n7\n" + base64.b64encode(bytes(33)) + b"\n",
        b"log\n7\n" + base64.b64encode(bytes(32))[:-2] + b"B=\n",  # padding bits that are not zero
        b"log\n7\n" + base64.urlsafe_b64encode(b"\xff" * 32) + b"\n",
        b"log\n7\n\n",
        b"lo\xffg\n7\n" + ROOT64 + b"\n",
        b"lo\x00g\n7\n" + ROOT64 + b"\n",
        b"lo\tg\n7\n" + ROOT64 + b"\n",
        b"log\n0\n" + ROOT64 + b"\n",  # the empty tree has another root
    ],
)
def test_anything_but_three_exact_lines_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse(text)


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\u001d"])
def test_only_a_newline_ends_a_line(separator: str) -> None:
    with pytest.raises(Malformed):
        parse(f"log{separator}7{separator}{ROOT64.decode()}{separator}".encode())


@pytest.mark.parametrize("size", [1, 9, 10, 2**32, 2**63 - 1])
def test_every_size_below_two_to_the_sixty_three_is_a_size(size: int) -> None:
    checkpoint = Checkpoint("log", size, ROOT)
    assert parse(checkpoint.encode()) == checkpoint


@pytest.mark.parametrize("size", [-1, 2**63, 2**64])
def test_no_other_size_is_a_size(size: int) -> None:
    with pytest.raises(Malformed, match="checkpoint size"):
        Checkpoint("log", size, ROOT)


@pytest.mark.parametrize("origin", ["", "a\nb", "a\n", "a\x00", "a\tb", "a\ud800"])
def test_an_origin_that_is_not_one_line_of_text_is_refused(origin: str) -> None:
    with pytest.raises(Malformed, match="checkpoint origin"):
        Checkpoint(origin, 1, ROOT)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_root_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match=f"32 bytes, {length} came"):
        Checkpoint("log", 1, bytes(length))


def test_an_empty_tree_has_only_the_empty_root() -> None:
    assert parse(Checkpoint("log", 0, EMPTY_ROOT).encode()).size == 0
    with pytest.raises(Malformed, match="empty tree"):
        Checkpoint("log", 0, ROOT)


ORIGINS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in range(32)]), min_size=1)


@given(ORIGINS, st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_is_read_back_from_its_lines(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert parse(checkpoint.encode()) == checkpoint


@given(
    st.binary()
    | st.tuples(
        st.sampled_from(["log", "", "a b"]), st.text("0123456789+-_ ", max_size=20), st.binary(max_size=40)
    ).map(lambda each: f"{each[0]}\n{each[1]}\n{base64.b64encode(each[2]).decode()}\n".encode())
)
def test_any_bytes_are_a_checkpoint_that_encodes_back_or_malformed(text: bytes) -> None:
    try:
        checkpoint = parse(text)
    except Malformed:
        return
    assert checkpoint.encode() == text


# --- signing and opening ---


def test_a_checkpoint_is_opened_with_the_log_s_key() -> None:
    assert open_checkpoint(SIGNED, ORIGIN, [SIGNER.verifier]) == CHECKPOINT


def test_a_key_of_another_name_does_not_sign_a_checkpoint() -> None:
    with pytest.raises(Refused, match=r"witness\.example/w1"):
        sign(CHECKPOINT, SIGNER, WITNESS)


def test_a_checkpoint_without_signers_is_not_made() -> None:
    with pytest.raises(Malformed):
        sign(CHECKPOINT)


def test_a_log_may_sign_with_two_keys_and_either_opens_it() -> None:
    second = Ed25519Signer(ORIGIN, bytes([5]) * 32)
    signed = sign(CHECKPOINT, SIGNER, second)
    for known in ([SIGNER.verifier], [second.verifier], [SIGNER.verifier, second.verifier]):
        assert open_checkpoint(signed, ORIGIN, known) == CHECKPOINT


def test_a_witness_s_signature_does_not_stand_in_for_the_log_s() -> None:
    cosigned = note.sign(CHECKPOINT.encode(), [WITNESS])
    with pytest.raises(BadSignature, match="signature by the log"):
        open_checkpoint(cosigned, ORIGIN, [SIGNER.verifier, WITNESS.verifier])
    unknown = Ed25519Signer(ORIGIN, bytes([6]) * 32)  # the log's name, not its key
    with pytest.raises(BadSignature, match="signature by the log"):
        open_checkpoint(note.sign(CHECKPOINT.encode(), [unknown, WITNESS]), ORIGIN, [SIGNER.verifier, WITNESS.verifier])


def test_a_bad_signature_of_a_known_witness_rejects_the_checkpoint() -> None:
    bad = note.Signature(WITNESS.name, WITNESS.key_id, bytes(64)).encode()
    assert open_checkpoint(SIGNED + bad, ORIGIN, [SIGNER.verifier]) == CHECKPOINT
    with pytest.raises(BadSignature, match="does not hold"):
        open_checkpoint(SIGNED + bad, ORIGIN, [SIGNER.verifier, WITNESS.verifier])


def test_a_checkpoint_that_only_strangers_signed_is_rejected() -> None:
    for known in ([], [WITNESS.verifier]):
        with pytest.raises(BadSignature):
            open_checkpoint(SIGNED, ORIGIN, known)


def test_a_log_s_signature_under_another_log_s_origin_is_refused() -> None:
    # A log's key on another log's text: a checkpoint of the other log signed by this one's key, as a note.
    other = replace(CHECKPOINT, origin="another.example/log")
    with pytest.raises(Refused, match=r"another\.example/log"):
        open_checkpoint(note.sign(other.encode(), [SIGNER]), ORIGIN, [SIGNER.verifier])


def test_a_checkpoint_asked_for_under_another_origin_is_rejected() -> None:
    with pytest.raises(BadSignature, match=r"another\.example/log"):
        open_checkpoint(SIGNED, "another.example/log", [SIGNER.verifier])


def test_a_log_s_signed_note_that_is_not_a_checkpoint_is_malformed() -> None:
    for text in (b"good morning\n", CHECKPOINT.encode() + b"extension\n", CHECKPOINT.encode() + b"\n"):
        with pytest.raises(Malformed, match="three lines"):
            open_checkpoint(note.sign(text, [SIGNER]), ORIGIN, [SIGNER.verifier])


def test_no_changed_byte_of_a_signed_checkpoint_is_accepted() -> None:
    for i in range(len(SIGNED)):
        for changed in (
            SIGNED[:i] + bytes([SIGNED[i] ^ 1]) + SIGNED[i + 1 :],
            SIGNED[:i] + SIGNED[i + 1 :],
            SIGNED[:i],
        ):
            with pytest.raises(LedgerError):
                open_checkpoint(changed, ORIGIN, [SIGNER.verifier])


def test_one_log_s_signature_does_not_carry_over_to_another_size_or_root() -> None:
    line = SIGNED[len(CHECKPOINT.encode()) + 1 :]
    for other in (replace(CHECKPOINT, size=CHECKPOINT.size + 1), replace(CHECKPOINT, root=leaf_hash(b"another"))):
        with pytest.raises(BadSignature):
            open_checkpoint(other.encode() + b"\n" + line, ORIGIN, [SIGNER.verifier])


@dataclass(frozen=True)
class Quiet:
    """A signer of some later type under the log's own name, as ML-DSA will be."""

    name: str = ORIGIN
    key_id: bytes = b"\x06\x06\x06\x06"

    def sign(self, text: bytes) -> bytes:
        return bytes(2420)


def test_a_log_may_sign_with_a_type_that_the_reader_does_not_know_yet() -> None:
    assert open_checkpoint(sign(CHECKPOINT, SIGNER, Quiet()), ORIGIN, [SIGNER.verifier]) == CHECKPOINT
