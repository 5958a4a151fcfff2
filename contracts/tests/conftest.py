"""The node that the contracts are tried on."""

import sys
from collections.abc import Iterator

import pytest

from contracts.tests.chain import Chain
from tests.anvil import running
from tests.conftest import anvil

__all__ = ["anvil"]

# py_ecc, which comes with web3, lifts it for the whole process: other tests' deeply nested JSON would end that.
sys.setrecursionlimit(1000)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """A node for one file of tests. A block takes any amount of gas, so that one call can check a thousand proofs."""
    with running("--disable-block-gas-limit") as node:
        yield Chain(node)
