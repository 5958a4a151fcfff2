"""`forkledger verify`: check the evidence of one entry, with nothing but the file and a policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import typer

from ledger import note
from ledger import policy as policies
from ledger.cosign import cosigned_at, verifier_from_vkey
from ledger.entry import SERVICE
from ledger.errors import BadEvidence
from ledger.evidence import LONGEST_EVIDENCE, SHOWS, STEPS, Shown, check_evidence, decode_evidence
from ledger.policy import Policy

OK, FAILED, NOT_REACHED = "ok", "failed", "not reached"


def policy_of_log(vkey: str) -> Policy:
    """A policy of one log and no witness. Raises Malformed."""
    return Policy((policies.Log(verifier_from_vkey(vkey)),), (), (), policies.NO_QUORUM)


def verify(path: Path, policy: Policy, as_json: bool) -> bool:
    """Check, and print every step. Returns whether all of them hold."""
    with path.open("rb") as file:
        data = file.read(LONGEST_EVIDENCE + 1)  # one more is already too long
    shown, fault = None, None
    witnessed: dict[str, int] = {}
    try:
        shown = check_evidence(data, policy.check)
        witnessed = cosigned(decode_evidence(data).checkpoint, policy)
    except BadEvidence as error:
        fault = error
    outcomes = {number: _outcome(number, fault) for number in STEPS}
    if as_json:
        typer.echo(json.dumps(_as_json(outcomes, shown, witnessed, fault), indent=2))
    else:
        _print(outcomes, shown, witnessed, fault)
    return fault is None


def cosigned(checkpoint: bytes, policy: Policy) -> dict[str, int]:
    """The policy's names of the witnesses that cosigned, and when they did by their own clocks."""
    opened = note.open_note(checkpoint, policy.verifiers)
    names = policy.cosigned_by(opened)
    signatures = {(each.name, each.key_id): each.signature for each in opened.signatures}
    return {
        each.name: cosigned_at(signatures[each.verifier.name, each.verifier.key_id])
        for each in policy.witnesses
        if each.name in names
    }


def _outcome(step: int, fault: BadEvidence | None) -> str:
    if fault is None or step < fault.step:
        return OK
    return FAILED if step == fault.step else NOT_REACHED


def _print(outcomes: dict[int, str], shown: Shown | None, witnessed: dict[str, int], fault: BadEvidence | None) -> None:
    for number, outcome in outcomes.items():
        typer.echo(f"{number}. {outcome:11} {STEPS[number]}")
    if shown is not None:
        entry, record = shown.entry, shown.record
        of_record = f", record {record.record_id.hex()}, interaction {record.interaction_number}" if record else ""
        typer.echo(
            f"{entry.origin} of {shown.checkpoint.size} entries, root {shown.checkpoint.root.hex()}\n"
            f"cosigned by {named(witnessed)}\n"
            f"leaf {shown.leaf_index}: fork {entry.fork_id} version {entry.version}, {entry.topic}{of_record}\n"
            f"signed by key {shown.created.owner_key.key_id.hex()}, custody {_custody(shown)}, "
            f"by the right that version {entry.authority} gave\n"
            f"evidence: everything holds\n{SHOWS}"
        )
    if fault is not None:
        typer.echo(f"evidence: does not hold\n{printable(str(fault))}")


def _as_json(
    outcomes: dict[int, str], shown: Shown | None, witnessed: dict[str, int], fault: BadEvidence | None
) -> dict[str, object]:
    report: dict[str, object] = {
        "holds": fault is None,
        "steps": [{"step": number, "outcome": outcome, "says": STEPS[number]} for number, outcome in outcomes.items()],
        "failed": fault.step if fault else None,
        "error": str(fault) if fault else None,
    }
    if shown is not None:
        entry, record = shown.entry, shown.record
        report |= {
            "origin": entry.origin,
            "size": shown.checkpoint.size,
            "root": shown.checkpoint.root.hex(),
            "cosigned": witnessed,
            "leaf_index": shown.leaf_index,
            "fork_id": entry.fork_id,
            "version": entry.version,
            "topic": entry.topic,
            "entry_hash": shown.entry_hash.hex(),
            "record_id": record.record_id.hex() if record else None,
            "interaction_number": record.interaction_number if record else None,
            "key_id": shown.created.owner_key.key_id.hex(),
            "custody": _custody(shown),
            "authority": entry.authority,
            "shows": SHOWS,
        }
    return report


def named(witnessed: dict[str, int]) -> str:
    return ", ".join(f"{printable(name)} at {utc(when)}" for name, when in witnessed.items()) or "no witness"


def printable(text: str) -> str:
    """A policy's names may be bytes that are no UTF-8, which no terminal takes."""
    return text.encode(errors="backslashreplace").decode()


def utc(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a witness may say what no calendar has
        return f"second {seconds}"


def _custody(shown: Shown) -> str:
    return "service" if shown.created.custody == SERVICE else "self"
