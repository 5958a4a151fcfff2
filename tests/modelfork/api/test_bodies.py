"""What comes in as JSON is checked before anything is done with it."""

from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from modelfork.api.bodies import InteractionBody, Key, MessageBody, Text, User, VerdictBody


@pytest.mark.parametrize("kind", [Text, User, Key])
def test_half_of_a_surrogate_pair_is_no_text(kind: Any) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python("a \U0001f600") == "a \U0001f600"
    with pytest.raises(ValidationError, match="unicode"):
        adapter.validate_python("a \ud83d")


def test_nor_is_it_in_a_part_of_a_message() -> None:
    with pytest.raises(ValidationError, match="unicode"):
        MessageBody.model_validate({"role": "user", "content": [{"type": "text", "text": "a \ud83d"}]})


@pytest.mark.parametrize("text", [None, 5, {"value": "a"}])
def test_nor_is_what_stands_in_the_place_of_a_text(text: Any) -> None:
    with pytest.raises(ValidationError, match="expected a string as the text of a text part"):
        MessageBody.model_validate({"role": "user", "content": [{"type": "text", "text": text}]})


def test_a_correction_of_spaces_corrects_nothing() -> None:
    said = {"messages": [{"role": "user", "content": "Who?"}], "answer": "I.", "correction": " \n", "rating": 1}
    assert InteractionBody.model_validate(said).correction == ""
    verdict = {"record_id": "ab" * 16, "correction": "\t"}
    assert VerdictBody.model_validate(verdict | {"rating": -1}).correction == ""
    with pytest.raises(ValidationError, match="expected a rating, a correction or both"):
        VerdictBody.model_validate(verdict)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing", "body: expected JSON, got something else"),
        (b'"\xff"', "body: expected JSON in UTF-8, got something else"),
        (b'"a secret"', "body: expected a JSON object, got something else"),
        (b'{"paused": true, "a secret": 1}', "body: expected no other fields than /docs names, got one"),
        (b'{"paused": "yes"}', "paused: Input should be a valid boolean"),
        (b'{"paused": 1}', "paused: Input should be a valid boolean"),
    ],
)
def test_a_body_of_the_wrong_form_is_told_what_was_expected_and_not_what_came(
    http: httpx.Client, fork: str, content: bytes, said: str
) -> None:
    answer = http.put(f"/v1/forks/{fork}/learning", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, said)


@pytest.mark.parametrize("rating", [True, "1", "0.5"])
def test_a_rating_is_a_number(http: httpx.Client, fork: str, rating: object) -> None:
    body = {"messages": [{"role": "user", "content": "?"}], "answer": "!", "rating": rating}
    answer = http.post(f"/v1/forks/{fork}/interactions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "rating")
