"""The C2SP signed note, against the examples and tests of Go's golang.org/x/mod/sumdb/note and of the standard."""

import base64
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.errors import BadSignature, LedgerError, Malformed, Refused
from ledger.note import Ed25519Signer, Ed25519Verifier, Signature, open_note, parse, parse_signature, sign

# From golang.org/x/mod/sumdb/note: the package's documentation and note_test.go.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_BLOB = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
ENOCH_BLOB = "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
PETER_LINE = f"— PeterNeumann {PETER_BLOB}\n".encode()
ENOCH_LINE = f"— EnochRoot {ENOCH_BLOB}\n".encode()
SIGNED = TEXT + b"\n" + PETER_LINE

PETER = Ed25519Verifier.from_vkey(PETER_VKEY)
ENOCH = Ed25519Verifier.from_vkey(ENOCH_VKEY)
PETER_SIGNER = Ed25519Signer.from_skey(PETER_SKEY)
PETER_SIGNATURE = parse_signature(PETER_LINE)
ENOCH_SIGNATURE = parse_signature(ENOCH_LINE)


def signer(name: str, seed: int = 1) -> Ed25519Signer:
    return Ed25519Signer(name, bytes([seed]) * 32)


# --- against Go ---


def test_go_s_example_is_verified() -> None:
    opened = open_note(SIGNED, [PETER])
    assert opened == note.Note(TEXT, (PETER_SIGNATURE,), ())


def test_go_s_example_is_signed_to_the_same_bytes() -> None:
    assert sign(TEXT, [PETER_SIGNER]) == SIGNED


def test_go_s_example_with_two_signatures_is_verified_by_either_key_and_by_both() -> None:
    signed = TEXT + b"\n" + PETER_LINE + ENOCH_LINE
    assert open_note(signed, [PETER]) == note.Note(TEXT, (PETER_SIGNATURE,), (ENOCH_SIGNATURE,))
    assert open_note(signed, [ENOCH]) == note.Note(TEXT, (ENOCH_SIGNATURE,), (PETER_SIGNATURE,))
    assert open_note(signed, [ENOCH, PETER]) == note.Note(TEXT, (PETER_SIGNATURE, ENOCH_SIGNATURE), ())


def test_keys_are_read_and_written_as_go_does() -> None:
    assert (PETER.name, PETER.key_id.hex(), PETER.vkey) == ("PeterNeumann", "c74f20a3", PETER_VKEY)
    assert (ENOCH.name, ENOCH.key_id.hex(), ENOCH.vkey) == ("EnochRoot", "af0cfe78", ENOCH_VKEY)
    assert PETER_SIGNER.skey() == PETER_SKEY
    assert PETER_SIGNER.vkey == PETER_VKEY
    assert PETER_SIGNER.verifier == PETER
    assert PETER_SIGNER.key_id == PETER.key_id


def test_no_part_of_a_key_and_no_changed_character_is_read_as_a_key() -> None:
    for whole, read in ((PETER_VKEY, Ed25519Verifier.from_vkey), (PETER_SKEY, Ed25519Signer.from_skey)):
        mangled = [whole[i:j] for i in range(len(whole)) for j in range(i + 1, len(whole) + 1)]
        mangled.remove(whole)
        mangled += [whole[:i] + chr(ord(c) + 1) + whole[i + 1 :] for i, c in enumerate(whole)]
        for key in mangled:
            with pytest.raises(Malformed):
                read(key)


@pytest.mark.parametrize(
    "vkey",
    [
        # Both from note_test.go: the id is right for what the key holds.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # wrong length
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # unknown algorithm
        note.encode_vkey("PeterNeumann", 0x01, bytes(33)),
        note.encode_vkey("PeterNeumann", 0x01, b""),
        note.encode_vkey("PeterNeumann", 0x04, bytes(32)),
        note.encode_vkey("Peter Neumann", 0x01, bytes(32)),
        note.encode_vkey("", 0x01, bytes(32)),
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann",
        "",
    ],
)
def test_a_verifier_key_of_another_kind_is_refused(vkey: str) -> None:
    with pytest.raises(Malformed):
        Ed25519Verifier.from_vkey(vkey)


