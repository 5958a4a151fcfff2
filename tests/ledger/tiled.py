"""Public logs that tests are written with: the entries of forks, and the files that a log publishes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ledger import checkpoint, entry, merkle, tiles
from ledger.checkpoint import Checkpoint
from ledger.keys import Signature
from tests.ledger.written import LOG_KEY, ORIGIN, Writer


class Forks:
    """Forks that take turns: `entries` grows by whole rounds, creation first. Every third record learned nothing."""

    def __init__(self, count: int = 3) -> None:
        self.writers = [Writer(number) for number in range(count)]
        self.entries: list[bytes] = []
        self._heads = [(0, entry.NO_ENTRY)] * count

    def grow(self, size: int) -> list[bytes]:
        while len(self.entries) < size:
            number = len(self.entries) % len(self.writers)
            writer = self.writers[number]
            if self._heads[number][0] == 0:
                control = writer.control()
                self.add(number, control.topic, control.body, control.signatures)
            else:
                signed = writer.next(learns=(writer.written + 1) % 3 != 0)
                self.add(number, entry.USER_TRAINING_RECORD, signed.body, signed.signatures)
        return self.entries

    def add(self, number: int, topic: str, body: bytes, signatures: tuple[Signature, ...]) -> None:
        version, head = self._heads[number]
        data = entry.encode_entry(
            entry.Entry(ORIGIN, self.writers[number].fork_id, version + 1, head, topic, body, signatures, 1)
        )
        self.entries.append(data)
        self._heads[number] = version + 1, merkle.leaf_hash(data)


def signed_checkpoint(entries: Sequence[bytes]) -> bytes:
    frontier = merkle.Frontier()
    for data in entries:
        frontier.append(merkle.leaf_hash(data))
    return checkpoint.sign(Checkpoint(ORIGIN, len(entries), frontier.root()), LOG_KEY)


def write_log(folder: Path, entries: Sequence[bytes], before: int = 0) -> Path:
    """Publish the log of these entries; where a log of the first `before` of them is there already, what is new."""
    frontier, hashes = merkle.Frontier(), list[bytes]()
    for data in entries:
        hashes += frontier.append(merkle.leaf_hash(data))
    for tile in tiles.tiles_between(before, len(entries)):
        write(folder / tile.path, tiles.encode_tile([hashes[at] for at in tiles.tile_hashes_indices(tile)]))
    for tile in tiles.bundles_between(before, len(entries)):
        first = tile.index * tiles.FULL
        write(folder / tile.path, tiles.encode_bundle(entries[first : first + tile.width]))
    write(folder / "checkpoint", signed_checkpoint(entries))
    return folder


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
