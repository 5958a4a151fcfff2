"""Evidence holds for every entry of a log, and each step alone refuses what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint as checkpoints
from ledger import cosign, merkle, note, policy, record
from ledger import entry as entries
from ledger import evidence as bundle
from ledger.anchor import chainproof
from ledger.checkpoint import Checkpoint
from ledger.entry import FORK_CREATED, NO_ENTRY, USER_TRAINING_RECORD, Entry
from ledger.errors import BadEvidence, BadProof, BadSignature, Malformed, NotFound, Refused
from ledger.evidence import LONGEST_EVIDENCE, STEPS, Evidence, LoggedEntry, Shown, check_evidence
from ledger.keys import SigningKey, signed_message
from ledger.publish import publish
from ledger.wire.v1 import evidence_pb2 as wire
from tests.ledger.written import LOG_KEY, ORIGIN, Writer, drawn, fill, open_ledger

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
OTHER_LOG = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())


def accept(signed: bytes) -> Checkpoint:
    """A policy of one log and no witness."""
    return checkpoints.open_checkpoint(signed, ORIGIN, [LOG_KEY.verifier])


@dataclass
class Log:
    """A log that takes any bytes whatsoever, so that evidence can be made of what no door would have let in."""

    leaves: list[bytes] = field(default_factory=list)

    def add(self, data: bytes) -> int:
        self.leaves.append(data)
        return len(self.leaves) - 1

    def hashes(self) -> list[bytes]:
        frontier = merkle.Frontier()
        return [node for leaf in self.leaves for node in frontier.append(merkle.leaf_hash(leaf))]

    def logged(self, leaf: int) -> LoggedEntry:
        stored = self.hashes()
        path = merkle.prove_inclusion(leaf, len(self.leaves), lambda places: [stored[place] for place in places])
        return LoggedEntry(leaf, self.leaves[leaf], tuple(path))

    def checkpoint(self, origin: str = ORIGIN, key: note.Ed25519Signer = LOG_KEY) -> bytes:
        stored = self.hashes()
        root = merkle.tree_root(len(self.leaves), lambda places: [stored[place] for place in places])
        return checkpoints.sign(Checkpoint(origin, len(self.leaves), root), key)

    def evidence(self, leaf: int, authority: int | None) -> Evidence:
        return Evidence(self.checkpoint(), self.logged(leaf), None if authority is None else self.logged(authority))


def placed(writer: Writer, version: int, previous: bytes, topic: str, body: bytes, **changes: object) -> Entry:
    """An entry that its owner signed, unless `changes` say otherwise."""
    signature = writer.key.sign(signed_message(topic, writer.origin, body))
    made = Entry(writer.origin, writer.fork_id, version, previous, topic, body, (signature,), authority=1)
    return replace(made, **changes)  # type: ignore[arg-type]


def created(writer: Writer, **changes: object) -> Entry:
    return placed(writer, 1, NO_ENTRY, FORK_CREATED, entries.encode_fork_created(writer.creation()), **changes)


def recorded(writer: Writer, version: int, previous: bytes, **changes: object) -> Entry:
    body = writer.record(version - 1).body
    return placed(writer, version, previous, USER_TRAINING_RECORD, body, **changes)


def two_forks(records: int = 3) -> Log:
    """As `written.fill` fills a ledger: leaves 0 and 1 create forks, then their records take turns."""
    log, heads = Log(), {}
    writers = [Writer(0), Writer(1)]
    for writer in writers:
        heads[writer.number] = log.leaves[log.add(entries.encode_entry(created(writer)))]
    for version in range(2, records + 2):
        for writer in writers:
            made = recorded(writer, version, merkle.leaf_hash(heads[writer.number]))
            heads[writer.number] = log.leaves[log.add(entries.encode_entry(made))]
    return log


def check(evidence: Evidence) -> Shown:
    return check_evidence(bundle.encode_evidence(evidence), accept)


def refused(evidence: Evidence | bytes, accepts: Callable[[bytes], Checkpoint] = accept) -> BadEvidence:
    data = evidence if isinstance(evidence, bytes) else bundle.encode_evidence(evidence)
    with pytest.raises(BadEvidence) as caught:
        check_evidence(data, accepts)
    assert str(caught.value).startswith(f"step {caught.value.step}, ")
    return caught.value


def of_second(change: Callable[[Writer, Entry], Entry]) -> Evidence:
    """Evidence for a fork's second entry, whole but for what `change` does to that entry before it is logged."""
    writer, log = Writer(0), Log()
    first = log.add(entries.encode_entry(created(writer)))
    second = change(writer, recorded(writer, 2, merkle.leaf_hash(log.leaves[first])))
    return log.evidence(log.add(entries.encode_entry(second)), first)


