"""An owner's monitor: what it keeps, what it notices, and where it says that it is."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ledger import checkpoint as checkpoints
from ledger import note, watch
from ledger.checkpoint import Checkpoint
from ledger.entry import USER_TRAINING_RECORD, decode_entry, encode_entry
from ledger.errors import Malformed, Unavailable
from ledger.keys import Signature, signed_message
from ledger.logsource import Folder
from ledger.merkle import leaf_hash
from ledger.publish import publish
from ledger.watch import ALARMS, Look, Watched, look
from tests.ledger.tiled import Forks, write_log
from tests.ledger.written import LOG_KEY, ORIGIN, Writer, fill, open_ledger

FORK = Writer(0).fork_id
NEW = Watched(FORK)


def looked(folder: Path, before: Watched = NEW, owner_key: bytes | None = None) -> Look:
    return look(Folder(folder), LOG_KEY.verifier, before, owner_key)


def steps(found: Look) -> list[tuple[int, int | None, int | None]]:
    return [(alarm.step, alarm.leaf, alarm.version) for alarm in found.alarms]


@pytest.fixture
def forks() -> Forks:
    forks = Forks(2)
    forks.grow(20)
    return forks


@pytest.fixture
def seen(forks: Forks, tmp_path: Path) -> Watched:
    found = looked(write_log(tmp_path, forks.entries))
    assert not found.alarms
    return found.fork


def test_the_first_look_reads_the_whole_log_and_finds_the_head(forks: Forks, seen: Watched) -> None:
    assert (seen.version, seen.leaf, seen.head) == (10, 18, leaf_hash(forks.entries[18]))
    assert (seen.interactions, seen.owner_key) == (9, Writer(0).key.public.raw)


def test_a_later_look_reads_what_is_new(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    write_log(tmp_path, forks.grow(300), before=20)
    found = looked(tmp_path, seen)
    assert (found.alarms, found.new, found.size, found.fork.version) == ((), 140, 300, 150)
    again = looked(tmp_path, found.fork)
    assert (again.alarms, again.new, again.fork) == ((), 0, found.fork)


def test_a_database_is_watched_like_its_public_log(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    writers = fill(ledger, forks=2, records=2)
    publish(ledger)
    first = look(ledger.store, LOG_KEY.verifier, NEW)
    ledger.append(writers[0].next())
    publish(ledger)
    second = look(ledger.store, LOG_KEY.verifier, first.fork)
    ledger.store.close()
    assert (first.alarms, first.fork.version, second.alarms, second.new) == ((), 3, (), 1)


def test_an_entry_that_no_key_of_the_owner_signed_raises_an_alarm(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    signed, other = forks.writers[0].next(), forks.writers[1].key
    message = signed_message(USER_TRAINING_RECORD, ORIGIN, signed.body)
    forks.add(0, USER_TRAINING_RECORD, signed.body, (other.sign(message),))
    found = looked(write_log(tmp_path, forks.entries), seen)
    assert steps(found) == [(6, 20, 11)]
    assert str(found.alarms[0]).startswith("leaf 20 version 11: signature: expected key ")


def test_a_false_signature_and_an_unknown_topic_raise_an_alarm(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    signed = forks.writers[0].next()
    key_id = signed.signatures[0].key_id
    forks.add(0, USER_TRAINING_RECORD, signed.body, (Signature(key_id, 1, bytes(64)),))
    forks.add(0, "surprîse/v9", signed.body, signed.signatures)
    assert steps(looked(write_log(tmp_path, forks.entries), seen)) == [(6, 20, 11), (6, 21, 12)]


def test_a_record_that_the_owner_signed_is_not_taken_a_second_time(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    again = decode_entry(forks.entries[18])
    forks.add(0, again.topic, again.body, again.signatures)
    found = looked(write_log(tmp_path, forks.entries), seen)
    assert steps(found) == [(6, 20, 11)]
    assert "expected interaction 10, the owner signed it as 9" in found.alarms[0].message


def test_a_head_that_goes_back_within_a_grown_log_raises_an_alarm(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    found = looked(write_log(tmp_path, [*forks.entries, forks.entries[4]]), seen)
    assert (4, 20, 3) in steps(found)
    assert found.alarms[0].message == "head: went back from version 10 to 3"


def test_an_entry_that_does_not_follow_the_head_raises_an_alarm(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    forks.grow(21)
    forks.entries[20] = encode_entry(replace(decode_entry(forks.entries[20]), previous=bytes(32)))
    assert steps(looked(write_log(tmp_path, forks.entries), seen)) == [(5, 20, 11)]


def test_a_log_that_shrank_and_lost_the_head_raises_both_alarms(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    found = looked(write_log(tmp_path / "other", forks.entries[:10]), seen)
    assert steps(found) == [(2, None, None), (4, 18, 10)]
    assert found.alarms[0].message == "log: had 20 entries, only 10 are here"


@pytest.mark.parametrize("size", [20, 30])
def test_another_history_of_the_log_raises_an_alarm(forks: Forks, seen: Watched, tmp_path: Path, size: int) -> None:
    other = Forks(1)  # the same fork, and none beside it
    found = looked(write_log(tmp_path / "other", other.grow(size)), seen)
    assert (2, None, None) in steps(found)
    assert (4, 18, 10) in steps(found)


def test_entries_that_are_not_those_of_the_checkpoint_raise_an_alarm(forks: Forks, tmp_path: Path) -> None:
    write_log(tmp_path, forks.entries)
    false = checkpoints.sign(Checkpoint(ORIGIN, 20, sha256(b"root").digest()), LOG_KEY)
    (tmp_path / "checkpoint").write_bytes(false)
    assert steps(looked(tmp_path)) == [(3, None, None)]


def test_a_missing_bundle_and_a_missing_checkpoint_raise_alarms(forks: Forks, tmp_path: Path) -> None:
    write_log(tmp_path, forks.grow(300))
    (tmp_path / "tile/entries/001.p/44").unlink()
    assert steps(looked(tmp_path)) == [(3, 256, None)]
    (tmp_path / "tile/entries/000").unlink()
    assert steps(looked(tmp_path)) == [(3, 0, None)]
    (tmp_path / "checkpoint").unlink()
    assert steps(looked(tmp_path)) == [(1, None, None)]


def test_a_checkpoint_of_another_log_raises_an_alarm(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    other = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())
    assert steps(look(Folder(tmp_path), other.verifier, seen)) == [(1, None, None)]


def test_a_pinned_owner_s_key_must_be_the_fork_s(forks: Forks, seen: Watched, tmp_path: Path) -> None:
    for key in (Writer(0).key.public.raw, Writer(0).key.public.key_id):
        assert not looked(tmp_path, NEW, key).alarms
        assert not looked(tmp_path, seen, key).alarms
    other = Writer(1).key.public.raw
    assert steps(looked(tmp_path, NEW, other))[0] == (6, 0, 1)
    assert steps(looked(tmp_path, seen, other)) == [(6, None, None)]


def test_what_was_seen_is_kept_whole(seen: Watched, tmp_path: Path) -> None:
    file = tmp_path / "state" / "fork.json"
    assert watch.read(file) is None
    watch.write(file, LOG_KEY.vkey, seen)
    assert watch.read(file) == (LOG_KEY.verifier, seen)
    for text in ("", "{}", '{"format": "another"}', file.read_text().replace(LOG_KEY.vkey, "none"), "[1]"):
        (tmp_path / "broken").write_text(text)
        with pytest.raises(Malformed, match="not what an earlier watch kept"):
            watch.read(tmp_path / "broken")


def test_a_log_that_cannot_be_read_is_no_alarm(seen: Watched) -> None:
    class Gone(Folder):
        def read(self, path: str, longest: int) -> bytes:
            raise Unavailable("gone")

    with pytest.raises(Unavailable):
        look(Gone(Path()), LOG_KEY.verifier, seen)


def test_every_alarm_has_its_words() -> None:
    assert list(ALARMS) == list(range(1, 8))
