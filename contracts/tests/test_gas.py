"""What the contracts cost is what gas.json says, to the unit, and an enforced anchor stays cheap."""

import json

import pytest

from contracts.compile import HERE
from contracts.gas import FILE, as_text, measure
from contracts.tests.chain import Chain
from tests.anvil import running


@pytest.mark.slow
def test_the_gas_of_every_function_is_the_one_on_file() -> None:
    with running() as node:
        measured = measure(Chain(node))
    assert as_text(measured) == FILE.read_text(), "if it is meant: python contracts/gas.py"


def test_an_enforced_anchor_of_a_million_entries_costs_at_most_60_000() -> None:
    assert json.loads(FILE.read_text())["LedgerAnchor"]["anchor"]["2^20"]["median"] <= 60_000


def test_the_readme_tells_the_figures_on_file() -> None:
    readme = (HERE / "README.md").read_text()
    for size, gas in json.loads(FILE.read_text())["LedgerAnchor"]["anchor"].items():
        assert f"| {size} | {gas['median']:,} ({gas['least']:,} to {gas['most']:,}) |" in readme
