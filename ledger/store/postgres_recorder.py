"""eventsourcing's PostgreSQL recorder with a pool, a table and an insert path of our own.

What differs from `eventsourcing.postgres` and why (measured, docs/architecture.md "Store"):

* Notification ids are counted in the one row of `head`, which an append locks until its commit: dense, and committed
  in their order. A sequence leaves a gap after every conflict, and a table lock says nothing of the next id.
* Rows go in by COPY, or by one pipelined statement when they are few; one NOTIFY a transaction.
* State is the exact entry bytes under a fixed topic: no JSON, no class paths.
* A connection that the server has given up is noticed before it is used, and one that does not answer is given up.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from ledger import merkle
from ledger.errors import Conflict, LedgerError, Malformed, NotFound, Unavailable
from ledger.store import Epoch
from ledger.store.postgres_schema import FIRST_HEAD, HEAD, entry_table

_FEW = 32  # rows: up to here one pipelined statement is as fast as COPY and waits for the server less often
_PATIENCE = 50.0  # seconds for one answer, longer than the server gives a statement: it never came
_PATIENCE_OF_READER = 600.0  # an audit counts every entry

# In place of what the URL does not say. A peer that vanished is noticed in half a minute.
_CONNECTION: dict[str, str | int] = {
    "application_name": "forkledger",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_SESSION = {
    "search_path": "public",
    "lock_timeout": "30s",
    "statement_timeout": "40s",
    "idle_in_transaction_session_timeout": "60s",  # whoever holds the head and is stuck lets it go
    # All that the ledger asks is found by an index. A plan made while a table was small must not scan it later.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_READER_SESSION = {
    "search_path": "public",
    "jit": "off",
    "statement_timeout": "0",
    "default_transaction_read_only": "on",
}

EntryRow: TypeAlias = tuple[int, str, int, str, bytes, bytes | None, int, bytes]
"""notification_id, originator_id, originator_version, topic, state, record_id, accepted_at, hashes"""
_ENTRY_TYPES = ("bigint", "uuid", "bigint", "text", "bytea", "bytea", "bigint", "bytea")


# --- connections ---


class Connection(psycopg.Connection[Any]):
    """A connection on which nothing waits for ever."""

    patience = _PATIENCE

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        if options.get("timeout") is not None:
            return super().wait(gen, *args, **options)
        try:
            return super().wait(gen, *args, **{**options, "timeout": self.patience})
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # the answer may yet come, and must not be taken for another one
            raise psycopg.OperationalError(f"no answer within {self.patience:g} seconds") from None


def conninfo(url: str) -> str:
    """A connection string with our defaults. Raises Malformed, without the URL: it may hold a password."""
    try:
        given = conninfo_to_dict(url)
        return make_conninfo(url, **{name: value for name, value in _CONNECTION.items() if name not in given})
    except psycopg.ProgrammingError:
        raise Malformed("database: expected postgresql://user:password@host:port/database") from None


def name_of(url: str) -> str:
    """The URL without password and options."""
    given = conninfo_to_dict(url)
    user, host, port = given.get("user"), given.get("host") or "localhost", given.get("port")
    place = (f"{user}@" if user else "") + str(host) + (f":{port}" if port else "")
    return f"postgresql://{place}/{given.get('dbname') or user or ''}"


def connect(info: str) -> Connection:
    """A connection outside the pool, for one who keeps it."""
    return Connection.connect(info, autocommit=True)


def connect_reader(info: str) -> Connection:
    """A connection outside the pool that only reads, and may take its time: for an audit, or a listener."""
    connection = connect(info)
    connection.patience = _PATIENCE_OF_READER
    _set(connection, _READER_SESSION)
    return connection


def _set(connection: Connection, session: dict[str, str]) -> None:
    calls = ", ".join("set_config(%s, %s, false)" for _ in session)
    values = [part for setting in session.items() for part in setting]
    connection.execute(f"SELECT {calls}", values)
    # Never less than durable on return; a server that is told to wait for its standby too is left to do so.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )


class _Pool(ConnectionPool[Connection]):
    def getconn(self, timeout: float | None = None) -> Connection:
        connection = super().getconn(timeout)
        if not _severed(connection):
            return connection
        self.drain()  # a server that went away took all of them with it
        connection.close()
        self.putconn(connection)
        return super().getconn(timeout)


def _severed(connection: Connection) -> bool:
    """Whether the server has closed an idle connection. No round trip: it has sent nothing unless there is news."""
    if connection.closed:
        return True
    news = select.poll()
    news.register(connection.fileno(), select.POLLIN)
    if not news.poll(0):
        return False
    try:
        connection.execute("")
    except psycopg.OperationalError:
        return True
    return False


class Datastore(PostgresDatastore):
    """A pool whose connections commit durably. Raises Malformed when the URL is none."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        super().__init__(dbname="", host="", port="", user="", password="")
        session = {**_SESSION, "default_transaction_read_only": "on" if read_only else "off"}
        self.pool: _Pool = _Pool(  # type: ignore[assignment]
            conninfo(url),
            connection_class=Connection,
            kwargs={"autocommit": True, "row_factory": dict_row},  # as the recorder expects
            configure=lambda connection: _set(connection, session),
            open=False,
            min_size=1,
            max_size=16,  # of the server's 100; a subscription holds one for good
            timeout=5.0,
            max_lifetime=3600.0,
            max_idle=600.0,
            reconnect_timeout=4.0,  # its pauses double: the next who asks tries afresh
            num_workers=2,
        )

    def register_type_adapters(self) -> None:
        """The composite type of eventsourcing's own insert is not used."""


