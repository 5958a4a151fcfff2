"""The audit of a public log: without signatures, and with them against bare PyNaCl: `python bench/audit.py`.

The log is a folder of tiles, made before the clock: forks, each of one fork-created and then records, taking turns. An
audit reads every file, parses every entry, hashes every leaf and node, compares every tile, follows every chain.
Ours runs in this one process. A core's rate is that of a second of its processor time: what else runs here does not
count. The peer is a loop of `VerifyKey.verify` over the same messages, with keys made beforehand: nothing is read,
parsed, hashed or chained. Interleaved, median of the rounds. Floors: 400,000 entries/s without signatures; 0.8 of the
peer with them. What all cores bring, by the clock, is printed beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from nacl.signing import SigningKey as NaclKey
from nacl.signing import VerifyKey

from ledger import checkpoint, entry, merkle, note, record, tiles
from ledger.audit import Trust, audit_public
from ledger.checkpoint import Checkpoint
from ledger.keys import ED25519, PublicKey, Signature, signed_message
from ledger.logsource import Folder
from ledger.wire.v1 import record_pb2

ORIGIN = "bench.example/log"
LOG_KEY = note.Ed25519Signer(ORIGIN, hashlib.sha256(b"log").digest())
LAYOUT, RECIPE, GENESIS = (hashlib.sha256(name).digest() for name in (b"layout", b"recipe", b"genesis"))
DIMENSION = 8960
ENTRIES_FLOOR, RATIO_FLOOR = 400_000, 0.8


class Writer:
    """A fork whose entries are of the real form; of what no audit of a public log sees, it has only digests."""

    def __init__(self, rng: random.Random, signs: bool) -> None:
        self._rng, self._signs = rng, signs
        self._key = NaclKey(rng.randbytes(32))
        self._public = PublicKey(ED25519, bytes(self._key.verify_key))
        self._key_id = self._public.key_id
        self.fork_id = str(uuid.UUID(bytes=rng.randbytes(16), version=4))
        self._version, self._head = 0, entry.NO_ENTRY

    def next(self) -> tuple[bytes, bytes, bytes, bytes]:
        """An entry, and what is verified of it: key, message, signature."""
        self._version += 1
        topic, body = (
            (entry.FORK_CREATED, self._creation()) if self._version == 1 else (entry.USER_TRAINING_RECORD, self._body())
        )
        message = signed_message(topic, ORIGIN, body)
        needed = self._signs or self._version == 1
        signature = self._key.sign(message).signature if needed else self._rng.randbytes(64)
        data = entry.encode_entry(
            entry.Entry(
                ORIGIN, self.fork_id, self._version, self._head, topic, body,
                (Signature(self._key_id, ED25519, signature),), 1,
            )
        )  # fmt: skip
        self._head = merkle.leaf_hash(data)
        return data, self._public.raw, message, signature

    def _creation(self) -> bytes:
        return entry.encode_fork_created(
            entry.ForkCreated(self.fork_id, self._public, entry.SELF, LAYOUT, RECIPE, GENESIS, DIMENSION)
        )

    def _body(self) -> bytes:
        draw = self._rng.randbytes
        return record.encode_body(
            record.Body(
                fork_id=self.fork_id,
                record_id=draw(16),
                interaction_number=self._version - 1,
                step=self._rng.randrange(1, record.STEP_LIMIT),
                payloads=tuple((kind, draw(32)) for kind in range(1, 5)),
                key_scheme=1,
                key_commitment=draw(32),
                update_encoding=record_pb2.UPDATE_ENCODING_SIGNS,
                update_dimension=DIMENSION,
                layout_digest=LAYOUT,
                recipe_digest=RECIPE,
                state_commitment=draw(32),
            )
        )


def write_log(folder: Path, entries: Iterator[bytes]) -> int:
    """The files of a log of these entries. Returns how many bytes the entries have."""
    all_entries = list(entries)
    frontier, hashes = merkle.Frontier(), list[bytes]()
    for data in all_entries:
        hashes += frontier.append(merkle.leaf_hash(data))
    size = len(all_entries)
    for tile in tiles.tiles_between(0, size):
        write(folder / tile.path, tiles.encode_tile([hashes[at] for at in tiles.tile_hashes_indices(tile)]))
    for tile in tiles.bundles_between(0, size):
        first = tile.index * tiles.FULL
        write(folder / tile.path, tiles.encode_bundle(all_entries[first : first + tile.width]))
    write(folder / "checkpoint", checkpoint.sign(Checkpoint(ORIGIN, size, frontier.root()), LOG_KEY))
    return sum(map(len, all_entries))


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def audited(folder: Path, *, signatures: bool, processes: int = 0) -> int:
    report = audit_public(
        Folder(folder), Trust(LOG_KEY.verifier), None, lambda _done, _all: None,
        signatures=signatures, processes=processes,
    )  # fmt: skip
    assert report.clean, report.first_fault
    return report.entries


def bare(checks: list[tuple[VerifyKey, bytes, bytes]]) -> int:
    for key, message, signature in checks:
        key.verify(message, signature)
    return len(checks)


def rate(work: Callable[[], int], clock: Callable[[], float]) -> float:
    begun = clock()
    done = work()
    return done / (clock() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=200_000, help="of the log without signatures")
    parser.add_argument("--signed", type=int, default=20_000, help="entries of the log with signatures")
    parser.add_argument("--forks", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        plain, signed = Path(place) / "plain", Path(place) / "signed"
        writers = [Writer(rng, signs=False) for _ in range(given.forks)]
        size = write_log(plain, (writers[at % given.forks].next()[0] for at in range(given.entries)))
        writers = [Writer(rng, signs=True) for _ in range(given.forks)]
        made = [writers[at % given.forks].next() for at in range(given.signed)]
        write_log(signed, (data for data, *_ in made))
        checks = [(VerifyKey(key), message, signature) for _, key, message, signature in made]
        sides: dict[str, Callable[[], int]] = {
            "without": lambda: audited(plain, signatures=False),
            "with": lambda: audited(signed, signatures=True),
            "bare": lambda: bare(checks),
            "pool": lambda: audited(signed, signatures=True, processes=os.cpu_count() or 1),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(given.rounds + 1):  # the first warms up and is not counted
            for name, work in sides.items() if turn % 2 else reversed(sides.items()):
                found = rate(work, time.perf_counter if name == "pool" else time.process_time)
                if turn:
                    rates[name].append(found)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    ratios = sorted(ours / peer for ours, peer in zip(rates["with"], rates["bare"], strict=True))
    ratio = middle["with"] / middle["bare"]
    met = middle["without"] >= ENTRIES_FLOOR and ratio >= RATIO_FLOOR
    figures = {
        "entries": given.entries, "bytes an entry": round(size / given.entries), "signed": given.signed,
        "forks": given.forks, "entries/s/core without signatures": round(middle["without"]),
        "each round": [round(found) for found in sorted(rates["without"])],
        "entries/s/core with signatures": round(middle["with"]), "bare PyNaCl/s": round(middle["bare"]),
        "ratio": round(ratio, 2), "ratio of each round": [round(each, 2) for each in ratios],
        "entries/s over all cores": round(middle["pool"]), "met": met,
    }  # fmt: skip
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0 if met else 1
    print(f"made by: {' '.join(['python', *sys.argv])}")
    print(f"on: {os.cpu_count()} cores; entries of {size / given.entries:.0f} bytes, {given.forks} forks")
    print(f"median of {given.rounds} rounds of {given.entries:,} and {given.signed:,} entries\n")
    print("| audit, one core | entries/s | peer: bare PyNaCl | ratio (least to most) | floor |")
    print("| --- | --- | --- | --- | --- |")
    missed = "" if middle["without"] >= ENTRIES_FLOOR else " **missed**"
    spread = f"{middle['without']:,.0f} ({min(rates['without']):,.0f} to {max(rates['without']):,.0f})"
    print(f"| without signatures | {spread} | | | {ENTRIES_FLOOR:,}{missed} |")
    missed = "" if ratio >= RATIO_FLOOR else " **missed**"
    spread = f"{ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"| with | {middle['with']:,.0f} | {middle['bare']:,.0f}/s | {spread} | {RATIO_FLOOR}{missed} |")
    print(f"\nWith signatures over {os.cpu_count()} processes, their start included: {middle['pool']:,.0f} entries/s")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
