"""Durable appends on SQLite, against eventsourcing's `Application.save`: `python bench/append.py`.

Ours is `Ledger.append` of finished signed records: door, signature, chain, leaf, tree, payloads, fsync, signed
receipt. The peer saves one prepared event with as many bytes of state through the library's own mapper and SQLite
recorder; it checks, chains and signs nothing. Both have the same pragmas and page size, read back and compared, and
files side by side. Threads write to forks, or aggregates, of their own. Interleaved, median of 5. Floor: ratio above 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.sqlite import SQLiteConnection, SQLiteConnectionPool, SQLiteFactory

import ledger
from ledger import entry, note, receipt, record, vault
from ledger.keys import SigningKey, signed_message
from ledger.store.sqlite import open_store
from ledger.wire.v1 import record_pb2

ORIGIN = "bench.example/log"
LAYOUT, RECIPE, GENESIS = (hashlib.sha256(name).digest() for name in (b"layout", b"recipe", b"genesis"))
DIMENSION = 8960
PLAIN = {record.INPUT: 150, record.OUTPUT: 150, record.UPDATE: 490, record.PARTICULARS: 256}  # bytes before sealing
SIGNS = record_pb2.UPDATE_ENCODING_SIGNS
PRAGMAS = ("journal_mode", "synchronous", "secure_delete", "page_size", "wal_autocheckpoint")
THREADS, ROUNDS, FLOOR = (1, 16), 5, 1.0


class Writer:
    """A fork and its owner, who seals and signs records ahead of the clock."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._key = SigningKey(rng.randbytes(32))
        self._root = rng.randbytes(32)
        self._written = 0
        self.fork_id = str(uuid.UUID(bytes=rng.randbytes(16), version=4))

    def creation(self) -> entry.SignedControl:
        created = entry.ForkCreated(
            self.fork_id, self._key.public, entry.SELF, LAYOUT, RECIPE, GENESIS, DIMENSION
        )  # fmt: skip
        body = entry.encode_fork_created(created)
        message = signed_message(entry.FORK_CREATED, ORIGIN, body)
        return entry.SignedControl(entry.FORK_CREATED, body, (self._key.sign(message),))

    def next(self) -> record.SignedRecord:
        self._written += 1
        record_id = self._rng.randbytes(16)
        key = vault.record_key(self._root, self._rng.randbytes(32), self._written)
        place = vault.Place(ORIGIN, self.fork_id, record_id)
        payloads = {
            int(kind): vault.seal_payload(
                key.subkey(kind), kind, self._rng.randbytes(length), place, self._rng.randbytes(24)
            )
            for kind, length in PLAIN.items()
        }
        body = record.encode_body(
            record.Body(
                fork_id=self.fork_id,
                record_id=record_id,
                interaction_number=self._written,
                step=1234,
                payloads=tuple((kind, record.payload_digest(kind, payloads[kind])) for kind in sorted(payloads)),
                key_scheme=vault.SCHEME,
                key_commitment=key.commitment,
                update_encoding=SIGNS,
                update_dimension=DIMENSION,
                layout_digest=LAYOUT,
                recipe_digest=RECIPE,
                state_commitment=self._rng.randbytes(32),
            )
        )
        message = signed_message(entry.USER_TRAINING_RECORD, ORIGIN, body)
        return record.SignedRecord(body, (self._key.sign(message),), payloads)


class Ours:
    name = "forkledger `Ledger.append`"

    def __init__(self, path: Path, rng: random.Random, threads: int) -> None:
        self.log = ledger.Ledger(
            open_store(path),
            note.Ed25519Signer(ORIGIN, rng.randbytes(32)),
            note.Ed25519Signer(receipt.key_name(ORIGIN), rng.randbytes(32)),
            lambda: time.time_ns() // 1000,
        )
        self._writers = [Writer(rng) for _ in range(threads)]
        for writer in self._writers:
            self.log.create_fork(writer.creation())

    def prepare(self, threads: int, count: int) -> list[list[record.SignedRecord]]:
        return [[writer.next() for _ in range(count)] for writer in self._writers[:threads]]

    def save(self, prepared: record.SignedRecord) -> None:
        self.log.append(prepared)

    def bytes_each(self) -> int:
        """Of one record: its entry and payloads as stored."""
        (prepared,) = self.prepare(1, 1)[0]
        self.save(prepared)
        last = self.log.entry_at(self.log.size() - 1)
        return len(last.data) + sum(len(payload) for payload in self.log.payloads(last.leaf_index).values())

    def pragmas(self) -> dict[str, Any]:
        with self.log.store._datastore.get_connection(commit=True) as connection:
            return pragmas_of(connection)

    def size(self) -> int:
        return self.log.size()

    def close(self) -> None:
        self.log.store.close()


class Noted(Aggregate.Event):
    text: str


class _Pool(SQLiteConnectionPool):
    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        for statement in ("PRAGMA synchronous=FULL", "PRAGMA secure_delete=ON"):
            connection.cursor().execute(statement)
        return connection