def test_a_key_whose_base64_holds_plus_signs_is_read_whole() -> None:
    # A real key of sigsum's tests: the plus after JNP is base64.
    vkey = (
        "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
        "+5202289b+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP"
    )
    assert Ed25519Verifier.from_vkey(vkey).vkey == vkey


def test_a_verifier_key_of_a_type_yet_to_come_is_taken_apart() -> None:
    vkey = note.encode_vkey("witness.example/w1", 0x06, bytes(1312))
    assert note.parse_vkey(vkey) == ("witness.example/w1", 0x06, bytes(1312))
    with pytest.raises(Malformed, match="expected signature type 0x01, 0x06 came"):
        Ed25519Verifier.from_vkey(vkey)


# --- the form of a note ---


@pytest.mark.parametrize(
    "signed",
    [
        # The first seven from Go's note_test.go.
        TEXT,
        TEXT + b"\n",
        SIGNED[:-1],
        b"\x01" + SIGNED,
        b"\xff" + SIGNED,
        TEXT + b"\n" + f"— Bad Name {PETER_BLOB}\n".encode(),
        SIGNED + b"Unexpected line.\n",
        b"",
        b"\n",
        b"\n\n",
        b"\n" + PETER_LINE,  # no text at all
        TEXT[:-1] + b"\r\n\r\n" + PETER_LINE,
        SIGNED + b"\n",
        SIGNED + b"\n\n" + TEXT,
        TEXT.replace(b" ", b"\t", 1) + b"\n" + PETER_LINE,
        TEXT.replace(b" ", b"\x00", 1) + b"\n" + PETER_LINE,
        TEXT + b"\xed\xa0\x80\n\n" + PETER_LINE,  # a surrogate
        TEXT + b"\xc0\x8a\n\n" + PETER_LINE,  # an overlong newline
        TEXT + b"\n- PeterNeumann " + PETER_BLOB.encode() + b"\n",
        TEXT + "\n–  PeterNeumann ".encode() + PETER_BLOB.encode() + b"\n",  # an en dash
        TEXT + "\n—PeterNeumann ".encode() + PETER_BLOB.encode() + b"\n",
        TEXT + "\n—  ".encode() + PETER_BLOB.encode() + b"\n",  # an empty name
        TEXT + "\n— PeterNeumann\n".encode(),
        TEXT + "\n— PeterNeumann \n".encode(),
        TEXT + "\n— Peter+Neumann ".encode() + PETER_BLOB.encode() + b"\n",
        TEXT + "\n— Peter\u2003Neumann ".encode() + PETER_BLOB.encode() + b"\n",
        TEXT + "\n— Peter\u2028Neumann ".encode() + PETER_BLOB.encode() + b"\n",
        TEXT + "\n— Peter\u0085Neumann ".encode() + PETER_BLOB.encode() + b"\n",
        TEXT + b"\n" + PETER_LINE[:-1] + b" \n",
        TEXT + b"\n " + PETER_LINE,
        TEXT + "\n— PeterNeumann AAAA\n".encode(),  # 3 bytes: no whole key id
        TEXT + "\n— PeterNeumann AAAAAA==\n".encode(),  # 4 bytes: a key id and no signature
        TEXT + "\n— PeterNeumann AAAAAAB=\n".encode(),  # padding bits that are not zero
        TEXT + "\n— PeterNeumann AAAAAAA\n".encode(),  # no padding
        TEXT + "\n— PeterNeumann AAAAAAA==\n".encode(),
        TEXT + "\n— PeterNeumann AAAAAAA=AAAA\n".encode(),
        TEXT + "\n— PeterNeumann AAAA-_A=\n".encode(),  # the URL alphabet
        TEXT + "\n— PeterNeumann AAAAAAÄ=\n".encode(),
    ],
)
def test_bytes_that_are_not_a_note_are_malformed_whoever_is_known(signed: bytes) -> None:
    for known in ([], [PETER]):
        with pytest.raises(Malformed):
            open_note(signed, known)


