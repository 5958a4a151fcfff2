"""The trust policy: another program's, the standard's rules line by line, and every subset of witnesses."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint, note
from ledger.checkpoint import Checkpoint
from ledger.cosign import Ed25519Cosigner, MlDsa44Signer
from ledger.errors import BadSignature, LedgerError, Malformed, Refused
from ledger.merkle import leaf_hash
from ledger.note import Ed25519Signer, open_note
from ledger.policy import Group, Log, Policy, Witness, parse

VECTORS = Path(__file__).parents[1] / "vectors" / "c2sp"  # its README says where they are from
COSIGNED = (VECTORS / "cosigned.txt").read_bytes()
THEIRS = (VECTORS / "policy.txt").read_bytes()

# The policy of keyserver.geomys.org, as in github.com/thesm-os/core, tlog/checkpoint/testdata/age-keyserver-policy.txt.
AGE_KEYSERVER = b"""\
log keyserver.geomys.org+16b31509+ARLJ+pmTj78HzTeBj04V+LVfB+GFAQyrg54CRIju7Nn8
witness TrustFabric transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM \
https://api.transparency.dev/dev/witness/little-garden/
witness Mullvad witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv https://witness.stagemole.eu/
witness Geomys witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G \
https://witness.navigli.sunlight.geomys.org/
group public 2 TrustFabric Mullvad Geomys
quorum public
"""

ORIGIN = "forkledger.example/log"
LOG = Ed25519Signer(ORIGIN, bytes([99]) * 32)
PQ_LOG = MlDsa44Signer(ORIGIN, bytes([98]) * 32, lambda: 0)
WITNESSES = {
    name: Ed25519Cosigner(f"{name.lower()}.example", bytes([number]) * 32, lambda: 7)
    for number, name in enumerate(("X1", "X2", "X3", "Y1", "Y2", "Y3"))
}
TREE = Checkpoint(ORIGIN, 7, leaf_hash(b"a root"))

# The example of c2sp.org/tlog-policy, with keys.
LINES = [
    f"log {LOG.vkey}",
    "",
    *(f"witness {name} {WITNESSES[name].vkey}" for name in ("X1", "X2", "X3")),
    "group X-witnesses 2 X1 X2 X3",
    "",
    *(f"witness {name} {WITNESSES[name].vkey}" for name in ("Y1", "Y2", "Y3")),
    "group Y-witnesses any Y1 Y2 Y3",
    "",
    "group X-and-Y all X-witnesses Y-witnesses",
    "quorum X-and-Y",
]
EXAMPLE = "".join(f"{line}\n" for line in LINES).encode()


def signed_by(*names: str, tree: Checkpoint = TREE) -> bytes:
    return note.sign(tree.encode(), [LOG, *(WITNESSES[name] for name in names)])


# --- against other programs ---


def test_another_program_s_checkpoint_meets_its_hybrid_policy() -> None:
    theirs = parse(THEIRS)
    assert theirs.check(COSIGNED).size == 20852163
    assert theirs.cosigned_by(open_note(COSIGNED, theirs.verifiers)) == ("W1", "W2", "W3", "PQ")


def test_another_program_s_checkpoint_without_some_cosignatures_meets_it_or_misses_it() -> None:
    lines, theirs = COSIGNED.splitlines(keepends=True), parse(THEIRS)

    def without(*numbers: int) -> bytes:
        return b"".join(line for number, line in enumerate(lines) if number not in numbers)

    for dropped in (5, 6, 7):
        theirs.check(without(dropped))
    with pytest.raises(BadSignature, match=r"'hybrid' \(2 of classical, PQ\), those of W1, W2, W3 came"):
        theirs.check(without(8))
    with pytest.raises(BadSignature, match=r"'classical' \(2 of W1, W2, W3\), those of W3, PQ came"):
        theirs.check(without(5, 6))
    with pytest.raises(BadSignature, match="expected origin and signature of a log of the policy"):
        theirs.check(without(4))


def test_a_policy_in_use_is_read() -> None:
    read = parse(AGE_KEYSERVER)
    assert [log.verifier.name for log in read.logs] == ["keyserver.geomys.org"]
    assert [witness.name for witness in read.witnesses] == ["TrustFabric", "Mullvad", "Geomys"]
    assert read.witnesses[1].url == "https://witness.stagemole.eu/"
    assert read.groups == (Group("public", 2, ("TrustFabric", "Mullvad", "Geomys")),)
    assert read.encode() == AGE_KEYSERVER


# --- reading and writing ---


def test_the_standard_s_example_is_read() -> None:
    read = parse(EXAMPLE)
    assert read == Policy(
        (Log(LOG.verifier),),
        tuple(Witness(name, signer.verifier) for name, signer in WITNESSES.items()),
        (
            Group("X-witnesses", 2, ("X1", "X2", "X3")),
            Group("Y-witnesses", 1, ("Y1", "Y2", "Y3")),
            Group("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
        ),
        "X-and-Y",
    )
    assert parse(read.encode()) == read


X1, X2 = WITNESSES["X1"].vkey, WITNESSES["X2"].vkey


@pytest.mark.parametrize(
    "text",
    [
        # From github.com/transparency-dev/formats, policy/tlog_policy_test.go.
        b"quorum none\n",
        b"\n# comment\n\t # another comment\n\twitness \t w1  "
        + X1.encode()
        + b"   https://w1.example/  \n\n  quorum\tw1",
        b"witness K\xe2\x84\xaalvin-w\x80 " + X1.encode() + b"\nquorum K\xe2\x84\xaalvin-w\x80\n",
        f"witness all {X1}\nwitness any {X2}\ngroup group 2 all any\nquorum group\n".encode(),
        f"quorum none\nwitness w1 {X1}\nlog {LOG.vkey}\nlog {PQ_LOG.vkey} https://log.example/\n".encode(),
        "# \xa0 is no blank\nquorum none".encode("latin-1"),
    ],
)
def test_what_the_standard_allows_is_read_and_written_back(text: bytes) -> None:
    read = parse(text)
    assert parse(read.encode()) == read


def test_names_are_opaque_bytes() -> None:
    lines = f"witness K {X1}\nwitness \N{KELVIN SIGN} {X2}\nquorum \N{KELVIN SIGN}\n".encode()
    assert [each.name for each in parse(lines).witnesses] == ["K", "\N{KELVIN SIGN}"]
    assert parse(lines).quorum == "\N{KELVIN SIGN}"


W = f"witness w1 {X1}\n"
SAME_KEY = note.encode_vkey("another.example", 0x04, WITNESSES["X1"].verifier.public_key)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        # Most from github.com/transparency-dev/formats, policy/tlog_policy_test.go.
        ("quorum none\n\x01", "line 2: expected no control characters but tab and newline, 01 came"),
        ("quorum none\r\n", "line 1: expected no control characters but tab and newline, 0d came"),
        ("quorum none\n\n\x7f", "line 3: .* 7f came"),
        ("quibble w1\nquorum none\n", "line 1: expected log, witness, group or quorum"),
        ("Quorum none\n", "line 1: expected log, witness, group or quorum"),
        ("\xa0quorum none\n", "line 1: expected log, witness, group or quorum"),
        (f"witness w1 {X1} https://w1.example/ # comment\nquorum w1\n", "line 1: expected another number of words"),
        ("log\nquorum none\n", "line 1: expected another number of words after 'log', 0 came"),
        ("log garbage\nquorum none\n", "line 1: verifier key: expected name, id and key"),
        (f"log {note.encode_vkey('a', 0x63, bytes(32))}\nquorum none\n", "line 1: .* 0x63 came"),
        (f"log {X1}\nquorum none\n", "line 1: expected a log's key of type 0x01 or 0x06"),
        (f"log {LOG.vkey}\n\nlog {LOG.vkey} https://l.example/\nquorum none\n", "line 3: .* same public key"),
        ("witness w1\nquorum none\n", "line 1: expected another number of words"),
        (f"witness w1 {LOG.vkey}\nquorum w1\n", "line 1: expected a witness's key of type 0x04 or 0x06"),
        (f"witness none {X1}\nquorum none\n", "line 1: .* name that is not taken, 'none' came"),
        (f"{W}witness w1 {X2}\nquorum w1\n", "line 2: .* 'w1' came"),
        (f"{W}witness w2 {SAME_KEY}\nquorum w1\n", "line 2: .* same public key"),
        (f"log {PQ_LOG.vkey}\nwitness w1 {PQ_LOG.vkey}\nquorum w1\n", "line 2: .* for a log and for a witness"),
        (f"{W}group w1 any w1\nquorum w1\n", "line 2: .* 'w1' came"),
        (f"{W}group g1 1\nquorum w1\n", "line 2: expected a threshold from 1 to 0 members, 1 came"),
        (f"{W}group g1 any\nquorum w1\n", "line 2: expected a threshold from 1 to 0"),
        (f"{W}group g1 all\nquorum w1\n", "line 2: expected a threshold from 1 to 0"),
        (f"{W}group none any w1\nquorum none\n", "line 2: .* 'none' came"),
        (f"{W}group g1 0 w1\nquorum g1\n", "line 2: expected a threshold from 1 to 1 members, 0 came"),
        (f"{W}group g1 -1 w1\nquorum g1\n", "line 2: expected any, all or a decimal"),
        (f"{W}group g1 ١ w1\nquorum g1\n", "line 2: expected any, all or a decimal"),
        (f"{W}group g1 2 w1\nquorum g1\n", "line 2: expected a threshold from 1 to 1 members, 2 came"),
        (f"{W}group g1 {'9' * 5000} w1\nquorum g1\n", "line 2: expected any, all or a decimal"),
        (f"{W}group g1 any w2\nquorum g1\n", "line 2: expected members defined before, 'w2' came"),
        (f"group g1 any w1\n{W}quorum g1\n", "line 1: expected members defined before, 'w1' came"),
        (f"{W}group g1 any g1\nquorum g1\n", "line 2: expected members defined before, 'g1' came"),
        (f"{W}group g1 any none w1\nquorum g1\n", "line 2: expected members defined before, 'none' came"),
        (f"{W}group g1 all w1 w1\nquorum g1\n", "line 2: .* 'w1' came again"),
        (f"{W}group g1 any w1\ngroup g2 any w1\nquorum g1\n", "line 3: .* 'w1' came again"),
        (W, "policy: expected one quorum line, none came"),
        ("", "policy: expected one quorum line, none came"),
        (f"{W}quorum w1\nquorum w1\n", "line 3: expected one quorum line, a second came"),
        ("quorum unknown\n", "line 1: expected a quorum defined before, 'unknown' came"),
        (f"quorum w1\n{W}", "line 1: expected a quorum defined before, 'w1' came"),
        ("quorum\n", "line 1: expected another number of words"),
        ("quorum none none\n", "line 1: expected another number of words"),
    ],
)
def test_what_the_standard_forbids_is_malformed_and_names_the_line(text: str, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        parse(text.encode())


W1, W2 = (Witness(name, WITNESSES[name].verifier) for name in ("X1", "X2"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Policy((), (W1, W1), (), "none"),
        lambda: Policy((), (), (), "X1"),
        lambda: Policy((), (W1,), (Group("g", 2, ("X1",)),), "g"),
        lambda: Policy((), (W1,), (Group("g", 1, ("h",)), Group("h", 1, ("X1",))), "g"),
        lambda: Policy((), (Witness("a name", W1.verifier),), (), "none"),
        lambda: Policy((), (Witness("", W1.verifier),), (), "none"),
        lambda: Policy((), (Witness("\ud800", W1.verifier),), (), "none"),
        lambda: Policy((), (Witness("\udcc3\udca9", W1.verifier),), (), "none"),
        lambda: Policy((), (Witness("w", W1.verifier, ""),), (), "none"),
        lambda: Policy((Log(LOG.verifier, "https://a b/"),), (), (), "none"),
        lambda: Policy((Log(W1.verifier),), (), (), "none"),
    ],
)
def test_a_policy_that_no_text_could_say_cannot_be_made(make: Callable[[], Policy]) -> None:
    with pytest.raises(Malformed):
        make()


@given(st.binary(max_size=60) | st.text(alphabet="logwitnesgrupqm noneall123# \t\n", max_size=80).map(str.encode))
def test_any_bytes_are_a_policy_or_malformed(text: bytes) -> None:
    try:
        read = parse(text)
    except Malformed:
        return
    assert parse(read.encode()) == read


# --- the quorum ---


def test_every_subset_of_witnesses_meets_the_quorum_as_the_standard_says() -> None:
    read = parse(EXAMPLE)
    for count in range(7):
        for names in combinations(WITNESSES, count):
            enough = sum(name[0] == "X" for name in names) >= 2 and any(name[0] == "Y" for name in names)
            assert read.quorum_met(names) == enough
            if enough:
                assert read.check(signed_by(*names)) == TREE
            else:
                with pytest.raises(BadSignature, match="expected cosignatures for quorum 'X-and-Y'"):
                    read.check(signed_by(*names))


def test_names_that_the_policy_does_not_know_and_names_of_groups_do_not_count() -> None:
    read = parse(EXAMPLE)
    assert not read.quorum_met(["X-and-Y", "X-witnesses", "Y-witnesses", "x1.example", "X4"])


def test_a_quorum_of_one_witness_and_of_none() -> None:
    one = parse(f"log {LOG.vkey}\n{W}quorum w1\n".encode())
    assert one.check(signed_by("X1")) == TREE
    with pytest.raises(BadSignature, match="quorum 'w1', those of no witness came"):
        one.check(signed_by("X2"))
    assert parse(f"log {LOG.vkey}\nquorum none\n".encode()).check(signed_by()) == TREE


def test_many_groups_inside_each_other_are_judged_without_going_deep() -> None:
    lines = [f"log {LOG.vkey}", f"witness g0 {X1}"]
    lines += [f"group g{i} any g{i - 1}" for i in range(1, 5000)]
    read = parse("\n".join([*lines, "quorum g4999"]).encode())
    assert read.check(signed_by("X1")) == TREE
    assert not read.quorum_met([])


@given(
    st.lists(st.tuples(st.integers(1, 3), st.lists(st.integers(0, 5), min_size=1, max_size=3)), max_size=5), st.data()
)
def test_any_nest_of_groups_is_judged_as_its_definition_read_from_the_top(
    drawn: list[tuple[int, list[int]]], data: st.DataObject
) -> None:
    free = list(WITNESSES)
    groups: list[Group] = []
    for number, (threshold, picks) in enumerate(drawn):
        members = tuple(dict.fromkeys(free[pick % len(free)] for pick in picks))
        groups.append(Group(f"g{number}", min(threshold, len(members)), members))
        free = [name for name in free if name not in members] + [groups[-1].name]
    quorum = data.draw(st.sampled_from([*free, *(group.name for group in groups)]))
    read = Policy(
        (), tuple(Witness(name, signer.verifier) for name, signer in WITNESSES.items()), tuple(groups), quorum
    )
    assert parse(read.encode()) == read
    by_name = {group.name: group for group in groups}
    names = data.draw(st.sets(st.sampled_from(list(WITNESSES))))

    def witnessed(name: str) -> bool:
        if name not in by_name:
            return name in names
        return sum(witnessed(member) for member in by_name[name].members) >= by_name[name].threshold

    assert read.quorum_met(names) == witnessed(quorum)


# --- the log ---


def test_either_key_of_a_log_is_enough_and_a_bad_one_is_too_much() -> None:
    read = parse(f"log {LOG.vkey}\nlog {PQ_LOG.vkey}\nquorum none\n".encode())
    for signers in ([LOG], [PQ_LOG], [LOG, PQ_LOG]):
        assert read.check(checkpoint.sign(TREE, *signers)) == TREE
    bad = note.Signature(ORIGIN, PQ_LOG.key_id, bytes(2428)).encode()
    with pytest.raises(BadSignature, match="does not hold"):
        read.check(checkpoint.sign(TREE, LOG) + bad)


def test_a_log_cannot_sign_for_another_origin() -> None:
    other = Checkpoint("other.example/log", 7, TREE.root)
    with pytest.raises(BadSignature, match=r"'other\.example/log' came"):
        parse(EXAMPLE).check(signed_by("X1", "X2", "Y1", tree=other))
    both = parse(f"log {LOG.vkey}\nlog {Ed25519Signer(other.origin, bytes(32)).vkey}\nquorum none\n".encode())
    with pytest.raises(BadSignature, match=r"'other\.example/log' came"):
        both.check(signed_by(tree=other))


def test_a_known_witness_s_bad_signature_rejects_the_checkpoint_even_with_a_quorum() -> None:
    bad = note.Signature("y2.example", WITNESSES["Y2"].key_id, bytes(72)).encode()
    with pytest.raises(BadSignature, match="does not hold"):
        parse(EXAMPLE).check(signed_by("X1", "X2", "Y1") + bad)


def test_a_policy_without_logs_checks_no_checkpoint() -> None:
    with pytest.raises(Refused, match="expected at least one log"):
        parse(W.encode() + b"quorum w1\n").check(signed_by("X1"))


def test_a_witness_counts_once_however_often_it_signs() -> None:
    read = parse(EXAMPLE)
    signed = note.sign(TREE.encode(), [LOG, *[WITNESSES["X1"]] * 3, WITNESSES["Y1"]])
    assert read.cosigned_by(open_note(signed, read.verifiers)) == ("X1", "Y1")
    with pytest.raises(BadSignature, match="'X-witnesses'"):
        read.check(signed)


def test_no_changed_byte_of_a_checkpoint_that_barely_meets_its_policy_is_accepted() -> None:
    signed, read = signed_by("X1", "X2", "Y1"), parse(EXAMPLE)
    for i in range(len(signed)):
        for flip in (1, 0x20):
            with pytest.raises(LedgerError):
                read.check(signed[:i] + bytes([signed[i] ^ flip]) + signed[i + 1 :])
