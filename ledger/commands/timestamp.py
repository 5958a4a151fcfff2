"""A timestamp authority's token over a checkpoint, checked offline by `forkledger verify --tsa-roots`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import typer

from ledger.anchor.rfc3161 import read_roots, verify_token
from ledger.anchor.timestamp import LONGEST_TIMESTAMP, decode_timestamp
from ledger.commands.shown import outcome, step_line, utc
from ledger.errors import LedgerError, Refused
from ledger.policy import NO_QUORUM, Policy

STEPS = {
    1: "the file is a checkpoint and a token",
    2: "the checkpoint is signed by a log of the policy",
    3: "the token is over this checkpoint, signed by an authority that leads to one of the roots",
}
TRUSTS = "the time is the authority's word; that the log showed nobody another checkpoint is not said"


def verify_timestamp(path: Path, policy: Policy, roots_file: Path, as_json: bool) -> bool:
    """Check the file and print every step. Returns whether all of them hold."""
    roots = read_roots(roots_file.read_bytes())
    with path.open("rb") as file:
        data = file.read(LONGEST_TIMESTAMP + 1)  # one more is already too long
    step, fault, at, size = 1, "", 0, 0
    try:
        stamp = decode_timestamp(data)
        step = 2
        # A stamp is over what the log signed: cosignatures come later, and are not in the file.
        size = replace(policy, quorum=NO_QUORUM).check(stamp.checkpoint).size
        step = 3
        at = verify_token(stamp.token, stamp.checkpoint, roots) // 1_000_000
    except Refused:  # says nothing of the file: the library is missing, or the policy names no log
        raise
    except LedgerError as error:
        fault = str(error)
    outcomes = {number: outcome(number, step if fault else None) for number in STEPS}
    if as_json:
        report = {
            "holds": not fault,
            "steps": [{"step": number, "outcome": outcomes[number], "says": says} for number, says in STEPS.items()],
            "failed": step if fault else None,
            "error": fault or None,
            "size": size,
            "time": None if fault else at,
            "trusts": TRUSTS,
        }
        typer.echo(json.dumps(report, indent=2))
        return not fault
    for number, says in STEPS.items():
        typer.echo(step_line(number, outcomes[number], says))
    typer.echo(
        f"timestamp: does not hold\n{fault}"
        if fault
        else f"checkpoint over {size} entries, there at {utc(at)}\ntimestamp: everything holds\n{TRUSTS}"
    )
    return not fault
