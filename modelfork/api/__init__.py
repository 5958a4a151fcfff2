"""The routes of forks, chat and verdicts. Attached to the ledger's service by `modelfork.main`."""