@pytest.mark.parametrize("control", [c for c in range(0x20) if c != 0x0A])
def test_no_control_character_but_newline_stands_in_a_note(control: int) -> None:
    signed = TEXT[:5] + bytes([control]) + TEXT[5:] + b"\n" + PETER_LINE
    with pytest.raises(Malformed, match=r"control character.* at character 5"):
        parse(signed)


@pytest.mark.parametrize(
    "text",
    [
        b"\n",
        b"\n\n\n",
        b"one\n\ntwo\n\n\nthree\n",
        b"ends in empty lines\n\n\n",
        b"\xef\xbb\xbfwith a byte order mark\n",
        "line\u2028separator \u0085 next line \x7f delete\n".encode(),
        PETER_LINE,
        SIGNED,
        "— someone AAAAAAA=\n\n— else AAAAAAA=\n".encode(),
    ],
)
def test_any_text_comes_back_as_it_was_signed(text: bytes) -> None:
    signed = sign(text, [PETER_SIGNER])
    assert parse(signed).text == text
    assert open_note(signed, [PETER]).text == text


def test_the_standard_s_example_with_an_empty_line_in_its_text_is_parted_at_the_last() -> None:
    # c2sp.org/signed-note, section Format.
    text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n".encode()
    blob = "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc="
    line = f"— quasimodo.example/salvatore {blob}\n".encode()
    unverified = parse(text + b"\n" + line)
    assert unverified.text == text
    raw = base64.b64decode(blob)
    assert unverified.signatures == (Signature("quasimodo.example/salvatore", raw[:4], raw[4:]),)
    assert unverified.signatures[0].encode() == line


@pytest.mark.parametrize("text", [b"", b"no newline", b"\n\nno newline", b"tab\t\n", b"\xff\n"])
def test_a_text_that_no_note_can_carry_is_not_signed(text: bytes) -> None:
    with pytest.raises(Malformed):
        sign(text, [PETER_SIGNER])


def test_a_note_without_signers_is_not_made() -> None:
    with pytest.raises(Malformed, match="1 to 100 signers, 0 came"):
        sign(TEXT, [])


@pytest.mark.parametrize("count", [1, 16, 100])
def test_up_to_a_hundred_signatures_are_accepted(count: int) -> None:
    signers = [signer(f"key{i}", i + 1) for i in range(count)]
    opened = open_note(sign(TEXT, signers), [each.verifier for each in signers])
    assert [each.name for each in opened.signatures] == [each.name for each in signers]


def test_more_than_a_hundred_signatures_are_too_many_whoever_is_known() -> None:
    for known in ([], [PETER]):
        with pytest.raises(Malformed, match="at most 100 signatures, 101 came"):
            open_note(TEXT + b"\n" + PETER_LINE * 101, known)


def test_a_post_quantum_signature_is_parsed_and_ignored() -> None:
    large = Signature("witness.example/w1", b"\x01\x02\x03\x04", bytes(8 + 2420))
    assert open_note(SIGNED + large.encode(), [PETER]).ignored == (large,)


# --- who signed ---


def test_a_known_key_s_bad_signature_rejects_the_note_even_beside_good_ones() -> None:
    bad = Signature("EnochRoot", ENOCH.key_id, bytes(64)).encode()
    for lines in (PETER_LINE + bad, bad + PETER_LINE, PETER_LINE + ENOCH_LINE + bad):
        with pytest.raises(BadSignature, match=r"EnochRoot\+af0cfe78"):
            open_note(TEXT + b"\n" + lines, [PETER, ENOCH])
        assert open_note(TEXT + b"\n" + lines, [PETER]).signatures == (PETER_SIGNATURE,)