def of_first(change: Callable[[Writer, Entry], Entry]) -> Evidence:
    """Evidence for a fork's second entry, whole but for what `change` does to its first."""
    writer, log = Writer(0), Log()
    first = log.add(entries.encode_entry(change(writer, created(writer))))
    second = recorded(writer, 2, merkle.leaf_hash(log.leaves[first]))
    return log.evidence(log.add(entries.encode_entry(second)), first)


def signed_again(writer: Writer, entry: Entry, body: bytes) -> Entry:
    signature = writer.key.sign(signed_message(entry.topic, entry.origin, body))
    return replace(entry, body=body, signatures=(signature,))


# --- what holds ---


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_evidence_for_every_entry_holds_under_every_checkpoint_that_covers_it(size: int) -> None:
    whole = two_forks()
    log = Log(whole.leaves[:size])
    for leaf in range(size):
        evidence = log.evidence(leaf, leaf % 2 if leaf > 1 else None)
        assert bundle.decode_evidence(bundle.encode_evidence(evidence)) == evidence
        shown = check(evidence)
        assert (shown.leaf_index, shown.checkpoint.size) == (leaf, size)
        assert entries.encode_entry(shown.entry) == log.leaves[leaf]
        assert shown.created.owner_key == Writer(leaf % 2).key.public
        assert shown.record == (record.decode_body(shown.entry.body) if leaf > 1 else None)


def test_a_fork_created_is_its_own_authority() -> None:
    log = two_forks()
    shown = check(log.evidence(0, None))
    assert (shown.entry.version, shown.entry.authority, shown.record) == (1, 1, None)


def test_a_ledger_gives_evidence_for_every_entry_that_its_newest_checkpoint_covers(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    (writer, _) = fill(ledger, records=3)
    publish(ledger)
    covered = ledger.size()
    ledger.append(writer.next())
    for leaf in range(covered):
        shown = check(ledger.evidence(leaf))
        assert (shown.leaf_index, shown.checkpoint.size) == (leaf, covered)
        assert shown.entry_hash == merkle.leaf_hash(ledger.entry_at(leaf).data)
        assert ledger.version(shown.entry.fork_id, shown.entry.version).leaf_index == leaf
    for leaf in (-1, covered):
        with pytest.raises(NotFound, match=f"leaf {leaf}: the newest checkpoint covers {covered} entries"):
            ledger.evidence(leaf)
    for version in (-1, 0, 6, 2**64):
        with pytest.raises(NotFound, match=f"version {version}: not in this ledger"):
            ledger.version(writer.fork_id, version)
    ledger.close()


def test_evidence_has_the_bytes_that_another_implementation_gives_it() -> None:
    log, expected = (json.loads((VECTORS / name).read_text("utf-8")) for name in ("log.json", "evidence.json"))
    verifier = note.Ed25519Verifier.from_vkey(log["log_vkey"])
    made = Log([bytes.fromhex(entry) for entry in log["entries"]])
    for leaf, data in enumerate(expected["evidence"]):
        evidence = replace(made.evidence(leaf, 0 if leaf else None), checkpoint=expected["checkpoint"].encode())
        assert bundle.encode_evidence(evidence).hex() == data
        shown = check_evidence(
            bytes.fromhex(data), lambda signed: checkpoints.open_checkpoint(signed, log["origin"], [verifier])
        )
        assert (shown.checkpoint.root.hex(), shown.entry.version) == (log["root"], leaf + 1)
        assert bundle.tlog_proof(evidence).encode().decode() == expected["tlog_proofs"][leaf]
        check_evidence(bytes.fromhex(data), policy.parse(expected["policy"].encode()).check)


# --- step 1: the file ---


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected the format forkledger/evidence/v1"),
        (b"-----BEGIN CERTIFICATE-----\n", "do not parse"),
        (b"\xff" * 100, "do not parse"),
        (bytes(LONGEST_EVIDENCE + 1), f"expected at most {LONGEST_EVIDENCE} bytes, got {LONGEST_EVIDENCE + 1}"),
        (wire.Evidence(format="forkledger/evidence/v2").SerializeToString(), "expected the format"),
        (wire.Evidence(format="forkledger/evidence/v1").SerializeToString(), "expected an entry"),
    ],
)
def test_a_file_that_is_no_evidence_fails_step_1(data: bytes, said: str) -> None:
    error = refused(data)
    assert error.step == 1
    assert said in str(error)