class Peer:
    name = "eventsourcing `Application.save`"

    def __init__(self, path: Path, rng: random.Random, threads: int, bytes_each: int) -> None:
        self.application: Application[uuid.UUID] = Application(
            env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
        )
        factory = self.application.factory
        assert isinstance(factory, SQLiteFactory)
        factory.datastore.pool.close()
        factory.datastore.pool = _Pool(db_name=str(path))  # the library's own sizes and timeouts
        self._aggregates = [uuid.UUID(bytes=rng.randbytes(16), version=4) for _ in range(threads)]
        self._versions = [0] * threads
        self._letters = 0
        frame = len(self.application.mapper.to_stored_event(self._next(0)).state)
        self._versions[0] = 0
        self._letters = bytes_each - frame
        assert len(self.application.mapper.to_stored_event(self._next(0)).state) == bytes_each
        self._versions[0] = 0

    def _next(self, number: int) -> Noted:
        self._versions[number] += 1
        return Noted(
            originator_id=self._aggregates[number],
            originator_version=self._versions[number],
            timestamp=datetime.now(tz=UTC).replace(microsecond=123456),  # of one length in JSON
            text="x" * self._letters,
        )

    def prepare(self, threads: int, count: int) -> list[list[Noted]]:
        return [[self._next(number) for _ in range(count)] for number in range(threads)]

    def save(self, prepared: Noted) -> None:
        self.application.save(prepared)

    def pragmas(self) -> dict[str, Any]:
        factory = self.application.factory
        assert isinstance(factory, SQLiteFactory)
        with factory.datastore.get_connection(commit=True) as connection:
            return pragmas_of(connection)

    def size(self) -> int:
        return self.application.recorder.max_notification_id() or 0

    def close(self) -> None:
        self.application.close()


def pragmas_of(connection: SQLiteConnection) -> dict[str, Any]:
    cursor = connection.cursor()
    found = {}
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
        found[pragma] = cursor.fetchone()[0]
    return found


def sync_microseconds(folder: Path) -> float:
    """What one write of 8 KiB and its sync take here, median of 100: the part that both sides share."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.seek(0)
            file.write(bytes(8192))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def timed(save: Callable[[Any], None], work: Sequence[Sequence[Any]]) -> tuple[float, float]:
    """Seconds from a common start until the last thread has saved all of its own: by the clock, and of processors."""
    start = threading.Barrier(len(work) + 1)
    failed: list[BaseException] = []

    def run(mine: Sequence[Any]) -> None:
        start.wait()
        try:
            for prepared in mine:
                save(prepared)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in work]
    for thread in threads:
        thread.start()
    start.wait()
    begun, begun_processor = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    seconds, processor = time.perf_counter() - begun, time.process_time() - begun_processor
    if failed:
        raise failed[0]
    return seconds, processor


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--appends", type=int, default=480, help="in each run (default 480)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, help="where the two files are written (default: the system's)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rng = random.Random(1)
    rates: dict[tuple[int, str], list[float]] = {}
    costs: dict[tuple[int, str], list[float]] = {}
    syncs: list[float] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        ours = Ours(Path(folder) / "ours.sqlite", rng, max(THREADS))
        size = ours.bytes_each()
        peer = Peer(Path(folder) / "peer.sqlite", rng, max(THREADS), size)
        same = ours.pragmas()
        assert same == peer.pragmas(), f"not the same pragmas: {same}, {peer.pragmas()}"
        saved = {ours.name: ours.size(), peer.name: 0}
        for turn in range(given.rounds + 1):  # the first warms up and is not counted
            syncs.append(sync_microseconds(Path(folder)))
            for threads in THREADS:
                for side in (ours, peer) if turn % 2 else (peer, ours):
                    work = side.prepare(threads, given.appends // threads)
                    seconds, processor = timed(side.save, work)
                    count = sum(len(mine) for mine in work)
                    saved[side.name] += count
                    if turn:
                        rates.setdefault((threads, side.name), []).append(count / seconds)
                        costs.setdefault((threads, side.name), []).append(processor / count * 1e6)
        for side in (ours, peer):
            assert side.size() == saved[side.name], f"{side.name}: {side.size()} stored of {saved[side.name]}"
            side.close()
    rows = []
    for threads in THREADS:
        mine, theirs = rates[threads, ours.name], rates[threads, peer.name]
        ratios = sorted(one / other for one, other in zip(mine, theirs, strict=True))
        rows.append(
            {
                "threads": threads,
                "ours": round(statistics.median(mine)),
                "peer": round(statistics.median(theirs)),
                "ratio": round(statistics.median(mine) / statistics.median(theirs), 2),
                "processor us": [round(statistics.median(costs[threads, name])) for name in (ours.name, peer.name)],
                "ratio of each round": [round(ratio, 2) for ratio in ratios],
            }
        )
    met = all(row["ratio"] > FLOOR for row in rows)
    if given.json:
        figures = {"bytes": size, "sync us": round(statistics.median(syncs)), "pragmas": same, "rows": rows, "met": met}
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0 if met else 1
    print(f"made by: {' '.join(['python', *sys.argv])}")
    print(
        f"on: {os.cpu_count()} cores, SQLite {sqlite3.sqlite_version}, a sync takes {statistics.median(syncs):.0f} µs"
    )
    print(f"bytes an append: {size}; median of {given.rounds} rounds of {given.appends}\n")
    print(f"| threads | {ours.name} | {peer.name} | ratio (least to most) | floor | processor µs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        each = row["ratio of each round"]
        missed = "" if row["ratio"] > FLOOR else " **missed**"
        spread = f"{row['ratio']:.2f} ({each[0]:.2f} to {each[-1]:.2f})"
        used = "{} : {}".format(*row["processor us"])
        print(f"| {row['threads']} | {row['ours']:,}/s | {row['peer']:,}/s | {spread} | above 1{missed} | {used} |")
    print("\nBoth: " + ", ".join(f"{name}={value}" for name, value in same.items()))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
