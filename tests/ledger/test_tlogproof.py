"""The proof file: another program's bytes, every changed byte, and what nobody vouches for."""

import base64
from functools import partial
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint, note, policy
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.cosign import Ed25519Cosigner
from ledger.errors import BadProof, BadSignature, LedgerError, Malformed
from ledger.merkle import Frontier, leaf_hash, prove_inclusion
from ledger.note import Ed25519Signer
from ledger.tlogproof import TlogProof, check, check_leaf, parse

ORIGIN = "forkledger.example/log"
LOG = Ed25519Signer(ORIGIN, bytes(range(32)))
WITNESS = Ed25519Cosigner("witness.example/w1", bytes([7]) * 32, lambda: 1_790_866_138)
POLICY = policy.parse(f"log {LOG.vkey}\nwitness w1 {WITNESS.vkey}\nquorum w1\n".encode())
ENTRIES = [b"entry %d" % i for i in range(20)]


def proof_of(index: int, size: int, extra: bytes | None = None) -> TlogProof:
    frontier, hashes = Frontier(), list[bytes]()
    for entry in ENTRIES[:size]:
        hashes += frontier.append(leaf_hash(entry))
    signed = note.sign(Checkpoint(ORIGIN, size, frontier.root()).encode(), [LOG, WITNESS])
    path = prove_inclusion(index, size, lambda wanted: [hashes[place] for place in wanted])
    return TlogProof(index, tuple(path), signed, extra)


PROOF = proof_of(5, 13, b"some words")
ENCODED = PROOF.encode()

# --- against another program: github.com/transparency-dev/formats, proof/tlog_proof_test.go, TestMarshal ---

H1, H2 = sha256(b"hash1").digest(), sha256(b"hash2").digest()
H1_64, H2_64 = base64.b64encode(H1).decode(), base64.b64encode(H2).decode()
EXTRA_64 = base64.b64encode(b"extra information").decode()


@pytest.mark.parametrize(
    ("proof", "text"),
    [
        (
            TlogProof(5, (H1, H2), b"test checkpoint\n"),
            f"c2sp.org/tlog-proof@v1\nindex 5\n{H1_64}\n{H2_64}\n\ntest checkpoint\n",
        ),
        (
            TlogProof(10, (H1,), b"checkpoint data\n", b"extra information"),
            f"c2sp.org/tlog-proof@v1\nextra {EXTRA_64}\nindex 10\n{H1_64}\n\ncheckpoint data\n",
        ),
        (TlogProof(0, (), b"checkpoint\n"), "c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n"),
    ],
)
def test_a_proof_has_the_bytes_that_another_program_gives_it(proof: TlogProof, text: str) -> None:
    assert proof.encode() == text.encode()
    assert parse(text.encode()) == proof


def test_the_standard_s_example_is_read() -> None:
    # c2sp.org/tlog-proof; its `extra` lacks padding there and its signatures are shortened, so these are left out.
    text = b"""\
c2sp.org/tlog-proof@v1
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
"""
    read = parse(text)
    assert (read.index, len(read.hashes), read.extra) == (73894, 5, None)
    assert checkpoint.parse(read.checkpoint).size == 109482
    assert read.encode() == text


# --- the form ---

TITLE = "c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    "text",
    [
        # The first seven from TestUnmarshalErrors of the same file.
        "wrong-header\nindex 0\n\ncheckpoint\n",
        f"{TITLE}extra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        f"{TITLE}\n\ncheckpoint\n",
        f"{TITLE}index notanumber\n\ncheckpoint\n",
        f"{TITLE}index -5\n\ncheckpoint\n",
        f"{TITLE}index 0\n!!notbase64!!\n\ncheckpoint\n",
        f"{TITLE}index 0\n{base64.b64encode(bytes(64)).decode()}\n\ncheckpoint\n",
        "",
        TITLE,
        f"{TITLE}index 0\n",
        f"{TITLE}index 0",
        f"{TITLE}index 0\n{H1_64}",
        f"{TITLE}index 0\ncheckpoint\n",
        f"\n{TITLE}index 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v2\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\ncheckpoint\n",
        f"{TITLE}index 00\n\ncheckpoint\n",
        f"{TITLE}index 01\n\ncheckpoint\n",
        f"{TITLE}index +1\n\ncheckpoint\n",
        f"{TITLE}index  1\n\ncheckpoint\n",
        f"{TITLE}index 1 \n\ncheckpoint\n",
        f"{TITLE}index ١\n\ncheckpoint\n",
        f"{TITLE}index\n\ncheckpoint\n",
        f"{TITLE}index 9223372036854775807\n\ncheckpoint\n",
        f"{TITLE}index {'9' * 5000}\n\ncheckpoint\n",
        f"{TITLE}index 0\nextra AAAA\n\ncheckpoint\n",
        f"{TITLE}extra AAAA\nextra AAAA\nindex 0\n\ncheckpoint\n",
        f"{TITLE}extra AAAA\n\ncheckpoint\n",
        f"{TITLE}extra AAB=\nindex 0\n\ncheckpoint\n",
        f"{TITLE}extra\nindex 0\n\ncheckpoint\n",
        f"{TITLE}index 0\n{H1_64[:-1]}\n\ncheckpoint\n",
        f"{TITLE}index 0\n {H1_64}\n\ncheckpoint\n",
        f"{TITLE}index 0\n" + f"{H1_64}\n" * 64 + "\ncheckpoint\n",
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="tlog-proof"):
        parse(text.encode())


