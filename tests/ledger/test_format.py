"""Our bytes are those of tests/vectors/, which an implementation of its own made (make_vectors.py, docs/format.md)."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from ledger import checkpoint as checkpoints
from ledger import note, receipt, record, vault
from ledger.entry import (
    FORK_CREATED,
    SELF,
    USER_TRAINING_RECORD,
    ForkCreated,
    SignedControl,
    decode_entry,
    encode_fork_created,
)
from ledger.keys import SigningKey, signed_message
from ledger.ledger import Ledger
from ledger.merkle import check_inclusion, leaf_hash
from ledger.publish import publish
from ledger.record import Body, SignedRecord
from ledger.store.sqlite import open_store

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


CREATED, RECORDS, LOG = (vectors(name) for name in ("fork_created.json", "record.json", "log.json"))
ORIGIN, FORK = LOG["origin"], RECORDS["fork_id"]
OWNER = SigningKey(bytes.fromhex(CREATED["owner_seed"]))
ENCODING_OF_STEP = {0: record.EMPTY, 12_345: 2}


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def test_the_files_are_what_their_maker_makes() -> None:
    spec = importlib.util.spec_from_file_location("make_vectors", VECTORS / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for name, content in maker.vectors().items():
        assert vectors(name) == content, name


def control() -> SignedControl:
    body = encode_fork_created(
        ForkCreated(
            fork_id=FORK,
            owner_key=OWNER.public,
            custody=SELF,
            layout_digest=unhex(CREATED["layout_digest"]),
            recipe_digest=unhex(CREATED["recipe_digest"]),
            genesis_digest=unhex(CREATED["genesis_digest"]),
            dimension=CREATED["dimension"],
            recovery_key_digest=unhex(CREATED["recovery_key_digest"]),
        )
    )
    return SignedControl(FORK_CREATED, body, (OWNER.sign(signed_message(FORK_CREATED, ORIGIN, body)),))


def test_a_fork_is_created_with_the_same_body_and_signature() -> None:
    made = control()
    assert OWNER.public.raw.hex() == CREATED["owner_key"]
    assert OWNER.public.key_id.hex() == CREATED["owner_key_id"]
    assert made.body.hex() == CREATED["body"]
    assert made.signatures[0].raw.hex() == CREATED["signature"]


def signed_record(given: Any) -> SignedRecord:
    """A record built from what the vector gives, not from what it expects."""
    key = vault.record_key(unhex(RECORDS["fork_root"]), unhex(given["salt"]), given["interaction_number"])
    at = vault.Place(ORIGIN, FORK, unhex(given["record_id"]))
    payloads = {
        int(kind): vault.seal_payload(key.subkey(int(kind)), int(kind), unhex(padded), at, unhex(given["nonces"][kind]))
        for kind, padded in given["padded"].items()
    }
    body = record.encode_body(
        Body(
            fork_id=FORK,
            record_id=unhex(given["record_id"]),
            interaction_number=given["interaction_number"],
            step=given["step"],
            payloads=tuple((kind, record.payload_digest(kind, payload)) for kind, payload in sorted(payloads.items())),
            key_scheme=vault.SCHEME,
            key_commitment=key.commitment,
            update_encoding=ENCODING_OF_STEP[given["step"]],
            update_dimension=CREATED["dimension"],
            layout_digest=unhex(CREATED["layout_digest"]),
            recipe_digest=unhex(CREATED["recipe_digest"]),
            state_commitment=vault.state_commitment(key.commit_key, unhex(given["state_digest"])),
        )
    )
    return SignedRecord(body, (OWNER.sign(signed_message(USER_TRAINING_RECORD, ORIGIN, body)),), payloads)


@pytest.mark.parametrize("given", RECORDS["records"], ids=lambda given: str(given["interaction_number"]))
def test_a_record_has_the_same_keys_payloads_body_and_signature(given: Any) -> None:
    key = vault.record_key(unhex(RECORDS["fork_root"]), unhex(given["salt"]), given["interaction_number"])
    assert key.raw.hex() == given["record_key"]
    assert key.commitment.hex() == given["key_commitment"]
    assert key.commit_key.hex() == given["commit_key"]
    assert {kind: key.subkey(int(kind)).hex() for kind in given["subkeys"]} == given["subkeys"]
    made = signed_record(given)
    assert {str(kind): payload.hex() for kind, payload in made.payloads.items()} == given["payloads"]
    digests = {str(kind): digest.hex() for kind, digest in record.admit(made).payloads}
    assert digests == given["digests"]
    assert made.body.hex() == given["body"]
    assert made.signatures[0].raw.hex() == given["signature"]
    assert record.encode_record(made).hex() == given["signed_record"]


@pytest.mark.parametrize("given", RECORDS["records"], ids=lambda given: str(given["interaction_number"]))
def test_padded_text_is_what_the_padding_makes_of_it(given: Any) -> None:
    for kind, pad in (("1", vault.pad_text), ("2", vault.pad_text), ("4", vault.pad_particulars)):
        padded = unhex(given["padded"][kind])
        assert pad(vault.unpad(padded)) == padded


def test_the_log_has_the_same_entries_receipts_checkpoint_and_proofs(tmp_path: Path) -> None:
    log_key = note.Ed25519Signer(ORIGIN, unhex(LOG["log_seed"]))
    receipt_key = note.Ed25519Signer(receipt.key_name(ORIGIN), unhex(LOG["receipt_seed"]))
    assert (log_key.vkey, receipt_key.vkey) == (LOG["log_vkey"], LOG["receipt_vkey"])
    ledger = Ledger(open_store(tmp_path / "ledger.db"), log_key, receipt_key, lambda: int(LOG["accepted_at"]))
    receipts = [ledger.create_fork(control())]
    receipts += [ledger.append(signed_record(given)) for given in RECORDS["records"]]
    assert [signed.decode() for signed in receipts] == LOG["receipts"]
    assert [stored.data.hex() for stored in ledger.store.entries(0, 10)] == LOG["entries"]
    assert publish(ledger).decode() == LOG["checkpoint"]
    for leaf, proof in enumerate(LOG["inclusion"]):
        assert [node.hex() for node in ledger.prove(leaf).proof] == proof
    ledger.store.close()


def test_the_vectors_are_read_and_checked_without_a_ledger() -> None:
    verifier = note.Ed25519Verifier.from_vkey(LOG["log_vkey"])
    checkpoint = checkpoints.open_checkpoint(LOG["checkpoint"].encode(), ORIGIN, [verifier])
    assert (checkpoint.size, checkpoint.root.hex()) == (4, LOG["root"])
    for leaf, entry in enumerate(LOG["entries"]):
        assert leaf_hash(unhex(entry)).hex() == LOG["leaf_hashes"][leaf]
        proof = [unhex(node) for node in LOG["inclusion"][leaf]]
        check_inclusion(leaf, 4, leaf_hash(unhex(entry)), proof, checkpoint.root)
        assert decode_entry(unhex(entry)).version == leaf + 1