def test_evidence_that_was_cut_off_anywhere_fails_step_1() -> None:
    data = bundle.encode_evidence(two_forks().evidence(5, 1))
    for length in range(len(data)):
        error = refused(data[:length])
        # A cut between two whole fields parses: then it is the authority that is missing, or the entry.
        assert error.step in (1, 5), length


def test_a_second_spelling_and_an_unknown_field_fail_step_1() -> None:
    data = bundle.encode_evidence(two_forks().evidence(5, 1))
    again = wire.Evidence.FromString(data)
    out_of_order = wire.Evidence(authority=again.authority).SerializeToString() + data
    for changed in (out_of_order, data + data, data + b"\x32\x01x"):
        error = refused(changed)
        assert (error.step, "deterministic serialisation" in str(error)) == (1, True)


def test_a_path_of_hashes_of_another_length_fails_step_1() -> None:
    evidence = two_forks().evidence(5, 1)
    evidence = replace(evidence, entry=replace(evidence.entry, path=(b"short", *evidence.entry.path[1:])))
    assert refused(evidence).step == 1


def test_evidence_longer_than_a_reader_takes_is_not_made() -> None:
    with pytest.raises(Refused, match="expected at most"):
        bundle.encode_evidence(replace(two_forks().evidence(0, None), checkpoint=bytes(LONGEST_EVIDENCE)))


# --- step 2: the checkpoint ---


def test_a_quorum_that_is_missed_fails_step_2_and_one_that_is_met_passes() -> None:
    witnesses = [cosign.Ed25519Cosigner(f"w{n}.example", drawn(32, "witness", n), lambda: 1) for n in range(3)]
    lines = [f"log {LOG_KEY.vkey}", *(f"witness w{n} {each.vkey}" for n, each in enumerate(witnesses))]
    two_of_three = policy.parse("\n".join([*lines, "group any-two 2 w0 w1 w2", "quorum any-two"]).encode())
    evidence = two_forks().evidence(5, 1)
    for count in range(4):
        text = note.parse(evidence.checkpoint).text
        added = [note.Signature(each.name, each.key_id, each.sign(text)).encode() for each in witnesses[:count]]
        cosigned = replace(evidence, checkpoint=evidence.checkpoint + b"".join(added))
        if count >= 2:
            assert check_evidence(bundle.encode_evidence(cosigned), two_of_three.check).leaf_index == 5
        else:
            error = refused(cosigned, two_of_three.check)
            assert (error.step, "quorum 'any-two' (2 of w0, w1, w2)" in str(error)) == (2, True)


