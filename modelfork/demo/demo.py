"""`forkledger demo`: the main job from an empty folder, with every claim checked.

Ten facts of an invented person are drawn from a printed seed. The base is asked (it cannot know), corrected at most
three times a fact, and asked again in the same and in unseen words, always greedily. Then a checkpoint and a proof are
verified, the fork is replayed by a new process from the file alone, and a byte is flipped in a stopped copy.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import subprocess  # a new process is the point: nothing of this one may help the replay
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import ledger
from modelfork.demo import chain
from modelfork.demo.people import Fact, Person, invent, says
from modelfork.errors import Unsuited
from modelfork.forks import Answered, ForkManager, Recorded
from modelfork.generate import Sampling
from modelfork.interaction import Message
from modelfork.main import open_base

APP = "demo"
CORRECTIONS = 3  # of one fact, at most
ENOUGH = 6  # of ten same questions


@dataclass(slots=True)
class _Asked:
    """One fact's way through the demo."""

    fact: Fact
    same: str
    unseen: str
    before: str
    corrections: int = 0


def run(
    folder: Path | None,
    seed: int | None,
    base_folder: Path,
    threads: int,
    as_json: bool = False,
    on_chain: bool = False,
) -> bool:
    """Run the demo in `folder` (a temporary one if None). Returns whether everything that it checks held.

    `on_chain` anchors the log on a chain of this machine besides. With `as_json` standard output has one JSON object, of what was found out, and the story goes to standard error.
    """
    if on_chain:
        chain.find_anvil()  # before ten facts are taught
    found: dict[str, object] = {}
    out = Console(highlight=False, width=140, stderr=as_json)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="forkledger-demo-") as made:
            held = _run(out, found, Path(made), seed, base_folder, threads, on_chain)
    elif folder.exists() and any(folder.iterdir()):
        raise Unsuited(f"demo: expected an empty folder, {folder} holds something")
    else:
        held = _run(out, found, folder, seed, base_folder, threads, on_chain)
    if as_json:
        sys.stdout.write(json.dumps({**found, "held": held}) + "\n")
    return held


def _run(
    out: Console,
    found: dict[str, object],
    folder: Path,
    seed: int | None,
    base_folder: Path,
    threads: int,
    on_chain: bool,
) -> bool:
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    person = invent(np.random.default_rng(seed), facts=10, split="held-out")
    out.print(f"demo: seed {seed}, folder {folder}")
    log, keystore, now = ledger.open_house(folder / "data", folder / "keys")
    try:
        manager = ForkManager(log, keystore, *open_base(base_folder, threads), now, secrets.token_bytes)
        fork_id = manager.create(APP)
        learned = _teach(out, found, manager, fork_id, person, seed)
        ok = learned and _prove(out, log)
        digest = manager.state(fork_id).digest.hex()
        records = manager.describe(fork_id)["interactions"]
        origin_vkey = log.log_vkey
        if on_chain:
            ledger.make_public(log, folder / "data")
        found |= {"seed": seed, "fork": fork_id, "records": records, "entries": log.size(), "state_digest": digest}
    finally:
        log.close()
        keystore.close()
    if not ok:
        return False
    if not _replay_elsewhere(out, folder, fork_id, digest):
        return False
    leaf = _tamper(out, folder, origin_vkey)
    if leaf is None:
        return False
    found |= {"replay": "identical", "tampered_leaf": leaf}
    if on_chain and not chain.anchor(out, found, folder, origin_vkey):
        return False
    out.print(f"demo: {records} records verified, replay identical, tampering found at leaf {leaf}")
    return True


# --- teaching --------------------------------------------------------------------------------------------


def _ask(manager: ForkManager, fork_id: str, question: str) -> Answered:
    turn = (Message("user", question),)
    return manager.take_turn(fork_id, secrets.token_bytes(16), turn, Sampling(max_tokens=40), True, lambda _: None)


