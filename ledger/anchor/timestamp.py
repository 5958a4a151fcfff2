"""A checkpoint and a timestamp authority's token over it, in one file: what `/v1/log/timestamp` gives and
`forkledger verify --tsa-roots` takes. One JSON object; the checkpoint is text as it was signed, the token base64."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from ledger.anchor.rfc3161 import LONGEST_ANSWER
from ledger.errors import Malformed

FORMAT = "forkledger/timestamp/v1"
LONGEST_TIMESTAMP = 2 * LONGEST_ANSWER  # bytes: the token in base64, and a checkpoint with its signatures


@dataclass(frozen=True, slots=True)
class Timestamp:
    checkpoint: bytes  # a signed note
    token: bytes  # an RFC 3161 response, DER


def encode_timestamp(stamp: Timestamp) -> bytes:
    shown = {
        "format": FORMAT,
        "checkpoint": stamp.checkpoint.decode(),
        "token": base64.b64encode(stamp.token).decode(),
    }
    return json.dumps(shown, indent=2, ensure_ascii=False).encode() + b"\n"


def decode_timestamp(data: bytes) -> Timestamp:
    """Raises Malformed, which says what was expected."""
    if len(data) > LONGEST_TIMESTAMP:
        raise Malformed(f"timestamp: expected at most {LONGEST_TIMESTAMP} bytes")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("timestamp: expected a JSON object") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise Malformed(f"timestamp: expected a JSON object of the format {FORMAT}")
    checkpoint, token = told.get("checkpoint"), told.get("token")
    if set(told) != {"format", "checkpoint", "token"} or not isinstance(checkpoint, str) or not isinstance(token, str):
        raise Malformed("timestamp: expected the fields format, checkpoint and token, all text")
    try:
        return Timestamp(checkpoint.encode(), base64.b64decode(token, validate=True))
    except (binascii.Error, UnicodeEncodeError):
        raise Malformed("timestamp: expected a token in base64 and a checkpoint in UTF-8") from None
