"""What apps send that generate elsewhere: read from JSON or protobuf into the same bodies, then learned and recorded.

A key means the same through every door: what one request, a batch or a stream recorded under it is found by the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from pydantic import ValidationError

from ledger import service
from ledger.errors import Malformed, Refused
from modelfork.api.bodies import (
    InteractionBody,
    KeyedInteraction,
    KeyedVerdict,
    MessageBody,
    StreamedInteraction,
    StreamedVerdict,
    VerdictBody,
)
from modelfork.api.wiring import Wired, record_id_of, request_of
from modelfork.forks import Recorded
from modelfork.interaction import Interaction, Message
from modelfork.wire.v1 import interaction_pb2 as wire

MOST_IN_BATCH = 100

Keyed = KeyedInteraction | KeyedVerdict
Streamed = StreamedInteraction | StreamedVerdict
Arrived = Keyed | ValidationError | Malformed  # or why what came is none


def read_batch(data: bytes, protobuf: bool) -> list[Arrived]:
    """Each interaction of a batch, or what is wrong with it. Raises Malformed and Refused, of the whole batch."""
    sent = _spelled_batch(data) if protobuf else _json(data)
    if not isinstance(sent, list) or not sent:
        what = "nothing in it" if isinstance(sent, list) else "something else"
        raise Malformed(f"interactions: expected an array of 1 to {MOST_IN_BATCH} of them, got {what}")
    if len(sent) > MOST_IN_BATCH:
        raise Refused(f"interactions: expected at most {MOST_IN_BATCH}, got {len(sent)}")
    return [_keyed(each) for each in sent]


def read_frame(frame: str | bytes) -> Streamed | ValidationError | Malformed:
    """One frame of a stream: JSON in a text frame, protobuf in a binary one."""
    try:
        sent = _spelled_one(frame) if isinstance(frame, bytes) else _json(frame)
        return StreamedVerdict.model_validate(sent) if _is_verdict(sent) else StreamedInteraction.model_validate(sent)
    except (ValidationError, Malformed) as error:
        return error


def _keyed(sent: Any) -> Arrived:
    try:
        return KeyedVerdict.model_validate(sent) if _is_verdict(sent) else KeyedInteraction.model_validate(sent)
    except ValidationError as error:
        return error


def _is_verdict(sent: Any) -> bool:
    return isinstance(sent, Mapping) and "record_id" in sent


def _json(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed(f"interactions: {len(data)} bytes do not parse as JSON") from None


def _spelled_batch(data: bytes) -> list[dict[str, Any]]:
    batch = wire.SentInteractions()
    try:
        batch.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"interactions: {len(data)} bytes do not parse as SentInteractions") from None
    _expect_known(batch)
    return [_spelled(each) for each in batch.interactions]


def _spelled_one(data: bytes) -> dict[str, Any]:
    sent = wire.SentInteraction()
    try:
        sent.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"interaction: {len(data)} bytes do not parse as SentInteraction") from None
    return _spelled(sent)


def _spelled(sent: wire.SentInteraction) -> dict[str, Any]:
    """The message as its JSON would be read, so that one check is enough for both."""
    _expect_known(sent)
    said: dict[str, Any] = {"key": sent.key}
    if sent.fork_id:
        said["fork_id"] = sent.fork_id
    if sent.user:
        said["user"] = sent.user
    if sent.HasField("rating"):
        said["rating"] = sent.rating
    said |= {"correction": sent.correction, "comment": sent.comment}
    turn = {
        "messages": [{"role": message.role, "content": message.content} for message in sent.messages],
        "answer": sent.answer,
        "store": not sent.untaught,
    }
    if not sent.record_id:
        return said | turn
    more = turn if sent.messages or sent.answer or sent.untaught else {}
    return said | {"record_id": sent.record_id.hex()} | more


def _expect_known(message: Any) -> None:
    if len(UnknownFieldSet(message)):
        raise Malformed(f"{type(message).__name__}: it has a field that is not known here")


def record(
    served: service.Service, forks: Wired, caller: service.Caller, fork_id: str, body: InteractionBody | VerdictBody,
    key: str | None,
) -> Recorded:  # fmt: skip
    """Learn from what an app sent, and record it. Takes as long as learning does."""
    service.expect_own_fork(served, caller, fork_id)
    record_id = record_id_of(served, caller, fork_id, key)
    if isinstance(body, VerdictBody):
        request = request_of(served, caller, "verdict", fork_id, body)
        judged = bytes.fromhex(body.record_id)
        return forks.manager.judge(
            fork_id, record_id, judged, body.correction, body.rating, body.comment, request
        )  # fmt: skip
    request = request_of(served, caller, "interaction", fork_id, body)
    return forks.manager.record(fork_id, record_id, _interaction_of(body), request)


def _interaction_of(body: InteractionBody) -> Interaction:
    return Interaction(
        messages=messages_of(body.messages),
        answer=body.answer,
        correction=body.correction,
        rating=body.rating,
        comment=body.comment,
        teaches=body.store,
    )


def messages_of(bodies: list[MessageBody]) -> tuple[Message, ...]:
    """OpenAI's developer role is what was called system before."""
    return tuple(Message("system" if said.role == "developer" else said.role, said.content) for said in bodies)
