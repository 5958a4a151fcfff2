"""What an audit says: the numbered steps, the faults and the report."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.anchor.chainproof import Held

STEPS = {
    1: "a database is sound by its own checks, and has a ledger's tables and nothing else",
    2: "the log's key is the expected one",
    3: "every entry is there, parses, has its place, and its columns say what its bytes say",
    4: "each fork's entries form a chain",
    5: "the topic is known and the body parses and fits its fork",
    6: "the owner's key signed it",
    7: "every payload that a body names is there, and no other",
    8: "every stored node hash, and every hash tile, is there and is the hash of what is under it",
    9: "every cached head is the fork's last entry",
    10: "every published checkpoint is signed by the log, and its root is that of the entries; where the log's key is "
    "known, one covers entries",
    11: "the log only grew since the checkpoint that was kept from last time",
    12: "where a policy names witnesses, its quorum of them cosigned the checkpoint",
    13: "where a chain is named, it is the expected one, and so are the contract's code and the log in it",
    14: "the newest root that the chain has is the log's at that size, and the log reaches there",
    15: "so is every root that was anchored before, in ascending order, and none is missing",
}
MOST_FAULTS = 100  # kept; more are only counted


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, at which of the numbered STEPS, and where. What belongs to no one entry has no leaf."""

    leaf: int | None
    fork_id: str | None
    version: int | None
    step: int
    message: str

    def __str__(self) -> str:
        leaf, version = _or_dash(self.leaf), _or_dash(self.version)
        return f"leaf {leaf} fork {self.fork_id or '-'} version {version}: {self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. `faults` are in log order and at most MOST_FAULTS; `fault_count` counts all."""

    origin: str | None
    entries: int
    records: int
    forks: int
    covered: int  # size of the newest checkpoint that holds
    root: bytes | None  # its root
    checkpoint: bytes | None  # it, to be kept for the next audit if this one found no fault
    faults: tuple[Fault, ...]
    fault_count: int
    notices: tuple[str, ...]  # not damage, but to be known
    anchor: Held | None = None  # what the chain held, where one was named and could be read
    anchors_compared: int = 0  # with the log: it and those before

    @property
    def clean(self) -> bool:
        return not self.fault_count

    @property
    def first_fault(self) -> Fault | None:
        return self.faults[0] if self.faults else None


class Faults:
    """The first MOST_FAULTS in log order, in whatever order they are found, and the number of all.

    The order does not depend on when a fault was found, and so not on how many processes looked.
    """

    def __init__(self) -> None:
        self.count = 0
        self._found: list[Fault] = []

    def add(self, leaf: int | None, fork_id: str | None, version: int | None, step: int, message: str) -> None:
        self.count += 1
        self._found.append(Fault(leaf, fork_id, version, step, message))
        if len(self._found) >= 4 * MOST_FAULTS:
            self._found = list(self.first())

    def first(self) -> tuple[Fault, ...]:
        in_order = sorted(self._found, key=lambda fault: (fault.leaf is None, fault.leaf or 0, fault.step))
        return tuple(in_order[:MOST_FAULTS])


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)
