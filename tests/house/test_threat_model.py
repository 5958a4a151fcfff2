"""docs/threat-model.md: every claim names tests that are there, or says that none shows it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`((?:contracts/)?tests/[\w/]+\.py)::(\w+)`", PAGE)
CLAIMS = re.findall(r"^\* .*(?:\n(?:  ).*)*", PAGE, re.MULTILINE)


@cache
def collected_in(path: str) -> frozenset[str]:
    """The tests that pytest would collect there: functions of the module, and methods of its classes."""
    found = set[str]()
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in [
        *module.body,
        *(inner for each in module.body if isinstance(each, ast.ClassDef) for inner in each.body),
    ]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
    return frozenset(found)


def test_the_page_is_read() -> None:
    assert len(NAMED) > 80
    assert len(CLAIMS) > 50
    assert PAGE.count("::test_") == len(NAMED)


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file(), f"{path} is not there"
    assert name in collected_in(path), f"{path} has no {name}"


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_names_a_test_or_says_that_there_is_none(claim: str) -> None:
    assert re.search(r"`(?:contracts/)?tests/[\w/]+\.py::\w+`|\*\(no test: [^)]+\)\*", claim), claim
