"""A ledger's tables in PostgreSQL, as statements that make them and as the catalogue shows them once they are there."""

from __future__ import annotations

from dataclasses import dataclass

from ledger import record

SCHEMA = 3

KINDS: dict[int, str] = {
    record.INPUT: "input",
    record.OUTPUT: "output",
    record.UPDATE: "update",
    record.PARTICULARS: "particulars",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and constraints in the words in which PostgreSQL itself gives them back."""

    name: str
    columns: tuple[tuple[str, str], ...]
    constraints: tuple[str, ...]

    def create(self) -> str:
        parts = [f"{name} {kind}" for name, kind in self.columns]
        return f"CREATE TABLE IF NOT EXISTS public.{self.name} ({', '.join([*parts, *self.constraints])})"


def entry_table(name: str) -> Table:
    return Table(
        name,
        (
            ("notification_id", "bigint NOT NULL"),  # leaf index + 1, dense
            ("originator_id", "uuid NOT NULL"),  # the fork
            ("originator_version", "bigint NOT NULL"),
            ("topic", "text NOT NULL"),
            ("state", "bytea NOT NULL"),  # the entry's bytes
            ("record_id", "bytea"),
            ("accepted_at", "bigint NOT NULL"),
            ("hashes", "bytea NOT NULL"),  # the node hashes that this leaf completes, its own first, 32 bytes each
        ),
        (
            "PRIMARY KEY (notification_id)",
            "UNIQUE (originator_id, originator_version)",
            "UNIQUE (originator_id, record_id)",
        ),
    )


# One row. Whoever appends holds it until the commit, and so commits in the order of the leaf indices.
HEAD = Table(
    "head",
    (
        ("one", "boolean NOT NULL"),
        ("size", "bigint NOT NULL"),
        ("root", "bytea NOT NULL"),
        ("epoch", "bigint NOT NULL"),
        ("token", "bytea NOT NULL"),  # of the epoch; since schema 2
    ),
    ("PRIMARY KEY (one)", "CHECK (one)"),
)
FIRST_HEAD = "INSERT INTO public.head VALUES (true, 0, sha256(''), 0, '') ON CONFLICT DO NOTHING"

# `settled` leads an index, so that the few open attempts are found among the many that are not.
OUTBOX_TABLES = (
    Table(
        "anchor_backends",
        (("backend", "text NOT NULL"), ("cost", "numeric NOT NULL"), ("halted", "text")),
        ("PRIMARY KEY (backend)",),
    ),
    Table(
        "anchor_attempts",
        (
            ("backend", "text NOT NULL"),
            ("nonce", "bigint NOT NULL"),
            ("attempt", "bigint NOT NULL"),
            ("size", "bigint NOT NULL"),
            ("root", "bytea NOT NULL"),
            ("data", "bytea NOT NULL"),
            ("at", "bigint NOT NULL"),
            ("settled", "boolean NOT NULL"),
        ),
        ("PRIMARY KEY (backend, nonce, attempt)", "UNIQUE (settled, backend, nonce, attempt)"),
    ),
    Table(
        "anchor_settled",
        (
            ("backend", "text NOT NULL"),
            ("nonce", "bigint NOT NULL"),
            ("attempt", "bigint NOT NULL"),
            ("size", "bigint NOT NULL"),
            ("root", "bytea NOT NULL"),
            ("anchored", "boolean NOT NULL"),
            ("block", "bigint NOT NULL"),
            ("block_hash", "bytea NOT NULL"),
            ("cost", "numeric NOT NULL"),
            ("at", "bigint NOT NULL"),
        ),
        ("PRIMARY KEY (backend, nonce)", "UNIQUE (backend, anchored, size, nonce)"),
    ),
)

TABLES = (
    entry_table("entries"),
    HEAD,
    Table(
        "payloads",
        (("leaf_index", "bigint NOT NULL"), *((name, "bytea") for name in KINDS.values())),
        ("PRIMARY KEY (leaf_index)",),
    ),
    Table(
        "heads",
        (
            ("fork_id", "uuid NOT NULL"),
            ("version", "bigint NOT NULL"),
            ("head", "bytea NOT NULL"),
            ("interactions", "bigint NOT NULL"),
        ),
        ("PRIMARY KEY (fork_id)",),
    ),
    Table("checkpoints", (("size", "bigint NOT NULL"), ("note", "bytea NOT NULL")), ("PRIMARY KEY (size)",)),
    Table("settings", (("name", "text NOT NULL"), ("value", "text NOT NULL")), ("PRIMARY KEY (name)",)),
    *OUTBOX_TABLES,
)

# What leads from each schema to the next, from none on: the first step makes the tables as they are today, and those
# after it find that done. Ciphertext does not compress: EXTERNAL does not try.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        *(table.create() for table in TABLES),
        FIRST_HEAD,
        *(f"ALTER TABLE public.payloads ALTER COLUMN {name} SET STORAGE EXTERNAL" for name in KINDS.values()),
    ),
    (
        "ALTER TABLE public.head ADD COLUMN IF NOT EXISTS token bytea NOT NULL DEFAULT ''",
        "ALTER TABLE public.head ALTER COLUMN token DROP DEFAULT",
    ),
    tuple(table.create() for table in OUTBOX_TABLES),
)

# Everything that stands in the ledger's place, as (kind, name, definition). What an extension brought is its own.
CATALOGUE = """
WITH own AS (
    SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relrowsecurity FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT 1 FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table'
                    ELSE 'relation' END, relname::text,
       (CASE relpersistence WHEN 'p' THEN 'kept' ELSE 'not kept over a crash' END)
       || CASE WHEN relrowsecurity THEN ', rows hidden by a policy' ELSE '' END
FROM own WHERE relkind NOT IN ('i', 'I', 'c', 't')
UNION ALL
SELECT 'column', relname || '.' || attname, format_type(atttypid, atttypmod)
       || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
       || CASE WHEN attgenerated <> '' THEN ' GENERATED' WHEN atthasdef OR attidentity <> '' THEN ' DEFAULT' ELSE '' END
FROM own JOIN pg_attribute ON attrelid = own.oid AND attnum > 0 AND NOT attisdropped WHERE relkind = 'r'
UNION ALL
SELECT 'constraint', relname || ': ' || pg_get_constraintdef(con.oid), ''
FROM own JOIN pg_constraint con ON con.conrelid = own.oid AND con.contype <> 'n'
UNION ALL
SELECT 'index', relname::text, '' FROM own
WHERE relkind IN ('i', 'I') AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = own.oid)
UNION ALL
SELECT 'trigger', relname || '.' || tgname, '' FROM own JOIN pg_trigger ON tgrelid = own.oid AND NOT tgisinternal
UNION ALL
SELECT 'rule', relname || '.' || rulename, '' FROM own JOIN pg_rewrite ON ev_class = own.oid AND relkind <> 'v'
UNION ALL
SELECT 'child table', inhrelid::regclass::text || ' of ' || relname, '' FROM own JOIN pg_inherits ON inhparent = own.oid
"""


def own_catalogue(schema: int = SCHEMA) -> set[tuple[str, str, str]]:
    """What `CATALOGUE` finds in a database that holds a ledger of this schema and nothing else."""
    found: set[tuple[str, str, str]] = set()
    for table in TABLES if schema >= 3 else (table for table in TABLES if table not in OUTBOX_TABLES):
        found.add(("table", table.name, "kept"))
        found.update(("column", f"{table.name}.{name}", kind) for name, kind in table.columns)
        found.update(("constraint", f"{table.name}: {constraint}", "") for constraint in table.constraints)
    return found
