"""What comes in as JSON is checked before anything is done with it."""

from typing import Any

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
