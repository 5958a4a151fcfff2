"""Several processes on one database: their transactions stand one after another, and who follows sees them so."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger import merkle
from ledger.store import Store, postgres, sqlite
from tests.ledger.store.test_store import FORK, add, new

WRITERS, ENTRIES = 4, 1500

OPEN = """
import json, sys
from pathlib import Path
from ledger import merkle
from ledger.errors import Conflict
from ledger.store import NewEntry, postgres, sqlite
from tests.ledger.store.test_store import FORK
from tests.ledger.written import Writer

kind, place, number, most = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = postgres.open_store(place) if kind == "postgres" else sqlite.open_store(Path(place))
"""

# Appends to a fork of its own, 1 to 40 entries at a time. Every fifth time it also wants a place that every writer
# wants: one of them gets it, the transactions of the others come to nothing and are done again without it.
WRITE = """
def entry(writer, version):
    data = f"{number}: {writer}, {version}".encode()
    return NewEntry(Writer(writer).fork_id, version, "t/v1", data, merkle.leaf_hash(data), 0, data, 0, {1: data})

def append(entries):
    with store.write() as write:
        return write.add(entries)

written, turn, wrote = 0, 0, []
while written < most:
    turn += 1
    count = 1 + (turn * 7 + number * 11) % 40
    entries = [entry(1000 + number, version) for version in range(written + 1, written + count + 1)]
    wanted = [entry(999, turn // 5)] if turn % 5 == 0 else []
    try:
        first, got = append(entries + wanted), len(entries + wanted)
    except Conflict:
        first, got = append(entries), len(entries)
    wrote.append((first, got))
    written += count
print(json.dumps(wrote))
store.close()
"""

# Follows the log to the entry that ends it.
FOLLOW = """
frontier, ended = merkle.Frontier(), False
while not ended:
    assert store.wait_for_growth(frontier.size, 60), "no growth"
    for found in store.entries(frontier.size, 97):
        assert found.leaf_index == frontier.size, (found.leaf_index, frontier.size)
        frontier.append(merkle.leaf_hash(found.data))
        ended = found.fork_id == FORK
with store.snapshot() as now:
    assert now.size() == frontier.size
print(json.dumps(frontier.root().hex()))
store.close()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_write_at_once_keep_the_log_dense_and_nobody_who_follows_misses_or_reorders(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = request.getfixturevalue("postgres_url") if kind == "postgres" else str(tmp_path / "ledger.db")

    def start(what: str, number: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OPEN + what, kind, place, str(number), str(ENTRIES)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    followers = [start(FOLLOW, number) for number in range(2)]
    writers = [start(WRITE, number) for number in range(WRITERS)]
    written: list[list[int]] = [said for writer in writers for said in printed(writer)]
    store: Store = postgres.open_store(place) if kind == "postgres" else sqlite.open_store(Path(place))
    size = store.size()
    add(store, new(FORK, 1))

    # Each transaction has its leaves to itself, side by side, and together they are all there are.
    assert sorted(leaf for first, count in written for leaf in range(first, first + count)) == list(range(size))
    assert size > WRITERS * ENTRIES
    frontier = merkle.Frontier()
    with store.snapshot() as now:
        versions: dict[str | None, int] = {}
        for row in now.rows():
            frontier.append(merkle.leaf_hash(row.data or b""))
            versions[row.fork_id] = versions.get(row.fork_id, 0) + 1
            assert row.version == versions[row.fork_id]  # a fork's versions follow each other in the log too
        assert now.problems() == []
    assert merkle.tree_root(size + 1, store.hashes) == frontier.root()
    store.close()

    assert [printed(follower) for follower in followers] == [frontier.root().hex()] * 2


def printed(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    return json.loads(out)
