"""What a long log costs: append, proof and checkpoint at 10^5, 10^6 and 10^7 entries: `python bench/scale.py`.

One database a size on one PostgreSQL with its syncs on, so that rounds go over all sizes in turn and whatever else the
machine does hits them alike. They are filled below the ledger, straight through the store, with rows as long as real
entries, a payload of 64 bytes beside each, a hundred entries a fork; then vacuumed, and all of it covered by a
checkpoint. Measured is the ledger itself, by the clock:

* append: 200 signed records of four forks, as one `append_all`: door, places, commit, receipts;
* checkpoint: `publish` after that append: read and hash what came, compare, sign, keep;
* inclusion: `prove` of a leaf picked at random, entry and path; growth: `prove_growth` from a size picked at random.

Floor: each at most 1.2 times its cost at the smallest size. 10^7 entries need 13 GB and some ten minutes, so they
come with `--sizes 100000 1000000 10000000` only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable

import psycopg
from append import ORIGIN, Writer
from append_postgres import Database

import ledger
from ledger import merkle, note, receipt
from ledger.entry import USER_TRAINING_RECORD
from ledger.publish import publish
from ledger.record import INPUT
from ledger.store import NewEntry, Store
from ledger.store.postgres import open_store

FLOOR = 1.2
APPENDED, PROOFS, FORKS = 200, 20, 4
A_FORK, AT_ONCE, BYTES = 100, 5000, 700


def fill(store: Store, size: int, rng: random.Random) -> None:
    """Let the log have `size` entries of forks of its own."""
    first = store.size()
    same = rng.randbytes(BYTES - 32)
    fork_id, version = "", A_FORK
    while first < size:
        new = []
        for _ in range(min(AT_ONCE, size - first)):
            if version == A_FORK:
                fork_id, version = str(uuid.UUID(bytes=rng.randbytes(16), version=4)), 0
            version += 1
            unique = rng.randbytes(32)
            data = same + unique
            new.append(
                NewEntry(
                    fork_id, version, USER_TRAINING_RECORD, data, merkle.leaf_hash(data), version, unique[:16], first,
                    {int(INPUT): unique * 2},
                )
            )  # fmt: skip
        with store.write() as write:
            write.add(new)
        first += len(new)


class Log:
    """A ledger of one size, and what is timed of it."""

    def __init__(self, url: str, size: int, rng: random.Random) -> None:
        begun = time.perf_counter()
        self._rng = rng
        self._store = open_store(url)
        keys = [
            note.Ed25519Signer(name, hashlib.sha256(name.encode()).digest())
            for name in (ORIGIN, receipt.key_name(ORIGIN))
        ]
        self._log = ledger.Ledger(self._store, *keys, lambda: time.time_ns() // 1000)
        self._writers = [Writer(rng) for _ in range(FORKS)]
        for writer in self._writers:
            self._log.create_fork(writer.creation())
        fill(self._store, size, rng)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            self.bytes = int(connection.execute("SELECT pg_database_size(current_database())").fetchone()[0])
        publish(self._log)
        self.filled_in = time.perf_counter() - begun

    def round(self) -> dict[str, float]:
        """Seconds of one append, one checkpoint, one proof of each kind."""
        records = [writer.next() for _ in range(APPENDED // FORKS) for writer in self._writers]
        seconds = {"append": timed(lambda: self._append(records)), "checkpoint": timed(lambda: publish(self._log))}
        size = self._log.size()
        leaves = [self._rng.randrange(size) for _ in range(PROOFS)]
        seconds["inclusion"] = timed(lambda: [self._log.prove(leaf) for leaf in leaves]) / PROOFS
        seconds["growth"] = timed(lambda: [self._log.prove_growth(leaf) for leaf in leaves]) / PROOFS
        return seconds

    def _append(self, records: list[ledger.SignedRecord]) -> None:
        assert all(isinstance(each, bytes) for each in self._log.append_all(records))

    def close(self) -> None:
        self._log.close()


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    rng = random.Random(1)
    found: dict[int, list[dict[str, float]]] = {size: [] for size in given.sizes}
    database = Database()
    try:
        logs = {size: Log(database.create(f"of_{size}"), size, rng) for size in given.sizes}
        for turn in range(given.rounds + 3):  # the first three warm up and are not counted
            for size, log in list(logs.items())[:: 1 if turn % 2 else -1]:
                seconds = log.round()
                if turn >= 3:
                    found[size].append(seconds)
        for log in logs.values():
            log.close()
    finally:
        database.close()
    middle = {
        size: {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        for size, rounds in found.items()
    }
    smallest = given.sizes[0]
    ratios = {
        size: {name: middle[size][name] / middle[smallest][name] for name in middle[size]} for size in given.sizes
    }
    met = all(ratio <= FLOOR for of_size in ratios.values() for ratio in of_size.values())
    if given.json:
        sys.stdout.write(json.dumps({"load": load, "seconds": middle, "ratios": ratios, "met": met}) + "\n")
        return 0 if met else 1
    print(f"made by: {' '.join(['python', *sys.argv])}")
    print(f"on: {os.cpu_count()} cores, load {load:.2f} before and {os.getloadavg()[0]:.2f} after")
    print(f"median of {given.rounds} rounds; floor: {FLOOR} times the cost at {smallest:,} entries\n")
    print("| entries | database | filled in | append, a record | checkpoint over 200 | inclusion | growth |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in given.sizes:
        cells = []
        for name, seconds in middle[size].items():
            ratio = ratios[size][name]
            cost = f"{seconds / APPENDED * 1e6:.0f} µs" if name == "append" else f"{seconds * 1e3:.2f} ms"
            cells.append(f"{cost}, {ratio:.2f} ×{'' if ratio <= FLOOR else ' **missed**'}")
        log = logs[size]
        print(f"| {size:,} | {log.bytes / 1e9:.1f} GB | {log.filled_in:.0f} s | {' | '.join(cells)} |")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
