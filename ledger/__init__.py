"""A transparency log of signed, encrypted training records. This module is the package's front door.

What other packages may use is named here and nowhere else, save `ledger.errors` and `ledger.wire`, which may
be imported directly.
"""

__version__ = "0.1.0"