@pytest.mark.parametrize("signed", [b"", b"not a note", b"\xff"])
def test_a_checkpoint_that_is_no_note_fails_step_2(signed: bytes) -> None:
    assert refused(replace(two_forks().evidence(5, 1), checkpoint=signed)).step == 2


def test_a_checkpoint_of_another_log_or_by_another_key_fails_step_2() -> None:
    log = two_forks()
    elsewhere = note.Ed25519Signer("elsewhere.example/log", LOG_KEY.seed)
    for checkpoint in (log.checkpoint("elsewhere.example/log", elsewhere), log.checkpoint(key=OTHER_LOG)):
        assert refused(replace(log.evidence(5, 1), checkpoint=checkpoint)).step == 2


# --- steps 3 and 4: the places ---


def swapped_path(of: LoggedEntry) -> LoggedEntry:
    return replace(of, path=(of.path[1], of.path[0], *of.path[2:]))


@pytest.mark.parametrize(
    "change",
    [
        lambda logged, log: replace(logged, entry=logged.entry + b"\0"),
        lambda logged, log: replace(logged, leaf_index=logged.leaf_index ^ 2),
        lambda logged, log: replace(logged, leaf_index=len(log.leaves)),
        lambda logged, log: replace(logged, leaf_index=2**64 - 1),
        lambda logged, log: replace(logged, path=logged.path[1:]),
        lambda logged, log: replace(logged, path=(*logged.path, bytes(32))),
        lambda logged, log: replace(logged, path=()),
        lambda logged, log: swapped_path(logged),
        lambda logged, log: replace(logged, path=log.logged(logged.leaf_index ^ 4).path),
    ],
    ids=["bytes", "place", "beyond", "far beyond", "short", "long", "none", "swapped", "of another leaf"],
)
def test_an_entry_or_an_authority_without_a_path_to_the_root_fails_step_3_or_4(
    change: Callable[[LoggedEntry, Log], LoggedEntry],
) -> None:
    log = two_forks()
    evidence = log.evidence(5, 1)
    assert evidence.authority is not None
    error = refused(replace(evidence, entry=change(evidence.entry, log)))
    assert (error.step, type(error.__cause__)) == (3, BadProof)
    error = refused(replace(evidence, authority=change(evidence.authority, log)))
    assert (error.step, type(error.__cause__)) == (4, BadProof)


def test_a_checkpoint_of_another_size_of_the_same_log_fails_step_3() -> None:
    log = two_forks()
    shorter = Log(log.leaves[:7])
    assert refused(replace(log.evidence(5, 1), checkpoint=shorter.checkpoint())).step == 3


# --- step 5: the two belong together ---


def test_an_authority_of_another_fork_fails_step_5() -> None:
    error = refused(two_forks().evidence(5, 0))
    assert error.step == 5
    assert f"expected an entry of fork {Writer(1).fork_id}, got one of {Writer(0).fork_id}" in str(error)


def test_an_authority_of_another_version_than_the_entry_names_fails_step_5() -> None:
    error = refused(two_forks().evidence(5, 3))
    assert error.step == 5
    assert "expected version 1, as the entry names it, got 2" in str(error)


def test_an_authority_left_out_fails_step_5() -> None:
    error = refused(two_forks().evidence(5, None))
    assert error.step == 5
    assert "expected version 1, as the entry names it, got 3" in str(error)


def test_an_authority_that_is_the_entry_itself_is_not_given_twice() -> None:
    assert refused(two_forks().evidence(0, 0)).step == 5


@pytest.mark.parametrize("authority", [2, 3])
def test_an_authority_that_is_not_before_the_entry_fails_step_5(authority: int) -> None:
    writer, log = Writer(0), two_forks()
    made = recorded(writer, 2, merkle.leaf_hash(log.leaves[0]), authority=authority)
    leaf = log.add(entries.encode_entry(made))
    assert refused(log.evidence(leaf, {2: 2, 3: 4}[authority])).step == 5


