"""A witness: its keys, its memory and the rule between them. One request, one answer."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ledger import checkpoint as checkpoints
from ledger import note
from ledger.checkpoint import Checkpoint
from ledger.cosign import Clock, check_growth
from ledger.errors import BadProof, Refused, SplitView
from ledger.keyfolder import expect_apart
from ledger.witness import keys as key_files
from ledger.witness import request
from ledger.witness.keys import WitnessKeys
from ledger.witness.memory import SPLIT_VIEW, UNPROVEN_GROWTH, Alarm, Memory

MEMORY_FILE = "witness.db"

_LOG = logging.getLogger("forkledger.witness")


class Witness:
    """Safe to use from several threads, and beside other processes with the same memory."""

    def __init__(self, keys: WitnessKeys, memory: Memory, now: Clock) -> None:
        self._keys = keys
        self._memory = memory
        self._now = now

    @property
    def name(self) -> str:
        return self._keys.name

    @property
    def vkeys(self) -> list[str]:
        return self._keys.vkeys

    def add_log(self, vkey: str) -> str:
        """Cosign for the log with this key from now on; returns its origin. Raises Malformed."""
        return self._memory.add_log(vkey)

    def logs(self) -> dict[str, Checkpoint | None]:
        """What it cosigned last for each log that it knows."""
        return self._memory.logs()

    def alarms(self) -> list[Alarm]:
        """All evidence against logs, the oldest first."""
        return self._memory.alarms()

    def close(self) -> None:
        self._memory.close()

    def add_checkpoint(self, body: bytes) -> bytes:
        """The cosignature lines for an add-checkpoint request.

        Raises Malformed (400), NotFound (404), BadSignature (403), StaleSize and SplitView (409), BadProof (422), and
        Unavailable (503) when its memory is in the way. Nothing was cosigned then.
        """
        # 1. Request and note are well formed; the first line of the note's text says whose it is.
        asked = request.decode(body)
        origin = note.parse(asked.checkpoint).text.partition(b"\n")[0].decode()
        cosigned = b""
        # Until the block is left, nobody else's request comes between the check and what follows from it.
        with self._memory.turn() as turn:
            # 2. The log is known, and signed.
            tree, signed = _open(asked.checkpoint, origin, turn.verifiers(origin))
            # 3. It only grew.
            known = turn.latest(origin)
            refusal = _refusal(known[0] if known else None, asked, tree)
            # 4. Signed under the same lock, because the time in a cosignature says that nothing larger was seen until
            #    then; and on disk before anybody gets it.
            if refusal is None:
                cosigned = self._cosign(tree)
                if known is None or known[0] != tree:
                    turn.keep(tree, signed)
            elif known is not None and known[0] != tree:
                kind = SPLIT_VIEW if isinstance(refusal, SplitView) else UNPROVEN_GROWTH
                turn.alarm(kind, tree, signed, known[1], self._now())
        if refusal is not None:
            _tell(refusal, tree, known[0] if known else None)
            raise refusal
        return cosigned

    def _cosign(self, tree: Checkpoint) -> bytes:
        text = tree.encode()
        signed = (note.Signature(signer.name, signer.key_id, signer.sign(text)) for signer in self._keys.signers)
        return b"".join(signature.encode() for signature in signed)


def open_witness(data: Path, keys: Path, name: str, now: Clock, random: Callable[[int], bytes]) -> Witness:
    """The witness with its memory in `data` and its keys in `keys`; both are made on first use.

    They are made together or not at all: keys whose memory is gone would cosign a second history, and a memory whose
    keys are gone is not another witness's. Raises Refused, NotFound, Malformed.
    """
    expect_apart(keys, data)
    path = data / MEMORY_FILE
    if key_files.exist(keys) and not path.exists():
        raise Refused(
            f"witness: {keys} holds keys, but their memory {path} is missing. Put back the very file that they were "
            "last used with; where it is lost, move the keys away: new ones are made, for a new witness"
        )
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    memory = Memory(path)
    try:
        if not any(memory.logs().values()):  # it has cosigned nothing yet
            key_files.make_keys(keys, name or f"witness.local/{random(4).hex()}", now, random)
        opened = key_files.open_keys(keys, now)
        if name and name != opened.name:
            raise Refused(f"witness: expected keys named {name!r} in {keys}, they are named {opened.name!r}")
        return Witness(opened, memory, now)
    except BaseException:
        memory.close()
        raise


def _open(signed: bytes, origin: str, verifiers: Sequence[note.Verifier]) -> tuple[Checkpoint, bytes]:
    """The checkpoint, and its note with the log's own signatures alone: anybody may have written the others."""
    tree = checkpoints.open_checkpoint(signed, origin, verifiers)
    opened = note.open_note(signed, verifiers)
    return tree, opened.text + b"\n" + b"".join(signature.encode() for signature in opened.signatures)


def _refusal(known: Checkpoint | None, asked: request.AddCheckpoint, tree: Checkpoint) -> SplitView | BadProof | None:
    """Why a checkpoint that the log signed is not cosigned, where it may be evidence. Other reasons are raised."""
    try:
        check_growth(known, asked.old_size, asked.proof, tree)
    except (SplitView, BadProof) as error:
        return error
    return None


def _tell(refusal: SplitView | BadProof, offered: Checkpoint, known: Checkpoint | None) -> None:
    split = isinstance(refusal, SplitView)
    _LOG.log(
        logging.ERROR if split else logging.WARNING,
        "%s: %s",
        "split view" if split else "growth without proof",
        refusal,
        extra={
            "event": SPLIT_VIEW if split else UNPROVEN_GROWTH,
            "origin": offered.origin,
            "offered_size": offered.size,
            "offered_root": offered.root.hex(),
            "known_size": known.size if known else 0,
            "known_root": known.root.hex() if known else "",
        },
    )
