"""Makes the sample ledger beside this file, the same bytes each time: `python docs/sample-ledger/make.py [FOLDER]`.

Three forks take turns, 40 entries. Keys, ids and digests follow from what they are for. Payloads are not part of a
public log: their digests here are of nothing.
"""

from __future__ import annotations

import json
import sys
import uuid
from hashlib import sha256
from pathlib import Path

from ledger import checkpoint, entry, merkle, note, record, tiles
from ledger.checkpoint import Checkpoint
from ledger.cosign import Ed25519Cosigner
from ledger.keys import SigningKey, signed_message
from ledger.policy import Log, Policy, Witness
from ledger.wire.v1 import record_pb2

ORIGIN = "sample.example/log"
SIZE, FORKS, EARLY = 40, 3, 25
DIMENSION = 256
WITNESSED_AT = 1_790_000_000


def drawn(length: int, *what: object) -> bytes:
    """Bytes that follow from what they are for."""
    return sha256(repr(("sample ledger", *what)).encode()).digest()[:length]


LOG_KEY = note.Ed25519Signer(ORIGIN, drawn(32, "log"))
WITNESS = Ed25519Cosigner("witness.example/w1", drawn(32, "witness"), lambda: WITNESSED_AT)


class Fork:
    def __init__(self, number: int) -> None:
        self.number = number
        self.key = SigningKey(drawn(32, "owner", number))
        self.fork_id = str(uuid.UUID(bytes=drawn(16, "fork", number), version=4))
        self.version, self.head = 0, entry.NO_ENTRY

    def next(self) -> bytes:
        self.version += 1
        first = self.version == 1
        topic, body = (entry.FORK_CREATED, self._created()) if first else (entry.USER_TRAINING_RECORD, self._record())
        signature = self.key.sign(signed_message(topic, ORIGIN, body))
        data = entry.encode_entry(
            entry.Entry(ORIGIN, self.fork_id, self.version, self.head, topic, body, (signature,), 1)
        )
        self.head = merkle.leaf_hash(data)
        return data

    def _created(self) -> bytes:
        layout, recipe, genesis = (drawn(32, name) for name in ("layout", "recipe", "genesis"))
        return entry.encode_fork_created(
            entry.ForkCreated(self.fork_id, self.key.public, entry.SELF, layout, recipe, genesis, DIMENSION)
        )

    def _record(self) -> bytes:
        interaction = self.version - 1
        learns = interaction % 3 != 0
        kinds = (1, 2, 3, 4) if learns else (1, 2, 4)
        of = self.number, interaction
        return record.encode_body(
            record.Body(
                fork_id=self.fork_id,
                record_id=drawn(16, "record", *of),
                interaction_number=interaction,
                step=1000 + interaction if learns else 0,
                payloads=tuple((kind, drawn(32, "payload", *of, kind)) for kind in kinds),
                key_scheme=1,
                key_commitment=drawn(32, "key", *of),
                update_encoding=record_pb2.UPDATE_ENCODING_SIGNS if learns else record.EMPTY,
                update_dimension=DIMENSION,
                layout_digest=drawn(32, "layout"),
                recipe_digest=drawn(32, "recipe"),
                state_commitment=drawn(32, "state", *of),
            )
        )


def signed(frontier: merkle.Frontier) -> bytes:
    own = checkpoint.sign(Checkpoint(ORIGIN, frontier.size, frontier.root()), LOG_KEY)
    text = note.parse(own).text
    return own + note.Signature(WITNESS.name, WITNESS.key_id, WITNESS.sign(text)).encode()


