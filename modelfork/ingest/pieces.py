"""A file cut into lines, or a JSON list into its elements, without holding or understanding more than one of them.

A broken piece spoils itself alone: the cut needs to know only where texts and brackets end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from modelfork.errors import Malformed

LONGEST = 16 << 20  # bytes of a piece
_CHUNK = 1 << 20
_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'["\\]')
_QUOTE, _COMMA = b'",'
_OPENING, _CLOSING = b"[{", b"]}"


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Each line from where the file stands, with its number from 1; None for one that is longer than LONGEST."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) <= LONGEST or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_CHUNK)
        yield number, None


def elements(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where each element of the list that begins at or after the file's place begins and ends.

    Elements come as they are found, and may be no JSON. Raises Malformed, after the last that is whole, where the
    list does not end or something follows it.
    """
    base, depth, begin, inside, after = file.tell(), 0, 0, False, 0
    while chunk := file.read(_CHUNK):
        place, after = after, 0
        while found := (_INSIDE if inside else _OUTSIDE).search(chunk, place):
            place, sign = found.end(), chunk[found.start()]
            if inside:
                inside = sign != _QUOTE
                if inside:
                    place += 1  # what stands after a backslash ends nothing
            elif sign == _QUOTE:
                inside = True
            elif sign in _OPENING:
                depth += 1
                begin = base + place if depth == 1 else begin
            elif sign in _CLOSING:
                depth -= 1
                if not depth:
                    yield begin, base + found.start()
                    _expect_end(chunk[place:], file)
                    return
            elif sign == _COMMA and depth == 1:
                yield begin, base + found.start()
                begin = base + place
        after = max(0, place - len(chunk))
        base += len(chunk)
    raise Malformed("expected a ] that ends the list, found the end of the file")


def _expect_end(rest: bytes, file: BinaryIO) -> None:
    while not rest.strip():
        rest = file.read(_CHUNK)
        if not rest:
            return
    raise Malformed("expected the end of the file after the list, found more")
