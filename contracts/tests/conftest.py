"""The node that the contracts are tried on."""

from collections.abc import Iterator

import pytest

from contracts.tests.chain import Chain
from tests.anvil import running
from tests.conftest import anvil

__all__ = ["anvil"]


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """A node for one file of tests. A block takes any amount of gas, so that one call can check a thousand proofs."""
    with running("--disable-block-gas-limit") as node:
        yield Chain(node)
