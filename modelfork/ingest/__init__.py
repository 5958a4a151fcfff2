"""What a person said elsewhere, read from files that nobody vouches for: `docs/ingest.md` has the formats.

A reader yields turns to be recorded, turns that are left out and why, and faults: where, what was expected and what
came, and never the content. No model, no ledger, nothing written.
"""
