"""Forks of a language model, each the fold of its own records on the ledger. Imports no torch."""
