"""What a chain held of a log, as `forkledger verify` checks it and it is shown."""

from __future__ import annotations

import json

import typer

from ledger import note
from ledger.anchor.chainproof import STEPS, TREE, TRUSTS, Held, Pinned, check_anchor
from ledger.commands.shown import outcome, step_line, utc
from ledger.errors import BadAnchor
from ledger.policy import Policy


def logs_of(policy: Policy) -> list[note.Ed25519Verifier]:
    """The keys of the policy's logs that a contract can name."""
    return [each.verifier for each in policy.logs if isinstance(each.verifier, note.Ed25519Verifier)]


def verify_anchor(data: bytes, policy: Policy, pinned: Pinned, as_json: bool) -> bool:
    """Check an anchor proof alone, and print every step. Returns whether all of them hold."""
    held, fault = None, None
    try:
        held = check_anchor(data, pinned, logs_of(policy))
    except BadAnchor as error:
        fault = error
    failed = fault.step if fault else None
    steps = {number: says for number, says in STEPS.items() if number != TREE}
    outcomes = {number: outcome(number, failed) for number in steps}
    if as_json:
        report: dict[str, object] = {
            "holds": held is not None,
            "steps": [{"step": number, "outcome": outcomes[number], "says": says} for number, says in steps.items()],
            "failed": failed,
            "error": str(fault) if fault else None,
            "anchor": held_json(held) if held else None,
        }
        typer.echo(json.dumps(report, indent=2))
        return held is not None
    for number, says in steps.items():
        typer.echo(step_line(number, outcomes[number], says))
    if held is not None:
        typer.echo(f"{held_lines(held)}\nanchor proof: everything holds\n{TRUSTS}")
    else:
        typer.echo(f"anchor proof: does not hold\n{fault}")
    return held is not None


def held_lines(held: Held) -> str:
    proof, block = held.proof, held.block
    mark = "\nthe contract was shown two roots at one size, signed by anchorers of this log" if held.equivocated else ""
    return (
        f"anchored: size {held.size}, root {held.root.hex()}, anchor number {held.sequence} of the log\n"
        f"chain {proof.chain_id}, block {block.number} of {utc(block.time)}, 0x{block.hash.hex()}\n"
        f"contract 0x{proof.contract.hex()}, log id {proof.log_id.hex()}{mark}"
    )


def held_json(held: Held) -> dict[str, object]:
    return {
        "size": held.size,
        "root": held.root.hex(),
        "sequence": held.sequence,
        "equivocated": held.equivocated,
        "chain_id": held.proof.chain_id,
        "genesis_hash": held.proof.genesis_hash.hex(),
        "contract": held.proof.contract.hex(),
        "log_id": held.proof.log_id.hex(),
        "block": held.block.number,
        "block_hash": held.block.hash.hex(),
        "block_time": held.block.time,
        "trusts": TRUSTS,
    }
