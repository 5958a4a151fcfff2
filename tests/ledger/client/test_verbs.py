"""Every verb of the service, by both clients: what goes in is what the ledger has, what comes is checked."""

from __future__ import annotations

import pytest

from ledger import checkpoint as checkpoints
from ledger.api.service import Service
from ledger.client import Client, Head, LogKeys, Recorded
from ledger.entry import FORK_CREATED, USER_TRAINING_RECORD
from ledger.errors import NotFound, Refused, StaleNumber
from ledger.merkle import leaf_hash
from ledger.policy import NO_QUORUM, Log, Policy
from ledger.record import INPUT
from tests.ledger.client.conftest import Line, Make
from tests.ledger.written import LOG_KEY, ORIGIN, RECEIPT_KEY, Writer


def test_a_fork_and_its_records_go_in_and_come_back_as_they_were(
    client: Client, service: Service, writer: Writer
) -> None:
    created = client.create_fork(writer.control())
    sent = [writer.next(), writer.next(learns=False)]
    recorded = [client.append(each) for each in sent]
    assert [one.receipt.version for one in (created, *recorded)] == [1, 2, 3]
    for one in recorded:
        assert service.ledger.open_receipt(one.signed) == one.receipt
        assert leaf_hash(service.ledger.entry_at(one.receipt.leaf_index).data) == one.receipt.entry_hash
    kept = client.entries(writer.fork_id)
    assert [one.entry.topic for one in kept] == [FORK_CREATED, *[USER_TRAINING_RECORD] * 2]
    for record, stands in zip(sent, kept[1:], strict=True):
        assert (stands.entry.body, stands.payloads) == (record.body, record.payloads)
        assert stands.data == service.ledger.entry_at(stands.leaf_index).data


def test_a_fork_is_read_from_a_version_on_in_pages(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    client.append_batch([writer.next() for _ in range(4)])
    assert [one.entry.version for one in client.entries(writer.fork_id, after=2, limit=2)] == [3, 4]
    assert client.entries(writer.fork_id, after=5) == ()


def test_the_same_bytes_get_the_same_receipt(client: Client, service: Service, writer: Writer) -> None:
    assert client.create_fork(writer.control()) == client.create_fork(writer.control())
    record = writer.next()
    assert client.append(record) == client.append(record)
    assert service.ledger.size() == 2


def test_each_record_of_a_batch_has_its_own_outcome(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    first, skipped = writer.next(), writer.record(7)
    outcomes = client.append_batch([first, skipped, writer.next()])
    assert [type(each) for each in outcomes] == [Recorded, StaleNumber, Recorded]
    assert isinstance(outcomes[1], StaleNumber)
    assert outcomes[1].expected == 2
    assert outcomes[0] == client.append(first)


def test_an_append_can_wait_for_its_proof(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    found = client.append(writer.next(), wait="checkpoint")
    assert found.included is not None
    assert leaf_hash(found.included.entry) == found.receipt.entry_hash
    assert found.included.checkpoint.tree.size == 2


def test_a_receipt_is_redeemed(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    receipt = client.append(writer.next()).receipt
    proved = client.inclusion(receipt)
    assert (proved.leaf_index, leaf_hash(proved.entry)) == (receipt.leaf_index, receipt.entry_hash)
    assert client.inclusion(receipt.leaf_index) == proved


def test_growth_is_shown_from_any_checkpoint_that_was_seen(client: Client, writer: Writer) -> None:
    seen = [client.checkpoint()]
    client.create_fork(writer.control())
    for _ in range(3):
        seen.append(client.checkpoint())
        client.append(writer.next())
    now = client.checkpoint()
    assert now.tree.size == 4
    for before in seen:
        growth = client.consistency(before.tree)
        assert (growth.old_size, growth.checkpoint) == (before.tree.size, now)


def test_evidence_of_a_record_is_checked_as_it_arrives(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    client.append(writer.next())
    found = client.evidence(writer.fork_id, writer.record_id(1))
    assert found == client.evidence(writer.fork_id, 2)
    assert found.shown.record is not None
    assert found.shown.record.record_id == writer.record_id(1)
    assert client.evidence(writer.fork_id, 1).shown.entry.topic == FORK_CREATED


def test_the_log_states_its_keys(client: Client) -> None:
    assert client.log_keys() == LogKeys(ORIGIN, LOG_KEY.vkey, RECEIPT_KEY.vkey, None)


def test_a_log_that_is_anchored_nowhere_has_no_anchors(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    client.checkpoint()
    assert (client.anchors().size, client.anchors(1).anchors, client.anchors().backends) == (1, (), ())


def test_a_head_is_what_the_service_says_of_the_fork(client: Client, line: Line, writer: Writer) -> None:
    with pytest.raises(NotFound):  # no models here
        client.head(writer.fork_id)
    said = {"fork_id": writer.fork_id, "version": 3, "head": "ab" * 32, "interactions": 2, "custody": "self"}
    line.forge = lambda _, answer: type(answer)(200, json=said)
    assert client.head(writer.fork_id) == Head(writer.fork_id, 3, b"\xab" * 32, 2)


def test_what_is_public_needs_no_api_key(make: Make, client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    anyone = make()
    assert anyone.checkpoint() == client.checkpoint()
    assert anyone.inclusion(0).checkpoint.tree.size == 1
    assert anyone.evidence(writer.fork_id, 1).shown.leaf_index == 0
    with pytest.raises(Refused, match="API key"):
        anyone.append(writer.next())


def test_a_policy_is_believed_in_the_place_of_a_key(make: Make, api_key: str, writer: Writer) -> None:
    policy = Policy((Log(LOG_KEY.verifier),), (), (), NO_QUORUM)
    client = make(api_key=api_key, policy=policy)
    signed = client.checkpoint()
    assert checkpoints.open_checkpoint(signed.signed, ORIGIN, [LOG_KEY.verifier]) == signed.tree
    client.create_fork(writer.control())
    assert client.evidence(writer.fork_id, 1).shown.checkpoint.size == 1
    with pytest.raises(Refused, match="both"):
        make(policy=policy, log_key=LOG_KEY.vkey)


def test_payloads_by_kind_cannot_be_changed_by_who_reads_them(client: Client, writer: Writer) -> None:
    client.create_fork(writer.control())
    client.append(writer.next())
    payloads = client.entries(writer.fork_id, after=1)[0].payloads
    with pytest.raises(TypeError):
        payloads[INPUT] = b""  # type: ignore[index]