def test_a_second_signature_of_a_known_key_must_hold_as_well() -> None:
    bad = Signature("PeterNeumann", PETER.key_id, bytes(64)).encode()
    with pytest.raises(BadSignature):
        open_note(SIGNED + bad, [PETER])


def test_a_signature_of_another_length_does_not_hold() -> None:
    # From note_test.go: three bytes put into the middle.
    line = f"— PeterNeumann {PETER_BLOB[:44]}ABCD{PETER_BLOB[44:]}\n".encode()
    with pytest.raises(BadSignature, match="expected 64 bytes"):
        open_note(TEXT + b"\n" + line, [PETER])


@pytest.mark.parametrize("name", ["PeterNeuman", "peterneumann", "PeterNeumann\u200b"])
def test_a_signature_with_the_id_but_not_the_name_of_a_known_key_is_ignored(name: str) -> None:
    other = Signature(name, PETER.key_id, bytes(64))
    assert open_note(SIGNED + other.encode(), [PETER]).ignored == (other,)


def test_a_signature_with_the_name_but_not_the_id_of_a_known_key_is_ignored() -> None:
    other = Signature("PeterNeumann", b"\xc7\x4f\x20\xa4", bytes(64))
    assert open_note(SIGNED + other.encode(), [PETER]).ignored == (other,)


def test_a_note_that_no_known_key_signed_is_rejected() -> None:
    for known in ([], [ENOCH]):
        with pytest.raises(BadSignature, match="expected a signature by one of"):
            open_note(SIGNED, known)


def test_repeated_signatures_count_once() -> None:
    # From note_test.go.
    changed = f"— EnochRoot {ENOCH_BLOB[:48]}ABCD{ENOCH_BLOB[48:]}\n".encode()
    opened = open_note(TEXT + b"\n" + PETER_LINE * 2 + ENOCH_LINE * 2 + changed, [PETER])
    assert opened.signatures == (PETER_SIGNATURE,)
    assert opened.ignored == (ENOCH_SIGNATURE, parse_signature(changed))


def test_two_known_keys_under_one_name_and_id_are_refused() -> None:
    with pytest.raises(Refused, match=r"PeterNeumann\+c74f20a3"):
        open_note(SIGNED, [PETER, ENOCH, PETER])


def test_two_keys_under_one_name_are_told_apart_by_their_ids() -> None:
    old, new = signer("log.example", 1), signer("log.example", 2)
    signed = sign(TEXT, [old, new])
    assert len(open_note(signed, [old.verifier, new.verifier]).signatures) == 2
    assert [each.key_id for each in open_note(signed, [new.verifier]).signatures] == [new.key_id]


def test_no_changed_byte_of_a_signed_text_or_signature_is_accepted() -> None:
    for i in range(len(SIGNED)):
        for flipped in (SIGNED[i] ^ 1, SIGNED[i] ^ 0x20):
            changed = SIGNED[:i] + bytes([flipped]) + SIGNED[i + 1 :]
            with pytest.raises(LedgerError):
                open_note(changed, [PETER])


def test_no_byte_can_be_left_out_of_or_put_into_a_signed_note() -> None:
    for i in range(len(SIGNED) + 1):
        for changed in (SIGNED[:i] + SIGNED[i + 1 :], SIGNED[:i] + b"A" + SIGNED[i:], SIGNED[:i]):
            if changed != SIGNED:
                with pytest.raises(LedgerError):
                    open_note(changed, [PETER])


@pytest.mark.parametrize(
    ("public_key", "signature"),
    [
        # A = the identity, R = the identity, S = 0 satisfies the equation for every message: libsodium refuses it.
        (b"\x01" + bytes(31), b"\x01" + bytes(63)),
        # The same with A written as p + 1, which is not canonical.
        (b"\xee" + b"\xff" * 30 + b"\x7f", b"\x01" + bytes(63)),
    ],
)
def test_a_key_of_small_order_signs_nothing(public_key: bytes, signature: bytes) -> None:
    verifier = Ed25519Verifier("anyone.example", public_key)
    signed = TEXT + b"\n" + Signature(verifier.name, verifier.key_id, signature).encode()
    with pytest.raises(BadSignature):
        open_note(signed, [verifier])


