"""The error tree of `ledger`. Every error the package raises on purpose is one of these.

    LedgerError
    ├── Malformed      bytes that are not what their format says
    ├── BadSignature   a signature that does not hold, or one that was asked for and is missing
    ├── BadProof       a Merkle proof that does not lead to the root it claims
    ├── BadEvidence    evidence that fails a check; carries the number of the step
    ├── BadAnchor      an anchor proof that fails a check; carries the number of the step
    ├── Refused        well-formed, but not allowed
    │   └── ChainRefused      a contract reverted; carries the name of its error and that error's figures
    ├── Conflict       well-formed and allowed, but something else already stands in that place
    │   ├── AlreadyRecorded   other bytes stand under this record id; carries its leaf index
    │   ├── StaleNumber       the interaction number is not the next one; carries the next one
    │   ├── StaleSize         the old size is not the one that the witness stored; carries the stored one
    │   └── SplitView         the log signed two roots at one size; carries that size
    ├── NotFound       no such thing here
    └── Unavailable    nothing wrong with what was asked; it cannot be done here and now
        ├── Busy              too much is waiting already; carries when to come again
        ├── NoFunds           the account that pays on a chain holds too little
        ├── Fenced            another process has taken over the log's writing
        └── Halted            the log contradicts what is public of it; nothing is taken before a person has looked

A message says what was expected, what came and where. It never holds user content or keys.
"""


class LedgerError(Exception):
    """The root: catch this to catch all that `ledger` raises on purpose."""


class Malformed(LedgerError):
    """Bytes that are not what their format says."""


class BadSignature(LedgerError):
    """A signature that does not hold, or one that was asked for and is missing."""


class BadProof(LedgerError):
    """A Merkle proof that does not lead to the root it claims."""


class BadEvidence(LedgerError):
    """Evidence that fails a check: the first that fails is `step` of `ledger.evidence.STEPS`."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


class BadAnchor(LedgerError):
    """An anchor proof that fails a check: the first that fails is `step` of `ledger.anchor.chainproof.STEPS`."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


class Refused(LedgerError):
    """Well-formed, but not allowed."""


class ChainRefused(Refused):
    """A contract reverted: by which of its errors (empty where it is none that we know), and with what figures."""

    def __init__(self, message: str, name: str, figures: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.figures = figures


class Conflict(LedgerError):
    """Well-formed and allowed, but something else already stands in that place."""


class AlreadyRecorded(Conflict):
    """Other bytes stand under this record id, at `leaf_index`."""

    def __init__(self, message: str, leaf_index: int) -> None:
        super().__init__(message)
        self.leaf_index = leaf_index


class StaleNumber(Conflict):
    """The interaction number is not the next one of the fork, which is `expected`."""

    def __init__(self, message: str, expected: int) -> None:
        super().__init__(message)
        self.expected = expected


class StaleSize(Conflict):
    """Growth was to be shown from another size than the one that the witness cosigned last, which is `size`."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class SplitView(Conflict):
    """The log signed another root at `size` than the one known for it: two histories, and evidence against the log."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class NotFound(LedgerError):
    """No such thing here."""


class Unavailable(LedgerError):
    """Nothing is wrong with what was asked, but it cannot be done here and now. The same may be asked again."""


class Busy(Unavailable):
    """Too much is waiting already. Nothing was taken; worth asking again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoFunds(Unavailable):
    """The account that pays on a chain holds too little. What was not sent goes out once there is more."""


class Fenced(Unavailable):
    """Another process has taken over the writing of this log; this one never writes to it again."""


class Halted(Unavailable):
    """The log contradicts what is public of it. Nothing is taken any more, for no promise could be kept."""
