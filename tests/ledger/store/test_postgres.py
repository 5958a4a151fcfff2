"""What holds of the PostgreSQL store alone: what it asks of the server, and what it does without it."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger import merkle
from ledger.audit import audit
from ledger.errors import Conflict, Malformed, NotFound, Unavailable
from ledger.ledger import Ledger
from ledger.publish import publish
from ledger.store import Attempt, Epoch, NewEntry, Settled, Store, postgres, postgres_growth, postgres_recorder
from ledger.store.postgres import PostgresStore, open_read_only, open_store
from ledger.store.postgres_schema import SCHEMA, STEPS
from tests.ledger.store.test_store import FORK, OTHER, add, everything, new
from tests.ledger.store.wire import Wire
from tests.ledger.written import LOG_KEY, RECEIPT_KEY, Writer, clock, drawn, fill


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    opened = open_store(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def wire(postgres_url: str) -> Iterator[Wire]:
    strung = Wire(postgres_url)
    yield strung
    strung.close()


@pytest.fixture
def far(wire: Wire) -> Iterator[PostgresStore]:
    """A store at the other end of a wire."""
    opened = open_store(wire.url)
    yield opened
    opened.close()


@pytest.fixture
def operator(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Someone at the database itself."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def many(count: int, first: int = 100) -> list[NewEntry]:
    return [
        new(Writer(number).fork_id, 1, record_id=bytes(16), payloads={1: b"x" * number, 4: b""})
        for number in range(first, first + count)
    ]


def expect_whole(store: Store) -> None:
    """The stored hashes are those of the stored entries, and a database that knows of no problem."""
    frontier = merkle.Frontier()
    with store.snapshot() as now:
        rows = list(now.rows())
        expected = [node for row in rows for node in frontier.append(merkle.leaf_hash(row.data or b""))]
        assert [node for _, node in now.hashes()] == expected
        assert [index for index, _ in now.hashes()] == list(range(len(expected)))
        assert [row.leaf_index for row in rows] == list(range(now.size()))
        assert now.problems() == []
        assert now.strangers() == []


# --- what an append asks of the server ---


@contextmanager
def answers(store: PostgresStore, tmp_path: Path) -> Iterator[list[str]]:
    """What the server says, one word a message, while the block is run in one thread."""
    path = tmp_path / "trace"
    with store._pool.connection() as connection, path.open("wb") as trace:
        connection.pgconn.trace(trace.fileno())
        pooled, store._pool.getconn = store._pool.getconn, lambda timeout=None: connection  # type: ignore[method-assign]
        given, store._pool.putconn = store._pool.putconn, lambda conn: None  # type: ignore[method-assign]
        said: list[str] = []
        try:
            yield said
        finally:
            store._pool.getconn, store._pool.putconn = pooled, given  # type: ignore[method-assign]
            connection.pgconn.untrace()
    lines = [line.split("\t") for line in io.StringIO(path.read_text())]
    said.extend(line[3].strip() for line in lines if line[1] == "B")


@pytest.mark.parametrize(("count", "waits"), [(1, 2), (30, 2), (100, 6)])
def test_an_append_waits_for_the_server_twice_or_when_it_copies_six_times(
    store: PostgresStore, tmp_path: Path, count: int, waits: int
) -> None:
    add(store, *many(3, first=1))  # from here on the frontier is known
    with answers(store, tmp_path) as said:
        add(store, *many(count))
    assert said.count("ReadyForQuery") + said.count("CopyInResponse") == waits
    assert said.count("NotificationResponse") == 0
    expect_whole(store)


def test_a_lookup_in_an_append_waits_once_however_many_are_asked_for(store: PostgresStore, tmp_path: Path) -> None:
    entries = many(50)
    add(store, *entries)
    with answers(store, tmp_path) as said, store.write() as write:
        write.heads([entry.fork_id for entry in entries])
        write.records([(entry.fork_id, bytes(16)) for entry in entries])
        write.entries([(entry.fork_id, 1) for entry in entries])
        write.hashes(range(merkle.stored_hash_count(50)))
    assert said.count("ReadyForQuery") == 6  # begin, four, end


def test_one_transaction_notifies_once(store: PostgresStore, operator: psycopg.Connection[Any]) -> None:
    operator.execute("LISTEN entries")
    add(store, *many(100))
    with store.write() as write:
        write.add(many(2, first=300))
        write.heads([FORK])
        write.add(many(2, first=400))
    assert len(list(operator.notifies(timeout=0.5))) == 2


def test_few_and_many_are_stored_alike(store: PostgresStore) -> None:
    """Rows go in by COPY or by a statement, whole batches or what an earlier read left over of one."""
    entries = many(200)
    with store.write() as write:
        assert write.add(entries[:100]) == 0
        assert set(write.heads([entries[0].fork_id])) == {entries[0].fork_id}
        assert write.add(entries[100:103]) == 100
        assert write.heads([entries[102].fork_id])
        assert write.add(entries[103:]) == 103
    found = store.entries(0, 1000)
    assert [(one.fork_id, one.data, one.record_id) for one in found] == [
        (one.fork_id, one.data, one.record_id) for one in entries
    ]
    assert store.payloads_of(0, 200) == {leaf: dict(one.payloads) for leaf, one in enumerate(entries)}
    assert store.payloads_of(0, 200, kind=4) == {leaf: {4: b""} for leaf in range(200)}
    assert store.payloads_of(0, 200, kind=9) == {}
    expect_whole(store)


def test_no_query_reads_a_whole_table_however_small_it_was_when_it_was_planned(
    store: PostgresStore, operator: psycopg.Connection[Any]
) -> None:
    add(store, *many(2, first=1))
    assert store.save_checkpoint(0, b"note", None)
    operator.execute("ANALYZE")  # now it is known how small they are
    operator.execute("SELECT pg_stat_reset()")
    for number in range(1, 15):  # a prepared statement gets its one plan after ten
        entries = many(2, first=number * 10)
        with store.write() as write:
            write.heads([entry.fork_id for entry in entries])
            write.records([(entry.fork_id, bytes(16)) for entry in entries])
            write.entries([(entry.fork_id, 1) for entry in entries])
            write.add(entries)
            write.hashes([0])
        store.entries(number, 10)
        store.fork_entries(entries[0].fork_id, 0, 10)
        store.first_entries([entry.fork_id for entry in entries])
        store.payloads_of(0, 5)
        store.missing(number)
        store.record(entries[0].fork_id, bytes(16))
        store.save_checkpoint(number, b"note", number - 1)
        store.checkpoint()
        store.outbox.keep(Attempt("evm", number, 0, number, bytes(32), b"signed", 0))
        store.outbox.open("evm")
        store.outbox.attempt("evm", number, 0)
        store.outbox.settle(Settled("evm", number, 0, number, bytes(32), True, 0, b"", 1, 0))
        store.outbox.settled("evm")
        store.outbox.last_anchored("evm")
        store.outbox.cost("evm")
        store.outbox.anchors(1)
    store.close()  # a server tells what it did when the connection ends
    until = time.monotonic() + 10
    while others(operator) and time.monotonic() < until:
        time.sleep(0.02)
    scans = operator.execute("SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables ORDER BY relname").fetchall()
    grows = {name: counts for name, *counts in scans if name not in ("head", "settings")}
    outbox = ["anchor_attempts", "anchor_backends", "anchor_settled"]
    assert sorted(grows) == [*outbox, "checkpoints", "entries", "heads", "payloads"]
    assert all(whole == 0 and by_index > 10 for whole, by_index in grows.values()), grows


def test_first_entries_are_read_once_and_not_kept_without_end(
    store: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_MOST_FIRST_ENTRIES", 10)
    entries = many(25)
    add(store, *entries)
    for begin in range(0, 25, 5):
        forks = [entry.fork_id for entry in entries[begin : begin + 5]]
        assert set(store.first_entries(forks)) == set(forks)
        with answers(store, tmp_path) as said:
            assert set(store.first_entries(forks)) == set(forks)
        assert said == []
        assert len(store._first_entries) <= 10


# --- what a server, or someone at it, may do ---


def test_a_commit_is_synchronous_whatever_the_database_says(
    postgres_url: str, operator: psycopg.Connection[Any]
) -> None:
    name = sql.Identifier(operator.info.dbname)
    for said, expected in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
        operator.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = {}").format(name, sql.Literal(said)))
        store = open_store(postgres_url)
        with store._pool.connection() as connection:
            found = connection.execute("SHOW synchronous_commit").fetchone()
        store.close()
        assert found == {"synchronous_commit": expected}


@pytest.mark.parametrize("count", [1, 100], ids=["few", "many"])
def test_a_connection_killed_before_the_commit_leaves_nothing(
    store: PostgresStore, operator: psycopg.Connection[Any], count: int
) -> None:
    add(store, *many(3, first=1))
    before = everything(store)

    def kill_midway() -> None:
        with store.write() as write:
            write.add(many(count))
            write.heads([FORK])
            assert kill_all(operator) > 0

    with pytest.raises(Unavailable):
        kill_midway()
    assert everything(store) == before
    add(store, *many(count))
    assert store.size() == 3 + count
    expect_whole(store)


@pytest.mark.parametrize("count", [1, 100], ids=["few", "many"])
def test_when_the_answer_to_a_commit_is_lost_the_next_transaction_finds_it_done(
    far: PostgresStore, wire: Wire, count: int
) -> None:
    add(far, *many(3, first=1))
    entries = many(count)
    wire.lose_answer_to = b"COMMIT"
    with pytest.raises(Unavailable):
        add(far, *entries)
    with far.write() as write:
        done = write.records([(entry.fork_id, bytes(16)) for entry in entries])
        assert [done[entry.fork_id, bytes(16)].leaf_index for entry in entries] == list(range(3, 3 + count))
        assert write.add(many(1, first=9)) == 3 + count
    expect_whole(far)


def test_when_a_commit_never_arrives_nothing_was_done(far: PostgresStore, wire: Wire) -> None:
    add(far, new(FORK, 1))

    def cut_midway() -> None:
        with far.write() as write:
            write.add([new(FORK, 2)])
            wire.cut()

    with pytest.raises(Unavailable):
        cut_midway()
    wire.mend()
    assert far.size() == 1
    assert add(far, new(FORK, 2)) == [1]


def test_without_its_server_a_store_says_so_soon_and_with_it_back_goes_on(far: PostgresStore, wire: Wire) -> None:
    add(far, new(FORK, 1))
    far._pool.timeout = 0.5
    for _ in range(2):
        wire.cut()
        begun = time.monotonic()
        for ask in (
            far.size,
            lambda: far.take_over(bytes(16)),
            lambda: add(far, new(FORK, 9)),
            lambda: far.save_checkpoint(1, b"x", None),
        ):
            with pytest.raises(Unavailable, match="postgresql://"):
                ask()
        with pytest.raises(Unavailable), far.snapshot():
            pass
        assert not far._growth.wait(10, 0.05)
        assert time.monotonic() - begun < 10
        wire.mend()
        far._pool.timeout = 20
        assert far.size() == 1
        far._pool.timeout = 0.5
    assert add(far, new(FORK, 2)) == [1]


def test_a_server_that_falls_silent_is_given_up(
    far: PostgresStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(far, new(FORK, 1))
    monkeypatch.setattr(postgres_recorder.Connection, "patience", 0.3)
    far._pool.timeout = 0.5
    wire.silent = True
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="no answer"):
        far.size()
    with pytest.raises(Unavailable):
        add(far, new(FORK, 2))
    assert time.monotonic() - begun < 5
    wire.silent = False
    wire.cut()  # what fell silent has not heard that its clients are gone
    wire.mend()
    far._pool.timeout = 20
    assert add(far, new(FORK, 2)) == [1]


def test_of_many_idle_connections_that_a_server_gave_up_none_is_used(
    store: PostgresStore, operator: psycopg.Connection[Any]
) -> None:
    taken = [store._pool.getconn() for _ in range(8)]
    for connection in taken:
        store._pool.putconn(connection)
    assert kill_all(operator) == 8
    assert [store.size() for _ in range(8)] == [0] * 8
    assert add(store, new(FORK, 1)) == [0]


def test_who_waits_for_growth_is_told_by_the_database_not_by_looking_again(
    store: PostgresStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_growth, "_LOOK_ANYWAY", 60)
    other = open_store(postgres_url)
    for version in range(1, 6):
        later = threading.Timer(0.05, add, (other, new(FORK, version)))
        later.start()
        begun = time.monotonic()
        assert store.wait_for_growth(version - 1, 60)
        assert time.monotonic() - begun < 10
        later.join()
    other.close()


def test_who_waits_for_growth_is_told_though_the_listener_was_killed(
    store: PostgresStore, operator: psycopg.Connection[Any]
) -> None:
    assert not store.wait_for_growth(0, 0.2)
    kill_all(operator)
    later = threading.Timer(0.3, add, (store, new(FORK, 1)))
    later.start()
    assert store.wait_for_growth(0, 30)
    later.join()


def test_when_all_connections_are_taken_one_more_is_refused_after_a_time(store: PostgresStore) -> None:
    store._pool.timeout = 0.2
    taken = [store._pool.getconn(timeout=10) for _ in range(store._pool.max_size)]
    with pytest.raises(Unavailable):
        store.size()
    for connection in taken:
        store._pool.putconn(connection)
    assert store.size() == 0


def test_a_closed_store_says_so_and_leaves_no_connection(postgres_url: str, operator: psycopg.Connection[Any]) -> None:
    store = open_store(postgres_url)
    store.wait_for_growth(0, 0.05)
    begun = time.monotonic()
    store.close()
    assert time.monotonic() - begun < 2
    with pytest.raises(Unavailable):
        store.size()
    until = time.monotonic() + 10
    while others(operator) and time.monotonic() < until:
        time.sleep(0.02)
    assert others(operator) == 0


def test_a_log_that_lost_its_end_and_grew_another_is_built_upon_as_it_is(
    store: PostgresStore, postgres_url: str, operator: psycopg.Connection[Any]
) -> None:
    """As after a failover to a standby that lagged behind: same size, other entries, and we remember the first ones."""
    add(store, *many(4))
    operator.execute("DELETE FROM entries WHERE notification_id > 2; DELETE FROM payloads WHERE leaf_index > 1")
    frontier = merkle.Frontier.at(2, store.hashes)
    operator.execute("UPDATE head SET size = 2, root = %s", [frontier.root()])
    other = open_store(postgres_url)
    add(other, *many(2, first=500))
    other.close()
    add(store, *many(3, first=700))
    expect_whole(store)
    assert store.size() == 7


def test_a_head_that_its_entries_do_not_bear_out_is_not_built_upon(
    store: PostgresStore, postgres_url: str, operator: psycopg.Connection[Any]
) -> None:
    add(store, *many(4))
    operator.execute("UPDATE head SET root = sha256('another')")
    for each in (store, open_store(postgres_url)):
        with pytest.raises(Malformed, match="root of 4 leaves"):
            add(each, new(FORK, 1))
        assert each.size() == 4
        each.close()


# --- what goes in ---


@pytest.mark.parametrize("count", [2, 100], ids=["few", "many"])
@pytest.mark.parametrize(
    "wrong",
    [{"topic": "a\0b"}, {"version": 1 << 63}, {"version": "1"}, {"fork_id": "not one"}, {"payloads": {7: b"x"}}],
    ids=str,
)
def test_wrong_values_leave_nothing_and_harm_no_other_append(
    store: PostgresStore, count: int, wrong: dict[str, Any]
) -> None:
    add(store, *many(3, first=1))
    before = everything(store)
    entries = many(count)
    fields = {name: getattr(entries[-1], name) for name in NewEntry.__slots__}
    with pytest.raises((Malformed, ValueError, TypeError, OverflowError)):
        add(store, *entries[:-1], NewEntry(**{**fields, **wrong}))
    assert everything(store) == before
    add(store, *entries)
    expect_whole(store)


def test_a_conflict_that_the_caller_swallows_still_undoes_the_transaction(store: PostgresStore) -> None:
    add(store, new(FORK, 1))

    def swallow() -> None:
        with store.write() as write:
            write.add([new(OTHER, 1), new(FORK, 1)])
            with pytest.raises(Conflict):
                write.heads([FORK])

    with pytest.raises(Conflict):
        swallow()
    assert store.head(OTHER) is None
    assert add(store, new(OTHER, 1)) == [1]


def test_names_that_look_like_sql_are_values(store: PostgresStore) -> None:
    for name in ("'; DROP TABLE entries; --", '"', "%s", "$1", "\\", "{}"):
        assert store.keep_setting(name, name) == name
        assert store.setting(name) == name
        with store.snapshot() as now:
            assert now.setting(name) == name
        assert store.record(FORK, name.encode()) is None
        with pytest.raises(Malformed):
            store.head(name)
    odd = NewEntry(FORK, 1, "'); DROP TABLE heads; --", b"%s", merkle.leaf_hash(b"%s"), 0, b"'", 0, {1: b"\\x00'"})
    add(store, odd)
    assert store.entries(0, 1)[0].topic == odd.topic
    assert store.payloads(0) == dict(odd.payloads)
    expect_whole(store)


def test_vacuum_full_changes_nothing_that_is_read(store: PostgresStore, operator: psycopg.Connection[Any]) -> None:
    add(store, *many(300))

    def leave_dead_rows_behind() -> None:
        with store.write() as write:
            write.add(many(50, first=900))
            write.heads([FORK])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave_dead_rows_behind()
    before = everything(store)
    operator.execute("VACUUM (FULL, ANALYZE)")
    assert everything(store) == before
    assert store.payloads_of(0, 300)
    add(store, new(FORK, 1))
    expect_whole(store)


# --- what an audit is told ---


@pytest.fixture
def ledger(store: PostgresStore) -> Ledger:
    """Two forks, eight entries and a checkpoint."""
    filled = Ledger(store, LOG_KEY, RECEIPT_KEY, clock())
    fill(filled)
    publish(filled)
    return filled


def test_an_audit_of_a_ledger_finds_no_fault_before_and_after_vacuum_full(
    ledger: Ledger, operator: psycopg.Connection[Any]
) -> None:
    before = audit(ledger.store, LOG_KEY.verifier, None, lambda done, total: None)
    assert before.faults == ()
    assert before.entries == 8
    operator.execute("VACUUM (FULL, ANALYZE)")
    assert audit(ledger.store, LOG_KEY.verifier, None, lambda done, total: None) == before


@pytest.mark.parametrize(
    ("change", "leaf", "told"),
    [
        ("UPDATE entries SET state = set_byte(state, 80, 1) WHERE notification_id = 4", 3, "node hash"),
        ("UPDATE entries SET hashes = sha256('x') WHERE notification_id = 5", 4, "node hash"),
        ("UPDATE entries SET hashes = hashes || hashes WHERE notification_id = 5", 4, "node hash"),
        ("UPDATE entries SET record_id = sha256('x') WHERE notification_id = 5", 4, "record id"),
        ("UPDATE entries SET topic = 'é' WHERE notification_id = 5", 4, "topic"),
        ("DELETE FROM entries WHERE notification_id = 5", 4, "missing"),
        ("UPDATE payloads SET output = 'x' WHERE leaf_index = 5", 5, "payload"),
        ("INSERT INTO payloads VALUES (70, 'x', NULL, NULL, NULL)", None, "payload"),
        ("UPDATE heads SET version = 3", None, "head"),
        ("UPDATE checkpoints SET note = 'x'", None, "checkpoint"),
        ("UPDATE head SET size = 7", None, "head"),
    ],
)
def test_an_audit_names_what_was_changed_in_the_tables(
    ledger: Ledger, operator: psycopg.Connection[Any], change: str, leaf: int | None, told: str
) -> None:
    operator.execute(change.encode())
    found = audit(ledger.store, LOG_KEY.verifier, None, lambda done, total: None).faults
    assert any(told in fault.message for fault in found), found
    if leaf is not None:
        assert leaf in [fault.leaf for fault in found]


def test_an_audit_is_not_bound_by_what_binds_an_append(store: PostgresStore) -> None:
    add(store, *many(2500))
    with store.snapshot() as now:
        found = now._connection.execute(
            "SELECT current_setting('statement_timeout'), current_setting('transaction_read_only'), "
            "current_setting('transaction_isolation')"
        ).fetchone()
        assert found == ("0", "on", "repeatable read")
        rows, hashes, payloads = now.rows(), now.hashes(), now.payloads()
        for leaf in range(2500):  # side by side
            assert next(rows).leaf_index == leaf
            assert next(hashes)[0] == merkle.stored_hash_index(0, leaf)
            for level in range(((leaf + 1) & ~leaf).bit_length() - 1):
                assert next(hashes)[0] == merkle.stored_hash_index(0, leaf) + level + 1
            assert [next(payloads)[:2], next(payloads)[:2]] == [(leaf, 1), (leaf, 4)]
        assert next(rows, None) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("CREATE TABLE other (x int)", "table other"),
        ("CREATE VIEW other AS SELECT 1", "view other"),
        ("ALTER TABLE entries ADD COLUMN note text", "column entries.note"),
        ("ALTER TABLE entries ALTER COLUMN topic DROP NOT NULL", "column entries.topic"),
        ("ALTER TABLE entries ALTER COLUMN topic SET DEFAULT 'x'", "column entries.topic"),
        ("ALTER TABLE heads ALTER COLUMN version TYPE int", "column heads.version"),
        ("ALTER TABLE entries DROP CONSTRAINT entries_originator_id_record_id_key", "constraint entries: UNIQUE"),
        ("ALTER TABLE payloads ADD CHECK (leaf_index > 5) NOT VALID", "constraint payloads: CHECK"),
        ("CREATE INDEX other ON entries (topic)", "index other"),
        ("ALTER TABLE payloads SET UNLOGGED", "table payloads"),
        ("ALTER TABLE entries ENABLE ROW LEVEL SECURITY", "table entries"),
        ("CREATE RULE other AS ON DELETE TO entries DO INSTEAD NOTHING", "rule entries.other"),
        ("CREATE TABLE heirs () INHERITS (entries)", "child table heirs of entries"),
        ("DROP TABLE checkpoints", "table checkpoints: missing"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
            "CREATE TRIGGER other BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION f()",
            "trigger entries.other",
        ),
    ],
)
def test_what_is_not_a_ledger_s_own_is_named(
    store: PostgresStore, operator: psycopg.Connection[Any], change: str, told: str
) -> None:
    add(store, new(FORK, 1, payloads={1: b"x"}))
    operator.execute(change.encode())
    with store.snapshot() as now:
        found = now.strangers()
    assert any(each.startswith(told) for each in found), found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE head SET size = 9", "expected the size 2 of its entries, 9 stands there"),
        ("DELETE FROM entries WHERE notification_id = 2", "expected the size 1 of its entries, 2 stands there"),
        ("DELETE FROM head", "expected one row, 0 are there"),
        ("UPDATE pg_index SET indisvalid = false WHERE indrelid = 'heads'::regclass", "index heads_pkey: not valid"),
    ],
)
def test_what_the_database_itself_finds_wrong_is_named(
    store: PostgresStore, operator: psycopg.Connection[Any], change: str, told: str
) -> None:
    add(store, new(FORK, 1), new(OTHER, 1))
    operator.execute(change.encode())
    with store.snapshot() as now:
        assert any(told in each for each in now.problems())


def test_a_column_of_another_type_ends_the_audit_with_its_name(
    store: PostgresStore, operator: psycopg.Connection[Any]
) -> None:
    operator.execute("ALTER TABLE heads ALTER COLUMN head TYPE text USING encode(head, 'hex')")
    with pytest.raises(Malformed, match="expected columns of text int8 bytea int8, found text int8 text int8"):
        everything(store)


@pytest.mark.parametrize("hashes", [b"", bytes(32), bytes(63), bytes(96)], ids=len)
def test_node_hashes_of_another_length_are_none_of_them(
    store: PostgresStore, operator: psycopg.Connection[Any], hashes: bytes
) -> None:
    add(store, new(FORK, 1), new(FORK, 2), new(FORK, 3))
    operator.execute("UPDATE entries SET hashes = %s WHERE notification_id = 2", [hashes])
    with store.snapshot() as now:
        found = list(now.hashes())
    assert [index for index, _ in found] == [0, 1, 2, 3]
    assert [node is None for _, node in found] == [False, True, True, False]


# --- opening ---


def test_two_that_make_a_ledger_at_once_make_one(postgres_url: str) -> None:
    opened: list[PostgresStore] = []
    errors: list[Exception] = []
    together = threading.Barrier(6)

    def make() -> None:
        together.wait()
        try:
            opened.append(open_store(postgres_url))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for number, store in enumerate(opened):
        assert add(store, new(FORK, number + 1)) == [number]
    expect_whole(opened[0])
    for store in opened:
        store.close()


def test_who_waited_while_another_made_the_tables_leaves_them_alone(
    postgres_url: str, operator: psycopg.Connection[Any]
) -> None:
    # Whoever altered them now would lock them in another order than an append does, and one of the two would fail.
    waiting = threading.Thread(target=lambda: open_store(postgres_url).close())
    with operator.transaction():
        operator.execute("SELECT pg_advisory_xact_lock(%s)", [postgres._SCHEMA_LOCK])
        waiting.start()
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while operator.execute(waits).fetchone() == (0,):
            time.sleep(0.01)
        for step in STEPS:
            for statement in step:
                operator.execute(statement.encode())
        operator.execute("INSERT INTO settings VALUES ('schema', %s)", [str(SCHEMA)])
        ours = operator.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    waiting.join()
    columns = "SELECT DISTINCT xmin::text FROM pg_attribute WHERE attrelid = 'payloads'::regclass AND attnum > 0"
    assert operator.execute(columns).fetchall() == [ours]


def test_only_a_ledger_of_this_schema_is_opened(postgres_url: str, operator: psycopg.Connection[Any]) -> None:
    with pytest.raises(NotFound, match="none in postgresql://"):
        open_read_only(postgres_url)
    operator.execute("CREATE TABLE settings (name text, colour text)")
    for opener in (open_read_only, open_store):
        with pytest.raises(Malformed):
            opener(postgres_url)
    operator.execute("DROP TABLE settings")
    open_store(postgres_url).close()
    operator.execute("UPDATE settings SET value = '4' WHERE name = 'schema'")
    for opener in (open_read_only, open_store):
        with pytest.raises(Malformed, match=r"expected schema 3 in postgresql://.*, found 4"):
            opener(postgres_url)


def test_a_ledger_of_the_first_schema_is_brought_up_to_date(
    postgres_url: str, operator: psycopg.Connection[Any]
) -> None:
    with closing(open_store(postgres_url)) as before:
        add(before, new(FORK, 1), new(FORK, 2))
        before.take_over(bytes(16))
    operator.execute("ALTER TABLE head DROP COLUMN token")  # as it was made then
    operator.execute("UPDATE settings SET value = '1' WHERE name = 'schema'")
    with pytest.raises(Malformed, match=r"expected schema 3 in .*, found 1"):
        open_read_only(postgres_url)
    opened = [open_store(postgres_url), open_store(postgres_url)]
    for store in opened:
        assert store.epoch() == Epoch(1, b"")
        expect_whole(store)
    assert opened[0].take_over(drawn(16, "token")) == opened[1].epoch() == Epoch(2, drawn(16, "token"))
    assert add(opened[1], new(FORK, 3)) == [2]
    expect_whole(opened[0])
    for store in opened:
        store.close()


def test_what_is_opened_to_be_read_cannot_be_written(postgres_url: str, store: PostgresStore) -> None:
    add(store, new(FORK, 1))
    reader = open_read_only(postgres_url)
    assert reader.size() == 1
    for ask in (
        lambda: add(reader, new(FORK, 2)),
        lambda: reader.take_over(bytes(16)),
        lambda: reader.keep_setting("a", "b"),
    ):
        with pytest.raises(Unavailable, match="read-only"):
            ask()
    expect_whole(reader)
    reader.close()
    assert store.size() == 1


def test_neither_name_nor_error_shows_the_password(postgres_url: str) -> None:
    secret = "correcthorse"
    named = PostgresStore(f"postgresql://me:{secret}@db.example.org:6000/log?sslmode=require")
    assert named.name == "postgresql://me@db.example.org:6000/log"
    named.close()
    nowhere = f"postgresql://me:{secret}@127.0.0.1:1/log"
    for url in (nowhere, f"postgresql://me:{secret}@[::1/log", f"postgresql://me:{secret}@h/log?nonsense=1"):
        for opener in (open_store, open_read_only):
            with pytest.raises((Unavailable, Malformed)) as raised:
                opener(url)
            assert secret not in str(raised.value)
    store = open_store(make_conninfo(postgres_url, password=secret))
    assert secret not in store.name
    store.close()


# ---


def kill_all(operator: psycopg.Connection[Any]) -> int:
    """End every other connection to the database. How many there were."""
    ended = operator.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return len(ended.fetchall())


def others(operator: psycopg.Connection[Any]) -> int:
    row = operator.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    ).fetchone()
    return int(row[0]) if row else 0