def test_a_signature_whose_s_was_raised_by_the_order_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    raised = int.from_bytes(PETER_SIGNATURE.signature[32:], "little") + order
    malleated = PETER_SIGNATURE.signature[:32] + raised.to_bytes(32, "little")
    with pytest.raises(BadSignature):
        open_note(TEXT + b"\n" + Signature(PETER.name, PETER.key_id, malleated).encode(), [PETER])


# --- other signature types ---


@dataclass(frozen=True)
class Shout:
    """A signature type of its own: the text in capitals. Takes the place that cosignatures will have."""

    name: str
    key_id: bytes = b"\x53\x48\x4f\x55"

    def sign(self, text: bytes) -> bytes:
        return text.upper()

    def verify(self, text: bytes, signature: bytes) -> None:
        if signature != text.upper():
            raise BadSignature("expected the text in capitals")


def test_another_type_of_signature_stands_beside_ed25519() -> None:
    shout = Shout("loud.example")
    opened = open_note(sign(TEXT, [PETER_SIGNER, shout]), [shout, PETER])
    assert [each.name for each in opened.signatures] == ["PeterNeumann", "loud.example"]
    with pytest.raises(BadSignature, match="capitals"):
        open_note(SIGNED + Signature(shout.name, shout.key_id, b"quiet").encode(), [shout, PETER])


def test_of_two_signatures_by_one_known_key_the_first_is_kept_and_both_must_hold() -> None:
    # A cosignature holds a time, so that a key can have two good ones; a quorum must still count the key once.
    class Any(Shout):
        def verify(self, text: bytes, signature: bytes) -> None:
            if signature == b"bad":
                raise BadSignature("bad")

    first, second, bad = (Signature("any.example", Shout.key_id, each).encode() for each in (b"1", b"2", b"bad"))
    opened = open_note(TEXT + b"\n" + first + second, [Any("any.example")])
    assert opened.signatures == (parse_signature(first),)
    with pytest.raises(BadSignature):
        open_note(TEXT + b"\n" + first + bad, [Any("any.example")])


@pytest.mark.parametrize(("id_length", "length"), [(0, 64), (3, 64), (5, 64), (4, 0)])
def test_a_signature_without_a_whole_key_id_or_without_bytes_is_malformed(id_length: int, length: int) -> None:
    with pytest.raises(Malformed, match=f"{id_length} and {length} came"):
        Signature("a", bytes(id_length), bytes(length))


def test_a_line_that_came_from_a_witness_is_added_at_the_end() -> None:
    witness = signer("witness.example", 9)
    line = Signature(witness.name, witness.key_id, witness.sign(TEXT)).encode()
    assert SIGNED + parse_signature(line).encode() == sign(TEXT, [PETER_SIGNER, witness])


@pytest.mark.parametrize(
    "line", [b"", b"\n", PETER_LINE[:-1], PETER_LINE + PETER_LINE, PETER_LINE + b"\n", b"\n" + PETER_LINE, b"\xff\n"]
)
def test_anything_but_one_whole_line_is_not_a_signature(line: bytes) -> None:
    with pytest.raises(Malformed):
        parse_signature(line)


# --- keys ---


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a+b", "a\u00a0b", "a\u3000b", "a\nb", "a\x00b", "a\x1fb", "a\u2029b", "a\ud800b"]
)
def test_a_name_that_would_break_a_line_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="key name"):
        Ed25519Verifier(name, bytes(32))
    with pytest.raises(Malformed, match="key name"):
        Ed25519Signer(name, bytes(32))
    with pytest.raises(Malformed, match="key name"):
        Signature(name, bytes(4), bytes(64))


