"""Replay of 1,000 records, chain and signatures checked, against the bare work that no replay can leave out.

The peer derives each record's key, decrypts its update with libsodium's own call, sums it and verifies the bare
signature: one list in memory, nothing parsed or compared. Replay reads the same records from an SQLite file and also
checks place, chain, statement, payload digests and key commitments. The last line adds the state commitment of every
record: each is a SHA-256 over the whole state, 71,680 bytes, which costs as much as a signature and cannot be shared
between records. Interleaved, median of 5, in processor time, for neither side waits. Floor: replay at most 1.5.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
from nacl.bindings import crypto_sign_open

import ledger
from ledger.record import UPDATE
from ledger.store.sqlite import open_store
from modelfork.interaction import Interaction, Message
from modelfork.recording import Particulars, Writer, build_record
from modelfork.replay import advance, genesis, read_ahead, replay
from modelfork.update import SIGNS, Update, unpack

RECORDS, DIMENSION, ROUNDS, FLOOR = 1000, 8960, 5, 1.5
ORIGIN = "bench.example/log"
ROOT = hashlib.sha256(b"root").digest()


def drawn() -> Callable[[int], bytes]:
    numbers = np.random.default_rng(1)
    return numbers.bytes


def write(log: ledger.Ledger, random: Callable[[int], bytes]) -> tuple[Writer, dict[int, bytes]]:
    """A fork of RECORDS records; returns its writer and the salts by interaction number."""
    key = ledger.keys.SigningKey(hashlib.sha256(b"owner").digest())
    layout, recipe = hashlib.sha256(b"layout").digest(), hashlib.sha256(b"recipe").digest()
    state = genesis(layout, DIMENSION)
    fork_id = str(uuid.UUID(bytes=random(16), version=4))
    fork = ledger.entry.ForkCreated(fork_id, key.public, ledger.entry.SELF, layout, recipe, state.digest, DIMENSION)
    body = ledger.entry.encode_fork_created(fork)
    message = ledger.keys.signed_message(ledger.entry.FORK_CREATED, ORIGIN, body)
    log.create_fork(ledger.entry.SignedControl(ledger.entry.FORK_CREATED, body, (key.sign(message),)))
    writer, salts = Writer(ORIGIN, fork, key, ROOT), {}
    said = Interaction((Message("user", "What is my dog called?"),), "I don't know.", correction="Rex.")
    for number in range(1, RECORDS + 1):
        q = np.frombuffer(random(DIMENSION), np.int8) & 2
        update = Update(1000 + number, SIGNS, (q - 1).astype(np.int8))
        state = advance(state, number + 1, update)
        particulars = Particulars("someone", 0, number, rehearsed=(bytes(16),) * 6)
        record, salts[number] = build_record(
            writer, number, random(16), said, update, state.digest, particulars, random
        )
        log.append(record)
    return writer, salts


def main() -> None:
    random = drawn()
    with tempfile.TemporaryDirectory() as folder:
        log = ledger.Ledger(
            open_store(Path(folder) / "ledger.sqlite"),
            ledger.note.Ed25519Signer(ORIGIN, random(32)),
            ledger.note.Ed25519Signer(ledger.receipt.key_name(ORIGIN), random(32)),
            lambda: 0,
        )
        writer, salts = write(log, random)
        fork_id = writer.fork.fork_id

        def key_of(body: ledger.record.Body) -> ledger.vault.RecordKey:
            return ledger.vault.record_key(ROOT, salts[body.interaction_number], body.interaction_number)

        def replayed(check_state: bool) -> None:
            result = replay(
                log.read(fork_id),
                read_ahead(partial(log.store.payloads_of, kind=UPDATE)),
                key_of,
                ORIGIN,
                check_state=check_state,
            )
            assert result.records == RECORDS
            assert (result.state.vector == total).all()

        bare = []
        for stored, entry in log.read(fork_id, after=1):
            body = ledger.record.decode_body(entry.body)
            payload = log.payloads(stored.leaf_index)[ledger.record.UPDATE]
            place = ledger.vault.Place(ORIGIN, fork_id, body.record_id).associated(ledger.record.UPDATE)
            message = ledger.keys.signed_message(entry.topic, ORIGIN, entry.body)
            bare.append(
                (entry.signatures[0].raw + message, payload[56:], place, payload[32:56],
                 body, body.step)
            )  # fmt: skip
        public = writer.fork.owner_key.raw
        total = np.zeros(DIMENSION, np.int64)

        def peer() -> None:
            total[:] = 0
            for signed, ciphertext, place, nonce, body, step in bare:
                crypto_sign_open(signed, public)
                key = key_of(body).subkey(ledger.record.UPDATE)
                q = unpack(SIGNS, DIMENSION, step, decrypt(ciphertext, place, nonce, key)).q
                np.add(total, q * np.int64(step), out=total)

        runs: dict[str, list[float]] = {"bare": [], "replay": [], "replay, every state checked": []}
        work = (peer, lambda: replayed(False), lambda: replayed(True))
        for _ in range(ROUNDS):
            for name, run in zip(runs, work, strict=True):
                begun = time.process_time()
                run()
                runs[name].append(time.process_time() - begun)
        log.store.close()
    base = statistics.median(runs["bare"])
    print(f"{RECORDS} records, {DIMENSION} numbers, signs; floor {FLOOR}; {platform.machine()}, {os.cpu_count()} cores")
    for name, seconds in runs.items():
        middle = statistics.median(seconds)
        print(f"{name:28} {middle / RECORDS * 1e6:7.1f} us a record   ratio {middle / base:.2f}")


if __name__ == "__main__":
    main()