@pytest.mark.parametrize("version", [2, 9])
def test_leaves_that_cannot_hold_the_versions_between_fail_step_5(version: int) -> None:
    writer, log = Writer(0), Log()
    made = recorded(writer, version, merkle.leaf_hash(entries.encode_entry(created(writer))))
    leaf = log.add(entries.encode_entry(made)) if version == 2 else None
    first = log.add(entries.encode_entry(created(writer)))
    if leaf is None:
        leaf = log.add(entries.encode_entry(made))
    error = refused(log.evidence(leaf, first))
    assert error.step == 5
    assert "with room for what lies between" in str(error)


def test_an_entry_right_after_its_authority_that_chains_onto_another_fails_step_5() -> None:
    error = refused(of_second(lambda writer, entry: replace(entry, previous=bytes(32))))
    assert error.step == 5
    assert "previous: not the hash of version 1" in str(error)


def test_an_entry_of_another_origin_in_this_log_fails_step_5() -> None:
    for changed in (of_first, of_second):
        error = refused(changed(lambda writer, entry: replace(entry, origin="elsewhere.example/log")))
        assert error.step == 5
        assert f"expected the checkpoint's origin {ORIGIN}, got another" in str(error)


def test_bytes_in_the_log_that_are_no_entry_fail_step_5() -> None:
    log = two_forks()
    leaf = log.add(b"\xff\xff")
    error = refused(log.evidence(leaf, 0))
    assert (error.step, type(error.__cause__)) == (5, Malformed)


# --- step 6: the right ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda writer, entry: replace(entry, topic="key-changed/v1"), "expected topic fork-created/v1, got key-chan"),
        (lambda writer, entry: replace(entry, topic="\u202e"), r"got '\u202e'"),
        (lambda writer, entry: replace(entry, previous=bytes(31) + b"\1"), "after nothing"),
        (lambda writer, entry: replace(entry, authority=2), "by its own authority"),
        (lambda writer, entry: replace(entry, signatures=()), "expected one signature by the owner's key, got 0"),
        (lambda writer, entry: replace(entry, body=b"\xff"), "do not parse as ForkCreated"),
        (
            lambda writer, entry: signed_again(
                writer, entry, entries.encode_fork_created(Writer(1).creation(owner_key=writer.key.public))
            ),
            "the body names another fork",
        ),
        (
            lambda writer, entry: signed_again(
                writer, entry, entries.encode_fork_created(writer.creation(owner_key=Writer(1).key.public))
            ),
            "expected key",
        ),
    ],
)
def test_an_authority_that_gives_no_right_fails_step_6(change: Callable[[Writer, Entry], Entry], said: str) -> None:
    error = refused(of_first(change))
    assert error.step == 6
    assert said in str(error)


@pytest.mark.parametrize("topic", ["key-changed/v1", "fork-created/v1", "made-up/v1", "é/v1"])
def test_a_topic_that_nobody_may_sign_fails_step_6(topic: str) -> None:
    error = refused(of_second(lambda writer, entry: replace(entry, topic=topic)))
    assert error.step == 6
    assert "knows nobody who may sign" in str(error)


# --- step 7: the signature ---


def by(key: SigningKey, entry: Entry, topic: str = USER_TRAINING_RECORD, origin: str = ORIGIN) -> Entry:
    return replace(entry, signatures=(key.sign(signed_message(topic, origin, entry.body)),))


