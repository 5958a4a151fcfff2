"""JSON from a stranger: what is no JSON, and what is JSON of another kind, is said without what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelfork.errors import Malformed
from modelfork.ingest.values import list_of, number_of, object_of, parse, text_of, truth_of


def test_a_text_is_parsed() -> None:
    assert parse('{"a": ["ä", 1, -0.5, true, null]}'.encode()) == {"a": ["ä", 1, -0.5, True, None]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"secret"', "expected JSON, found a break of its rules at character 10"),
        (b"", "expected JSON, found a break of its rules at character 1"),
        (b'["secret\xff"]', "expected UTF-8, found another byte at place 9"),
        ('["secret"]'.encode("utf-16"), "expected UTF-8, found another byte at place 1"),
        (b"[NaN]", "expected JSON, found NaN"),
        (b"[-Infinity]", "expected JSON, found -Infinity"),
        (b"[" * 100_000, "found one nested too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "found one nested too deep"),
        (b"[" + b"7" * 10_000 + b"]", "found a number of too many digits"),
        (b'["a\nb"]', "expected JSON, found a break of its rules at character 4"),
    ],
)
def test_what_is_no_json_is_named_without_its_content(data: bytes, said: str) -> None:
    with pytest.raises(Malformed) as raised:
        parse(data)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


VALUES = {
    "nothing": None,
    "true or false": True,
    "an object": {"secret": 1},
    "a list": ["secret"],
    "text": "secret",
    "a number": 42,
}
READERS: list[tuple[Callable[[Any, str], object], str]] = [
    (object_of, "an object"),
    (list_of, "a list"),
    (text_of, "text"),
    (number_of, "a number"),
    (truth_of, "true or false"),
]


@pytest.mark.parametrize(("read", "wanted"), READERS)
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_another_kind_is_named_by_its_kind(
    read: Callable[[Any, str], object], wanted: str, kind: str
) -> None:
    if kind == wanted:
        assert read(VALUES[kind], "field") == VALUES[kind]
        return
    with pytest.raises(Malformed, match=rf"^field: expected {wanted}, found {kind}$"):
        read(VALUES[kind], "field")


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400])
def test_a_number_too_large_for_a_float_is_none(number: bytes) -> None:
    with pytest.raises(Malformed, match="found one that is too large"):
        number_of(parse(number), "field")
