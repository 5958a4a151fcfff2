"""A service that lies is found out by whoever pinned its keys; what it cannot have signed, by anybody."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ledger import checkpoint as checkpoints
from ledger import note, receipt
from ledger.api.service import Service
from ledger.checkpoint import Checkpoint
from ledger.client import Client
from ledger.errors import BadEvidence, BadProof, BadSignature, LedgerError, Malformed
from ledger.merkle import leaf_hash
from tests.ledger.client.conftest import Line, Make
from tests.ledger.written import ORIGIN, Writer

Change = Callable[[Any], None]


@pytest.fixture
def filled(client: Client, writer: Writer) -> Writer:
    """A fork of four entries, beside another one of two."""
    client.create_fork(writer.control())
    client.append_batch([writer.next() for _ in range(3)])
    other = Writer(2)
    client.create_fork(other.control())
    client.append(other.next())
    return writer


def forge(line: Line, change: Change) -> None:
    """Change the JSON of every answer from now on."""

    def forged(_: httpx.Request, answer: httpx.Response) -> httpx.Response:
        body = answer.json()
        change(body)
        return httpx.Response(answer.status_code, json=body)

    line.forge = forged


def answer_with(line: Line, answer: httpx.Response) -> None:
    line.forge = lambda _, __: answer


def test_a_receipt_that_another_key_signed_is_found_out(
    client: Client, line: Line, service: Service, filled: Writer
) -> None:
    thief = note.Ed25519Signer(receipt.key_name(ORIGIN), bytes(32))

    def resign(said: Any) -> None:
        for one in said.get("results", [said]):
            promised = receipt.read_unchecked(one["receipt"].encode())
            one["receipt"] = receipt.sign(promised, thief).decode()

    forge(line, resign)
    with pytest.raises(BadSignature):
        client.append(filled.next())
    (outcome,) = client.append_batch([filled.record(4)])
    assert isinstance(outcome, BadSignature)
    with pytest.raises(BadSignature):
        client.create_fork(Writer(5).control())


def test_the_receipt_of_a_record_that_stands_is_checked_too(client: Client, line: Line, filled: Writer) -> None:
    thief = note.Ed25519Signer(receipt.key_name(ORIGIN), bytes(32))

    def resign(said: Any) -> None:
        promised = receipt.read_unchecked(said["error"]["receipt"].encode())
        said["error"]["receipt"] = receipt.sign(promised, thief).decode()

    forge(line, resign)
    with pytest.raises(BadSignature):
        client.append(filled.record(1, said="something else"))


def test_a_record_that_stands_in_another_fork_is_no_answer(
    client: Client, line: Line, service: Service, filled: Writer
) -> None:
    others = service.ledger.receipt_of(service.ledger.entry_at(5)).decode()
    forge(line, lambda said: said["error"].update(receipt=others))
    with pytest.raises(BadProof, match="another's"):
        client.append(filled.record(1, said="something else"))


def test_the_head_of_another_fork_is_no_answer(client: Client, line: Line, filled: Writer) -> None:
    said = {"fork_id": Writer(2).fork_id, "version": 2, "head": "ab" * 32, "interactions": 1}
    answer_with(line, httpx.Response(200, json=said))
    with pytest.raises(BadProof, match="another fork"):
        client.head(filled.fork_id)


def test_the_receipt_of_another_fork_is_found_out_without_any_key(
    make: Make, api_key: str, client: Client, line: Line, service: Service, filled: Writer
) -> None:
    others = service.ledger.receipt_of(service.ledger.entry_at(5)).decode()
    forge(line, lambda said: said.update(receipt=others))
    for each in (client, make(api_key=api_key)):
        with pytest.raises(BadProof, match="another's"):
            each.append(filled.record(1))


def test_a_proof_of_another_entry_is_found_out(make: Make, client: Client, line: Line, filled: Writer) -> None:
    promised = client.append(filled.record(2)).receipt
    other = client.inclusion(1)

    def swap(said: Any) -> None:
        said.update(entry=base64.b64encode(other.entry).decode(), proof=[node.hex() for node in other.path])

    forge(line, swap)
    for each in (client, make()):
        for of in (promised, promised.leaf_index):
            with pytest.raises(BadProof):
                each.inclusion(of)
    forge(line, lambda said: said.update(leaf_index=1))
    with pytest.raises(BadProof, match="another leaf"):
        client.inclusion(2)


def test_a_log_that_dropped_what_it_promised_is_found_out(client: Client, filled: Writer) -> None:
    kept = client.append(filled.record(2)).receipt
    broken = receipt.Receipt(
        kept.origin, kept.fork_id, kept.version, kept.leaf_index, bytes(32), kept.accepted_at, kept.due_by
    )
    with pytest.raises(BadProof, match="the receipt promises"):
        client.inclusion(broken)


def test_a_proof_that_was_waited_for_is_of_what_was_sent(
    client: Client, line: Line, service: Service, filled: Writer
) -> None:
    record = filled.next()
    honest = client.append(record, wait="checkpoint")
    assert honest.included is not None
    other = client.inclusion(1)
    answered: dict[str, Any] = {
        "receipt": service.ledger.receipt_of(service.ledger.entry_at(1)).decode(),  # of the same fork, and it holds
        "inclusion": {
            "leaf_index": 1,
            "entry": base64.b64encode(other.entry).decode(),
            "proof": [node.hex() for node in other.path],
            "checkpoint": other.checkpoint.signed.decode(),
        },
    }
    answer_with(line, httpx.Response(201, json=answered))
    with pytest.raises(BadProof, match="what was sent"):
        client.append(record, wait="checkpoint")


def test_no_checkpoint_in_time_leaves_the_promise(client: Client, line: Line, filled: Writer) -> None:
    forge(line, lambda said: said.update(inclusion=None))
    found = client.append(filled.record(1), wait="checkpoint")
    assert (found.receipt.version, found.included) == (2, None)


def test_a_checkpoint_of_anybody_else_is_found_out(
    make: Make, client: Client, line: Line, stranger: note.Ed25519Signer, filled: Writer
) -> None:
    tree = client.checkpoint().tree
    forged = checkpoints.sign(tree, stranger)
    answer_with(line, httpx.Response(200, content=forged))
    with pytest.raises(BadSignature):
        client.checkpoint()
    assert make().checkpoint().tree == tree  # who pinned nothing cannot know
    forge_checkpoint: Change = lambda said: said.update(checkpoint=forged.decode())  # noqa: E731
    line.forge = lambda _, answer: answer
    forge(line, forge_checkpoint)
    with pytest.raises(BadSignature):
        client.inclusion(1)
    with pytest.raises(BadSignature):
        client.consistency(tree)


def test_a_history_that_was_rewritten_is_found_out(client: Client, filled: Writer) -> None:
    tree = client.checkpoint().tree
    for old in (Checkpoint(ORIGIN, 3, bytes(32)), Checkpoint(ORIGIN, tree.size, bytes(32))):
        with pytest.raises(BadProof):
            client.consistency(old)
    with pytest.raises(BadProof, match="same log"):
        client.consistency(Checkpoint("example.org/another", tree.size, tree.root))


def test_evidence_of_another_entry_is_found_out(make: Make, client: Client, line: Line, filled: Writer) -> None:
    other = client.evidence(filled.fork_id, 2).data
    answer_with(line, httpx.Response(200, content=other))
    for each in (client, make()):
        for asked in (3, filled.record_id(2), 1):
            with pytest.raises(BadProof, match="another entry"):
                each.evidence(filled.fork_id, asked)
        with pytest.raises(BadProof, match="another entry"):
            each.evidence(Writer(2).fork_id, 2)
    answer_with(line, httpx.Response(200, content=other[:-1]))
    with pytest.raises(BadEvidence) as caught:
        client.evidence(filled.fork_id, 2)
    assert caught.value.step == 1


def test_evidence_under_a_strangers_checkpoint_fails_at_the_checkpoint(
    make: Make, filled: Writer, stranger: note.Ed25519Signer
) -> None:
    with pytest.raises(BadEvidence) as caught:
        make(log_key=stranger.vkey).evidence(filled.fork_id, 2)
    assert caught.value.step == 2


def _swap(said: Any) -> None:
    said["entries"].reverse()


def _drop(said: Any) -> None:
    del said["entries"][1]


def _of_another(said: Any) -> None:
    said["entries"][1]["payloads"] = said["entries"][2]["payloads"]


def _rewrite(said: Any) -> None:
    data = base64.b64decode(said["entries"][1]["entry"])
    said["entries"][1]["entry"] = base64.b64encode(data + b"\xf8\x7f\x01").decode()  # a field of a later version


@pytest.mark.parametrize("change", [_swap, _drop, _of_another, _rewrite])
def test_a_fork_that_is_not_the_chain_that_was_written_is_found_out(
    client: Client, line: Line, filled: Writer, change: Change
) -> None:
    forge(line, change)
    with pytest.raises(BadProof, match=f"fork {filled.fork_id} version"):
        client.entries(filled.fork_id)


def test_the_entries_of_another_fork_are_found_out(client: Client, line: Line, filled: Writer) -> None:
    others = line._http.get(f"/v1/forks/{Writer(2).fork_id}/entries", headers=line.asked[-1].headers).json()
    answer_with(line, httpx.Response(200, json=others))
    with pytest.raises(BadProof, match="another entry in its place"):
        client.entries(filled.fork_id)


def test_as_many_outcomes_come_as_records_were_sent(client: Client, line: Line, filled: Writer) -> None:
    forge(line, lambda said: said["results"].pop())
    with pytest.raises(Malformed, match="expected 2 results, 1 came"):
        client.append_batch([filled.next(), filled.next()])


def test_what_one_result_lies_about_leaves_the_others(client: Client, line: Line, filled: Writer) -> None:
    forge(line, lambda said: said["results"][0].update(receipt="no note"))
    first, second = client.append_batch([filled.next(), filled.next()])
    assert isinstance(first, LedgerError)
    assert not isinstance(second, LedgerError)


def test_anchors_are_read_as_the_service_tells_them(client: Client, line: Line, filled: Writer) -> None:
    shown = {"backend": "evm", "size": 6, "root": leaf_hash(b"").hex(), "found_under": "0xab"}
    final = shown | {"confirmation": "finalized", "block": 12, "block_hash": "cd" * 32}
    waits = shown | {"backend": "rfc3161", "confirmation": "pending", "found_under": None}
    answer_with(line, httpx.Response(200, json={"size": 5, "anchors": [final, waits], "backends": ["evm", "rfc3161"]}))
    found = client.anchors(5)
    assert [(one.backend, one.confirmation, one.block) for one in found.anchors] == [
        ("evm", "finalized", 12),
        ("rfc3161", "pending", None),
    ]
    assert found.anchors[0].block_hash == bytes.fromhex("cd" * 32)
    assert found.backends == ("evm", "rfc3161")
    with pytest.raises(BadProof, match="another size"):
        client.anchors(6)
