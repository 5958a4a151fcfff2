"""Many records in one request: an outcome each, in order, and one that is refused stops no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ledger.api.service import Service
from ledger.errors import Malformed, Refused
from ledger.record import MOST_IN_BATCH, SignedRecord, decode_batch, encode_batch, encode_record
from ledger.store import Epoch
from tests.ledger.api.test_records import create
from tests.ledger.written import Writer


@pytest.fixture
def writers(http: TestClient) -> list[Writer]:
    found = [Writer(number) for number in range(3)]
    for writer in found:
        assert create(http, writer).status_code == 201
    return found


def post(http: TestClient, records: list[SignedRecord]) -> Any:
    return http.post(
        "/v1/records/batch", content=encode_batch(records), headers={"content-type": "application/x-protobuf"}
    )


def statuses(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [one.get("status", 201) for one in answer.json()["results"]]


def test_records_of_several_forks_are_placed_in_their_order(
    http: TestClient, service: Service, writers: list[Writer]
) -> None:
    sent = [writer.next() for _ in range(4) for writer in writers]
    results = post(http, sent).json()["results"]
    assert [one["leaf_index"] for one in results] == list(range(3, 15))
    assert [one["fork_id"] for one in results] == [writer.fork_id for writer in writers] * 4
    for one, signed in zip(results, sent, strict=True):
        assert service.ledger.open_receipt(one["receipt"].encode()).entry_hash.hex() == one["entry_hash"]
        assert service.ledger.payloads(one["leaf_index"]) == dict(signed.payloads)


def test_a_record_that_is_refused_stops_no_other_but_its_successors(
    http: TestClient, service: Service, writers: list[Writer]
) -> None:
    first, second, _ = writers
    strange = replace(second.next(), signatures=first.record(1).signatures)
    sent = [first.next(), strange, second.next(), first.next(), Writer(9).next(), replace(first.next(), payloads={})]
    answer = post(http, sent)
    assert statuses(answer) == [201, 403, 409, 201, 404, 422]
    assert [one.get("error", {}).get("code") for one in answer.json()["results"]] == [
        None, "bad_signature", "stale_number", None, "not_found", "refused",
    ]  # fmt: skip
    assert answer.json()["results"][2]["error"]["expected"] == 1
    assert service.ledger.size() == 5


def test_the_same_batch_again_gets_the_same_receipts_and_writes_nothing(
    http: TestClient, service: Service, writers: list[Writer]
) -> None:
    sent = [writer.next() for _ in range(2) for writer in writers]
    first = post(http, sent[:4])
    whole = post(http, [*sent, sent[0]])
    assert whole.json()["results"][:4] == first.json()["results"]
    assert whole.json()["results"][-1] == first.json()["results"][0]
    assert post(http, sent).json()["results"] == whole.json()["results"][:6]
    assert service.ledger.size() == 3 + 6


def test_other_bytes_under_a_record_id_get_the_receipt_of_those_that_stand(
    http: TestClient, service: Service, writers: list[Writer]
) -> None:
    writer = writers[0]
    answer = post(http, [writer.next(), writer.record(2, record_id=writer.record_id(1)), writer.record(2)])
    first, other, last = answer.json()["results"]
    assert (other["status"], other["error"]["code"]) == (409, "already_recorded")
    assert other["error"]["receipt"] == first["receipt"]
    assert last["version"] == 3


def test_a_fork_of_another_app_is_not_found_among_ones_own(
    http: TestClient, writers: list[Writer], app_client: Callable[[str], TestClient], service: Service
) -> None:
    other = app_client("another")
    theirs = Writer(7)
    create(other, theirs)
    assert statuses(post(other, [writers[0].record(1), theirs.record(1)])) == [404, 201]
    assert statuses(post(http, [writers[0].record(1), theirs.record(2)])) == [201, 404]
    assert service.ledger.size() == 4 + 2


def test_a_thousand_records_are_one_request_and_one_transaction(
    http: TestClient, service: Service, writers: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [writers[0].next() for _ in range(MOST_IN_BATCH)]
    transactions: list[Epoch | None] = []
    real = service.ledger.store.write

    def write(epoch: Epoch | None = None) -> Any:
        transactions.append(epoch)
        return real(epoch)

    monkeypatch.setattr(service.ledger.store, "write", write)
    assert statuses(post(http, sent)) == [201] * MOST_IN_BATCH
    assert len(transactions) == 1
    refused = post(http, [*sent, sent[0]])
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "refused")
    assert refused.json()["error"]["message"] == "batch: expected 1 to 1000 records, got 1001"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"\xff\xff\xff", 400),
        (b'{"records": []}', 400),
        (b"\x0a\x7f" + bytes(5), 400),
        (bytes((4 << 20) + 1), 413),
    ],
    ids=["nothing", "no protobuf", "JSON", "truncated", "oversized"],
)
def test_what_is_no_batch_is_refused_as_a_whole(
    http: TestClient, service: Service, writers: list[Writer], content: bytes, status: int
) -> None:
    answer = http.post("/v1/records/batch", content=content)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert service.ledger.size() == 3


def test_every_truncation_of_a_batch_places_only_whole_records(
    http: TestClient, service: Service, writers: list[Writer]
) -> None:
    records = [writers[0].record(1), writers[0].record(2)]
    whole, first = encode_batch(records), encode_batch(records[:1])
    for length in range(0, len(whole), 97):
        if length == len(first):
            continue
        answer = http.post("/v1/records/batch", content=whole[:length])
        assert answer.status_code in (400, 422)
    assert service.ledger.size() == 3


def test_a_batch_needs_the_key_of_an_app(anyone: TestClient, writers: list[Writer], service: Service) -> None:
    assert post(anyone, [writers[0].record(1)]).status_code == 401
    assert service.ledger.size() == 3


# --- the message ----------------------------------------------------------------------------------------------


@given(numbers=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_batch_is_read_as_it_was_written(numbers: list[int]) -> None:
    records = [Writer(1).record(number) for number in numbers]
    assert decode_batch(encode_batch(records)) == records


def test_a_batch_is_its_records_one_after_the_other() -> None:
    one, two = Writer(1).record(1), Writer(2).record(1)
    assert encode_batch([one, two]) == encode_batch([one]) + encode_batch([two])
    assert encode_record(one) in encode_batch([one])


def test_a_payload_kind_that_came_twice_is_one_records_fault() -> None:
    record = Writer(1).record(1)
    data = encode_record(record)
    twice = data + encode_record(replace(record, body=b"", signatures=()))
    length = bytes([len(twice) & 127 | 128, len(twice) >> 7 & 127 | 128, len(twice) >> 14])
    first, second = decode_batch(b"\x0a" + length + twice + encode_batch([record]))
    assert isinstance(first, Malformed)
    assert second == record


@pytest.mark.parametrize("many", [0, MOST_IN_BATCH + 1])
def test_a_batch_has_at_least_one_record_and_at_most_a_thousand(many: int) -> None:
    with pytest.raises(Refused, match=f"expected 1 to 1000 records, got {many}"):
        decode_batch(b"\x0a\x00" * many)
