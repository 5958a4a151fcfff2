"""What an app sends that generates elsewhere, and what it is told: turns, verdicts, and what a fork made of them.

These are the verbs of forks in service custody: a service without models has no such routes, and answers NotFound.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ledger.client.answers import Head, read_head
from ledger.client.call import Call
from ledger.client.refusal import error_of
from ledger.client.trust import Trust
from ledger.client.verbs import LONGEST_PAGE
from ledger.errors import BadProof, LedgerError, Malformed
from ledger.keys import check_fork_id
from ledger.receipt import Receipt

JSON = {"content-type": "application/json"}
LONGEST_BATCH = 600.0  # seconds that the answer to a batch may take: it is written as it is learned


@dataclass(frozen=True, slots=True)
class Message:
    """`role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Interaction:
    """A turn that was generated elsewhere: what the model was shown, the last user message last, and its answer.

    `key` is the app's own, one an interaction in its fork: sent again it is recorded once. `rating` is from -1 to 1.
    """

    key: str
    messages: tuple[Message, ...]
    answer: str
    correction: str = ""
    rating: float | None = None
    comment: str = ""
    teaches: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the person thinks of an earlier answer, by the id of its record. `key` and `rating` as above."""

    key: str
    record_id: bytes  # 16
    correction: str = ""
    rating: float | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """An end user by the app's own id: stands for their fork, which is made on first use."""

    name: str


Sent: TypeAlias = Interaction | Verdict

Fork: TypeAlias = str | User
"""A fork by its id, or that of an end user."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a statement was learned as."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Learned:
    """The log's promise for a record, as the signed note and as what that says; the rest is the service's word."""

    receipt: Receipt
    signed: bytes
    record_id: bytes  # 16
    learned: bool
    practised: bool  # nothing new: what was told earlier was learned again
    noted: tuple[Noted, ...]
    waited_ms: float  # in the app's queue
    learning_ms: float  # from there to the receipt


Taught: TypeAlias = Learned | LedgerError
"""What became of one of many."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What became of one of a stream, and how many of the stream wait behind it at the service. `fork` is as given."""

    fork: Fork
    key: str
    outcome: Taught
    waiting: int


@dataclass(frozen=True, slots=True)
class ServedFork:
    """A fork as it stands, by the service's word. One in self custody is not paused, and its state is its owner's."""

    head: Head
    paused: bool
    state_digest: bytes  # 32; of one in self custody empty

    @property
    def fork_id(self) -> str:
        return self.head.fork_id


@dataclass(frozen=True, slots=True)
class Remembered:
    """A record of a fork as the service opens it."""

    version: int
    leaf_index: int
    record_id: bytes  # 16
    created_at: int  # microseconds since 1970-01-01 UTC
    said: str
    answer: str
    correction: str
    rating: float | None
    comment: str
    refers_to: bytes  # 16 of a verdict, else empty
    teaches: bool
    learned: bool
    practised: bool  # nothing new: what was told earlier was learned again
    noted: tuple[Noted, ...]


def fork_of(trust: Trust, user: str) -> Call[ServedFork]:
    content = _json({"user": user})
    return Call("POST", "/v1/forks", lambda body: _read_fork(json.loads(body)), trust, content=content, headers=JSON)


def fork(trust: Trust, fork_id: str) -> Call[ServedFork]:
    return Call("GET", f"/v1/forks/{check_fork_id(fork_id)}", lambda body: _read_fork(json.loads(body), fork_id), trust)


def pause(trust: Trust, fork_id: str, paused: bool) -> Call[None]:
    path = f"/v1/forks/{check_fork_id(fork_id)}/learning"
    return Call(
        "PUT",
        path,
        lambda body: _expect_said(json.loads(body), paused),
        trust,
        content=_json({"paused": paused}),
        headers=JSON,
    )


def history(trust: Trust, fork_id: str, after: int, limit: int) -> Call[tuple[Remembered, ...]]:
    return Call(
        "GET",
        f"/v1/forks/{check_fork_id(fork_id)}/history",
        lambda body: tuple(_read_remembered(one) for one in json.loads(body)["history"]),
        trust,
        params={"after": str(max(after, 1)), "limit": str(limit)},  # version 1 is no record
        longest=LONGEST_PAGE,
    )


def interact(trust: Trust, fork_id: str, several: Sequence[Sent]) -> Call[list[Taught]]:
    """What cannot be spelled has its refusal in its place, and stops no other."""
    each = [spelled_or_refused(one, {}) for one in several]
    return Call(
        "POST",
        f"/v1/forks/{check_fork_id(fork_id)}/interactions/batch",
        lambda body: _read_batch(json.loads(body), trust, fork_id, [refusal for _, refusal in each]),
        trust,
        content=f"[{','.join(spelling for spelling, _ in each)}]".encode(),
        headers=JSON,
        fork_id=fork_id,
        seconds=LONGEST_BATCH,
    )


NOTHING = "{}"  # sent in the place of what cannot be spelled, so that the service answers by number as for all


def spelled_or_refused(sent: Sent, named: dict[str, str]) -> tuple[str, LedgerError | None]:
    """The JSON that the service reads, with its fork where it has to be `named`; or NOTHING, and why."""
    try:
        spelling = json.dumps(_spelled(sent) | named, ensure_ascii=False)
        spelling.encode()
    except UnicodeEncodeError:
        return NOTHING, Malformed("interaction: expected text, got half of a surrogate pair in it")
    except (TypeError, ValueError, AttributeError):
        return NOTHING, Malformed(
            "interaction: expected an Interaction with Messages or a Verdict, and in each the types of its fields, got "
            + type(sent).__name__
        )
    return spelling, None


def _spelled(sent: Sent) -> dict[str, Any]:
    said: dict[str, Any] = {
        "key": sent.key,
        "correction": sent.correction,
        "rating": sent.rating,
        "comment": sent.comment,
    }
    if isinstance(sent, Verdict):
        return said | {"record_id": sent.record_id.hex()}
    messages = [{"role": message.role, "content": message.content} for message in sent.messages]
    return said | {"messages": messages, "answer": sent.answer, "store": sent.teaches}


def read_taught(said: Any, trust: Trust, fork_id: str | None) -> Taught:
    """One of a batch or a stream; `fork_id` is None where the service chose the fork by a user's name."""
    try:
        if "error" in said:
            return error_of(int(said["status"]), said["error"], trust, fork_id=fork_id)
        signed = base64.b64decode(said["receipt"], validate=True)
        receipt = trust.open_receipt(signed)
        if fork_id is not None and receipt.fork_id != fork_id:
            raise BadProof("receipt: expected one of the fork that was asked for, got another's")
        times = float(said["waited_ms"]), float(said["learning_ms"])
        moved = said["learned"] is True, said["practised"] is True
        return Learned(receipt, signed, bytes.fromhex(said["record_id"]), *moved, _read_noted(said["noted"]), *times)
    except LedgerError as error:
        return error


def _read_batch(said: Any, trust: Trust, fork_id: str, refused: Sequence[LedgerError | None]) -> list[Taught]:
    results = said["results"]
    if len(results) != len(refused):
        raise Malformed(f"batch: expected {len(refused)} results, {len(results)} came")
    return [refusal or read_taught(one, trust, fork_id) for one, refusal in zip(results, refused, strict=True)]


def _read_noted(said: Any) -> tuple[Noted, ...]:
    return tuple(Noted(str(one["question"]), str(one["answer"])) for one in said)


def _read_fork(said: Any, fork_id: str | None = None) -> ServedFork:
    head = read_head(said, check_fork_id(said["fork_id"]) if fork_id is None else fork_id)
    digest = bytes.fromhex(said.get("state_digest", ""))
    return ServedFork(head, said.get("paused") is True, digest)


def _read_remembered(said: Any) -> Remembered:
    return Remembered(
        version=int(said["version"]),
        leaf_index=int(said["leaf_index"]),
        record_id=bytes.fromhex(said["record_id"]),
        created_at=int(said["created_at"]),
        said=str(said["said"]),
        answer=str(said["answer"]),
        correction=str(said["correction"]),
        rating=None if said["rating"] is None else float(said["rating"]),
        comment=str(said["comment"]),
        refers_to=bytes.fromhex(said["refers_to"]),
        teaches=said["teaches"] is True,
        learned=said["learned"] is True,
        practised=said["practised"] is True,
        noted=_read_noted(said["noted"]),
    )


def _expect_said(said: Any, paused: bool) -> None:
    if said["paused"] is not paused:
        raise Malformed(f"learning: expected paused to be {paused} now, the service says otherwise")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
