"""Self custody over HTTP: finished, signed bytes go in, and exactly these bytes are kept, or none.

What is said of a record holds at each of its three doors: alone, in a batch, over a stream.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import nacl.bindings
import pytest
from starlette.testclient import TestClient

from ledger import entry, record
from ledger.api import records as records_api
from ledger.api.service import Service
from ledger.keys import ED25519, PublicKey, Signature, signature_to_wire, signed_message
from ledger.wire.v1 import entry_pb2, record_pb2
from tests.ledger.written import Writer, drawn

# The order of the group of Ed25519: S + L is the second spelling of a signature.
L = 2**252 + 27742317777372353535851937790883648493
# The neutral point, of order 1, and its second spelling: y = 1 and y = 1 + p.
NEUTRAL = (1).to_bytes(32, "little")
NEUTRAL_AGAIN = (2**255 - 19 + 1).to_bytes(32, "little")

Door = Callable[[TestClient, "record.SignedRecord | bytes"], tuple[int, dict[str, Any]]]


def control_bytes(control: entry.SignedControl) -> bytes:
    return entry_pb2.SignedControl(
        topic=control.topic,
        body=control.body,
        signatures=[signature_to_wire(signature) for signature in control.signatures],
    ).SerializeToString()


def create(http: TestClient, writer: Writer) -> Any:
    return http.post("/v1/controls", content=control_bytes(writer.control()))


def post(http: TestClient, signed: record.SignedRecord | bytes) -> Any:
    content = signed if isinstance(signed, bytes) else record.encode_record(signed)
    return http.post("/v1/records", content=content)


def _alone(http: TestClient, signed: record.SignedRecord | bytes) -> tuple[int, dict[str, Any]]:
    answer = post(http, signed)
    return answer.status_code, answer.json()


def _in_a_batch(http: TestClient, signed: record.SignedRecord | bytes) -> tuple[int, dict[str, Any]]:
    content = signed if isinstance(signed, bytes) else record.encode_record(signed)
    length = bytes([len(content) & 127 | 128, len(content) >> 7 & 127 | 128, len(content) >> 14])  # a varint
    answer = http.post("/v1/records/batch", content=b"\x0a" + length + content)
    if answer.status_code != 200:
        return answer.status_code, answer.json()
    (one,) = answer.json()["results"]
    return one.pop("status", 201), one


def _over_a_stream(http: TestClient, signed: record.SignedRecord | bytes) -> tuple[int, dict[str, Any]]:
    with http.websocket_connect("/v1/records/stream") as stream:
        stream.send_bytes(signed if isinstance(signed, bytes) else record.encode_record(signed))
        one: dict[str, Any] = json.loads(stream.receive_text())
    assert one.pop("n") == 0
    return one.pop("status", 201), one


@pytest.fixture(params=[_alone, _in_a_batch, _over_a_stream], ids=["alone", "in a batch", "over a stream"])
def door(request: pytest.FixtureRequest) -> Door:
    """Hands one record in; what comes is the status that it gets alone, and what is said of it."""
    found: Door = request.param
    return found


@pytest.fixture
def created(http: TestClient, writer: Writer) -> Writer:
    assert create(http, writer).status_code == 201
    return writer


def expect_refused(answer: tuple[int, dict[str, Any]], status: int, code: str) -> dict[str, Any]:
    assert answer[0] == status, answer
    error: dict[str, Any] = answer[1]["error"]
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"
    return error


def test_a_fork_and_its_records_are_kept_as_they_came(
    http: TestClient, service: Service, created: Writer, door: Door
) -> None:
    sent = [created.next(), created.next(learns=False)]
    answers = [door(http, signed) for signed in sent]
    assert [status for status, _ in answers] == [201, 201]
    for _, answer in answers:
        receipt = service.ledger.open_receipt(answer.pop("receipt").encode())
        assert answer == {
            "fork_id": created.fork_id,
            "version": receipt.version,
            "leaf_index": receipt.leaf_index,
            "entry_hash": receipt.entry_hash.hex(),
        }
    listed = http.get(f"/v1/forks/{created.fork_id}/entries").json()["entries"]
    assert [one["version"] for one in listed] == [1, 2, 3]
    assert [one["topic"] for one in listed] == [entry.FORK_CREATED, *[entry.USER_TRAINING_RECORD] * 2]
    for signed, one in zip(sent, listed[1:], strict=True):
        assert entry.decode_entry(base64.b64decode(one["entry"])).body == signed.body
        kept = {int(kind): base64.b64decode(payload) for kind, payload in one["payloads"].items()}
        assert kept == dict(signed.payloads)


def test_the_service_holds_no_secret_of_a_fork_in_self_custody(service: Service, created: Writer) -> None:
    assert not service.keystore.holds_key(created.fork_id)
    assert service.keystore.forks() == []
    assert service.keystore._connection.execute("SELECT sealed FROM forks").fetchall() == [(None,)]


def test_the_same_bytes_again_get_the_same_receipt(
    http: TestClient, service: Service, created: Writer, door: Door
) -> None:
    again = create(http, created)
    assert (again.status_code, again.json()["version"]) == (201, 1)
    signed = created.next()
    assert door(http, signed) == door(http, signed) == _alone(http, signed)
    door(http, created.next())
    assert door(http, signed)[1]["version"] == 2
    assert service.ledger.size() == 3


def test_other_bytes_under_a_record_id_get_a_conflict_with_the_first_receipt(
    http: TestClient, service: Service, created: Writer, door: Door
) -> None:
    first = post(http, created.next()).json()
    other = created.record(2, record_id=created.record_id(1))
    error = expect_refused(door(http, other), 409, "already_recorded")
    assert error["receipt"] == first["receipt"]
    assert service.ledger.size() == 2


@pytest.mark.parametrize("number", [1, 3, 2**64 - 1])
def test_a_stale_or_future_number_is_a_conflict_that_says_the_next_one(
    http: TestClient, service: Service, created: Writer, door: Door, number: int
) -> None:
    post(http, created.next())
    wrong = created.record(2, interaction_number=number)
    assert expect_refused(door(http, wrong), 409, "stale_number")["expected"] == 2
    assert service.ledger.size() == 2
    assert door(http, created.next())[0] == 201


def _changed(writer: Writer, change: Callable[[record_pb2.UserTrainingRecord], object]) -> record.SignedRecord:
    """A record whose body was changed before it was signed."""
    good = writer.record(1)
    message = record_pb2.UserTrainingRecord.FromString(good.body)
    change(message)
    return writer.signed(message.SerializeToString(deterministic=True), dict(good.payloads))


def _signed_by(writer: Writer, change: Callable[[Signature], Signature]) -> record.SignedRecord:
    good = writer.record(1)
    return replace(good, signatures=(change(good.signatures[0]),))


def _second_spelling(signature: Signature) -> Signature:
    s = int.from_bytes(signature.raw[32:], "little") + L
    return replace(signature, raw=signature.raw[:32] + s.to_bytes(32, "little"))


def _lax(writer: Writer, neutral: bytes) -> record.SignedRecord:
    """Signed with R = the neutral point: S*B = R + h*A holds, and a verifier that looks no further takes it."""

    def change(good: Signature) -> Signature:
        secret = bytearray(hashlib.sha512(writer.key.seed).digest()[:32])
        secret[0] &= 248
        secret[31] = secret[31] & 63 | 64
        message = signed_message(entry.USER_TRAINING_RECORD, writer.origin, writer.record(1).body)
        h = int.from_bytes(hashlib.sha512(neutral + writer.key.public.raw + message).digest(), "little")
        s = h * int.from_bytes(secret, "little") % L
        return replace(good, raw=neutral + s.to_bytes(32, "little"))

    return _signed_by(writer, change)


def _by_another_owner(writer: Writer) -> record.SignedRecord:
    """A record of this fork, signed by a key that no entry of it registered."""
    good = writer.record(1)
    return Writer(9).signed(good.body, dict(good.payloads))


def _for_another_log(writer: Writer) -> record.SignedRecord:
    elsewhere = replace(writer, origin="example.org/other")
    return elsewhere.record(1)


def _without(writer: Writer, kind: int) -> record.SignedRecord:
    good = writer.record(1)
    return replace(good, payloads={one: payload for one, payload in good.payloads.items() if one != kind})


def _oversized(writer: Writer) -> record.SignedRecord:
    payloads = writer.payloads(1) | {record.INPUT: bytes(record.LONGEST_PAYLOAD + 1)}
    return writer.signed(record.encode_body(writer.body(1, payloads)), payloads)


WRONG: dict[str, tuple[Callable[[Writer], record.SignedRecord | bytes], int]] = {
    "nothing": (lambda _: b"", 400),
    "no protobuf": (lambda _: b"\xff\xff\xff", 400),
    "JSON": (lambda _: b'{"body": ""}', 400),
    "an empty body": (lambda writer: writer.signed(b"", {}), 400),
    "truncated": (lambda writer: record.encode_record(writer.record(1))[:-20], 400),
    "a truncated body": (lambda writer: writer.signed(writer.record(1).body[:-9], writer.payloads(1)), 400),
    "an unknown field": (
        lambda writer: writer.signed(writer.record(1).body + b"\xf8\x3f\x01", writer.payloads(1)),
        422,
    ),
    "fields in another order": (
        lambda writer: writer.signed(
            b"\x18\x01" + writer.record(1).body.replace(b"\x18\x01", b"", 1), writer.payloads(1)
        ),
        422,
    ),
    "a user id in clear": (lambda writer: _changed(writer, lambda body: setattr(body, "user_id", "me")), 422),
    "feedback in clear": (lambda writer: _changed(writer, lambda body: setattr(body.feedback, "rating", 1)), 422),
    "a time in clear": (lambda writer: _changed(writer, lambda body: setattr(body, "created_at", 1)), 422),
    "ciphertext in the body": (
        lambda writer: _changed(writer, lambda body: setattr(body, "encrypted_input", b"x")),
        422,
    ),
    "a rate that is no step": (lambda writer: _changed(writer, lambda body: setattr(body, "learning_rate", 0.1)), 400),
    "a rate that is no number": (
        lambda writer: _changed(writer, lambda body: setattr(body, "learning_rate", float("nan"))),
        400,
    ),
    "an infinite rate": (
        lambda writer: _changed(writer, lambda body: setattr(body, "learning_rate", float("inf"))),
        400,
    ),
    "a fork id in capitals": (
        lambda writer: _changed(writer, lambda body: setattr(body, "fork_id", writer.fork_id.upper())),
        400,
    ),
    "a short record id": (lambda writer: _changed(writer, lambda body: setattr(body, "record_id", b"1")), 400),
    "number 0": (lambda writer: _changed(writer, lambda body: setattr(body, "interaction_number", 0)), 400),
    "another recipe": (lambda writer: writer.record(1, recipe_digest=drawn(32, "other")), 422),
    "another layout": (lambda writer: writer.record(1, layout_digest=drawn(32, "other")), 422),
    "another dimension": (lambda writer: writer.record(1, update_dimension=8), 422),
    "a key scheme of the future": (lambda writer: writer.record(1, key_scheme=2), 422),
    "a missing payload": (lambda writer: _without(writer, record.OUTPUT), 422),
    "a changed payload": (
        lambda writer: replace(writer.record(1), payloads=writer.payloads(1) | {record.INPUT: bytes(100)}),
        422,
    ),
    "an oversized payload": (_oversized, 422),
    "a body over 4 KiB": (lambda writer: writer.signed(bytes(record.LONGEST_BODY + 1), {}), 422),
    "no signature": (lambda writer: replace(writer.record(1), signatures=()), 403),
    "two signatures": (lambda writer: replace(writer.record(1), signatures=writer.record(1).signatures * 2), 403),
    "a stranger's signature": (
        lambda writer: replace(writer.record(1), signatures=Writer(9).record(1).signatures),
        403,
    ),
    "a key that is not registered": (_by_another_owner, 403),
    "a key that is not registered, under the name of one that is": (
        lambda writer: replace(
            writer.record(1),
            signatures=(
                replace(_by_another_owner(writer).signatures[0], key_id=writer.record(1).signatures[0].key_id),
            ),
        ),
        403,
    ),
    "the signature of another record": (
        lambda writer: replace(writer.record(1), signatures=writer.record(2).signatures),
        403,
    ),
    "a signature for another log": (_for_another_log, 403),
    "a signature with R of small order": (lambda writer: _lax(writer, NEUTRAL), 403),
    "a signature with R in its second spelling": (lambda writer: _lax(writer, NEUTRAL_AGAIN), 403),
    "a signature in its second spelling": (lambda writer: _signed_by(writer, _second_spelling), 403),
    "a flipped signature": (
        lambda writer: _signed_by(writer, lambda good: replace(good, raw=bytes([good.raw[0] ^ 1]) + good.raw[1:])),
        403,
    ),
    "a short signature": (lambda writer: _signed_by(writer, lambda good: replace(good, raw=good.raw[:63])), 403),
    "another algorithm": (lambda writer: _signed_by(writer, lambda good: replace(good, algorithm=2)), 403),
    "a zero signature": (lambda writer: _signed_by(writer, lambda good: replace(good, raw=bytes(64))), 403),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_a_signed_record_of_this_fork_is_refused_and_leaves_nothing(
    http: TestClient, service: Service, created: Writer, door: Door, wrong: str
) -> None:
    make, status = WRONG[wrong]
    answer = door(http, make(created))
    assert answer[0] == status, answer
    assert set(answer[1]) == {"error"}
    assert answer[1]["error"]["type"] == "invalid_request_error"
    assert service.ledger.size() == 1
    assert service.ledger.payloads(1) == {}
    assert door(http, created.next())[0] == 201


def test_a_record_of_another_apps_fork_and_of_none_are_not_found(
    http: TestClient, service: Service, created: Writer, door: Door, app_client: Callable[[str], TestClient]
) -> None:
    other = app_client("another")
    for client, signed in (
        (other, created.record(1)),
        (other, replace(created.record(1), signatures=())),  # not even that the fork is there shows
        (http, Writer(5).record(1)),
    ):
        expect_refused(door(client, signed), 404, "not_found")
    assert other.get(f"/v1/forks/{created.fork_id}/entries").status_code == 404
    assert service.ledger.size() == 1


def test_a_record_of_one_fork_is_not_one_of_another_of_the_same_app(
    http: TestClient, service: Service, created: Writer, door: Door
) -> None:
    second = Writer(2)
    create(http, second)
    body = replace(record.decode_body(second.record(1).body), fork_id=created.fork_id)
    moved = second.signed(record.encode_body(body), second.payloads(1))
    expect_refused(door(http, moved), 403, "bad_signature")
    assert service.ledger.size() == 2


# --- creation -----------------------------------------------------------------------------------------------


def _owned_by(writer: Writer, point: bytes) -> bytes:
    """Owned by a point of order 1, under which S*B = R + h*A holds of any message when R = S*B."""
    owner = PublicKey(ED25519, point)
    body = entry.encode_fork_created(writer.creation(owner_key=owner))
    s = drawn(31, "s") + b"\0"
    raw = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(s) + s
    return control_bytes(entry.SignedControl(entry.FORK_CREATED, body, (Signature(owner.key_id, ED25519, raw),)))


WRONG_CONTROLS: dict[str, tuple[Callable[[Writer], bytes], int]] = {
    "nothing": (lambda _: b"", 422),
    "no protobuf": (lambda _: b"\xff\xff\xff", 400),
    "an unknown topic": (lambda writer: control_bytes(writer.control(topic="no-such/v1")), 422),
    "a topic of the future": (lambda writer: control_bytes(writer.control(topic="rolled-back/v1")), 422),
    "a record as control": (lambda writer: control_bytes(writer.control(topic=entry.USER_TRAINING_RECORD)), 422),
    "a body that does not parse": (lambda writer: control_bytes(writer.control(body=b"\xff")), 400),
    "an unknown field": (
        lambda writer: control_bytes(
            writer.control(body=entry.encode_fork_created(writer.creation()) + b"\xf8\x3f\x01")
        ),
        422,
    ),
    "custody of the service": (
        lambda writer: control_bytes(
            writer.control(body=entry.encode_fork_created(writer.creation(custody=entry.SERVICE)))
        ),
        422,
    ),
    "an owner's key of small order": (lambda writer: _owned_by(writer, NEUTRAL), 403),
    "an owner's key in its second spelling": (lambda writer: _owned_by(writer, NEUTRAL_AGAIN), 403),
    "a stranger's signature": (
        lambda writer: control_bytes(replace(writer.control(), signatures=Writer(9).control().signatures)),
        403,
    ),
    "no signature": (lambda writer: control_bytes(replace(writer.control(), signatures=())), 403),
    "a signature for another log": (
        lambda writer: control_bytes(replace(writer, origin="example.org/other").control()),
        403,
    ),
    "a signature for another topic": (
        lambda writer: control_bytes(
            replace(
                writer.control(),
                signatures=(
                    writer.key.sign(signed_message(entry.USER_TRAINING_RECORD, writer.origin, writer.control().body)),
                ),
            )
        ),
        403,
    ),
}


@pytest.mark.parametrize("wrong", WRONG_CONTROLS)
def test_a_fork_that_is_not_created_is_not_claimed_either(
    http: TestClient,
    service: Service,
    writer: Writer,
    app_client: Callable[[str], TestClient],
    wrong: str,
) -> None:
    make, status = WRONG_CONTROLS[wrong]
    assert http.post("/v1/controls", content=make(writer)).status_code == status
    assert service.ledger.size() == 0
    assert service.keystore.app_of_fork(writer.fork_id) is None
    assert create(app_client("its owner's"), writer).status_code == 201


def test_another_app_cannot_claim_a_fork_with_the_public_bytes_of_its_creation(
    http: TestClient, service: Service, created: Writer, app_client: Callable[[str], TestClient]
) -> None:
    other = app_client("another")
    assert create(other, created).status_code == 409
    service.keystore._connection.execute("DELETE FROM forks")  # a key store that was lost
    assert create(other, created).status_code == 409
    assert other.get(f"/v1/forks/{created.fork_id}/entries").status_code == 404


def test_a_fork_is_not_created_twice_with_other_bytes(http: TestClient, service: Service, created: Writer) -> None:
    other = created.control(body=entry.encode_fork_created(created.creation(dimension=8)))
    answer = http.post("/v1/controls", content=control_bytes(other))
    expect_refused((answer.status_code, answer.json()), 409, "conflict")
    assert service.ledger.size() == 1


# --- reading back -------------------------------------------------------------------------------------------


def test_entries_come_in_pages_that_are_bounded_in_bytes(
    http: TestClient, service: Service, created: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        post(http, created.next())
    path = f"/v1/forks/{created.fork_id}/entries"

    def versions(**query: int) -> list[int]:
        return [one["version"] for one in http.get(path, params=query).raise_for_status().json()["entries"]]

    assert versions() == [1, 2, 3, 4, 5]
    assert versions(after=2, limit=2) == [3, 4]
    assert versions(after=5) == []
    monkeypatch.setattr(records_api, "LARGEST_PAGE", 10)
    assert versions(after=1) == [2]  # one always comes, or a reader would never get on
    for query in ({"limit": 0}, {"limit": 101}, {"after": -1}, {"after": 2**63}, {"after": "x"}):
        refused = http.get(path, params=query)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")


@pytest.mark.parametrize(
    "fork_id", ["x", "..%2F..%2Fetc", "A" * 36, "%F0%9F%90%B6", "00000000-0000-4000-8000-00000000000%00"]
)
def test_a_fork_id_of_the_wrong_form_is_not_found(http: TestClient, fork_id: str) -> None:
    assert http.get(f"/v1/forks/{fork_id}/entries").status_code == 404
