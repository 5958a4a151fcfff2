"""What the outbox asks of a chain and what it is told: values, and the port in front of a node.

Everything is read by block hash: what is told together was true together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """Which chain it is, and which code stands in the contract's place. No other is ever written to."""

    chain: int
    genesis: bytes  # hash of block 0
    code: bytes  # Keccak-256 of the contract's code


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: bytes  # 32
    time: int  # seconds, Unix
    base_fee: int  # wei a unit of gas


@dataclass(frozen=True, slots=True)
class Held:
    """What the contract holds of the log."""

    size: int  # of the newest anchored checkpoint; 0 before the first
    root: bytes  # 32


@dataclass(frozen=True, slots=True)
class Sender:
    """The account that sends and pays."""

    may_anchor: bool
    nonce: int  # of its next transaction, by what is in blocks alone
    balance: int  # wei


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction that is in a block."""

    block: int
    block_hash: bytes
    held: Held | None  # what it anchored, by the contract's own log line; None: it reverted
    cost: int  # wei


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559, wei a unit of gas."""

    most: int  # maxFeePerGas
    tip: int  # maxPriorityFeePerGas


def market(tip: int, base_fee: int, highest: int) -> Fees | None:
    """What to offer now: room for the base fee to double, under a cap. None where a block already costs more."""
    if base_fee + tip > highest:
        return None
    return Fees(min(2 * base_fee + tip, highest), tip)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction, read back from its bytes."""

    hash: bytes
    nonce: int
    call: bytes
    gas: int
    fees: Fees


class Chain(Protocol):
    """One log in one contract, and one account that anchors there.

    Every call raises Unavailable where the node is away, or gives no answer that can be read.
    """

    @property
    def contract(self) -> str:
        """Its address: 0x and 40 hexadecimal digits."""

    @property
    def log_id(self) -> bytes: ...

    @property
    def sender(self) -> str:
        """The address of the account."""

    def block(self, which: int | str) -> Block | None:
        """By number, or "latest", "safe", "finalized". None where there is none (yet)."""

    def identity(self, at: Block) -> Identity: ...

    def held(self, at: Block) -> Held | None:
        """None where the contract knows no such log."""

    def account(self, at: Block) -> Sender: ...

    def receipt(self, transaction: bytes) -> Receipt | None:
        """None where it is in no block."""

    def tip(self) -> int:
        """What the node would tip now, in wei a unit of gas."""

    def call(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        """The call that anchors a checkpoint."""

    def gas(self, call: bytes, at: Block) -> int:
        """What it would take on top of this block. Raises ChainRefused where it would revert."""

    def sign(self, nonce: int, call: bytes, gas: int, fees: Fees) -> bytes: ...

    def opened(self, data: bytes) -> Signed: ...

    def send(self, data: bytes) -> None:
        """Hand over signed bytes. The same again is nothing, in a block or not. Raises NoFunds."""

    def close(self) -> None: ...
