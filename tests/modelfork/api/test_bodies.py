"""What comes in as JSON is checked before anything is done with it."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from modelfork.api.bodies import Key, MessageBody, Text, User


@pytest.mark.parametrize("kind", [Text, User, Key])
def test_half_of_a_surrogate_pair_is_no_text(kind: Any) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python("a \U0001f600") == "a \U0001f600"
    with pytest.raises(ValidationError, match="unicode"):
        adapter.validate_python("a \ud83d")


def test_nor_is_it_in_a_part_of_a_message() -> None:
    with pytest.raises(ValidationError, match="unicode"):
        MessageBody.model_validate({"role": "user", "content": [{"type": "text", "text": "a \ud83d"}]})