def variants(entries: list[bytes]) -> list[dict[str, object]]:
    """Changes to the log, and what an audit with this policy and kept checkpoint is to find."""
    bundle, tile = tiles.entries_path(0, SIZE), tiles.tile_path(0, 0, SIZE)
    starts = [0]
    for data in entries:
        starts.append(starts[-1] + 2 + len(data))

    def flip(file: str, at: int) -> dict[str, object]:
        return {"file": file, "flip": at}

    def variant(
        name: str,
        *changes: dict[str, object],
        leaf: int | None = None,
        step: int = 0,
        named: bool = True,
        kept: str = "",
    ) -> dict[str, object]:
        """`named`: whether what is left of the log still says which entry it is."""
        fork = None if leaf is None or not named else Fork(leaf % FORKS).fork_id
        fault = {"leaf": leaf, "fork_id": fork, "version": leaf // FORKS + 1 if leaf and fork else None, "step": step}
        found: dict[str, object] = {"name": name, "changes": list(changes), "first_fault": fault if step else None}
        return {**found, "kept": kept} if kept else found

    follows = starts[20] + 2 + entries[20].index(b"\x22\x20") + 2
    return [
        variant("nothing is changed"),
        variant("a bit of a signature", flip(bundle, starts[14] - 20), leaf=13, step=6),
        variant("a bit of a fork-created", flip(bundle, starts[1] + 200), leaf=1, step=6),
        variant("a bit of a record's state commitment", flip(bundle, starts[30] - 130), leaf=29, step=6),
        variant("a bit of what an entry follows", flip(bundle, follows), leaf=20, step=4),
        variant("a bit of a hash tile", flip(tile, 32 * 9), leaf=9, step=8),
        variant("a bundle that is cut off", {"file": bundle, "cut": starts[33] + 7}, leaf=33, step=3, named=False),
        variant("no bundle", {"file": bundle, "remove": True}, leaf=0, step=3, named=False),
        variant("no hash tile", {"file": tile, "remove": True}, leaf=0, step=8, named=False),
        variant("a bit of the checkpoint's root", flip("checkpoint", len(ORIGIN) + 5), step=10),
        variant("a checkpoint without its witness", {"file": "checkpoint", "last_line": False}, step=12),
        variant("what was kept is of another history", kept="kept-of-another-history", leaf=EARLY - 1, step=11),
        variant("what was kept is of an earlier size", kept="kept"),
    ]


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def as_json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def main(place: Path) -> None:
    forks = [Fork(number) for number in range(FORKS)]
    entries = [forks[at % FORKS].next() for at in range(SIZE)]
    frontier, early, hashes = merkle.Frontier(), b"", list[bytes]()
    for data in entries:
        hashes += frontier.append(merkle.leaf_hash(data))
        if frontier.size == EARLY:
            early = signed(frontier)
    log = place / "log"
    for tile in tiles.tiles_between(0, SIZE):
        write(log / tile.path, tiles.encode_tile([hashes[at] for at in tiles.tile_hashes_indices(tile)]))
    for tile in tiles.bundles_between(0, SIZE):
        write(log / tile.path, tiles.encode_bundle(entries))
    write(log / "checkpoint", signed(frontier))
    write(log / "v1/log/keys", as_json({"origin": ORIGIN, "log": LOG_KEY.vkey}))
    write(place / "kept", early)
    other = checkpoint.sign(Checkpoint(ORIGIN, EARLY, drawn(32, "another history")), LOG_KEY)
    write(place / "kept-of-another-history", other)
    policy = Policy((Log(LOG_KEY.verifier),), (Witness("w1", WITNESS.verifier),), (), "w1")
    write(place / "policy", policy.encode())
    expected: dict[str, object] = {
        "origin": ORIGIN,
        "size": SIZE,
        "root": frontier.root().hex(),
        "leaf_hashes": [merkle.leaf_hash(data).hex() for data in entries],
        "entries": [
            {"fork_id": forks[at % FORKS].fork_id, "version": at // FORKS + 1, "length": len(data)}
            for at, data in enumerate(entries)
        ],
        "heads": {
            fork.fork_id: {
                "version": fork.version,
                "entry_hash": fork.head.hex(),
                "owner_key": fork.key.public.raw.hex(),
            }
            for fork in forks
        },
    }
    write(place / "expected.json", as_json({**expected, "variants": variants(entries)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
