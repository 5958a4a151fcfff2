"""What the numbers of a state mean: which core of which module each belongs to, and at what scale.

A layout is serialised once and its digest is over those bytes; every record of a fork names that digest. Cores are
made from a state by two exact multiplications, so every machine makes the same ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

import ledger
from modelfork.errors import Malformed, Unsuited
from modelfork.wire.v1 import fork_pb2 as wire

# float32(state) * 2^-24 * 2^scale is exact up to the one rounding of float32(state): with |scale| <= 64 the largest
# state, 2^63, gives 2^103 and the smallest, 1, gives 2^-88, both normal float32 numbers.
LARGEST_SCALE = 64

_DOMAIN = b"forkledger/layout/v1\0"


@dataclass(frozen=True, slots=True)
class Segment:
    """One core: `rows` x `columns` numbers, row-major. `scale` is an exponent of two."""

    name: str  # the module that the core sits in
    rows: int
    columns: int
    scale: int

    @property
    def size(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True, slots=True)
class Layout:
    """Ordered segments over one base and one basis; both digests are 32 bytes."""

    base_digest: bytes
    basis_digest: bytes
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        for name in ("base_digest", "basis_digest"):
            if len(getattr(self, name)) != 32:
                raise Malformed(f"layout: expected 32 bytes in {name}, got {len(getattr(self, name))}")
        if not self.segments:
            raise Malformed("layout: expected at least one segment, got none")
        if len({segment.name for segment in self.segments}) != len(self.segments):
            raise Malformed("layout: two segments have the same name")
        for at, segment in enumerate(self.segments):
            if not segment.name or segment.rows < 1 or segment.columns < 1:
                raise Malformed(f"layout: segment {at} needs a name, rows and columns")
            if abs(segment.scale) > LARGEST_SCALE:
                raise Malformed(f"layout: expected a scale within {LARGEST_SCALE} of 0 in segment {at}")
        if self.dimension > ledger.record.LARGEST_DIMENSION:
            raise Malformed(f"layout: expected a dimension up to {ledger.record.LARGEST_DIMENSION}")

    @property
    def dimension(self) -> int:
        """Numbers in the state."""
        return sum(segment.size for segment in self.segments)


def encode_layout(layout: Layout) -> bytes:
    return wire.Layout(
        base_digest=layout.base_digest,
        basis_digest=layout.basis_digest,
        segments=[
            wire.Segment(name=segment.name, rows=segment.rows, columns=segment.columns, scale=segment.scale)
            for segment in layout.segments
        ],
    ).SerializeToString(deterministic=True)


def decode_layout(data: bytes) -> Layout:
    """Read a layout; raise Malformed unless `data` is the one spelling of it that `encode_layout` writes."""
    message = wire.Layout()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"layout: {len(data)} bytes do not parse as Layout") from None
    segments = tuple(Segment(part.name, part.rows, part.columns, part.scale) for part in message.segments)
    layout = Layout(message.base_digest, message.basis_digest, segments)
    if encode_layout(layout) != data:
        raise Malformed("layout: expected the deterministic serialisation of known fields, got another")
    return layout


def layout_digest(data: bytes) -> bytes:
    """32 bytes that name a layout: over its bytes as stored."""
    return hashlib.sha256(_DOMAIN + data).digest()


def is_growth_of(longer: Layout, shorter: Layout) -> bool:
    """Whether `longer` is `shorter`, or that with segments appended: no number of a state changes its meaning."""
    return (
        longer.base_digest == shorter.base_digest
        and longer.basis_digest == shorter.basis_digest
        and longer.segments[: len(shorter.segments)] == shorter.segments
    )


def cores_of(layout: Layout, state: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """The cores that a state (dimension,) stands for, by segment name, each (rows, columns) and freshly made.

    Raises Unsuited when the state has another dimension.
    """
    if state.shape != (layout.dimension,):
        raise Unsuited(f"state: expected the layout's {layout.dimension} numbers, got shape {state.shape}")
    numbers = state.astype(np.float32)  # the only rounding, to nearest even
    cores: dict[str, NDArray[np.float32]] = {}
    begin = 0
    for segment in layout.segments:
        part: NDArray[Any] = numbers[begin : begin + segment.size].reshape(segment.rows, segment.columns)
        cores[segment.name] = part * np.float32(2.0 ** (segment.scale - 24))
        begin += segment.size
    return cores
