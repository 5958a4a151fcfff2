"""The audit of a public log: what it finds in bundles, tiles and checkpoint, and where it says that it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import checkpoint as checkpoints
from ledger import note, tiles
from ledger.audit import Bookmark, Fault, Report, Trust, audit_public, bookmark
from ledger.audit import public as public_audit
from ledger.audit import signatures as signature_checks
from ledger.checkpoint import Checkpoint
from ledger.entry import USER_TRAINING_RECORD, decode_entry, encode_entry
from ledger.errors import BadSignature, Unavailable
from ledger.keys import signed_message
from ledger.logsource import Folder
from ledger.record import encode_body
from ledger.tiles import entries_path, tile_path
from tests.ledger.tiled import Forks, signed_checkpoint, write_log
from tests.ledger.written import LOG_KEY, ORIGIN, Writer

SIZE = 40
TRUST = Trust(LOG_KEY.verifier)


def quiet(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Original:
    """A log of three forks and forty entries."""

    folder: Path
    entries: list[bytes]
    writers: list[Writer]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    forks = Forks(3)
    forks.grow(SIZE)
    folder = write_log(tmp_path_factory.mktemp("public") / "log", forks.entries)
    return Original(folder, forks.entries, forks.writers)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Three full tiles and a partial one; the tile above them is partial."""
    forks = Forks(3)
    forks.grow(3 * 256 + 40)
    folder = write_log(tmp_path_factory.mktemp("large") / "log", forks.entries)
    return Original(folder, forks.entries, forks.writers)


@pytest.fixture
def copy(original: Original, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original.folder, tmp_path / "log"))


@pytest.fixture
def large_copy(large: Original, tmp_path: Path) -> Path:
    return Path(shutil.copytree(large.folder, tmp_path / "log"))


def audited(folder: Path, kept: bytes | None = None, trust: Trust = TRUST, **options: Any) -> Report:
    return audit_public(Folder(folder), trust, kept, quiet, **options)


def only(report: Report, step: int) -> Fault:
    """The first fault, which must be of this step."""
    assert report.first_fault is not None
    assert report.first_fault.step == step, [str(fault) for fault in report.faults]
    return report.first_fault


def edited(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


# --- what is whole ---


def test_an_untouched_log_is_clean(original: Original) -> None:
    report = audited(original.folder)
    assert report.clean, report.first_fault
    assert (report.origin, report.entries, report.records, report.forks, report.covered) == (ORIGIN, 40, 37, 3, 40)
    assert report.checkpoint == signed_checkpoint(original.entries)
    assert [notice.partition(":")[0] for notice in report.notices] == ["payloads"]


def test_a_log_of_several_tiles_is_clean(large: Original) -> None:
    report = audited(large.folder)
    assert report.clean, report.first_fault
    assert report.entries == len(large.entries)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512])
def test_a_log_of_any_size_is_clean(tmp_path: Path, large: Original, size: int) -> None:
    report = audited(write_log(tmp_path, large.entries[:size]))
    assert report.clean, report.first_fault
    assert report.entries == size


def test_full_files_do_for_partial_ones_that_are_gone(tmp_path: Path, large: Original) -> None:
    """Between reading a checkpoint and its tiles the log may have grown over them."""
    folder = write_log(tmp_path, large.entries[:600])
    write_log(tmp_path, large.entries, before=600)
    (folder / "checkpoint").write_bytes(signed_checkpoint(large.entries[:600]))
    (folder / tile_path(0, 2, 88)).unlink()
    (folder / entries_path(2, 88)).unlink()
    report = audited(folder)
    assert report.clean, report.first_fault
    assert report.entries == 600


