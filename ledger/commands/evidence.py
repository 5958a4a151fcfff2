"""`forkledger evidence`: take the evidence of one entry from a ledger or from a service."""

from __future__ import annotations

from pathlib import Path

import httpx

from ledger.errors import Malformed, NotFound, Refused, Unavailable
from ledger.evidence import LONGEST_EVIDENCE, Evidence, decode_evidence
from ledger.main import open_log_reader

Named = bytes | int
"""Which entry of a fork: a record id, or a version."""


def of_ledger(data: Path, database_url: str, fork_id: str, entry: Named) -> Evidence:
    """From the ledger in a folder, or in PostgreSQL where a URL is given, under the newest checkpoint that `data` shows
    to the public, else that was signed. Nothing is changed there."""
    log = open_log_reader(data, database_url)
    try:
        stored = log.version(fork_id, entry) if isinstance(entry, int) else log.record(fork_id, entry)
        if stored is None:
            raise NotFound(f"fork {fork_id}: no record of this id")
        return log.evidence(stored.leaf_index)
    finally:
        log.store.close()


def of_service(url: str, fork_id: str, entry: Named) -> Evidence:
    """From a service, without an API key. What it sends is read and not believed: to check it is for `verify`."""
    which = {"version": str(entry)} if isinstance(entry, int) else {"record": entry.hex()}
    asked = f"{url.rstrip('/')}/v1/forks/{fork_id}/evidence"
    try:
        with httpx.stream("GET", asked, params=which, timeout=30) as response:
            data = b""
            for part in response.iter_bytes():
                data += part
                if len(data) > LONGEST_EVIDENCE:
                    raise Malformed(f"{asked}: expected at most {LONGEST_EVIDENCE} bytes, got more")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{asked}: {type(error).__name__}: {error}") from None
    if response.status_code == 404:
        raise NotFound(f"{asked}: no such entry under the newest checkpoint")
    if response.status_code != 200:
        raise Refused(f"{asked}: expected status 200, got {response.status_code}")
    return decode_evidence(data)
