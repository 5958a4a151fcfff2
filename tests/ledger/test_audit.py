"""The whole-log audit: what it finds, where it says that it is, and what it leaves alone."""

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import checkpoint as checkpoints
from ledger import note
from ledger.audit import MOST_FAULTS, STEPS, Fault, Report, audit
from ledger.checkpoint import Checkpoint
from ledger.entry import Entry, decode_entry, encode_entry
from ledger.errors import Malformed
from ledger.keys import signed_message
from ledger.merkle import Frontier, leaf_hash, stored_hash_index
from ledger.publish import publish
from ledger.record import encode_body
from ledger.store import NewEntry
from ledger.store.sqlite import open_read_only
from tests.ledger.written import DIMENSION, LOG_KEY, ORIGIN, Writer, fill, open_ledger


def quiet(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Original:
    """A stopped ledger of two forks and eight entries, as bytes; a checkpoint after four and one after all."""

    file: bytes
    writers: list[Writer]
    early: bytes
    newest: bytes


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    ledger = open_ledger(path)
    writers = fill(ledger, forks=2, records=1)
    early = publish(ledger)
    for _ in range(2):
        for writer in writers:
            ledger.append(writer.next(learns=writer.number == 0))
    newest = publish(ledger)
    ledger.store.close()
    assert not path.with_name("ledger.db-wal").exists()
    return Original(path.read_bytes(), writers, early, newest)


@contextmanager
def changed(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def audited(path: Path, kept: bytes | None = None, key: note.Ed25519Verifier | None = LOG_KEY.verifier) -> Report:
    store = open_read_only(path)
    try:
        return audit(store, key, kept, quiet)
    finally:
        store.close()


@pytest.fixture
def copy(original: Original, tmp_path: Path) -> Path:
    path = tmp_path / "copy.db"
    path.write_bytes(original.file)
    return path


def after(path: Path, *statements: str | tuple[str, tuple[object, ...]], kept: bytes | None = None) -> Report:
    with changed(path) as connection:
        for statement in statements:
            if isinstance(statement, str):
                connection.execute(statement)
            else:
                connection.execute(*statement)
    return audited(path, kept)


def only(report: Report, step: int) -> Fault:
    """The first fault, which must be of this step."""
    assert report.first_fault is not None
    assert report.first_fault.step == step, [str(fault) for fault in report.faults]
    return report.first_fault


# --- what is whole ---


def test_an_untouched_ledger_is_clean(copy: Path, original: Original) -> None:
    report = audited(copy)
    assert report.clean
    assert report.faults == ()
    assert (report.origin, report.entries, report.records, report.forks, report.covered) == (ORIGIN, 8, 6, 2, 8)
    assert report.checkpoint == original.newest
    assert report.notices == ()


def test_an_audit_changes_nothing(copy: Path) -> None:
    before = sha256(copy.read_bytes()).digest()
    audited(copy)
    assert sha256(copy.read_bytes()).digest() == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy.db"]


def test_an_empty_ledger_is_clean(tmp_path: Path) -> None:
    open_ledger(tmp_path / "ledger.db").store.close()
    assert audited(tmp_path / "ledger.db").clean


def test_progress_ends_at_all_entries(copy: Path) -> None:
    seen: list[tuple[int, int]] = []
    store = open_read_only(copy)
    audit(store, LOG_KEY.verifier, None, lambda done, total: seen.append((done, total)))
    store.close()
    assert (seen[0], seen[-1]) == ((0, 8), (8, 8))


def test_entries_after_the_checkpoint_are_named_as_not_covered(copy: Path, original: Original) -> None:
    report = after(copy, "DELETE FROM checkpoints WHERE size=8")
    assert report.clean
    assert [notice[:53] for notice in report.notices] == ["checkpoint: covers 4 entries; 4 are not yet covered, "]
    assert (report.covered, report.checkpoint) == (4, original.early)


def test_a_ledger_that_is_being_written_can_be_audited(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    fill(ledger, forks=1, records=1)
    publish(ledger)
    assert audited(tmp_path / "ledger.db").clean  # from the file beside its write-ahead log
    assert audit(ledger.store, LOG_KEY.verifier, None, quiet).clean
    ledger.store.close()


# --- every byte of every column, whichever it is ---

SIZES = "SELECT {key}, length(CAST({column} AS BLOB)) FROM {table} WHERE {column} IS NOT NULL ORDER BY {key}"
COLUMNS = {
    ("entries", "notification_id", "state"): 3,
    ("entries", "notification_id", "originator_id"): 3,
    ("entries", "notification_id", "topic"): 3,
    ("entries", "notification_id", "record_id"): 3,
    ("hashes", "stored_index", "hash"): 8,
    ("payloads", "leaf_index||'/'||kind", "bytes"): 7,
    ("heads", "fork_id", "fork_id"): 9,
    ("heads", "fork_id", "head"): 9,
    ("checkpoints", "size", "note"): 10,
}


@given(st.data())
@settings(max_examples=120)
def test_a_flipped_bit_anywhere_is_found_and_named(
    original: Original, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.db"
    path.write_bytes(original.file)
    table, key, column = data.draw(st.sampled_from(sorted(COLUMNS)))
    with changed(path) as connection:
        rows = connection.execute(SIZES.format(key=key, column=column, table=table)).fetchall()
        which, length = data.draw(st.sampled_from(rows))
        place, bit = data.draw(st.integers(0, length - 1)), data.draw(st.integers(0, 7))
        select = f"SELECT CAST({column} AS BLOB), typeof({column}) FROM {table} WHERE {key}=?"
        before, kind = connection.execute(select, [which]).fetchone()
        flipped = bytearray(before)
        flipped[place] ^= 1 << bit
        value = f"CAST(? AS {'TEXT' if kind == 'text' else 'BLOB'})"
        connection.execute(f"UPDATE {table} SET {column}={value} WHERE {key}=?", [bytes(flipped), which])
        if table == "entries":
            leaf = int(which) - 1
        elif table == "payloads":
            leaf = int(str(which).partition("/")[0])
        elif table == "checkpoints":
            leaf = int(which) - 1
        elif table == "hashes":
            leaf = next(leaf for leaf in range(8) if stored_hash_index(0, leaf + 1) > int(which))
        else:
            leaf = 6 if which == original.writers[0].fork_id else 7
    report = audited(path)
    assert not report.clean
    first = report.first_fault
    assert first is not None
    assert first.leaf == leaf, [str(fault) for fault in report.faults]
    writer = original.writers[leaf % 2]
    assert (first.fork_id, first.version) == (writer.fork_id, leaf // 2 + 1)


@pytest.mark.parametrize("leaf", range(8))
def test_a_changed_version_column_is_found(copy: Path, original: Original, leaf: int) -> None:
    report = after(copy, f"UPDATE entries SET originator_version=originator_version+9 WHERE notification_id={leaf + 1}")
    fault = only(report, 3)
    assert (fault.leaf, fault.fork_id) == (leaf, original.writers[leaf % 2].fork_id)


@pytest.mark.parametrize("column", ["version", "interactions"])
def test_a_changed_number_in_a_head_is_found(copy: Path, original: Original, column: str) -> None:
    fork_id = original.writers[1].fork_id
    report = after(copy, f"UPDATE heads SET {column}={column}+1 WHERE fork_id='{fork_id}'")
    assert str(only(report, 9)) == f"leaf 7 fork {fork_id} version 4: head: not the fork's last entry"


def test_columns_of_another_type_are_found_and_do_not_end_the_audit(copy: Path) -> None:
    report = after(
        copy,
        "UPDATE entries SET state=CAST(state AS TEXT) WHERE notification_id=2",
        "UPDATE entries SET accepted_at='yesterday' WHERE notification_id=3",
        "UPDATE entries SET originator_version='x' WHERE notification_id=4",
        "UPDATE hashes SET hash=7 WHERE stored_index=8",
        "UPDATE heads SET head=7",
        "UPDATE checkpoints SET note='no bytes' WHERE size=8",
    )
    assert {fault.leaf for fault in report.faults} >= {1, 2, 3, 5, 6, 7}
    assert {fault.step for fault in report.faults} >= {3, 8, 9, 10}


# --- what is missing, or too much ---


@pytest.mark.parametrize(
    ("statement", "step", "leaf"),
    [
        ("DELETE FROM entries WHERE notification_id=4", 3, 3),
        ("DELETE FROM entries WHERE notification_id=8", 9, 5),
        ("UPDATE entries SET notification_id=1000000 WHERE notification_id=8", 3, 7),
        ("UPDATE entries SET record_id=x'00' WHERE notification_id=1", 3, 0),
        ("DELETE FROM payloads WHERE leaf_index=4 AND kind=4", 7, 4),
        ("INSERT INTO payloads VALUES (5, 3, x'00')", 7, 5),
        ("INSERT INTO payloads VALUES (0, 1, x'00')", 7, 0),
        ("INSERT INTO payloads VALUES (77, 1, x'00')", 7, 77),
        ("INSERT INTO payloads VALUES ('leaf', 1, x'00')", 7, None),
        ("DELETE FROM hashes WHERE stored_index=8", 8, 5),
        ("INSERT INTO hashes VALUES (999, x'00')", 8, 8),
        ("INSERT INTO hashes VALUES (-1, x'00')", 8, 0),
        ("DELETE FROM heads WHERE version=4", 9, 6),
        ("INSERT INTO heads VALUES ('another', 1, x'00', 0)", 9, None),
        ("UPDATE checkpoints SET size=7 WHERE size=8", 10, 6),
        ("UPDATE checkpoints SET size=800 WHERE size=8", 10, 8),
    ],
)
def test_what_is_missing_or_too_much_is_found(copy: Path, statement: str, step: int, leaf: int | None) -> None:
    assert only(after(copy, statement), step).leaf == leaf


def test_faults_beyond_the_most_that_are_kept_are_counted(copy: Path) -> None:
    many = [("INSERT INTO payloads VALUES (?, 1, x'00')", (leaf,)) for leaf in range(50, 200)]
    report = after(copy, *many)
    assert (len(report.faults), report.fault_count) == (MOST_FAULTS, 150)


def test_a_file_that_sqlite_cannot_read_on_is_a_fault_and_no_crash(copy: Path) -> None:
    damaged = bytearray(copy.read_bytes())
    with changed(copy) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='hashes'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    damaged[(page - 1) * size : (page - 1) * size + 8] = b"\xff" * 8
    copy.write_bytes(damaged)
    assert any(fault.step == 1 for fault in audited(copy).faults)


def test_an_index_that_no_longer_agrees_with_its_table_is_found(copy: Path) -> None:
    with changed(copy) as connection:
        select = "SELECT rootpage FROM sqlite_master WHERE name='sqlite_autoindex_entries_1'"
        (page,) = connection.execute(select).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    damaged = bytearray(copy.read_bytes())
    at = damaged.rindex(b"4", (page - 1) * size, page * size)  # a digit of a fork id, as the index has it
    damaged[at] ^= 1
    copy.write_bytes(damaged)
    report = audited(copy)
    assert {fault.step for fault in report.faults} == {1}  # every table by itself is as it was


@given(st.data())
@settings(max_examples=40)
def test_no_damage_to_the_file_itself_ends_the_audit_in_an_error(
    original: Original, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.db"
    damaged = bytearray(original.file)
    for place in data.draw(st.lists(st.integers(4096, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        audited(path)  # free space may have been hit: then there is nothing to find
    except Malformed:
        return  # the schema number itself was hit: not a ledger any more


# --- histories that were rewritten with care ---


def rebuilt(path: Path, change: Callable[[int, Entry], Entry], *, publish_again: bool = True) -> None:
    """Rewrite the file as its operator could: entries, columns, hashes, heads and checkpoints all agree again."""
    with changed(path) as connection:
        rows = connection.execute("SELECT notification_id, state FROM entries ORDER BY 1").fetchall()
        connection.execute("DELETE FROM hashes")
        frontier, heads = Frontier(), dict[str, bytes]()
        for number, state in rows:
            entry = change(number - 1, decode_entry(state))
            previous = heads.get(entry.fork_id, entry.previous)
            entry = Entry(
                entry.origin, entry.fork_id, entry.version, previous, entry.topic, entry.body,
                entry.signatures, entry.authority,
            )  # fmt: skip
            data = encode_entry(entry)
            heads[entry.fork_id] = leaf_hash(data)
            connection.execute(
                "UPDATE entries SET state=?, topic=? WHERE notification_id=?", [data, entry.topic, number]
            )
            first = stored_hash_index(0, number - 1)
            for index, node in enumerate(frontier.append(leaf_hash(data)), first):
                connection.execute("INSERT INTO hashes VALUES (?,?)", [index, node])
        for fork_id, head in heads.items():
            connection.execute("UPDATE heads SET head=? WHERE fork_id=?", [head, fork_id])
        if publish_again:
            connection.execute("DELETE FROM checkpoints")
            signed = checkpoints.sign(Checkpoint(ORIGIN, len(rows), frontier.root()), LOG_KEY)
            connection.execute("INSERT INTO checkpoints VALUES (?,?)", [len(rows), signed])


def with_body(writer: Writer, leaf: int, body: bytes) -> Callable[[int, Entry], Entry]:
    """One entry with another body, signed by its owner."""

    def change(at: int, entry: Entry) -> Entry:
        if at != leaf:
            return entry
        signature = writer.key.sign(signed_message(entry.topic, entry.origin, body))
        return Entry(
            entry.origin, entry.fork_id, entry.version, entry.previous, entry.topic, body, (signature,), entry.authority
        )

    return change


def test_a_history_rewritten_consistently_and_signed_again_is_noticed_by_the_kept_checkpoint(
    copy: Path, original: Original
) -> None:
    writer = original.writers[0]
    other = encode_body(writer.body(2, writer.payloads(2), step=4321))
    rebuilt(copy, with_body(writer, 4, other))
    assert audited(copy).clean  # from the file alone nobody can tell
    fault = only(audited(copy, kept=original.newest), 11)
    assert (fault.leaf, fault.message) == (7, "kept checkpoint of size 8: the entries before it were changed since")
    assert only(audited(copy, kept=original.newest), 11).version == 4
    assert audited(copy, kept=original.early).clean  # what it covers was left alone


def test_entries_rewritten_under_a_published_checkpoint_are_noticed(copy: Path, original: Original) -> None:
    writer = original.writers[0]
    other = encode_body(writer.body(2, writer.payloads(2), step=4321))
    rebuilt(copy, with_body(writer, 4, other), publish_again=False)
    fault = only(audited(copy), 10)
    assert (fault.leaf, fault.message) == (7, "checkpoint of size 8: its root is not that of the first 8 entries")


def test_an_earlier_checkpoint_that_contradicts_the_newest_is_found(copy: Path) -> None:
    false = checkpoints.sign(Checkpoint(ORIGIN, 3, sha256(b"another root").digest()), LOG_KEY)
    report = after(copy, ("INSERT INTO checkpoints VALUES (3, ?)", (false,)))
    assert only(report, 10).leaf == 2
    assert report.covered == 8


def test_a_log_that_shrank_is_noticed(copy: Path, original: Original) -> None:
    statements = [
        "DELETE FROM entries WHERE notification_id>4",
        "DELETE FROM payloads WHERE leaf_index>=4",
        f"DELETE FROM hashes WHERE stored_index>={stored_hash_index(0, 4)}",
        "DELETE FROM checkpoints WHERE size>4",
    ]
    with changed(copy) as connection:
        for statement in statements:
            connection.execute(statement)
        for row in connection.execute("SELECT originator_id, state FROM entries WHERE notification_id>2").fetchall():
            found = decode_entry(row[1])
            connection.execute(
                "UPDATE heads SET version=2, interactions=1, head=? WHERE fork_id=?", [leaf_hash(row[1]), found.fork_id]
            )
    assert audited(copy).clean
    fault = only(audited(copy, kept=original.newest), 11)
    assert fault.message == "kept checkpoint: the log had 8 entries, only 4 are here"


def test_a_newest_checkpoint_behind_the_kept_one_is_noticed(copy: Path, original: Original) -> None:
    report = after(copy, "DELETE FROM checkpoints WHERE size=8", kept=original.newest)
    assert "the newest that holds covers 4" in only(report, 11).message


def test_a_kept_checkpoint_of_another_log_is_not_taken(copy: Path) -> None:
    other = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())
    kept = checkpoints.sign(Checkpoint(ORIGIN, 8, sha256(b"root").digest()), other)
    assert only(audited(copy, kept=kept), 11).message.startswith("kept checkpoint: not one of this log")


# --- keys ---


def test_without_a_pinned_key_the_report_says_so(copy: Path) -> None:
    report = audited(copy, key=None)
    assert report.clean
    assert report.notices[0].startswith("log key: not pinned")


def test_a_log_signed_by_another_key_than_the_pinned_one_is_found(copy: Path) -> None:
    other = note.Ed25519Signer(ORIGIN, sha256(b"another log").digest())
    report = audited(copy, key=other.verifier)
    assert {fault.step for fault in report.faults} == {2, 10}


def test_a_changed_log_key_in_the_file_is_found(copy: Path) -> None:
    assert only(after(copy, "UPDATE settings SET value=value||'A' WHERE name='log-vkey'"), 2).leaf is None
    assert {fault.step for fault in audited(copy, key=None).faults} >= {2, 10}


def test_a_log_of_another_origin_is_found(copy: Path) -> None:
    other = note.Ed25519Signer("example.org/other", LOG_KEY.seed)
    assert {fault.step for fault in audited(copy, key=other.verifier).faults} >= {2, 3, 10}


# --- one fork's entries: each check broken alone, with everything else consistent ---


def test_a_record_signed_by_another_fork_s_owner_is_found(copy: Path, original: Original) -> None:
    first, second = original.writers
    rebuilt(copy, with_body(second, 4, encode_body(first.body(2, first.payloads(2)))))
    fault = only(audited(copy), 6)
    assert (fault.leaf, fault.fork_id, fault.version) == (4, first.fork_id, 3)


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"interaction_number": 3}, 5),
        ({"interaction_number": 1}, 5),
        ({"layout_digest": bytes(32)}, 5),
        ({"recipe_digest": bytes(32)}, 5),
        ({"update_dimension": DIMENSION + 1}, 5),
        ({"record_id": bytes(16)}, 3),
        ({"fork_id": "11111111-1111-4111-8111-111111111111"}, 5),
        ({"key_commitment": bytes(31)}, 5),
    ],
)
def test_a_record_that_does_not_fit_its_fork_is_found(
    copy: Path, original: Original, changes: dict[str, object], step: int
) -> None:
    writer = original.writers[0]
    rebuilt(copy, with_body(writer, 4, encode_body(writer.body(2, writer.payloads(2), **changes))))
    assert only(audited(copy), step).leaf == 4


@pytest.mark.parametrize(
    ("field", "value", "step"),
    [("authority", 2, 6), ("version", 7, 3), ("origin", "example.org/other", 3), ("signatures", (), 6)],
)
@pytest.mark.parametrize("leaf", [0, 4])
def test_an_entry_with_a_wrong_field_is_found(copy: Path, field: str, value: object, step: int, leaf: int) -> None:
    rebuilt(copy, lambda at, entry: replace(entry, **{field: value}) if at == leaf else entry)  # type: ignore[arg-type]
    assert only(audited(copy), step).leaf == leaf


def test_a_broken_chain_is_found(copy: Path) -> None:
    with changed(copy) as connection:
        (state,) = connection.execute("SELECT state FROM entries WHERE notification_id=7").fetchone()
        entry = decode_entry(state)
        broken = encode_entry(
            Entry(
                entry.origin,
                entry.fork_id,
                entry.version,
                bytes(32),
                entry.topic,
                entry.body,
                entry.signatures,
                entry.authority,
            )
        )
        connection.execute("UPDATE entries SET state=? WHERE notification_id=7", [broken])
    fault = only(audited(copy), 4)
    assert (fault.leaf, fault.message) == (6, "previous: not the hash of the fork's entry before")


@pytest.mark.parametrize("topic", ["key-changed/v1", "surprise/v9"])
@pytest.mark.parametrize("honest", [True, False])
def test_an_entry_of_an_unknown_topic_is_found_and_its_fork_is_checked_on(
    copy: Path, original: Original, topic: str, honest: bool
) -> None:
    """Signed by the owner or by nobody, it hides nothing that comes after it."""
    writer = original.writers[0]
    signature = writer.key.sign(signed_message(topic, ORIGIN, b""))

    def change(at: int, entry: Entry) -> Entry:
        if at == 4:
            return replace(entry, topic=topic, body=b"", signatures=(signature,) if honest else ())
        if at == 6:
            body = encode_body(writer.body(2, writer.payloads(3), record_id=writer.record_id(3)))
            return replace(entry, body=body, signatures=entry.signatures if honest else ())
        return entry

    rebuilt(copy, change)
    with changed(copy) as connection:
        connection.execute("UPDATE entries SET record_id=NULL WHERE notification_id=5")
        connection.execute("DELETE FROM payloads WHERE leaf_index=4")
        connection.execute("UPDATE heads SET interactions=2 WHERE fork_id=?", [writer.fork_id])
    report = audited(copy)
    found = [(fault.leaf, fault.step) for fault in report.faults]
    assert found == [(4, 5), *([] if honest else [(4, 6)]), (6, 6)], [str(fault) for fault in report.faults]
    assert topic in report.faults[0].message
    assert "is not known to this version; replay of this fork halts" in report.faults[0].message


# --- what no checkpoint covers ---


def without_a_fork(path: Path, gone: str) -> None:
    """Drop a fork and number the rest anew, as anyone could who has the file and not the log's key."""
    with changed(path) as connection:
        rows = connection.execute("SELECT * FROM entries ORDER BY notification_id").fetchall()
        payloads = {row[0]: connection.execute("SELECT * FROM payloads WHERE leaf_index=?", [row[0] - 1]).fetchall()
                    for row in rows}  # fmt: skip
        for table in ("entries", "hashes", "payloads", "checkpoints"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM heads WHERE fork_id=?", [gone])
        frontier = Frontier()
        for leaf, row in enumerate(row for row in rows if row[1] != gone.replace("-", "")):
            connection.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?)", (leaf + 1, *row[1:]))
            for index, node in enumerate(frontier.append(leaf_hash(row[4])), stored_hash_index(0, leaf)):
                connection.execute("INSERT INTO hashes VALUES (?,?)", (index, node))
            for _, kind, payload in payloads[row[0]]:
                connection.execute("INSERT INTO payloads VALUES (?,?,?)", (leaf, kind, payload))


def test_with_a_known_key_a_log_of_which_no_checkpoint_covers_anything_is_a_fault(
    copy: Path, original: Original
) -> None:
    without_a_fork(copy, original.writers[0].fork_id)
    assert "nothing is covered" in only(audited(copy), 10).message
    report = audited(copy, key=None)
    assert report.clean
    assert any("nothing is covered" in notice for notice in report.notices)


def test_a_checkpoint_over_nothing_covers_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    publish(ledger)
    assert audit(ledger.store, LOG_KEY.verifier, None, quiet).clean
    fill(ledger, forks=1, records=1)
    assert "nothing is covered" in only(audit(ledger.store, LOG_KEY.verifier, None, quiet), 10).message
    ledger.store.close()


# --- the schema ---


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE leak (words)", "table leak"),
        ("CREATE INDEX aside ON payloads (kind)", "index aside"),
        ("CREATE VIEW seen AS SELECT * FROM entries", "view seen"),
        ("CREATE TRIGGER gone AFTER INSERT ON payloads BEGIN DELETE FROM payloads; END", "trigger gone"),
        ("ALTER TABLE heads ADD COLUMN words", "table heads"),
        ("DROP TABLE heads", "table heads: missing"),
    ],
)
def test_a_file_with_another_schema_is_found(copy: Path, statement: str, named: str) -> None:
    messages = [fault.message for fault in after(copy, statement).faults if fault.step == 1]
    assert any(message.startswith(f"schema: {named}") for message in messages), messages


def test_a_record_id_that_stands_twice_is_found_even_without_its_constraint(copy: Path, original: Original) -> None:
    with changed(copy) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name='entries'").fetchone()
        looser = sql.replace("entries", "looser", 1).replace(",\n                UNIQUE (originator_id, record_id)", "")
        connection.execute(looser)
        connection.execute("INSERT INTO looser SELECT * FROM entries")
        connection.execute("DROP TABLE entries")
        connection.execute("ALTER TABLE looser RENAME TO entries")
    writer = original.writers[0]
    payloads = writer.payloads(3)
    rebuilt(copy, with_body(writer, 6, encode_body(writer.body(3, payloads, record_id=writer.record_id(2)))))
    with changed(copy) as connection:
        connection.execute("UPDATE entries SET record_id=? WHERE notification_id=7", [writer.record_id(2)])
    assert only(audited(copy), 1).message == "schema: table entries: not as a ledger has it"


def test_a_fork_created_twice_or_not_at_all_is_found(copy: Path, original: Original) -> None:
    control = original.writers[0].control()
    again = lambda at, entry: (  # noqa: E731
        replace(entry, topic=control.topic, body=control.body, signatures=control.signatures) if at == 6 else entry
    )
    rebuilt(copy, again)
    assert "fork-created: the fork exists already" in [fault.message for fault in audited(copy).faults]


def test_a_fork_whose_creation_is_not_signed_by_its_owner_has_no_owner_to_judge_by(
    copy: Path, original: Original
) -> None:
    first, second = original.writers
    rebuilt(copy, with_body(second, 0, first.control().body))
    faults = audited(copy).faults
    assert [(fault.leaf, fault.step) for fault in faults] == [(0, 6), (2, 6), (4, 6), (6, 6)]


def test_every_step_has_its_words() -> None:
    assert list(STEPS) == list(range(1, 16))


def test_a_fault_names_leaf_fork_and_version() -> None:
    assert str(Fault(3, "f", 2, 4, "wrong")) == "leaf 3 fork f version 2: wrong"
    assert str(Fault(None, None, None, 2, "wrong")) == "leaf - fork - version -: wrong"


def test_memory_does_not_grow_with_the_number_of_entries(tmp_path: Path) -> None:
    def peak(records: int) -> int:
        path = tmp_path / f"{records}.db"
        ledger, writer = open_ledger(path), Writer(1)
        ledger.create_fork(writer.control())
        payloads = writer.payloads(1)
        with ledger.store.write() as write:  # one transaction: a thousand commits would take their time
            for number in range(1, records + 1):
                head = write.heads([writer.fork_id])[writer.fork_id]
                signed = writer.signed(encode_body(writer.body(number, payloads)), payloads)
                data = encode_entry(
                    Entry(
                        ORIGIN,
                        writer.fork_id,
                        number + 1,
                        head.entry_hash,
                        "user-training-record/v1",
                        signed.body,
                        signed.signatures,
                        1,
                    )
                )
                write.add(
                    [
                        NewEntry(
                            writer.fork_id,
                            number + 1,
                            "user-training-record/v1",
                            data,
                            leaf_hash(data),
                            number,
                            writer.record_id(number),
                            0,
                            payloads,
                        )
                    ]
                )
        publish(ledger)
        ledger.store.close()
        store = open_read_only(path)
        tracemalloc.start()
        assert audit(store, LOG_KEY.verifier, None, quiet).clean
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        store.close()
        return most

    peak(10)  # what is imported and cached on first use does not count
    most = peak(1500)
    assert most < (tmp_path / "1500.db").stat().st_size / 10  # some 100 KB of garbage between two collections
