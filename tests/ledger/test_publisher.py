"""Publishing: the order of its writes, what a crash between any two of them leaves, and when it refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import checkpoint as checkpoints
from ledger import merkle, note, policy
from ledger.checkpoint import Checkpoint
from ledger.cosign import Ed25519Cosigner, MlDsa44Signer
from ledger.errors import BadProof, Fenced, Halted, Refused, Unavailable
from ledger.ledger import Ledger
from ledger.main import open_house
from ledger.publicfolder import PublicFolder
from ledger.publish import publish
from ledger.publisher import Publisher
from ledger.store.sqlite import open_store
from ledger.tiles import (
    Tile,
    bundles_between,
    checked_hash_reader,
    decode_bundle,
    tiles_between,
)
from ledger.witness.client import Standing
from tests.ledger.written import LOG_KEY, NOW, ORIGIN, RECEIPT_KEY, Writer, datastore, drawn, fill, open_ledger

ML_DSA = MlDsa44Signer(ORIGIN, drawn(32, "ml-dsa"), lambda: 0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    store = open_store(tmp_path / "ledger.db")
    opened = Ledger(store, LOG_KEY, RECEIPT_KEY, lambda: NOW, None, ML_DSA)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> PublicFolder:
    return PublicFolder(tmp_path / "public")


def opened(signed: bytes | None) -> Checkpoint:
    assert signed is not None
    return checkpoints.open_checkpoint(signed, ORIGIN, [LOG_KEY.verifier, ML_DSA.verifier])


def grow(ledger: Ledger, writer: Writer, records: int) -> None:
    results = ledger.append_all([writer.next() for _ in range(records)])
    assert all(isinstance(result, bytes) for result in results)


def begun(ledger: Ledger) -> Writer:
    writer = Writer(1)
    ledger.create_fork(writer.control())
    return writer


def expect_whole(folder: PublicFolder, ledger: Ledger) -> Checkpoint:
    """The folder alone, as a stranger reads it: checkpoint, every tile under its root, every entry under its tile."""
    tree = opened(folder.checkpoint())

    def read(tile: Tile) -> bytes:
        content = folder.tile(tile)
        assert content is not None, tile.path
        return content

    for tile in tiles_between(0, tree.size):
        read(tile)
    hashes = checked_hash_reader(tree.size, tree.root, read)
    leaf = 0
    for bundle in bundles_between(0, tree.size):
        for entry in decode_bundle(read(bundle), bundle.width):
            assert hashes([merkle.stored_hash_index(0, leaf)]) == [merkle.leaf_hash(entry)]
            leaf += 1
    assert leaf == tree.size
    assert merkle.tree_root(tree.size, ledger.store.hashes) == tree.root
    return tree


@pytest.mark.parametrize("steps", [(1, 1, 1), (254, 1, 1, 2), (300, 400)])
def test_what_is_published_can_be_read_and_checked_from_the_folder_alone(
    ledger: Ledger, folder: PublicFolder, steps: tuple[int, ...]
) -> None:
    writer, publisher = begun(ledger), Publisher(ledger, folder)
    for records in steps:
        grow(ledger, writer, records)
        publisher.publish()
        assert expect_whole(folder, ledger).size == ledger.size() == publisher.size


def test_a_checkpoint_is_signed_with_both_keys(ledger: Ledger, folder: PublicFolder) -> None:
    begun(ledger)
    signed = Publisher(ledger, folder).publish() or b""
    held = note.open_note(signed, [LOG_KEY.verifier, ML_DSA.verifier]).signatures
    assert [signature.key_id for signature in held] == [LOG_KEY.key_id, ML_DSA.key_id]


def test_a_full_tile_takes_the_place_of_its_partial_ones(ledger: Ledger, folder: PublicFolder) -> None:
    writer, publisher = begun(ledger), Publisher(ledger, folder)
    for records in (99, 100, 100):
        grow(ledger, writer, records)
        publisher.publish()
    assert folder.tile(Tile(0, 0)) is not None
    assert folder.tile(Tile(0, 0, 100)) is folder.tile(Tile(None, 0, 200)) is None
    assert folder.tile(Tile(0, 1, 44)) is not None


def test_with_nothing_new_nothing_is_written(
    ledger: Ledger, folder: PublicFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(ledger)
    publisher = Publisher(ledger, folder)
    first = publisher.publish()
    monkeypatch.setattr(PublicFolder, "_write", None)
    assert publisher.publish() == first


class Faulty(PublicFolder):
    """A disk that fails at the n-th write, before or after the bytes have reached it."""

    def __init__(self, path: Path, fails_at: int, persists: bool) -> None:
        super().__init__(path)
        self.left, self.persists, self.failed = fails_at, persists, False

    def _write(self, name: str, content: bytes) -> None:
        self.left -= 1
        if self.left:
            super()._write(name, content)
            return
        self.failed = True
        if self.persists:
            super()._write(name, content)
        raise OSError("injected: the disk failed")


@pytest.mark.parametrize("persists", [False, True], ids=["failed", "failed but persisted"])
def test_after_a_fault_at_any_write_the_log_is_whole_and_goes_on(tmp_path: Path, persists: bool) -> None:
    fails_at = 1
    while True:
        place = tmp_path / str(fails_at)
        ledger = open_ledger(tmp_path / f"{fails_at}.db")
        folder = Faulty(place, 10**9, persists)
        writer, publisher = begun(ledger), Publisher(ledger, folder)
        grow(ledger, writer, 250)
        publisher.publish()
        before = expect_whole(folder, ledger)
        grow(ledger, writer, 10)
        folder.left = fails_at
        if not (done := not fails(publisher.publish, folder)):
            shown = expect_whole(PublicFolder(place), ledger)
            assert shown.size in (before.size, ledger.size())
            # The same process goes on, and so does one that starts anew; more may have come meanwhile.
            grow(ledger, writer, fails_at % 3)
            publisher = publisher if fails_at % 2 else Publisher(ledger, PublicFolder(place))
            publisher.publish()
            assert expect_whole(PublicFolder(place), ledger).size == ledger.size()
        ledger.close()
        if done:
            assert fails_at > 5, "level 0, level 1, two bundles and the checkpoint at least"
            return
        fails_at += 1


def fails(work: Callable[[], object], folder: Faulty) -> bool:
    try:
        work()
    except OSError:
        assert folder.failed
        return True
    return False


def test_a_signed_checkpoint_that_was_not_published_is_taken_up_again(ledger: Ledger, folder: PublicFolder) -> None:
    writer = begun(ledger)
    signed = publish(ledger)  # and here the process ended
    assert folder.checkpoint() is None
    assert Publisher(ledger, folder).publish() == signed
    grow(ledger, writer, 1)
    publish(ledger)
    grow(ledger, writer, 1)
    Publisher(ledger, folder).publish()
    assert expect_whole(folder, ledger).size == 3


def test_a_folder_that_was_lost_is_made_again(ledger: Ledger, folder: PublicFolder, tmp_path: Path) -> None:
    grow(ledger, begun(ledger), 300)
    Publisher(ledger, folder).publish()
    other = PublicFolder(tmp_path / "other")
    Publisher(ledger, other).publish()
    assert expect_whole(other, ledger) == expect_whole(folder, ledger)


# --- what must not be published ---


def test_a_database_that_is_behind_what_is_public_is_refused_at_the_start(
    ledger: Ledger, folder: PublicFolder, tmp_path: Path
) -> None:
    """Restored from a backup, it would sign another history."""
    writer = begun(ledger)
    grow(ledger, writer, 3)
    publish(ledger)
    with datastore(ledger).get_connection(commit=True) as connection:
        connection.cursor().execute(f"VACUUM INTO '{tmp_path / 'backup.db'}'")
    grow(ledger, writer, 2)
    Publisher(ledger, folder).publish()
    restored = open_ledger(tmp_path / "backup.db")
    with pytest.raises(BadProof, match=r"6 entries are published in .* only 4 are signed"):
        Publisher(restored, folder)
    # Also after it has grown past the public size with other entries.
    restored.append_all([Writer(1).record(number, said="another history") for number in range(4, 9)])
    publish(restored)
    with pytest.raises(BadProof, match="the first 6 entries in the database are not those published"):
        Publisher(restored, folder)
    restored.close()
    empty = open_ledger(tmp_path / "empty.db")
    with pytest.raises(BadProof, match="has signed none"):
        Publisher(empty, folder)
    empty.close()


def test_a_folder_that_another_process_took_further_is_not_taken_back(
    ledger: Ledger, folder: PublicFolder, tmp_path: Path
) -> None:
    writer = begun(ledger)
    one, other = Publisher(ledger, folder), Publisher(ledger, folder)
    one.publish()
    grow(ledger, writer, 5)
    other.publish()
    assert opened(one.publish()).size == 6
    grow(ledger, writer, 300)
    one.publish()
    other.publish()
    assert expect_whole(folder, ledger).size == 306


def test_a_tile_that_says_something_else_stops_publishing(ledger: Ledger, folder: PublicFolder) -> None:
    writer, publisher = begun(ledger), Publisher(ledger, folder)
    publisher.publish()
    before = folder.checkpoint()
    (folder.path / Tile(0, 0, 2).path).write_bytes(bytes(64))
    grow(ledger, writer, 1)
    with pytest.raises(BadProof, match=r"tile/0/000\.p/2: published before with other content"):
        publisher.publish()
    assert folder.checkpoint() == before


def test_a_database_that_falls_back_under_a_running_publisher_is_refused_even_where_it_outgrew_what_is_public(
    ledger: Ledger, folder: PublicFolder, tmp_path: Path
) -> None:
    """A failover to a standby that lagged, and more appends before the next turn than were lost."""
    running = Publisher(ledger, folder)
    writer = begun(ledger)
    grow(ledger, writer, 3)
    running.publish()
    with datastore(ledger).get_connection(commit=True) as connection:
        connection.cursor().execute(f"VACUUM INTO '{tmp_path / 'backup.db'}'")
    grow(ledger, writer, 2)
    shown = running.publish()
    restored = open_ledger(tmp_path / "backup.db")
    restored.append_all([Writer(1).record(number, said="another history") for number in range(4, 9)])
    running._ledger = restored
    before = restored.store.checkpoint()
    with pytest.raises(BadProof, match=r"6 entries are published in .* only 4 are signed"):
        running.publish()
    assert (folder.checkpoint(), restored.store.checkpoint()) == (shown, before)  # nor was anything signed
    # No receipt is given any more for a place that was promised to another.
    with pytest.raises(Halted, match="nothing is taken any more"):
        restored.append(Writer(1).record(9))


def test_no_second_log_is_begun_beside_what_a_service_publishes_from_another_database(
    ledger: Ledger, tmp_path: Path
) -> None:
    begun(ledger)
    Publisher(ledger, PublicFolder(tmp_path / "data" / "public")).publish()
    with pytest.raises(Refused, match="is kept in another database"):
        open_house(tmp_path / "data", tmp_path / "keys")
    assert not (tmp_path / "data" / "ledger.db").exists()


def test_a_process_that_is_fenced_publishes_nothing_more(ledger: Ledger, folder: PublicFolder, tmp_path: Path) -> None:
    ledger.take_over(os.urandom)
    writer, publisher = begun(ledger), Publisher(ledger, folder)
    shown = publisher.publish()
    other = open_ledger(tmp_path / "ledger.db")
    other.take_over(os.urandom)
    other.append(writer.next())
    with pytest.raises(Fenced):
        publisher.publish()
    assert publisher.current() == folder.checkpoint() == shown
    other.close()


# --- witnesses ---


class Some:
    """Witnesses in this process: those that answer, by number."""

    def __init__(self, answering: set[int]) -> None:
        self.answering = answering
        self.keys = [Ed25519Cosigner(f"witness-{n}.example", drawn(32, "witness", n), lambda: 17) for n in range(3)]
        self.asked: list[tuple[int, int]] = []

    def collect(self, signed: bytes, old_size: int, prove: Callable[[int], list[bytes]]) -> list[note.Signature]:
        tree = opened(signed)
        self.asked.append((old_size, tree.size))
        prove(old_size)
        text = note.parse(signed).text
        chosen = [key for n, key in enumerate(self.keys) if n in self.answering]
        return [note.Signature(key.name, key.key_id, key.sign(text)) for key in chosen]

    def standings(self) -> dict[str, Standing]:
        return {}

    def close(self) -> None:
        pass

    def policy(self, quorum: int) -> policy.Policy:
        lines = [f"log {LOG_KEY.vkey}"]
        lines += [f"witness w{n} {key.vkey}" for n, key in enumerate(self.keys)]
        lines += [f"group all-of-them {quorum} w0 w1 w2", "quorum all-of-them"]
        return policy.parse("".join(f"{line}\n" for line in lines).encode())


def test_nothing_is_public_before_a_quorum_has_cosigned_it(ledger: Ledger, folder: PublicFolder) -> None:
    writer, some = begun(ledger), Some({0})
    rules = some.policy(2)
    publisher = Publisher(ledger, folder, rules, some)  # type: ignore[arg-type]
    assert publisher.publish() is None
    assert folder.checkpoint() is None
    some.answering = {0, 2}
    grow(ledger, writer, 1)
    published = publisher.publish() or b""
    assert rules.check(published) == expect_whole(folder, ledger)
    some.answering = set()
    grow(ledger, writer, 1)
    assert publisher.publish() == publisher.current() == published  # the last one stays
    assert some.asked == [(0, 1), (0, 2), (2, 3)]


def test_what_was_published_under_no_policy_gets_its_quorum_without_a_new_entry(
    ledger: Ledger, folder: PublicFolder
) -> None:
    begun(ledger)
    alone = Publisher(ledger, folder).publish()
    some = Some({0})
    rules = some.policy(2)
    publisher = Publisher(ledger, folder, rules, some)  # type: ignore[arg-type]
    assert publisher.publish() == alone == folder.checkpoint()  # nothing public is taken back meanwhile
    some.answering = {0, 1}
    assert rules.check(publisher.publish() or b"") == expect_whole(folder, ledger)
    publisher.publish()
    assert some.asked == [(1, 1), (1, 1)]  # and then nobody is asked any more


class Counting(PublicFolder):
    """Counts what is read and written of tiles."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: list[str] = []
        self.wrote: list[str] = []

    def _read(self, name: str) -> bytes | None:
        self.read += [name] * name.startswith("tile/")
        return super()._read(name)

    def _write(self, name: str, content: bytes) -> None:
        self.wrote += [name] * name.startswith("tile/")
        super()._write(name, content)


