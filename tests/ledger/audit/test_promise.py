"""A receipt against its log: kept, not due yet, broken, and what proves nothing. Of a folder and of a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint, merkle, note, receipt
from ledger.audit.promise import BROKEN, KEPT, NOT_DUE, NOT_SHOWN, Looked, look
from ledger.checkpoint import Checkpoint
from ledger.entry import decode_entry
from ledger.errors import Unavailable
from ledger.ledger import Ledger
from ledger.logsource import Folder, Log
from ledger.policy import of_log
from ledger.publish import publish
from ledger.receipt import Receipt
from tests.ledger.tiled import Forks, write_log
from tests.ledger.written import LOG_KEY, NOW, ORIGIN, RECEIPT_KEY, Writer, datastore, drawn, fill, open_ledger

DUE = NOW + 10_000_000
BELIEVED = of_log(LOG_KEY.vkey)
SIZE = 600
LEAVES = [0, 255, 256, 511, 512, 598, 599]


def promised(entries: list[bytes], leaf: int, **changes: object) -> bytes:
    """The receipt of a leaf."""
    entry = decode_entry(entries[leaf])
    made = Receipt(ORIGIN, entry.fork_id, entry.version, leaf, merkle.leaf_hash(entries[leaf]), NOW, DUE)
    return receipt.sign(replace(made, **changes), RECEIPT_KEY)  # type: ignore[arg-type]


def looked(signed: bytes, log: Log, now: int = DUE + 1) -> Looked:
    return look(signed, RECEIPT_KEY.verifier, log, BELIEVED.check, now)


def ended(found: Looked) -> tuple[str, int | None]:
    return found.outcome, found.step


@pytest.fixture(scope="module")
def entries() -> list[bytes]:
    return Forks(3).grow(SIZE)


@pytest.fixture(scope="module")
def whole(entries: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_log(tmp_path_factory.mktemp("log"), entries))


@pytest.fixture
def copy(entries: list[bytes], tmp_path: Path) -> Folder:
    """A log of one's own, to damage."""
    return Folder(write_log(tmp_path / "log", entries))


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("now", [NOW, DUE + 1])
def test_a_promise_that_was_kept_is_found_so(whole: Folder, entries: list[bytes], leaf: int, now: int) -> None:
    found = looked(promised(entries, leaf), whole, now)
    assert ended(found) == (KEPT, None), found.message
    assert (found.receipt and found.receipt.leaf_index, found.tree and found.tree.size) == (leaf, SIZE)


def test_a_leaf_that_no_checkpoint_covers_is_not_due_until_it_is(entries: list[bytes], tmp_path: Path) -> None:
    log = Folder(write_log(tmp_path, entries[:40]))
    signed = promised(entries, 40)
    assert ended(looked(signed, log, DUE)) == (NOT_DUE, 3)
    found = looked(signed, log, DUE + 1)
    assert ended(found) == (BROKEN, 3)
    assert found.message == "step 3, leaf 40: the newest checkpoint covers 40 entries"
    assert found.signed == (tmp_path / "checkpoint").read_bytes()  # what has to be kept as evidence
    write_log(tmp_path, entries[:41], before=40)
    assert ended(looked(signed, log, DUE + 1)) == (KEPT, None)


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("now", [NOW, DUE + 1])
def test_another_entry_in_the_promised_place_is_a_broken_promise_with_its_proof(
    whole: Folder, entries: list[bytes], leaf: int, now: int
) -> None:
    found = looked(promised(entries, leaf, entry_hash=drawn(32, "what was promised")), whole, now)
    assert ended(found) == (BROKEN, 4)
    assert found.tree is not None
    assert found.found == merkle.leaf_hash(entries[leaf])
    merkle.check_inclusion(leaf, SIZE, found.found, found.path, found.tree.root)


@pytest.mark.parametrize("changes", [{"fork_id": Writer(9).fork_id}, {"version": 1}])
def test_an_entry_of_another_fork_or_version_is_a_broken_promise(
    whole: Folder, entries: list[bytes], changes: dict[str, object]
) -> None:
    assert ended(looked(promised(entries, 300, **changes), whole)) == (BROKEN, 5)


def test_a_receipt_of_another_key_or_changed_by_a_bit_proves_nothing(whole: Folder, entries: list[bytes]) -> None:
    signed = promised(entries, 3)
    other = note.Ed25519Signer(RECEIPT_KEY.name, drawn(32, "another"))
    assert ended(look(signed, other.verifier, whole, BELIEVED.check, NOW)) == (NOT_SHOWN, 1)
    for data in (b"", b"\xff\n\n", signed[:-20]):
        assert ended(looked(data, whole)) == (NOT_SHOWN, 1)


@given(st.data())
def test_no_changed_bit_of_a_receipt_makes_a_log_look_guilty(
    whole: Folder, entries: list[bytes], data: st.DataObject
) -> None:
    signed = bytearray(promised(entries, 3))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert ended(looked(bytes(signed), whole)) == (NOT_SHOWN, 1)