@pytest.mark.parametrize("name", ["a", "example.com/log", "größe.example/日志", "-", "—", "a\u200bb"])
def test_any_other_name_is_a_name(name: str) -> None:
    each = signer(name)
    assert Ed25519Verifier.from_vkey(each.vkey) == each.verifier
    assert open_note(sign(TEXT, [each]), [each.verifier]).signatures[0].name == name


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(Malformed, match=f"32 bytes, {length} came"):
        Ed25519Verifier("a", bytes(length))
    with pytest.raises(Malformed, match=f"32 bytes, {length} came"):
        Ed25519Signer("a", bytes(length))


def test_a_key_id_depends_on_name_type_and_key() -> None:
    ids = {note.key_id(n, t, k) for n in ("a", "b") for t in (1, 4) for k in (bytes(32), bytes(31) + b"\x01")}
    assert len(ids) == 8


def test_a_signer_shows_its_seed_to_nobody() -> None:
    secret = bytes(range(100, 132))
    each = Ed25519Signer("log.example", secret)
    shown = [repr(each), str(each), f"{each}", repr([each]), repr(each.verifier)]
    for text in shown:
        assert "seed=" not in text
        for form in (secret.hex(), base64.b64encode(secret).decode(), repr(secret), repr(secret)[2:-1]):
            assert form not in text
    assert each != Ed25519Signer("log.example", secret)  # no comparison looks at the seed
    assert "log.example" in repr(each)


def test_errors_hold_neither_keys_nor_texts() -> None:
    secret = "PRIVATE+KEY+PeterNeumann+c74f20a4+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    with pytest.raises(Malformed) as raised:
        Ed25519Signer.from_skey(secret)
    assert "AYEK" not in str(raised.value)
    for known in ([PETER], [ENOCH]):
        with pytest.raises(BadSignature) as rejected:
            open_note(SIGNED.replace(b"problem is", b"question is"), known)
        assert "question" not in str(rejected.value)
        assert PETER_BLOB[:12] not in str(rejected.value)


def test_signatures_are_those_of_another_implementation() -> None:
    for seed in range(1, 6):
        each = signer("log.example", seed)
        assert each.sign(TEXT) == Ed25519PrivateKey.from_private_bytes(each.seed).sign(TEXT)


# --- any note ---

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in range(32)])).map(
    lambda line: line.encode() + b"\n"
)


@given(st.lists(TEXTS, min_size=1, max_size=5), st.lists(st.integers(1, 255), min_size=1, max_size=4, unique=True))
def test_what_was_signed_is_what_is_opened(lines: list[bytes], seeds: list[int]) -> None:
    text, signers = b"".join(lines), [signer(f"key{seed}.example", seed) for seed in seeds]
    opened = open_note(sign(text, signers), [each.verifier for each in signers])
    assert opened.text == text
    assert len(opened.signatures) == len(signers)


@given(st.binary() | st.binary().map(lambda tail: TEXT + "\n— PeterNeumann ".encode() + tail + b"\n"))
def test_any_bytes_are_a_note_that_encodes_back_or_malformed(signed: bytes) -> None:
    try:
        parsed = parse(signed)
    except Malformed:
        return
    assert parsed.text + b"\n" + b"".join(each.encode() for each in parsed.signatures) == signed


@given(st.text())
def test_any_text_is_a_verifier_key_that_encodes_back_or_malformed(text: str) -> None:
    try:
        parsed = note.parse_vkey(text)
    except Malformed:
        return
    assert note.encode_vkey(*parsed) == text


def test_values_cannot_be_changed() -> None:
    for value in (PETER, PETER_SIGNER, PETER_SIGNATURE, parse(SIGNED), open_note(SIGNED, [PETER])):
        with pytest.raises((AttributeError, TypeError)):
            value.name = "another"  # type: ignore[union-attr,misc]