@pytest.mark.parametrize(
    "change",
    [
        lambda writer, entry: by(Writer(1).key, entry),
        lambda writer, entry: by(writer.key, entry, topic=FORK_CREATED),
        lambda writer, entry: by(writer.key, entry, origin="elsewhere.example/log"),
        lambda writer, entry: replace(entry, signatures=()),
        lambda writer, entry: replace(entry, signatures=entry.signatures * 2),
        lambda writer, entry: replace(entry, body=writer.record(2).body),
        lambda writer, entry: replace(entry, signatures=(replace(entry.signatures[0], raw=bytes(64)),)),
    ],
    ids=["another key", "another topic", "another origin", "none", "two", "another body", "zeros"],
)
def test_an_entry_that_its_owner_did_not_sign_fails_step_7(change: Callable[[Writer, Entry], Entry]) -> None:
    error = refused(of_second(change))
    assert (error.step, type(error.__cause__)) == (7, BadSignature)
    assert str(error).startswith(f"step 7, leaf 1, fork {Writer(0).fork_id} version 2: ")


# --- step 8: the statement ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fork_id": Writer(1).fork_id}, "names another fork"),
        ({"layout_digest": bytes(32)}, "layout_digest"),
        ({"recipe_digest": bytes(32)}, "recipe_digest"),
        ({"update_dimension": 8}, "update_dimension: expected 256, got 8"),
        ({"interaction_number": 0}, "interaction_number"),
    ],
)
def test_a_signed_record_that_does_not_fit_its_fork_fails_step_8(changes: dict[str, object], said: str) -> None:
    error = refused(
        of_second(lambda writer, entry: signed_again(writer, entry, writer.record(1, **changes).body))  # type: ignore[arg-type]
    )
    assert error.step == 8
    assert said in str(error)


def test_a_later_field_in_a_record_is_tolerated() -> None:
    check(of_second(lambda writer, entry: signed_again(writer, entry, entry.body + b"\xfa\x07\x01x")))


# --- tampering ---


def meaning(shown: Shown) -> tuple[object, ...]:
    return shown.checkpoint, shown.leaf_index, shown.entry, shown.created, shown.record


def test_no_byte_can_be_changed_without_being_refused_or_meaning_the_same() -> None:
    """Two flips of every byte. Only in a signature line of a key that nobody knows may one go unnoticed."""
    evidence = two_forks(1).evidence(3, 1)
    stranger = note.Signature("witness.example/w", b"abcd", bytes(72)).encode()
    data = bundle.encode_evidence(replace(evidence, checkpoint=evidence.checkpoint + stranger))
    expected = meaning(check_evidence(data, accept))
    start = data.index(stranger)
    for at in range(len(data)):
        for mask in (0x01, 0x80):
            flipped = data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
            try:
                shown = check_evidence(flipped, accept)
            except BadEvidence:
                continue
            assert meaning(shown) == expected
            assert start <= at < start + len(stranger), at


def test_not_one_bit_of_cosigned_evidence_can_be_changed() -> None:
    expected = json.loads((VECTORS / "evidence.json").read_text("utf-8"))
    data, policy_check = bytes.fromhex(expected["evidence"][3]), policy.parse(expected["policy"].encode()).check
    check_evidence(data, policy_check)
    for at in range(len(data)):
        for bit in range(8):
            refused(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], policy_check)


@given(st.data())
def test_whatever_is_done_to_the_bytes_either_fails_a_step_or_means_the_same(given: st.DataObject) -> None:
    data = bundle.encode_evidence(two_forks(1).evidence(3, 1))
    expected = meaning(check_evidence(data, accept))
    start = given.draw(st.integers(0, len(data)))
    end = given.draw(st.integers(start, min(len(data), start + 80)))
    changed = data[:start] + given.draw(st.binary(max_size=80)) + data[end:]
    with suppress(BadEvidence):
        assert meaning(check_evidence(changed, accept)) == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_step(data: bytes) -> None:
    assert refused(data).step in STEPS


# --- the anchor ---

ANCHORED = json.loads((VECTORS / "anchor_proof.json").read_text("utf-8"))
EVIDENCE_ANCHORED = bytes.fromhex(ANCHORED["evidence_of_leaf_1_with_size_3"])
ANCHORED_LOG = note.Ed25519Verifier.from_vkey(ANCHORED["log_vkey"])


