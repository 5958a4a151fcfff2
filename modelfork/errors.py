"""The error tree of `modelfork`. What a ledger refuses comes as a `ledger.errors.LedgerError` of its own.

ForkError
├── Malformed      bytes or files that are not what their format says
├── Diverged       a replay that does not lead to the state that was committed; carries where
├── Unsuited       a base, basis, layout or recipe that does not belong to this fork
└── TooLong        a prompt that the base has no room for
"""


class ForkError(Exception):
    """The root: catch this to catch all that `modelfork` raises on purpose."""


class Malformed(ForkError):
    """Bytes or files that are not what their format says."""


class Diverged(ForkError):
    """A replay that does not lead to the state that was committed, at `version` of the fork."""

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


class Unsuited(ForkError):
    """A base, basis, layout or recipe that does not belong to this fork."""


class TooLong(ForkError):
    """A prompt that the base has no room for."""
