"""JSON from a stranger: parsed as RFC 8259 has it, and its values taken only as what they should be.

Malformed says what was expected, what came and in which field. Only names of our own stand in it, never the content.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from modelfork.errors import Malformed


def parse(data: bytes) -> Any:
    """The value of one JSON text in UTF-8. NaN and the infinities, which Python would take, are no JSON."""
    try:
        return json.loads(data.decode(), parse_constant=_not_json)
    except UnicodeDecodeError as error:
        raise Malformed(f"expected UTF-8, found another byte at place {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"expected JSON, found a break of its rules at character {error.pos + 1}") from None
    except RecursionError:
        raise Malformed("expected JSON that a person's chat could be, found one nested too deep") from None
    except ValueError:  # Python's bound on the digits of an integer
        raise Malformed("expected JSON that a person's chat could be, found a number of too many digits") from None


def _not_json(constant: str) -> NoReturn:
    raise Malformed(f"expected JSON, found {constant}")


def object_of(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{name}: expected an object, found {kind_of(value)}")
    return value


def list_of(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f"{name}: expected a list, found {kind_of(value)}")
    return value


def text_of(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Malformed(f"{name}: expected text, found {kind_of(value)}")
    return value


def number_of(value: Any, name: str) -> float:
    """A finite float: 1e999 is valid JSON, and no number of ours."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{name}: expected a number, found {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Malformed(f"{name}: expected a number, found one that is too large")
    return number


def truth_of(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Malformed(f"{name}: expected true or false, found {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """What a value is, without what it says."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return names[type(value)]