def test_a_turn_without_a_quorum_reads_and_writes_only_the_tiles_of_new_entries(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, some, folder = begun(ledger), Some({0}), Counting(tmp_path / "public")
    publisher = Publisher(ledger, folder, some.policy(2), some)  # type: ignore[arg-type]
    grow(ledger, writer, 599)
    publisher.publish()
    assert len(folder.wrote) == 3 + 1 + 3  # level 0, level 1, bundles
    folder.read.clear()
    folder.wrote.clear()
    with monkeypatch.context() as without:
        without.setattr(ledger.store, "entries", None)
        publisher.publish()
    assert folder.read == folder.wrote == []
    grow(ledger, writer, 1)
    publisher.publish()
    assert folder.read == folder.wrote == ["tile/0/002.p/89", "tile/entries/002.p/89"]
    some.answering = {0, 1}
    folder.wrote.clear()
    publisher.publish()
    assert folder.wrote == []
    assert expect_whole(folder, ledger).size == 601


def test_partial_tiles_of_turns_without_a_quorum_go_once_the_full_ones_are_public(
    ledger: Ledger, folder: PublicFolder
) -> None:
    writer, some = begun(ledger), Some({0, 1})
    publisher = Publisher(ledger, folder, some.policy(2), some)  # type: ignore[arg-type]
    publisher.publish()
    for some.answering, records in (({0}, 199), ({0}, 100), ({0, 1}, 0)):
        grow(ledger, writer, records)
        publisher.publish()
        if some.answering == {0}:
            assert folder.tile(Tile(0, 0, 1)) is not None, "whoever reads under the checkpoint before asks for it"
    assert expect_whole(folder, ledger).size == 300
    assert [folder.tile(Tile(level, 0, width)) for level in (0, None) for width in (1, 200)] == [None] * 4


def test_a_folder_that_is_lost_under_a_running_publisher_is_made_again(ledger: Ledger, folder: PublicFolder) -> None:
    writer, some = begun(ledger), Some({0, 1})
    publisher = Publisher(ledger, folder, some.policy(2), some)  # type: ignore[arg-type]
    grow(ledger, writer, 300)
    publisher.publish()
    some.answering = {0}
    grow(ledger, writer, 1)
    publisher.publish()
    shutil.rmtree(folder.path)
    some.answering = {0, 1}
    publisher.publish()
    assert expect_whole(folder, ledger).size == 302


def test_tiles_of_a_history_that_was_lost_before_its_quorum_are_not_built_upon(
    ledger: Ledger, folder: PublicFolder, tmp_path: Path
) -> None:
    """A failover to a standby that lagged, to before what the witnesses were asked for last."""
    writer, some = begun(ledger), Some({0, 1})
    publisher = Publisher(ledger, folder, some.policy(2), some)  # type: ignore[arg-type]
    publisher.publish()
    with datastore(ledger).get_connection(commit=True) as connection:
        connection.cursor().execute(f"VACUUM INTO '{tmp_path / 'backup.db'}'")
    some.answering = {0}
    grow(ledger, writer, 299)
    publisher.publish()
    restored = open_ledger(tmp_path / "backup.db")
    restored.append_all([Writer(1).record(number, said="another history") for number in range(1, 311)])
    publisher._ledger = restored
    some.answering = {0, 1}
    shown = folder.checkpoint()
    with pytest.raises(BadProof, match="tile/0/000: published before with other content"):
        publisher.publish()
    assert folder.checkpoint() == shown
    restored.close()


def test_the_checkpoint_that_the_ledger_proves_under_is_the_published_one(tmp_path: Path) -> None:
    folder, some = PublicFolder(tmp_path / "public"), Some({1, 2})
    ledger = Ledger(open_store(tmp_path / "l.db"), LOG_KEY, RECEIPT_KEY, lambda: NOW, folder.checkpoint)
    fill(ledger, forks=1, records=2)
    rules = some.policy(2)
    Publisher(ledger, folder, rules, some).publish()  # type: ignore[arg-type]
    assert rules.check(ledger.prove(1).checkpoint).size == 3
    ledger.close()


def test_a_database_that_is_away_is_not_taken_for_another_history(
    ledger: Ledger, folder: PublicFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[bytes]:
        raise Unavailable("read: the database could not be reached")

    grow(ledger, begun(ledger), 3)
    publisher = Publisher(ledger, folder)
    publisher.publish()
    monkeypatch.setattr(ledger.store, "hashes", away)
    for ask in (publisher.publish, lambda: publish(ledger), lambda: Publisher(ledger, folder)):
        with pytest.raises(Unavailable):
            ask()