# --- errors ---


@contextmanager
def ledger_errors(doing: str, name: str) -> Iterator[None]:
    """What PostgreSQL raises in the block comes out as an error of the ledger, without the rows that it quotes."""
    try:
        yield
    except psycopg.Error as error:
        raise _ledger_error(error, doing, name) from None


def _ledger_error(error: psycopg.Error, doing: str, name: str) -> LedgerError:
    reason = (error.diag.message_primary or str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, psycopg.errors.UniqueViolation):
        return Conflict(f"{doing}: another writer took this place")
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):  # these quote what they were given
        return Malformed(f"{doing}: {name} does not take this ({type(error).__name__})")
    unable = psycopg.errors.ReadOnlySqlTransaction | psycopg.errors.InsufficientPrivilege
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | unable):
        return Unavailable(f"{doing}: {name} could not be reached or could not do it ({reason})")
    return Malformed(f"{doing}: {name} is not as a ledger has it ({type(error).__name__}: {reason})")


# --- rows ---


def lock_head(cursor: psycopg.Cursor[Any]) -> tuple[int, bytes, Epoch]:
    """Take the turn to append. Returns the log's size, root and epoch, which stay so until the commit."""
    cursor.execute("SELECT size, root, epoch, token FROM public.head FOR UPDATE", prepare=False)
    return head_row(cursor)


def head_row(cursor: psycopg.Cursor[Any]) -> tuple[int, bytes, Epoch]:
    row = cursor.fetchone()
    if row is None:
        raise Malformed("head: expected one row, none is there")
    size, root, number, token = row.values() if isinstance(row, dict) else row
    return size, root, Epoch(number, token)


def entry_rows(
    frontier: merkle.Frontier, events: Sequence[tuple[str, int, str, bytes, bytes, bytes | None, int]]
) -> list[EntryRow]:
    """Rows for events as (originator id, version, topic, state, its leaf hash, record id, time), at the next leaves."""
    return [
        (
            frontier.size + 1, originator_id, version, topic, state, record_id, accepted_at,
            b"".join(frontier.append(leaf_hash)),
        )
        for originator_id, version, topic, state, leaf_hash, record_id, accepted_at in events
    ]  # fmt: skip


