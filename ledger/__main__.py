"""`python -m ledger` is the command `forkledger`."""

from ledger.cli import main

main()
