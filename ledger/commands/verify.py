"""`forkledger verify`: check the evidence of one entry, with nothing but the file and a policy."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from ledger import note
from ledger.anchor.chainproof import TRUSTS, Held, Pinned, is_anchor
from ledger.commands.anchored import held_json, held_lines, logs_of, verify_anchor
from ledger.commands.shown import outcome, printable, step_line, utc
from ledger.cosign import cosigned_at
from ledger.entry import SERVICE
from ledger.errors import BadEvidence, Refused
from ledger.evidence import (
    ANCHOR_STEPS,
    LONGEST_EVIDENCE,
    SHOWS,
    STEPS,
    Anchoring,
    Shown,
    check_anchoring,
    check_evidence,
    decode_evidence,
)
from ledger.policy import Policy

UNCHECKED = "anchor: NOT checked; the evidence holds an anchor proof, name the hash of its block by --block"

_SAYS = STEPS | ANCHOR_STEPS


def verify(
    path: Path, policy: Policy, as_json: bool, pinned: Pinned | None = None, anchor_file: Path | None = None
) -> bool:
    """Check evidence, or an anchor proof alone, and print every step. Returns whether all of them hold.

    With what is `pinned` of a chain the anchor proof is checked that evidence holds, or the one in `anchor_file`.
    """
    with path.open("rb") as file:
        data = file.read(LONGEST_EVIDENCE + 1)  # one more is already too long
    if is_anchor(data):
        if pinned is None:
            raise Refused(f"{path}: an anchor proof; expected the hash of its block, by --block")
        return verify_anchor(data, policy, pinned, as_json)
    shown, anchor, held, fault = None, None, None, None
    witnessed: dict[str, int] = {}
    try:
        shown = check_evidence(data, policy.check)
        evidence = decode_evidence(data)
        witnessed = cosigned(evidence.checkpoint, policy)
        anchor = Anchoring(anchor_file.read_bytes(), ()) if anchor_file else evidence.anchor
        if pinned is not None:
            if anchor is None:
                raise Refused(f"{path}: holds no anchor proof; name a file that has one, by --anchor")
            held = check_anchoring(anchor, shown, pinned, logs_of(policy))
    except BadEvidence as error:
        fault = error
    steps = STEPS if pinned is None else STEPS | ANCHOR_STEPS
    outcomes = {number: outcome(number, fault.step if fault else None) for number in steps}
    unchecked = anchor is not None and pinned is None
    if as_json:
        report = _as_json(outcomes, shown, witnessed, fault)
        if pinned is not None or unchecked:
            report["anchor"] = held_json(held) if held else None
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(outcomes, shown, witnessed, held, fault)
    if unchecked:
        typer.echo(UNCHECKED, err=as_json)
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


def _print(
    outcomes: dict[int, str],
    shown: Shown | None,
    witnessed: dict[str, int],
    held: Held | None,
    fault: BadEvidence | None,
) -> None:
    for number, came in outcomes.items():
        typer.echo(step_line(number, came, _SAYS[number]))
    if shown is not None:
        entry, record = shown.entry, shown.record
        of_record = f", record {record.record_id.hex()}, interaction {record.interaction_number}" if record else ""
        typer.echo(
            f"{entry.origin} of {shown.checkpoint.size} entries, root {shown.checkpoint.root.hex()}\n"
            f"cosigned by {named(witnessed)}\n"
            f"leaf {shown.leaf_index}: fork {entry.fork_id} version {entry.version}, {entry.topic}{of_record}\n"
            f"signed by key {shown.created.owner_key.key_id.hex()}, custody {_custody(shown)}, "
            f"by the right that version {entry.authority} gave"
        )
    if held is not None:
        typer.echo(held_lines(held))
    if fault is None:
        typer.echo(f"evidence: everything holds\n{SHOWS}{f'; {TRUSTS}' if held else ''}")
    else:
        typer.echo(f"evidence: does not hold\n{printable(str(fault))}")


def _as_json(
    outcomes: dict[int, str], shown: Shown | None, witnessed: dict[str, int], fault: BadEvidence | None
) -> dict[str, object]:
    report: dict[str, object] = {
        "holds": fault is None,
        "steps": [{"step": number, "outcome": came, "says": _SAYS[number]} for number, came in outcomes.items()],
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


def _custody(shown: Shown) -> str:
    return "service" if shown.created.custody == SERVICE else "self"