def _teach(
    out: Console, found: dict[str, object], manager: ForkManager, fork_id: str, person: Person, seed: int
) -> bool:
    records = Table("leaf", "version", "what", "entry hash", "bytes without text")

    def listed(recorded: Recorded, what: str) -> None:
        row = (str(recorded.leaf_index), str(recorded.version), what, recorded.entry_hash.hex(), str(recorded.size))
        records.add_row(*row)

    rng = np.random.default_rng(seed + 1)
    asked = []
    for fact in person.facts:
        same, unseen = rng.choice(np.array(fact.questions("held-out")), size=2, replace=False)
        answered = _ask(manager, fork_id, str(same))
        listed(answered.recorded, "asked")
        asked.append(_Asked(fact, str(same), str(unseen), answered.interaction.answer))
        last = answered
        while not says(last.interaction.answer, fact.value) and asked[-1].corrections < CORRECTIONS:
            judged = manager.judge(fork_id, secrets.token_bytes(16), last.recorded.record_id, fact.answer, None, "")
            listed(judged, "corrected" if judged.learned else "corrected, nothing to learn")
            asked[-1].corrections += 1
            last = _ask(manager, fork_id, str(same))
            listed(last.recorded, "asked again")
    # Later facts may have disturbed earlier ones: what is still wrong is corrected while its three tries last.
    shown = Table("fact", "before", "corrections", "after, same words", "after, unseen words")
    before = after = unseen = 0
    for one in asked:
        while one.corrections < CORRECTIONS:
            last = _ask(manager, fork_id, one.same)
            listed(last.recorded, "asked again")
            if says(last.interaction.answer, one.fact.value):
                break
            listed(
                manager.judge(fork_id, secrets.token_bytes(16), last.recorded.record_id, one.fact.answer, None, ""),
                "corrected",
            )
            one.corrections += 1
    for one in asked:
        final, other = _ask(manager, fork_id, one.same), _ask(manager, fork_id, one.unseen)
        listed(final.recorded, "asked at the end")
        listed(other.recorded, "asked in unseen words")
        same_answer, unseen_answer = final.interaction.answer, other.interaction.answer
        before += says(one.before, one.fact.value)
        after += says(same_answer, one.fact.value)
        unseen += says(unseen_answer, one.fact.value)
        shown.add_row(one.fact.answer, one.before, str(one.corrections), same_answer, unseen_answer)
    out.print(records)
    out.print(shown)
    out.print(f"before / after / unseen: {before} / {after} / {unseen} of {len(asked)}")
    found |= {"facts": len(asked), "before": before, "after": after, "unseen": unseen}
    if after < ENOUGH:
        out.print(f"demo: expected at least {ENOUGH} same questions right after the corrections")
    return after >= ENOUGH


# --- proving ---------------------------------------------------------------------------------------------


def _prove(out: Console, log: ledger.Ledger) -> bool:
    signed = ledger.publish.publish(log)
    text = ledger.note.parse(signed)
    out.print(f"checkpoint:\n{text.text.decode().rstrip()}", markup=False)
    for signature in text.signatures:
        length = len(signature.signature)
        out.print(f"signed by {signature.name}, key {signature.key_id.hex()}, {length} bytes", markup=False)
    verifier = ledger.note.Ed25519Verifier.from_vkey(log.log_vkey)
    size = log.size()
    for leaf in range(size):
        checkpoint = ledger.check_inclusion(log.prove(leaf), log.origin, verifier)
    out.print(f"proofs: {size} of {size} entries are in the tree of size {checkpoint.size}")
    return True


def _replay_elsewhere(out: Console, folder: Path, fork_id: str, digest: str) -> bool:
    data, keys = folder / "data", folder / "keys"
    command = ["replay", str(data / "ledger.db"), "--fork", fork_id, "--keys", str(keys), "--expect", digest, "--json"]
    done = subprocess.run([sys.executable, "-m", "ledger", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        out.print(f"demo: the replay ended with {done.returncode}: {done.stderr.strip()}", markup=False)
        return False
    replayed = json.loads(done.stdout)[0]
    out.print(f"replay in a new process, {replayed['checked']} commitments checked: {replayed['state_digest']}")
    out.print(f"state of the live fork:                       {digest}")
    return bool(replayed["state_digest"] == digest)


# --- tampering -------------------------------------------------------------------------------------------


def _tamper(out: Console, folder: Path, log_vkey: str) -> int | None:
    """Flip one byte of an entry in a copy; returns its leaf if `audit` names it, and none in the original."""
    copy = folder / "tampered.db"
    shutil.copyfile(folder / "data" / "ledger.db", copy)
    with sqlite3.connect(copy) as connection:
        (size,) = connection.execute("SELECT MAX(notification_id) FROM entries").fetchone()
        leaf = size // 2
        (state,) = connection.execute("SELECT state FROM entries WHERE notification_id=?", [leaf + 1]).fetchone()
        flipped = bytearray(state)
        flipped[len(flipped) // 2] ^= 1
        connection.execute("UPDATE entries SET state=? WHERE notification_id=?", [bytes(flipped), leaf + 1])
    connection.close()
    whole, _ = _audit(folder, folder / "data" / "ledger.db", log_vkey)
    found, report = _audit(folder, copy, log_vkey)
    named = [fault["leaf"] for fault in report.get("faults", [])]
    out.print(f"audit of the ledger: exit code {whole}; of the copy with one byte flipped: {found}, leaves {named}")
    return leaf if whole == 0 and found == 1 and leaf in named else None


def _audit(folder: Path, path: Path, log_vkey: str) -> tuple[int, dict[str, list[dict[str, int]]]]:
    command = ["audit", str(path), "--log-key", log_vkey, "--state", str(folder / f"{path.name}.checkpoint"), "--json"]
    done = subprocess.run([sys.executable, "-m", "ledger", *command], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}")
