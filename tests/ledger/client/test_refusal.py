"""What the service refuses is raised by the client as the ledger itself raises it, by both clients."""

from __future__ import annotations

import json

import httpx
import pytest

from ledger.api import errors as api_errors
from ledger.api.service import Service
from ledger.client import Client
from ledger.client.refusal import error_of
from ledger.client.trust import Trust
from ledger.entry import SignedControl, encode_fork_created
from ledger.errors import (
    AlreadyRecorded,
    BadSignature,
    Busy,
    Conflict,
    Fenced,
    Halted,
    LedgerError,
    Malformed,
    NotFound,
    Refused,
    StaleNumber,
    Unavailable,
)
from ledger.record import SignedRecord
from tests.ledger.client.conftest import Line, Make
from tests.ledger.written import Writer

ANYBODY = Trust(None, None)


@pytest.fixture
def created(client: Client, writer: Writer) -> Writer:
    client.create_fork(writer.control())
    return writer


def said(status: int, code: str, **headers: str) -> httpx.Response:
    error = api_errors.error_object(status, code, "for a reason")
    return httpx.Response(
        status, json={"error": error}, headers={name.replace("_", "-"): headers[name] for name in headers}
    )


def test_every_code_of_the_service_is_the_class_that_it_stands_for(created: Writer, client: Client) -> None:
    signed = client.append(created.next()).signed.decode()
    for kind, status, code in api_errors._STATUS:
        described = api_errors.error_object(status, code, "why", expected=3, receipt=signed)
        error = error_of(status, described, ANYBODY, fork_id=created.fork_id)
        assert (type(error), str(error)) == (kind, "why")
        assert api_errors.code_of(error) == code
    assert type(error_of(500, api_errors.error_object(500, "ledger_error", ""), ANYBODY)) is LedgerError


def test_a_stale_number_carries_the_next_one(client: Client, created: Writer) -> None:
    client.append(created.next())
    with pytest.raises(StaleNumber) as caught:
        client.append(created.record(9))
    assert caught.value.expected == 2


def test_another_record_under_the_same_id_is_told_where_the_first_stands(client: Client, created: Writer) -> None:
    first = client.append(created.next()).receipt
    other = created.record(1, said="something else")
    with pytest.raises(AlreadyRecorded) as caught:
        client.append(other)
    assert caught.value.leaf_index == first.leaf_index
    (outcome,) = client.append_batch([other])
    assert isinstance(outcome, AlreadyRecorded)
    assert outcome.leaf_index == first.leaf_index


def test_what_is_refused_at_the_door_is_refused_here(
    client: Client, make: Make, service: Service, created: Writer
) -> None:
    record = created.next()
    unsigned = SignedRecord(record.body, (Writer(2).key.sign(b"another thing"),), record.payloads)
    with pytest.raises(BadSignature):
        client.append(unsigned)
    with pytest.raises(Refused):
        client.append(SignedRecord(record.body, record.signatures, {}))
    with pytest.raises(Malformed):
        client.append(SignedRecord(b"\xff", record.signatures, record.payloads))
    with pytest.raises(NotFound):
        client.append(Writer(3).next())
    with pytest.raises(Malformed):
        client.create_fork(SignedControl("fork-created/v1", b"\xff", ()))
    with pytest.raises(Refused):
        client.append_batch([])
    with pytest.raises(Conflict):
        client.create_fork(created.control(created_with_other_digests(created)))
    others = make(api_key=service.keystore.add_app("another app")[1])
    with pytest.raises(NotFound):
        others.append(record)
    with pytest.raises(NotFound):
        others.entries(created.fork_id)


def created_with_other_digests(writer: Writer) -> bytes:
    return encode_fork_created(writer.creation(genesis_digest=bytes(32)))


def test_what_is_not_there_is_not_found(client: Client, created: Writer) -> None:
    for ask in (
        lambda: client.inclusion(7),
        lambda: client.evidence(created.fork_id, 9),
        lambda: client.evidence(created.fork_id, created.record_id(1)),
        lambda: client.entries(Writer(4).fork_id),
    ):
        with pytest.raises(NotFound):
            ask()


def test_a_fork_id_cannot_lead_to_another_path(client: Client, line: Line) -> None:
    for ask in (client.entries, client.head, lambda fork: client.evidence(fork, 1)):
        with pytest.raises(Malformed):
            ask("../log/keys")
    assert line.asked == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (said(400, "invalid_value"), Malformed),
        (said(401, "unauthorized"), Refused),
        (said(413, "too_large"), Refused),
        (said(408, "too_slow"), Unavailable),
        (said(500, "internal"), LedgerError),
        (said(503, "fenced"), Fenced),
        (said(503, "halted"), Halted),
        (said(409, "conflict"), Conflict),
        (said(418, "what_a_later_version_says"), Refused),
        (httpx.Response(404, text="a proxy's page"), NotFound),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), LedgerError),
        (httpx.Response(500, content=b"[" * 100_000), LedgerError),
        (httpx.Response(400, json={"error": {"code": ["busy"], "message": 3}}), Refused),
        (httpx.Response(409, json={"error": {"code": "stale_number", "message": ""}}), Malformed),
        (httpx.Response(409, json={"error": {"code": "already_recorded", "message": ""}}), Malformed),
        (httpx.Response(200, text="no JSON"), Malformed),
        (httpx.Response(200, json=[]), Malformed),
        (httpx.Response(200, text=r'{"receipt": "\ud800"}'), Malformed),
        (httpx.Response(200, json={"receipt": "no note\n"}), Malformed),
    ],
)
def test_any_answer_is_one_of_the_ledgers_errors_and_not_asked_for_again(
    client: Client, line: Line, created: Writer, answer: httpx.Response, kind: type[LedgerError]
) -> None:
    line.asked.clear()
    line.next = [answer]
    with pytest.raises(LedgerError) as caught:
        client.append(created.next())
    assert type(caught.value) is kind
    assert (len(line.asked), line.pauses) == (1, [])


def test_an_answer_that_is_not_of_its_form_is_named_by_its_path(client: Client, line: Line) -> None:
    line.next = [httpx.Response(200, json={"size": 1, "anchors": [{"backend": "x"}], "backends": []})]
    with pytest.raises(Malformed, match="/v1/log/anchors"):
        client.anchors()


def test_what_is_packed_is_not_unpacked(client: Client, line: Line) -> None:
    line.next = [httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b"))]
    with pytest.raises(Malformed, match="content-encoding"):
        client.checkpoint()
    assert line.asked[-1].headers["accept-encoding"] == "identity"


def test_a_message_can_be_logged(client: Client, line: Line) -> None:
    error = {"code": "refused", "message": "\x1b[2J" + "x" * 5000}
    line.next = [httpx.Response(422, content=json.dumps({"error": error}).encode())]
    with pytest.raises(Refused) as caught:
        client.checkpoint()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) == 1000


def test_a_full_queue_says_when_to_come_again(client: Client, line: Line, created: Writer) -> None:
    line.next = [said(429, "busy", retry_after="7")] * 4
    with pytest.raises(Busy) as caught:
        client.append(created.next())
    assert caught.value.retry_after == 7
