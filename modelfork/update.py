"""What one record adds to a state: one exact step times small integers, and how those integers are packed.

Every encoding has a size fixed by itself and the dimension, so that the ciphertext's length tells nothing. Every
packed update has one spelling: a decoder refuses set padding bits, positions out of order, numbers that the encoding
does not have and a wrong length. Bits are numbered from the least significant of each byte.

    EMPTY         no bytes; step 0 and all numbers 0
    SIGNS         1 bit a number: 1 is +1, 0 is -1
    SIGN_SUMS     2 bits a number: 0, 1, 2, 3 are -3, -1, 1, 3, what three iterations of signs can sum to
    INT4, INT8    two's complement, -7 to 7 and -127 to 127
    SPARSE_SIGNS  positions of max(1, dimension // 16) numbers by Elias-Fano, then a sign bit for each:
                  with p the i-th position, bit i + p // 16 of the upper part is set; then 4 bits p % 16 for each;
                  the upper part has count + (dimension - 1) // 16 bits. 0.44 bits a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ledger
from ledger.wire.v1 import record_pb2 as wire
from modelfork.errors import Malformed

EMPTY = int(wire.UPDATE_ENCODING_EMPTY)
SIGNS = int(wire.UPDATE_ENCODING_SIGNS)
SPARSE_SIGNS = int(wire.UPDATE_ENCODING_SPARSE_SIGNS)
INT4 = int(wire.UPDATE_ENCODING_INT4)
INT8 = int(wire.UPDATE_ENCODING_INT8)
SIGN_SUMS = int(wire.UPDATE_ENCODING_SIGN_SUMS)

ENCODINGS = (EMPTY, SIGNS, SPARSE_SIGNS, INT4, INT8, SIGN_SUMS)

STEP_LIMIT = ledger.record.STEP_LIMIT  # steps are below 2^24

_LOW_BITS = 4  # of a position, in SPARSE_SIGNS: log2 of the share, where Elias-Fano is shortest


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """`step` (k of learning_rate = k * 2^-24) times `q` (dimension,), which always has the state's length.

    An EMPTY update has step 0 and zeros.
    """

    step: int
    encoding: int
    q: NDArray[np.int8]

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise Malformed(f"update: encoding {self.encoding} is not one of the known encodings")
        if not 0 <= self.step < STEP_LIMIT:
            raise Malformed(f"update: expected a step from 0 to {STEP_LIMIT - 1}, got {self.step}")
        if self.q.dtype != np.int8 or self.q.ndim != 1 or not self.q.size:
            raise Malformed(f"update: expected a vector of int8, got {self.q.dtype} of shape {self.q.shape}")
        if self.encoding == EMPTY and self.step:
            raise Malformed(f"update: an empty update has step 0, got step {self.step}")

    @property
    def dimension(self) -> int:
        return self.q.size


def empty(dimension: int) -> Update:
    """The update that teaches nothing."""
    return Update(0, EMPTY, np.zeros(dimension, np.int8))


def sparse_count(dimension: int) -> int:
    """How many numbers a SPARSE_SIGNS update of this dimension changes."""
    return max(1, dimension >> _LOW_BITS)


def packed_size(encoding: int, dimension: int) -> int:
    """Bytes of a packed update; fixed by encoding and dimension."""
    if encoding == EMPTY:
        return 0
    if encoding == SIGNS:
        return -(-dimension // 8)
    if encoding == SIGN_SUMS:
        return -(-dimension // 4)
    if encoding == INT4:
        return -(-dimension // 2)
    if encoding == INT8:
        return dimension
    if encoding == SPARSE_SIGNS:
        upper, count = _upper_bits(dimension), sparse_count(dimension)
        return -(-(upper + count * (_LOW_BITS + 1)) // 8)
    raise Malformed(f"update: encoding {encoding} is not one of the known encodings")


def pack(update: Update) -> bytes:
    """The bytes of `update.q`; raise Malformed where the encoding cannot say a number of it."""
    q, encoding = update.q, update.encoding
    if encoding == EMPTY:
        _expect(not q.any(), "an empty update has zeros only")
        return b""
    if encoding == SIGNS:
        _expect(bool((np.abs(q) == 1).all()), "signs are -1 or 1")
        return np.packbits(q > 0, bitorder="little").tobytes()
    if encoding == SIGN_SUMS:
        _expect(bool(((q & 1) == 1).all() and (q >= -3).all() and (q <= 3).all()), "sums of signs are -3, -1, 1 or 3")
        codes = ((q + 3) >> 1).astype(np.uint8)
        return _pack_codes(codes, 2)
    if encoding == INT4:
        _expect(bool((q >= -7).all() and (q <= 7).all()), "INT4 numbers are from -7 to 7")
        return _pack_codes(q.view(np.uint8) & np.uint8(15), 4)
    if encoding == INT8:
        _expect(bool((q != -128).all()), "INT8 numbers are from -127 to 127")
        return q.tobytes()
    return _pack_sparse(q)


def unpack(encoding: int, dimension: int, step: int, packed: bytes) -> Update:
    """Undo `pack`. Raises Malformed for every byte string that `pack` does not write."""
    size = packed_size(encoding, dimension)
    if len(packed) != size:
        raise Malformed(f"update: expected {size} bytes of encoding {encoding}, got {len(packed)}")
    raw = np.frombuffer(packed, np.uint8)
    if encoding == EMPTY:
        q = np.zeros(dimension, np.int8)
    elif encoding == INT8:
        q = raw.view(np.int8).copy()
        _expect(-128 not in q, "INT8 numbers are from -127 to 127")
    elif encoding == SPARSE_SIGNS:
        q = _unpack_sparse(raw, dimension)
    else:
        table = _NUMBERS[encoding]
        last = dimension % table.itemsize * (8 // table.itemsize)  # bits of the last byte that hold numbers, 0: all
        _expect(not last or not packed[-1] >> last, "padding bits are zero")
        q = table.take(raw).view(np.int8)[:dimension]
        _expect(encoding != INT4 or -8 not in q, "INT4 numbers are from -7 to 7")
    return Update(step, encoding, q)


def _numbers_of_bytes(values: list[int]) -> NDArray[Any]:
    """What each byte holds, where a code of a few bits stands for each of `values`: as one integer a byte, so that
    a whole byte is looked up at once. Its bytes are the numbers, the first in front."""
    width = len(values).bit_length() - 1
    places = np.arange(0, 8, width, dtype=np.uint8)
    codes = (np.arange(256, dtype=np.uint8)[:, None] >> places) & np.uint8(len(values) - 1)  # (256, numbers a byte)
    table: NDArray[Any] = np.array(values, np.int8)[codes].view(f"u{places.size}").reshape(256)
    return table


_NUMBERS = {
    SIGNS: _numbers_of_bytes([-1, 1]),
    SIGN_SUMS: _numbers_of_bytes([-3, -1, 1, 3]),
    INT4: _numbers_of_bytes([*range(8), *range(-8, 0)]),
}


def _pack_codes(codes: NDArray[np.uint8], width: int) -> bytes:
    """Codes of `width` bits (2 or 4), the first in the low bits of the first byte."""
    per_byte = 8 // width
    padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
    padded[: codes.size] = codes
    columns = padded.reshape(-1, per_byte)
    packed = columns[:, 0].copy()
    for at in range(1, per_byte):
        packed |= columns[:, at] << np.uint8(at * width)
    return packed.tobytes()


def _upper_bits(dimension: int) -> int:
    return sparse_count(dimension) + ((dimension - 1) >> _LOW_BITS)


def _pack_sparse(q: NDArray[np.int8]) -> bytes:
    dimension, count = q.size, sparse_count(q.size)
    positions = np.flatnonzero(q)
    _expect(positions.size == count, f"sparse signs change exactly {count} of {dimension} numbers")
    signs = q[positions]
    _expect(bool((np.abs(signs) == 1).all()), "signs are -1 or 1")
    upper = np.zeros(_upper_bits(dimension), np.uint8)
    upper[(positions >> _LOW_BITS) + np.arange(count)] = 1
    low = (positions & 15).astype(np.uint8)
    low_bits = np.unpackbits(low[:, None], axis=1, count=_LOW_BITS, bitorder="little")  # (count, 4)
    bits = np.concatenate([upper, low_bits.reshape(-1), (signs > 0).astype(np.uint8)])
    return np.packbits(bits, bitorder="little").tobytes()


def _unpack_sparse(raw: NDArray[np.uint8], dimension: int) -> NDArray[np.int8]:
    count, upper = sparse_count(dimension), _upper_bits(dimension)
    bits = np.unpackbits(raw, bitorder="little")
    signs_at = upper + count * _LOW_BITS
    _expect(not bits[signs_at + count :].any(), "padding bits are zero")
    ones = np.flatnonzero(bits[:upper])
    _expect(ones.size == count, f"sparse signs change exactly {count} of {dimension} numbers")
    low = np.packbits(bits[upper:signs_at].reshape(count, _LOW_BITS), axis=1, bitorder="little")[:, 0]
    positions: NDArray[Any] = ((ones - np.arange(count)) << _LOW_BITS) | low
    _expect(bool((positions[1:] > positions[:-1]).all()), "positions ascend")
    _expect(bool(positions[-1] < dimension), f"positions are below {dimension}")
    q = np.zeros(dimension, np.int8)
    q[positions] = bits[signs_at : signs_at + count].view(np.int8) * np.int8(2) - np.int8(1)
    return q


def _expect(holds: bool, rule: str) -> None:
    if not holds:
        raise Malformed(f"update: {rule}")
