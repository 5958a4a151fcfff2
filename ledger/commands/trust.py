"""Whom a command believes, as `--log-key` and `--policy` name them."""

from __future__ import annotations

from pathlib import Path

from ledger import checkpoint as checkpoints
from ledger import logsource, note, policy
from ledger.errors import Malformed, NotFound, Refused
from ledger.logsource import PublicLog
from ledger.policy import Policy


def read_policy(path: Path) -> Policy:
    """Raises Malformed, and OSError where there is no file."""
    return policy.parse(path.read_bytes())


def log_key(accepts: Policy | None, log: PublicLog | None = None) -> note.Ed25519Verifier | None:
    """The policy's Ed25519 key of this log: where it names several logs, that of the origin in the checkpoint."""
    if accepts is None:
        return None
    keys = [each.verifier for each in accepts.logs if isinstance(each.verifier, note.Ed25519Verifier)]
    if len(keys) > 1 and log is not None:
        try:
            signed = note.parse(log.read(logsource.CHECKPOINT, logsource.LONGEST_NOTE))
            origin = checkpoints.parse(signed.text).origin
        except (Malformed, NotFound):
            origin = None
        keys = [key for key in keys if key.name == origin] or keys
    if not keys:
        raise Refused("policy: expected an Ed25519 key of a log, it names none")
    return keys[0]
