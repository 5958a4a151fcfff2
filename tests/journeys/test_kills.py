"""Service and database killed at random, under load: what was acknowledged is there, in order, provable, and once.

Each test kills FORKLEDGER_TEST_KILLS times while an answer is awaited, a handful unless it is set; `make kill-test` is
the full form. It prints its seed, which FORKLEDGER_TEST_SEED sets, and what it did: `-s` shows it also where nothing
failed.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from ledger import merkle
from ledger.audit import Trust, audit, audit_public
from ledger.entry import USER_TRAINING_RECORD, Entry, decode_entry, encode_entry
from ledger.keystore import KeyStore
from ledger.logsource import Folder
from ledger.main import PUBLIC_FOLDER, make_keystore, open_operator_keys
from ledger.record import decode_body, payload_digest
from ledger.store import Store, postgres, sqlite
from tests.journeys.database import Database
from tests.journeys.load import Load, Promised, until
from tests.journeys.server import Place, Server

KILLS = int(os.environ.get("FORKLEDGER_TEST_KILLS") or 6)
SEED = int(os.environ.get("FORKLEDGER_TEST_SEED") or 20)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240 + 30 * KILLS)]

# `forkledger serve` without the routes of modelfork: to load torch takes seconds in which nothing is under load.
SERVE = """
import importlib.metadata
importlib.metadata.entry_points = lambda **_: ()
from ledger.cli import main
main()
"""


class LedgerServer(Server):
    def __init__(self, place: Place, database: str | None) -> None:
        number = len(list(place.folder.glob("server-*.log")))
        self.log = place.folder / f"server-{number}.log"
        environment = place.environment | ({"FORKLEDGER_DATABASE_URL": database} if database else {})
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, "serve", "--port", "0"],
                env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.url = ""


@dataclass
class House:
    """A service on its data, and its database where that is another process."""

    place: Place
    database: Database | None
    drawn: random.Random
    server: LedgerServer = field(init=False)
    kills: dict[str, int] = field(default_factory=dict)
    under_load: int = 0  # kills that struck while an answer was awaited

    def serve(self) -> None:
        self.server = LedgerServer(self.place, self.database.url if self.database else None)

    def kill(self, load: Load) -> None:
        """Kill one or the other or both, and bring back what does not come back by itself."""
        victims = ["service", "database", "process of the database", "both"] if self.database else ["service"]
        victim = self.drawn.choice(victims)
        self.under_load += load.unanswered > 0
        self.kills[victim] = self.kills.get(victim, 0) + 1
        if victim == "process of the database" and self.database:
            self.database.kill_one(self.drawn.randrange(1000))
            return
        if victim in ("service", "both"):
            self.server.kill()
        if victim in ("database", "both") and self.database:
            self.database.kill()
            # Mostly what is waited for is done in the end; rarely it is away until those who wait are told so.
            long = victim == "database" and self.drawn.random() < 0.05
            time.sleep(25 if long else self.drawn.choice((0, 0, self.drawn.uniform(0, 2))))
            self.database.start()
        if victim in ("service", "both"):
            self.serve()
            if self.drawn.random() < 0.2:  # and once more while it begins
                time.sleep(self.drawn.uniform(0, 1))
                self.server.kill()
                self.kills["service at its start"] = self.kills.get("service at its start", 0) + 1
                self.serve()
            load.url = self.server.wait().url

    def close(self) -> None:
        if hasattr(self, "server"):
            self.server.kill()
        if self.database:
            self.database.close()

    def store(self) -> Store:
        return postgres.open_read_only(self.database.url) if self.database else sqlite.open_read_only(self.place.file)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[[bool], House]]:
    made: list[House] = []

    def make(with_database: bool) -> House:
        database = Database() if with_database else None
        made.append(House(Place(tmp_path, None), database, random.Random(SEED)))
        if database:
            database.start()
        return made[0]

    yield make
    for each in made:
        each.close()


def new_app(place: Place) -> str:
    keystore: KeyStore = make_keystore(place.data, open_operator_keys(place.data, place.keys, "example.org/log"))
    try:
        return keystore.add_app("an app")[1]
    finally:
        keystore.close()


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_whatever_is_killed_all_that_was_acknowledged_is_there_in_order_provable_and_once(
    store: str, house: Callable[[bool], House]
) -> None:
    print(f"\nseed {SEED}, {KILLS} kills under load on {store}")
    here = house(store == "postgres")
    api_key = new_app(here.place)
    here.serve()
    load = Load(here.server.wait().url, api_key, SEED)
    begun = time.monotonic()
    load.start()
    try:
        while here.under_load < KILLS:
            wanted = load.acknowledged + here.drawn.randint(1, 300)
            until(lambda: load.acknowledged >= wanted, load, 120, f"nothing goes on after {here.kills}")  # noqa: B023
            time.sleep(here.drawn.uniform(0, 0.1))
            here.kill(load)
            assert here.server.process.poll() is None, here.server.log.read_text()
    finally:
        load.finish()
    load.expect_well()
    lasted = time.monotonic() - begun

    everything = load.acknowledged + sum(len(client.writers) for client in load.clients)
    until(lambda: (last := load.watcher.fetch()) and last.size == everything, load, 60, "no checkpoint of everything")
    load.close()
    assert here.server.terminate() == 0
    opened = here.store()
    try:
        expect_kept(load, opened, Folder(here.place.data / PUBLIC_FOLDER))
    finally:
        opened.close()
    expect_quiet(here.place, api_key)
    print(
        f"{sum(here.kills.values())} kills in {lasted:.0f} s {here.kills}, {here.under_load} while an answer was "
        f"awaited; {load.acknowledged} records acknowledged, 0 lost, 0 doubled; "
        f"{len(load.watcher.seen.checkpoints)} checkpoints; {load.watcher.proved} proofs meanwhile; "
        f"{load.repeated} sent again though answered, {load.broken} connections broken, {load.refused} put off"
    )


def expect_kept(load: Load, store: Store, public: Folder) -> None:
    """The whole log, in the store and as published, against all that the clients were told."""
    report = audit(store, load.log, load.watcher.seen.first, lambda *_: None)
    assert report.clean, (SEED, report.faults)
    shown = audit_public(public, Trust(load.log), load.watcher.seen.first, lambda *_: None)
    assert (shown.clean, shown.entries) == (True, report.entries), (SEED, shown.faults)
    entries, frontier, roots = read(store)
    promised = [each for client in load.clients for each in client.promised]
    expect_there(entries, promised)
    expect_once(entries, promised, [writer.fork_id for client in load.clients for writer in client.writers])
    expect_order(promised)

    seen = load.watcher.seen.checkpoints
    last = seen[-1]
    assert (last.size, last.root) == (len(entries), frontier.root())
    nodes = stored_nodes(store)
    for each in promised:
        leaf, hashed = each.receipt.leaf_index, each.receipt.entry_hash
        merkle.check_inclusion(leaf, last.size, hashed, merkle.prove_inclusion(leaf, last.size, nodes), last.root)
    for old, new in pairwise(seen):
        assert old.root == roots[old.size], (SEED, old.size)
        proof = merkle.prove_consistency(old.size, new.size, nodes)
        merkle.check_consistency(old.size, new.size, old.root, new.root, proof)


def read(store: Store) -> tuple[list[Entry], merkle.Frontier, list[bytes]]:
    """The log from its bytes alone: entries in order, and the root at each size. Each has the payloads it names."""
    entries: list[Entry] = []
    frontier = merkle.Frontier()
    roots = [frontier.root()]
    named: set[tuple[int, int, bytes]] = set()
    with store.snapshot() as now:
        for leaf, row in enumerate(now.rows()):
            assert (row.leaf_index, row.data is not None) == (leaf, True)
            entries.append(decode_entry(row.data or b""))
            frontier.append(merkle.leaf_hash(row.data or b""))
            roots.append(frontier.root())
            if entries[-1].topic == USER_TRAINING_RECORD:
                named |= {(leaf, kind, digest) for kind, digest in decode_body(entries[-1].body).payloads}
        found = [(leaf, kind, payload_digest(kind, payload or b"")) for leaf, kind, payload in now.payloads()]
    assert (len(found), set(found)) == (len(named), named)
    return entries, frontier, roots


def stored_nodes(store: Store) -> merkle.HashReader:
    with store.snapshot() as now:
        nodes = dict(now.hashes())
    return lambda indices: [nodes[index] or b"" for index in indices]


def expect_there(entries: list[Entry], promised: list[Promised]) -> None:
    """Each receipt's leaf holds exactly the bytes that were sent."""
    lost = []
    for each in promised:
        said = each.receipt
        entry = entries[said.leaf_index] if said.leaf_index < len(entries) else None
        holds = entry is not None and (
            (entry.fork_id, entry.version, sha256(entry.body).digest(), entry.signatures[0], said.entry_hash)
            == (said.fork_id, each.number + 1, each.body, each.signature, merkle.leaf_hash(encode_entry(entry)))
        )
        if not holds:
            lost.append(said.leaf_index)
    assert not lost, f"seed {SEED}: {len(lost)} of {len(promised)} lost, first leaf {lost[0]}"