def insert(cursor: psycopg.Cursor[Any], table: str, types: Sequence[str], rows: Sequence[Any], end: str = "") -> None:
    """Insert rows by one statement, which a pipeline may hold."""
    arrays = ", ".join(f"%b::{kind}[]" for kind in types)
    # Not prepared: in a pipeline that fails, the server and psycopg disagree on what was.
    statement = f"INSERT INTO public.{table} SELECT * FROM unnest({arrays}) {end}"
    cursor.execute(statement.encode(), [list(column) for column in zip(*rows, strict=True)], prepare=False)


def copy(cursor: psycopg.Cursor[Any], table: str, types: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert many rows. No pipeline can hold this."""
    with cursor.copy(f"COPY public.{table} FROM STDIN (FORMAT BINARY)".encode()) as into:
        into.set_types(types)
        for row in rows:
            into.write_row(row)


def insert_entries(
    cursor: psycopg.Cursor[Any], rows: Sequence[EntryRow], table: str = "entries", end: str = ""
) -> None:
    insert(cursor, table, _ENTRY_TYPES, rows, end)


def copy_entries(cursor: psycopg.Cursor[Any], rows: Sequence[EntryRow]) -> None:
    copy(cursor, "entries", _ENTRY_TYPES, [(row[0], UUID(row[1]), *row[2:]) for row in rows])


def few(rows: Sequence[Any]) -> bool:
    return len(rows) <= _FEW


def move_head(cursor: psycopg.Cursor[Any], frontier: merkle.Frontier, channel: str = "entries") -> None:
    """Let the log have grown, and tell those who listen once it is committed."""
    cursor.execute(
        "WITH moved AS (UPDATE public.head SET size = %s, root = %s) SELECT pg_notify(%s, '')",
        (frontier.size, frontier.root(), channel),
        prepare=False,
    )


def read_hashes(cursor: psycopg.Cursor[Any], indices: Sequence[int], table: str = "entries") -> list[bytes]:
    """Node hashes by stored index, in the order asked for; raises NotFound when one is missing."""
    places: dict[int, tuple[int, int]] = {}  # by stored index: the leaf that completes the node, its place there
    for index in indices:
        level, number = merkle.split_stored_hash_index(index)
        places[index] = ((number + 1) << level) - 1, level * merkle.HASH_SIZE
    leaves = sorted({leaf + 1 for leaf, _ in places.values() if leaf + 1 < 1 << 63})  # no larger one fits a bigint
    cursor.execute(
        f"SELECT notification_id, hashes FROM public.{table} WHERE notification_id = ANY(%s::bigint[])".encode(),
        [leaves],
        binary=True,
        prepare=False,
    )
    rows = (row.values() if isinstance(row, dict) else row for row in cursor.fetchall())
    found = {number - 1: hashes for number, hashes in rows}
    read = []
    for index in indices:
        leaf, offset = places[index]
        node = found.get(leaf, b"")[offset : offset + merkle.HASH_SIZE]
        if len(node) != merkle.HASH_SIZE:
            raise NotFound(f"hashes: no node hash at stored index {index}")
        read.append(node)
    return read


class Recorder(PostgresApplicationRecorder):
    """eventsourcing's recorder over our table. Passes the library's own recorder tests."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = "entries") -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        statements = (entry_table(events_table_name).create(), HEAD.create(), FIRST_HEAD)
        self.sql_create_statements = [sql.Composed([sql.SQL(each)]) for each in statements]

    def _insert_stored_events(
        self, curs: psycopg.Cursor[DictRow], stored_events: Sequence[StoredEvent], **_: Any
    ) -> None:
        """Insert events at the next notification ids, in the transaction and the pipeline that are open."""
        size, _root, _epoch = lock_head(curs)
        frontier = merkle.Frontier.at(size, lambda indices: read_hashes(curs, indices, self.events_table_name))
        rows = entry_rows(
            frontier,
            [
                (
                    str(one.originator_id),
                    one.originator_version,
                    one.topic,
                    one.state,
                    merkle.leaf_hash(one.state),
                    None,
                    0,
                )
                for one in stored_events
            ],
        )
        move_head(curs, frontier, self.channel_name)
        # Last, where `insert_events` looks for the ids.
        insert_entries(curs, rows, self.events_table_name, end="RETURNING notification_id")