def test_a_checkpoint_that_the_log_did_not_sign_is_no_evidence(copy: Folder, entries: list[bytes]) -> None:
    forged = checkpoint.sign(Checkpoint(ORIGIN, 2, bytes(32)), note.Ed25519Signer(ORIGIN, bytes(32)))
    Path(copy.name, "checkpoint").write_bytes(forged)
    found = looked(promised(entries, 3), copy)
    assert (ended(found), found.signed) == ((NOT_SHOWN, 2), None)


def test_the_checkpoint_of_another_log_is_no_evidence(copy: Folder, entries: list[bytes]) -> None:
    other = note.Ed25519Signer("other.example/log", bytes(32))
    Path(copy.name, "checkpoint").write_bytes(checkpoint.sign(Checkpoint(other.name, 2, bytes(32)), other))
    found = look(promised(entries, 3), RECEIPT_KEY.verifier, copy, of_log(other.vkey).check, DUE + 1)
    assert (ended(found), found.signed) == ((NOT_SHOWN, 2), None)


def test_a_log_without_a_checkpoint_is_not_due_and_then_shows_nothing(copy: Folder, entries: list[bytes]) -> None:
    Path(copy.name, "checkpoint").unlink()
    assert ended(looked(promised(entries, 3), copy, DUE)) == (NOT_DUE, 2)
    assert ended(looked(promised(entries, 3), copy, DUE + 1)) == (NOT_SHOWN, 2)


def test_tiles_that_are_damaged_or_missing_prove_nothing_against_what_was_signed(
    copy: Folder, entries: list[bytes]
) -> None:
    tile = Path(copy.name, "tile/0/000")
    data = tile.read_bytes()
    tile.write_bytes(bytes(32) + data[32:])
    for leaf in (0, 3):  # the damaged hash is the leaf's own; or on its way
        found = looked(promised(entries, leaf), copy)
        assert (ended(found), found.found) == ((NOT_SHOWN, 4), None)
    tile.write_bytes(data[:-1])
    assert ended(looked(promised(entries, 3), copy)) == (NOT_SHOWN, 4)
    tile.unlink()
    assert ended(looked(promised(entries, 3), copy)) == (NOT_SHOWN, 4)


def test_a_bundle_that_is_damaged_or_missing_proves_nothing(copy: Folder, entries: list[bytes]) -> None:
    bundle = Path(copy.name, "tile/entries/000")
    data = bundle.read_bytes()
    bundle.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert ended(looked(promised(entries, 0), copy)) == (NOT_SHOWN, 5)
    assert ended(looked(promised(entries, 3), copy)) == (KEPT, None)
    bundle.write_bytes(data[:100])
    assert ended(looked(promised(entries, 3), copy)) == (NOT_SHOWN, 5)
    bundle.unlink()
    assert ended(looked(promised(entries, 3), copy)) == (NOT_SHOWN, 5)


def test_a_log_that_cannot_be_read_breaks_no_promise(entries: list[bytes]) -> None:
    class Gone(Folder):
        def read(self, path: str, longest: int) -> bytes:
            raise Unavailable("gone")

    with pytest.raises(Unavailable):
        looked(promised(entries, 3), Gone(Path()))


# --- a database ---


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


def test_the_receipts_of_a_ledger_are_kept_by_its_database(ledger: Ledger) -> None:
    fill(ledger, forks=2, records=3)
    late = Writer(2)
    signed = [ledger.receipt_of(ledger.entry_at(leaf)) for leaf in range(8)]
    assert ended(looked(signed[0], ledger.store, NOW)) == (NOT_DUE, 2)
    publish(ledger)
    assert {ended(looked(each, ledger.store)) for each in signed} == {(KEPT, None)}
    last = ledger.create_fork(late.control())
    due = ledger.open_receipt(last).due_by
    assert ended(looked(last, ledger.store, due)) == (NOT_DUE, 3)
    assert ended(looked(last, ledger.store, due + 1)) == (BROKEN, 3)


def test_a_database_that_was_restored_and_grew_another_way_breaks_its_promise(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, forks=1, records=3)
    signed = ledger.receipt_of(ledger.entry_at(3))
    restored = open_ledger(tmp_path / "restored.db")
    fill(restored, forks=2, records=1)
    publish(restored)
    assert ended(looked(signed, restored.store)) == (BROKEN, 4)
    restored.close()


def test_an_entry_that_is_gone_from_the_database_is_not_shown(ledger: Ledger) -> None:
    fill(ledger, forks=1, records=3)
    publish(ledger)
    signed = ledger.receipt_of(ledger.entry_at(2))
    with datastore(ledger).transaction(commit=True) as cursor:
        cursor.execute("DELETE FROM entries WHERE notification_id=3")
    assert ended(looked(signed, ledger.store)) == (NOT_SHOWN, 5)
