"""A small real log that can also lie, and a witness for it: what the witness tests are played with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger import checkpoint as checkpoints
from ledger import merkle, note
from ledger.checkpoint import Checkpoint
from ledger.cosign import Ed25519Cosigner, MlDsa44Signer, cosigned_at
from ledger.note import Ed25519Signer
from ledger.witness.keys import WitnessKeys
from ledger.witness.memory import Memory
from ledger.witness.request import AddCheckpoint
from ledger.witness.witness import Witness

ORIGIN = "log.example/forks"
LOG_KEY = Ed25519Signer(ORIGIN, bytes([1]) * 32)
NOW = 1_790_000_000


@dataclass
class History:
    """Leaves, and every root and proof over them. Two histories that share their first leaves fork after these."""

    leaves: list[bytes]
    _stored: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        frontier = merkle.Frontier()
        self._stored = [each for leaf in self.leaves for each in frontier.append(merkle.leaf_hash(leaf))]

    def read(self, places: Sequence[int]) -> list[bytes]:
        return [self._stored[place] for place in places]

    def tree(self, size: int, origin: str = ORIGIN) -> Checkpoint:
        return Checkpoint(origin, size, merkle.tree_root(size, self.read))

    def signed(self, size: int, *signers: note.Signer) -> bytes:
        return checkpoints.sign(self.tree(size), *(signers or (LOG_KEY,)))

    def prove(self, old: int, size: int) -> list[bytes]:
        return merkle.prove_consistency(old, size, self.read)

    def asks(self, old: int, size: int, *signers: note.Signer) -> bytes:
        """The body of an add-checkpoint request."""
        return AddCheckpoint(old, tuple(self.prove(old, size)), self.signed(size, *signers)).encode()


def history(size: int = 40, shared: int = 40, name: str = "fork") -> History:
    """`shared` leaves that all histories have, and then leaves of its own."""
    return History([b"leaf %d" % n if n < shared else f"{name} {n}".encode() for n in range(size)])


def keys(name: str = "witness.example/w1", seed: int = 7, now: int = NOW) -> WitnessKeys:
    return WitnessKeys(
        Ed25519Cosigner(name, bytes([seed]) * 32, lambda: now), MlDsa44Signer(name, bytes([seed]) * 32, lambda: now)
    )


@contextmanager
def witness_in(folder: Path, its_keys: WitnessKeys | None = None, knows: bool = True) -> Iterator[Witness]:
    """A witness with its memory in this folder, that knows the log."""
    witness = Witness(its_keys or keys(), Memory(folder / "witness.db"), lambda: NOW)
    if knows:
        witness.add_log(LOG_KEY.vkey)
    try:
        yield witness
    finally:
        witness.close()


def cosigned(lines: bytes, tree: Checkpoint, its_keys: WitnessKeys | None = None) -> list[int]:
    """The times of the cosignatures in an answer, each verified over this checkpoint with the witness's keys."""
    verifiers = [signer.verifier for signer in (its_keys or keys()).signers]
    opened = note.open_note(tree.encode() + b"\n" + lines, verifiers)
    assert opened.text == tree.encode()
    assert not opened.ignored
    return [cosigned_at(each.signature) for each in opened.signatures]
