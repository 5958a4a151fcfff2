"""The node that the contracts are tried on."""

from tests.conftest import anvil

__all__ = ["anvil"]
