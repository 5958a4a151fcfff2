"""The short way through a record's entry: one regular expression instead of two protobuf messages and their objects.

Nearly all entries of a log are records of the one form that the door takes. Of those this pattern gives the fields at a
tenth of the cost of the strict decoders, `entry.decode_entry` and `record.decode_body`. What it does not match is not
wrong, only unusual: the audit then asks the strict decoders, and so their verdict and their words are the only ones.
What it does match they read in the same way; tests/ledger/audit/test_lean.py compares them.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import NamedTuple

from ledger.entry import USER_TRAINING_RECORD, ForkCreated

# Possessive, for speed: there is never another way to match.
_ANY_32 = rb".{32}+"
_VARINT = rb"[\x80-\xff]{0,8}+[\x01-\x7f]"  # 1 to 2^63 - 1, the shortest form
_SHORT = rb"[\x80-\xff]?+[\x01-\x7f]"
FLOAT = Struct("<f")


class LeanEntry(NamedTuple):
    """A record's entry as its bytes. Numbers are varints; `terms` is what every record of one fork repeats."""

    fork_id: bytes
    version: bytes
    previous: bytes  # 32
    length: bytes  # of the body
    body: bytes
    number: bytes
    rate: bytes | None  # 4; none means 0
    update: bytes | None  # its payload reference; an empty update has none
    terms: bytes
    key_id: bytes  # 32
    signature: bytes  # 64


def pattern(origin: str) -> re.Pattern[bytes]:
    """Matches the entries of this log that hold a record; the groups are the fields of LeanEntry.

    Two things are left to be asked: that `length` is the body's length, and `rate` k * 2^-24 with 0 < k < 2^24.
    """
    name, topic = origin.encode("ascii"), USER_TRAINING_RECORD.encode("ascii")
    body = b"".join(
        (
            rb"\x12\x24(?P=fork_id)",
            rb"\x18(?P<number>" + _VARINT + rb")",
            rb"(?:\x3d(?P<rate>.{4}+))?",
            rb"\x6a\x10.{16}+",
            *(rb"\x72\x24\x08" + kind + rb"\x12\x20" + _ANY_32 for kind in (rb"\x01", rb"\x02")),
            rb"(?P<update>\x72\x24\x08\x03\x12\x20" + _ANY_32 + rb")?",
            rb"\x72\x24\x08\x04\x12\x20" + _ANY_32,
            rb"\x7a\x24\x08\x01\x12\x20" + _ANY_32,
            # Encoding 1, EMPTY, has neither an update nor a rate; the others have an update.
            rb"\x80\x01(?(update)[\x02-\x06]|(?(rate)(?!)|\x01))",
            rb"(?P<terms>\x88\x01(?:" + _VARINT + rb")\x92\x01\x20" + _ANY_32 + rb"\x9a\x01\x20" + _ANY_32 + rb")",
            rb"\xa2\x01\x20" + _ANY_32,
        )
    )
    whole = b"".join(
        (
            rb"\x0a" + re.escape(varint(len(name)) + name),
            rb"\x12\x24(?P<fork_id>.{36}+)",
            rb"\x18(?P<version>" + _VARINT + rb")",
            rb"\x22\x20(?P<previous>" + _ANY_32 + rb")",
            rb"\x2a" + re.escape(bytes([len(topic)]) + topic),
            rb"\x32(?P<length>" + _SHORT + rb")(?P<body>" + body + rb")",
            rb"\x3a\x66\x0a\x20(?P<key_id>" + _ANY_32 + rb")\x10\x01\x1a\x40(?P<signature>.{64}+)",
            rb"\x40\x01\Z",  # authority: the fork's first entry, whose key is the only one that may sign yet
        )
    )
    return re.compile(whole, re.DOTALL)


def terms_of(created: ForkCreated) -> bytes:
    """What `terms` is in every record of a fork: dimension, layout and recipe."""
    return b"".join(
        (
            b"\x88\x01", varint(created.dimension),
            b"\x92\x01\x20", created.layout_digest,
            b"\x9a\x01\x20", created.recipe_digest,
        )
    )  # fmt: skip


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


SMALL_VARINTS = [varint(number) for number in range(1 << 14)]  # those of one and two bytes: `length` is one of them