def accept_anchored(signed: bytes) -> Checkpoint:
    return checkpoints.open_checkpoint(signed, ANCHORED_LOG.name, [ANCHORED_LOG])


def check_anchored(data: bytes, proof: str = "size_3", *logs: note.Ed25519Verifier) -> chainproof.Held:
    shown = check_evidence(data, accept_anchored)
    anchor = bundle.decode_evidence(data).anchor
    assert anchor is not None
    block, contract, code = (
        bytes.fromhex(each)
        for each in (ANCHORED["proofs"][proof]["block_hash"], ANCHORED["contract"], ANCHORED["code_hash"])
    )
    return bundle.check_anchoring(anchor, shown, chainproof.Pinned(block, contract, code), logs or (ANCHORED_LOG,))


def with_anchor(**changes: Any) -> bytes:
    evidence = bundle.decode_evidence(EVIDENCE_ANCHORED)
    assert evidence.anchor is not None
    return bundle.encode_evidence(replace(evidence, anchor=replace(evidence.anchor, **changes)))


def test_evidence_with_an_anchor_proof_holds_in_the_bytes_that_another_implementation_gives_it() -> None:
    held = check_anchored(EVIDENCE_ANCHORED)
    assert (held.size, held.root.hex()) == (3, ANCHORED["roots"]["3"])
    assert bundle.encode_evidence(bundle.decode_evidence(EVIDENCE_ANCHORED)) == EVIDENCE_ANCHORED
    without = bundle.encode_evidence(replace(bundle.decode_evidence(EVIDENCE_ANCHORED), anchor=None))
    assert without == bytes.fromhex(json.loads((VECTORS / "evidence.json").read_text("utf-8"))["evidence"][1])


def test_an_anchor_of_the_checkpoint_itself_needs_no_path() -> None:
    proof = bytes.fromhex(ANCHORED["proofs"]["size_4"]["proof"])
    assert check_anchored(with_anchor(proof=proof, path=()), "size_4").size == 4


@pytest.mark.parametrize(
    ("changes", "step", "said"),
    [
        ({"proof": b""}, 9, "anchor step 1, file: "),
        ({"proof": bytes.fromhex(ANCHORED["proofs"]["size_4"]["proof"])}, 11, "anchor step 3, block: block hash"),
        ({"path": ()}, 15, "anchor step 7, "),
        ({"path": (bytes(32),) * 3}, 15, "the proof leads to"),
        ({"path": (b"short",)}, 15, "expected hashes of 32 bytes"),
    ],
)
def test_an_anchor_proof_that_does_not_hold_fails_its_step(changes: dict[str, Any], step: int, said: str) -> None:
    with pytest.raises(BadEvidence) as caught:
        check_anchored(with_anchor(**changes))
    assert (caught.value.step, said in str(caught.value)) == (step, True), caught.value
    assert str(caught.value).startswith(f"step {step}, anchor step {step - len(STEPS)}, ")


def test_an_anchor_of_fewer_entries_than_reach_to_the_leaf_fails_step_15() -> None:
    anchor = bundle.decode_evidence(EVIDENCE_ANCHORED).anchor
    of_leaf_3 = bytes.fromhex(json.loads((VECTORS / "evidence.json").read_text("utf-8"))["evidence"][3])
    data = bundle.encode_evidence(replace(bundle.decode_evidence(of_leaf_3), anchor=anchor))
    with pytest.raises(BadEvidence, match=r"step 15, .*expected one of 4 entries or more, one of 3 is there"):
        check_anchored(data)


def test_only_keys_of_the_checkpoint_s_own_log_count_for_the_anchor() -> None:
    with pytest.raises(BadEvidence, match=r"step 14, anchor step 6, .*none is known"):
        check_anchored(EVIDENCE_ANCHORED, "size_3", LOG_KEY.verifier)


def test_every_step_of_an_anchor_follows_those_of_evidence() -> None:
    assert list(STEPS | bundle.ANCHOR_STEPS) == list(range(1, 16))