@pytest.mark.parametrize(("index", "hashes"), [(-1, ()), (2**63 - 1, ()), (0, (bytes(31),)), (0, (H1,) * 64)])
def test_a_proof_that_no_file_can_say_cannot_be_made(index: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(Malformed):
        TlogProof(index, hashes, b"checkpoint\n")


@given(
    st.integers(0, 2**63 - 2),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(max_size=60),
    st.none() | st.binary(max_size=60),
)
def test_any_proof_comes_back(index: int, hashes: list[bytes], signed: bytes, extra: bytes | None) -> None:
    proof = TlogProof(index, tuple(hashes), signed, extra)
    assert parse(proof.encode()) == proof


@given(st.binary(max_size=60).map(lambda tail: TITLE.encode() + tail) | st.binary())
def test_any_bytes_are_the_proof_with_those_bytes_or_malformed(text: bytes) -> None:
    try:
        proof = parse(text)
    except Malformed:
        return
    assert proof.encode() == text


# --- what it shows ---


def test_every_entry_of_every_tree_is_shown_to_be_in_it() -> None:
    for size in range(1, 20):
        for index in range(size):
            assert check(parse(proof_of(index, size).encode()), ENTRIES[index], POLICY.check).size == size


def test_a_leaf_hash_and_the_log_s_key_are_enough_where_no_policy_is_at_hand() -> None:
    opened = partial(open_checkpoint, origin=ORIGIN, verifiers=[LOG.verifier])
    assert check_leaf(PROOF, leaf_hash(ENTRIES[5]), opened).size == 13


def test_another_entry_another_index_and_another_path_are_not_in_the_tree() -> None:
    with pytest.raises(BadProof):
        check(PROOF, ENTRIES[6], POLICY.check)
    with pytest.raises(BadProof):
        check_leaf(PROOF, ENTRIES[5], POLICY.check)  # an entry where its hash belongs
    for other in (
        TlogProof(4, PROOF.hashes, PROOF.checkpoint),
        TlogProof(13, PROOF.hashes, PROOF.checkpoint),
        TlogProof(5, PROOF.hashes[:-1], PROOF.checkpoint),
        TlogProof(5, PROOF.hashes[::-1], PROOF.checkpoint),
        TlogProof(5, (*PROOF.hashes, H1), PROOF.checkpoint),
        TlogProof(5, PROOF.hashes, proof_of(5, 14).checkpoint),
    ):
        with pytest.raises(BadProof):
            check(other, ENTRIES[5], POLICY.check)


def test_a_proof_under_a_checkpoint_that_misses_the_quorum_shows_nothing() -> None:
    tree = checkpoint.parse(note.parse(PROOF.checkpoint).text)
    alone = TlogProof(PROOF.index, PROOF.hashes, checkpoint.sign(tree, LOG))
    with pytest.raises(BadSignature, match="quorum 'w1'"):
        check(alone, ENTRIES[5], POLICY.check)


def test_no_changed_byte_of_a_proof_is_accepted_but_of_its_extra_which_nobody_signed() -> None:
    start, end = ENCODED.index(b"extra "), ENCODED.index(b"index ")
    for i in range(len(ENCODED)):
        for flip in (1, 0x20):
            changed = ENCODED[:i] + bytes([ENCODED[i] ^ flip]) + ENCODED[i + 1 :]
            try:
                read = parse(changed)
                check(read, ENTRIES[5], POLICY.check)
            except LedgerError:
                continue
            assert start <= i < end
            assert read.extra != PROOF.extra


def test_no_byte_can_be_left_out_of_or_put_into_a_proof_but_in_its_extra() -> None:
    start, end = ENCODED.index(b"extra "), ENCODED.index(b"index ")
    for i in [*range(start), *range(end, len(ENCODED))]:
        for changed in (ENCODED[:i] + ENCODED[i + 1 :], ENCODED[:i] + b"A" + ENCODED[i:], ENCODED[:i]):
            with pytest.raises(LedgerError):
                check(parse(changed), ENTRIES[5], POLICY.check)