def test_other_processes_find_what_this_one_finds(
    large_copy: Path, large: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = decode_entry(large.entries[500])
    (signature,) = entry.signatures
    raw = bytes([signature.raw[0] ^ 1]) + signature.raw[1:]
    rewritten = [*large.entries]
    rewritten[500] = encode_entry(replace(entry, signatures=(replace(signature, raw=raw),)))
    write_log(large_copy, rewritten)
    alone = audited(large_copy)
    monkeypatch.setattr(signature_checks, "FROM", 1)
    monkeypatch.setattr(signature_checks, "_BATCH", 100)
    together = audited(large_copy, processes=2)
    assert together == alone
    assert [(fault.leaf, fault.step) for fault in alone.faults if fault.step == 6] == [(500, 6)]


def test_without_signatures_the_report_says_so(original: Original) -> None:
    report = audited(original.folder, signatures=False)
    assert report.clean
    assert report.notices[-1] == "signatures: those of records were not checked"


# --- every bit of every file ---


FILES = ["checkpoint", entries_path(0, SIZE), tile_path(0, 0, SIZE)]


@given(st.data())
@settings(max_examples=150)
def test_a_flipped_bit_anywhere_is_found_and_named(
    original: Original, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "flipped"
    shutil.copytree(original.folder, folder, dirs_exist_ok=True)
    name = data.draw(st.sampled_from(FILES))
    path = folder / name
    whole = bytearray(path.read_bytes())
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[at] ^= 1 << bit
    path.write_bytes(bytes(whole))
    report = audited(folder)
    first = report.first_fault
    if name == "checkpoint":
        assert only(report, 10).leaf is None
        return
    assert first is not None
    if name.startswith("tile/0"):
        leaf = at // 32
    else:
        ends = [sum(2 + len(entry) for entry in original.entries[: number + 1]) for number in range(SIZE)]
        leaf = next(number for number, end in enumerate(ends) if at < end)
        start = ends[leaf] - len(original.entries[leaf]) - 2
        if at - start < 2:
            assert first.leaf is not None
            assert first.leaf >= leaf  # a wrong length: what follows is read from a wrong place
            return
    assert first.leaf == leaf, [str(fault) for fault in report.faults]
    if decodes(bytes(whole), name, leaf):
        writer = original.writers[leaf % 3]
        assert (first.version, first.fork_id) in {
            (leaf // 3 + 1, writer.fork_id),
            # Of a first entry nothing else tells the name; and a version is what damage may have hit.
            *(((first.version, first.fork_id),) if leaf < 3 or first.version != leaf // 3 + 1 else ()),
        }


def decodes(data: bytes, name: str, leaf: int) -> bool:
    try:
        if name.startswith("tile/entries"):
            decode_entry(tiles.decode_bundle(data, SIZE)[leaf])
    except Exception:
        return False
    return True


@given(st.data())
@settings(max_examples=60)
def test_no_damage_to_any_file_ends_the_audit_in_an_error(
    original: Original, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.copytree(original.folder, folder, dirs_exist_ok=True)
    path = folder / data.draw(st.sampled_from(FILES))
    whole = path.read_bytes()
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    damaged = whole[:begin] + data.draw(st.binary(max_size=64)) + whole[end:]
    path.write_bytes(damaged)
    assert audited(folder).clean == (damaged == whole)


# --- what is missing, cut off or too much ---


@pytest.mark.parametrize(
    ("name", "step", "leaf"),
    [
        (entries_path(0), 3, 0),
        (entries_path(1), 3, 256),
        (entries_path(3, 40), 3, 768),
        (tile_path(0, 2), 8, 512),
        (tile_path(0, 3, 40), 8, 768),
        (tile_path(1, 0, 3), 8, 255),
    ],
)
def test_a_missing_file_is_found(large_copy: Path, name: str, step: int, leaf: int) -> None:
    (large_copy / name).unlink()
    fault = only(audited(large_copy), step)
    assert (fault.leaf, fault.message) == (leaf, f"{name}: missing")


@pytest.mark.parametrize("cut", [1, 300, 20_000])
def test_a_bundle_that_is_cut_off_is_found_at_its_first_missing_entry(
    large_copy: Path, large: Original, cut: int
) -> None:
    path = large_copy / entries_path(1)
    edited(path, lambda data: data[:-cut])
    left, leaf = len(path.read_bytes()), 256
    while left >= 2 + len(large.entries[leaf]):
        left -= 2 + len(large.entries[leaf])
        leaf += 1
    fault = only(audited(large_copy), 3)
    assert fault.leaf == leaf
    assert "is cut off" in fault.message


def test_a_bundle_with_an_entry_too_many_or_too_few_is_found(large_copy: Path, large: Original) -> None:
    page = large.entries[256:512]
    (large_copy / entries_path(1)).write_bytes(tiles.encode_bundle([*page, page[0]]))
    assert "expected 256 entries, 257 came" in only(audited(large_copy), 3).message
    (large_copy / entries_path(1)).write_bytes(tiles.encode_bundle(page[:-1]))
    fault = only(audited(large_copy), 3)
    assert fault.leaf == 511
    assert "expected 256 entries, 255 came" in fault.message


def test_a_tile_with_a_hash_too_many_or_too_few_is_found(large_copy: Path) -> None:
    edited(large_copy / tile_path(0, 1), lambda data: data + bytes(32))
    assert only(audited(large_copy), 8).leaf == 256
    edited(large_copy / tile_path(0, 1), lambda data: data[: 255 * 32])
    assert only(audited(large_copy), 8).leaf == 256


def test_a_partial_file_that_differs_from_the_log_is_found_where_it_is_read(large_copy: Path, large: Original) -> None:
    edited(large_copy / tile_path(1, 0, 3), lambda data: data[:64] + bytes(32))
    assert only(audited(large_copy), 8).leaf == 767


def test_an_endless_file_is_not_read_to_its_end(large_copy: Path) -> None:
    (large_copy / "checkpoint").write_bytes(b"x" * (2 << 20))
    assert only(audited(large_copy), 10).message == "checkpoint: expected at most 1048576 bytes, more came"


def test_a_log_of_which_nothing_is_there_is_not_read_for_ever(tmp_path: Path) -> None:
    signed = checkpoints.sign(Checkpoint(ORIGIN, 2**62, sha256(b"root").digest()), LOG_KEY)
    (tmp_path / "checkpoint").write_bytes(signed)
    report = audited(tmp_path)
    assert {fault.step for fault in report.faults} == {3, 8}
    assert "entries: from leaf 0 on not checked" in report.notices


# --- histories that were rewritten with care ---


def rewritten(original: Original, leaf: int, **changes: object) -> list[bytes]:
    """The same entries with another body in one, signed by its owner, and the chain after it."""
    writer, heads = original.writers[leaf % 3], dict[str, bytes]()
    entries = []
    for at, data in enumerate(original.entries):
        entry = decode_entry(data)
        if at == leaf:
            number = entry.version - 1
            body = encode_body(writer.body(number, writer.payloads(number), **changes))
            signature = writer.key.sign(signed_message(USER_TRAINING_RECORD, ORIGIN, body))
            entry = replace(entry, body=body, signatures=(signature,))
        entry = replace(entry, previous=heads.get(entry.fork_id, entry.previous))
        entries.append(encode_entry(entry))
        heads[entry.fork_id] = sha256(b"\0" + entries[-1]).digest()
    return entries


def test_a_history_rewritten_and_signed_again_is_noticed_by_the_kept_checkpoint(copy: Path, original: Original) -> None:
    newest, early = signed_checkpoint(original.entries), signed_checkpoint(original.entries[:9])
    write_log(copy, rewritten(original, 9, step=4321))
    assert audited(copy).clean  # from the log alone nobody can tell
    fault = only(audited(copy, kept=newest), 11)
    assert (fault.leaf, fault.message) == (39, "kept checkpoint of size 40: the entries before it were changed since")
    assert audited(copy, kept=early).clean  # what it covers was left alone


def test_entries_and_tiles_rewritten_under_a_checkpoint_are_noticed(copy: Path, original: Original) -> None:
    signed = (copy / "checkpoint").read_bytes()
    write_log(copy, rewritten(original, 9, step=4321))
    (copy / "checkpoint").write_bytes(signed)
    fault = only(audited(copy), 10)
    assert (fault.leaf, fault.message) == (39, "checkpoint of size 40: its root is not that of the first 40 entries")


def test_a_log_that_shrank_is_noticed(tmp_path: Path, original: Original) -> None:
    folder = write_log(tmp_path, original.entries[:20])
    fault = only(audited(folder, kept=signed_checkpoint(original.entries)), 11)
    assert fault.message == "kept checkpoint: the log had 40 entries, only 20 are here"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 768, 800, 808])
def test_a_kept_checkpoint_of_any_size_is_compared(large: Original, size: int) -> None:
    assert audited(large.folder, kept=signed_checkpoint(large.entries[:size])).clean
    false = checkpoints.sign(Checkpoint(ORIGIN, size, sha256(b"another root").digest()), LOG_KEY)
    fault = only(audited(large.folder, kept=false), 11)
    entry = decode_entry(large.entries[size - 1])
    assert (fault.leaf, fault.fork_id, fault.version) == (size - 1, entry.fork_id, entry.version)


def test_a_checkpoint_of_another_log_is_not_taken(copy: Path) -> None:
    other = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())
    (copy / "checkpoint").write_bytes(checkpoints.sign(Checkpoint(ORIGIN, 40, sha256(b"root").digest()), other))
    report = audited(copy)
    assert only(report, 10).leaf is None
    assert report.entries == 0
    assert audited(copy, kept=(copy / "checkpoint").read_bytes()).fault_count == 2


def test_a_record_signed_by_another_fork_s_owner_is_found(copy: Path, original: Original) -> None:
    entry = decode_entry(original.entries[39])
    signature = original.writers[1].key.sign(signed_message(entry.topic, ORIGIN, entry.body))
    write_log(copy, [*original.entries[:39], encode_entry(replace(entry, signatures=(signature,)))])
    fault = only(audited(copy), 6)
    assert (fault.leaf, fault.fork_id, fault.version) == (39, original.writers[0].fork_id, 14)


def test_a_signature_that_does_not_hold_is_named_as_by_the_strict_check(copy: Path, original: Original) -> None:
    entry = decode_entry(original.entries[38])
    false = replace(entry.signatures[0], raw=bytes(64))
    write_log(copy, [*original.entries[:38], encode_entry(replace(entry, signatures=(false,)))])
    fault = only(audited(copy), 6)
    assert (fault.leaf, fault.version) == (38, 13)
    assert fault.message == f"signature of key {entry.signatures[0].key_id.hex()[:16]} does not hold over this body"


def test_a_topic_that_is_not_ascii_is_a_fault_and_no_crash(copy: Path, original: Original) -> None:
    entry = decode_entry(original.entries[39])
    write_log(copy, [*original.entries[:39], encode_entry(replace(entry, topic="surprîse/v9"))])
    assert [(fault.leaf, fault.step) for fault in audited(copy).faults] == [(39, 5), (39, 6)]


def test_a_quorum_that_is_missed_is_found(original: Original) -> None:
    def quorum(signed: bytes) -> None:
        raise BadSignature("checkpoint of size 40: expected cosignatures")

    report = audited(original.folder, trust=Trust(LOG_KEY.verifier, quorum))
    assert only(report, 12).message == "checkpoint of size 40: expected cosignatures"
    assert report.entries == 40


# --- being interrupted ---


class Flaky(Folder):
    """A log that can be read so many times, and then not."""

    def __init__(self, folder: Path, reads: int) -> None:
        super().__init__(folder)
        self.reads = reads
        self.seen: list[str] = []

    def read(self, path: str, longest: int) -> bytes:
        if not self.reads:
            raise Unavailable("gone")
        self.reads -= 1
        self.seen.append(path)
        return super().read(path, longest)


def test_an_interrupted_audit_goes_on_where_it_ended(large: Original, tmp_path: Path) -> None:
    file = tmp_path / "state" / "bookmark"
    with pytest.raises(Unavailable):
        audit_public(Flaky(large.folder, 6), TRUST, None, quiet, mark=lambda mark: bookmark.write(file, mark))
    found = bookmark.read(file)
    assert found is not None
    assert found.size == 512
    again = Flaky(large.folder, 100)
    report = audit_public(again, TRUST, None, quiet, bookmark=found)
    assert report == audited(large.folder)
    assert entries_path(1) not in again.seen
    assert entries_path(2) in again.seen


def test_what_was_changed_behind_a_bookmark_does_not_slip_by(large: Original, tmp_path: Path) -> None:
    """The root goes on from what was read: a log that is another one by now is not covered by it."""
    marks: list[Bookmark] = []
    with pytest.raises(Unavailable):
        audit_public(Flaky(large.folder, 6), TRUST, None, quiet, mark=marks.append)
    folder = write_log(tmp_path, rewritten(large, 9, step=4321))
    report = audit_public(Folder(folder), TRUST, None, quiet, bookmark=marks[-1])
    assert 10 in {fault.step for fault in report.faults}
    assert audited(folder).clean


def test_a_bookmark_of_another_key_or_kept_checkpoint_or_of_a_larger_log_is_not_taken_up(
    large: Original, original: Original
) -> None:
    marks: list[Bookmark] = []
    with pytest.raises(Unavailable):
        audit_public(Flaky(large.folder, 6), TRUST, None, quiet, mark=marks.append)
    kept = signed_checkpoint(large.entries[:100])
    for found in (replace(marks[-1], log_key="another"), marks[-1]):
        again = Flaky(large.folder, 100)
        assert audit_public(again, TRUST, kept, quiet, bookmark=found).clean
        assert entries_path(0) in again.seen
    assert audited(original.folder, bookmark=marks[-1]).clean


def test_nothing_is_marked_where_something_is_at_fault(large_copy: Path) -> None:
    edited(large_copy / tile_path(0, 0), lambda data: bytes(32) + data[32:])
    marks: list[Bookmark] = []
    with pytest.raises(Unavailable):
        audit_public(Flaky(large_copy, 6), TRUST, None, quiet, mark=marks.append)
    assert marks == []


def test_a_long_audit_is_marked_on_its_way(large: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_audit, "_MARK_EVERY", 512)
    sizes: list[int] = []
    audited(large.folder, mark=lambda mark: sizes.append(mark.size))
    assert sizes == [512]


def test_progress_ends_at_all_entries(large: Original) -> None:
    seen: list[tuple[int, int]] = []
    audit_public(Folder(large.folder), TRUST, None, lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((0, 808), (808, 808))
