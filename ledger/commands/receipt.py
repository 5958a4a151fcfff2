"""`forkledger verify RECEIPT --log LOG`: compare a receipt with the log that signed it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import typer

from ledger import logsource, note
from ledger.audit import promise
from ledger.audit.promise import BROKEN, KEPT, NOT_DUE, NOT_SHOWN, STEPS, Looked
from ledger.commands.shown import FAILED, NOT_REACHED, OK, printable, utc
from ledger.commands.verify import cosigned, named
from ledger.logsource import LONGEST_NOTE
from ledger.policy import NO_QUORUM, Policy

SAYS = {
    KEPT: "receipt: the log has the entry in the promised place; whether it was there in time is not shown",
    NOT_DUE: "receipt: not due yet; ask again later",
    BROKEN: "receipt: the promise is broken; keep both, receipt and checkpoint together are evidence against the log",
    NOT_SHOWN: "receipt: does not hold, or the log does not show that it does; an audit tells what is wrong with a log",
}


def verify_receipt(
    path: Path,
    target: str,
    policy: Policy,
    receipt_key: note.Ed25519Verifier,
    as_json: bool,
    now: Callable[[], int],
) -> bool | None:
    """Check, and print every step. Returns whether the promise is kept; None where it is not due yet.

    `now` is in microseconds since 1970-01-01 UTC. Of a database's checkpoint no quorum is asked: it has none.
    """
    with path.open("rb") as file:
        signed = file.read(LONGEST_NOTE + 1)  # no note is as long as that
    log = logsource.open_log(target)
    if not isinstance(log, logsource.Folder | logsource.Website):
        policy = Policy(policy.logs, (), (), NO_QUORUM)
    try:
        looked = promise.look(signed, receipt_key, log, policy.check, now())
    finally:
        log.close()
    outcomes = {number: _outcome(number, looked) for number in STEPS}
    witnessed = cosigned(looked.signed, policy) if looked.signed else {}
    if as_json:
        typer.echo(json.dumps(_as_json(outcomes, looked, witnessed), indent=2))
    else:
        _print(outcomes, looked, witnessed)
    return _holds(looked)


def _holds(looked: Looked) -> bool | None:
    return None if looked.outcome == NOT_DUE else looked.outcome == KEPT


def _outcome(step: int, looked: Looked) -> str:
    if looked.step is None or step < looked.step:
        return OK
    if step > looked.step:
        return NOT_REACHED
    return NOT_DUE if looked.outcome == NOT_DUE else FAILED


def _print(outcomes: dict[int, str], looked: Looked, witnessed: dict[str, int]) -> None:
    for number, outcome in outcomes.items():
        typer.echo(f"{number}. {outcome:11} {STEPS[number]}")
    if looked.receipt is not None:
        said = looked.receipt
        typer.echo(
            f"{said.origin} promised leaf {said.leaf_index} to fork {said.fork_id} version {said.version}, "
            f"under a checkpoint by {utc(said.due_by // 10**6)}"
        )
    if looked.tree is not None:
        typer.echo(
            f"checkpoint of {looked.tree.size} entries, root {looked.tree.root.hex()}, cosigned by {named(witnessed)}"
        )
    if looked.outcome == BROKEN:
        typer.echo(f"{(looked.signed or b'').decode()}")
        if looked.step == 3 and not _dated_late(looked, witnessed):
            typer.echo("no cosignature dates this checkpoint after that: that it was the newest then is your word")
    typer.echo(SAYS[looked.outcome])
    if looked.message:
        typer.echo(printable(looked.message))


def _dated_late(looked: Looked, witnessed: dict[str, int]) -> bool:
    """Whether a witness saw the checkpoint after it was due to cover more."""
    due = looked.receipt.due_by if looked.receipt else 0
    return any(when * 10**6 > due for when in witnessed.values())


def _as_json(outcomes: dict[int, str], looked: Looked, witnessed: dict[str, int]) -> dict[str, object]:
    report: dict[str, object] = {
        "outcome": looked.outcome,
        "holds": _holds(looked),
        "against_the_log": looked.outcome == BROKEN,
        "steps": [{"step": number, "outcome": outcome, "says": STEPS[number]} for number, outcome in outcomes.items()],
        "failed": looked.step if looked.outcome in (BROKEN, NOT_SHOWN) else None,
        "error": looked.message or None,
    }
    if looked.receipt is not None:
        said = looked.receipt
        report |= {
            "origin": said.origin,
            "fork_id": said.fork_id,
            "version": said.version,
            "leaf_index": said.leaf_index,
            "entry_hash": said.entry_hash.hex(),
            "accepted_at": said.accepted_at,
            "due_by": said.due_by,
        }
    if looked.tree is not None:
        report |= {
            "size": looked.tree.size,
            "root": looked.tree.root.hex(),
            "cosigned": witnessed,
            "checkpoint": (looked.signed or b"").decode(),
        }
    if looked.found is not None:
        path = [base64.b64encode(each).decode() for each in looked.path]
        report["found"] = {"entry_hash": looked.found.hex(), "path": path}
    return report