def expect_once(entries: list[Entry], promised: list[Promised], forks: list[str]) -> None:
    """Nothing stands twice, and nothing but what was sent. Versions and numbers are dense."""
    ids: list[bytes] = []
    versions = dict.fromkeys(forks, 0)
    for entry in entries:
        versions[entry.fork_id] += 1
        assert entry.version == versions[entry.fork_id], (SEED, entry.fork_id, entry.version)
        if entry.version > 1:
            body = decode_body(entry.body)
            assert body.interaction_number == entry.version - 1
            ids.append(body.record_id)
    assert len(ids) == len(set(ids)), f"seed {SEED}: {len(ids) - len(set(ids))} doubled"
    assert sorted(ids) == sorted(each.record_id for each in promised)
    assert len({each.receipt.leaf_index for each in promised}) == len(promised)


def expect_order(promised: list[Promised]) -> None:
    """What was answered before another was ever sent stands before it, in every fork and across them."""
    latest = 0.0  # when the last of those that stand before was first sent
    for each in sorted(promised, key=lambda each: each.receipt.leaf_index):
        assert each.answered >= latest, (SEED, each.receipt.leaf_index)
        latest = max(latest, each.sent)


def expect_quiet(place: Place, api_key: str) -> None:
    """No server said anything that it should not, or did not foresee."""
    for log in place.folder.glob("server-*.log"):
        said = log.read_text(errors="replace")
        unforeseen = re.search(
            r'Traceback.*|.*"status": 500.*|.* failed: \w+ at .*|.*no checkpoint: (?!Unavailable).*', said
        )
        assert not unforeseen, (log, unforeseen[0])
        assert api_key not in said
