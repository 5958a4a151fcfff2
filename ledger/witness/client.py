"""What a log uses: asks its witnesses to cosign a checkpoint, all at once, and believes none of them unchecked.

One that is down, slow or lying costs its own cosignature and nothing else. What each did last is in `standings`.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import httpx

from ledger import checkpoint as checkpoints
from ledger import note
from ledger.checkpoint import Checkpoint
from ledger.cosign import Clock, cosigned_at
from ledger.errors import BadSignature, LedgerError, Malformed, Refused
from ledger.policy import Policy
from ledger.witness.request import AddCheckpoint, parse_size

LONGEST_ANSWER = 64 << 10  # bytes: a witness with a hundred keys stays below it

Prove: TypeAlias = Callable[[int], list[bytes]]
"""The proof that the log grew from this size to the checkpoint's (`merkle.prove_consistency`)."""

_LOG = logging.getLogger("forkledger.witness.client")


class State(enum.StrEnum):
    """How a witness answered last."""

    OK = "ok"  # it cosigned
    BEHIND = "behind"  # it named another size twice: somebody else asks it too; worth asking again
    UNREACHABLE = "unreachable"  # no answer in time, or an error of its own
    REFUSED = "refused"  # it does not know the log or its key, or what it answered does not hold
    ALARM = "alarm"  # it knows another history of this log, or a later one: the log was split, or went back


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness as a policy names it. It may have several keys; each of its signatures counts."""

    name: str
    url: str  # the submission prefix
    verifiers: tuple[note.Verifier, ...]


def witnesses_of(policy: Policy) -> list[Witness]:
    """The witnesses of a policy that have a URL. Keys at one URL are one witness, under the first's name."""
    keys: dict[str, list[tuple[str, note.Verifier]]] = {}
    for each in policy.witnesses:
        if each.url is not None:
            keys.setdefault(each.url.rstrip("/"), []).append((each.name, each.verifier))
    return [Witness(named[0][0], url, tuple(verifier for _, verifier in named)) for url, named in keys.items()]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a witness did last, for metrics and people. `reason` is empty where it cosigned."""

    state: State
    reason: str
    at: int  # seconds since 1970-01-01 UTC
    size: int | None  # the size that it cosigned last, as far as is known
    alarms: int  # how often it alarmed since this process began


class Witnesses:
    """The witnesses of one log. `collect` is for one thread at a time; `standings` for any.

    `timeout`, in seconds, is for one answer and also for a whole `collect`.
    """

    def __init__(self, witnesses: Sequence[Witness], timeout: float, now: Clock) -> None:
        self._witnesses = tuple(witnesses)
        if len({witness.name for witness in self._witnesses}) != len(self._witnesses):
            raise Refused("witnesses: expected each name once")
        self._timeout = timeout
        self._now = now
        self._http = httpx.Client(timeout=timeout, trust_env=False)
        self._pool = ThreadPoolExecutor(max(1, len(self._witnesses)), "witness")
        self._sizes: dict[str, int] = {}  # what each cosigned last, as far as is known
        self._standings: dict[str, Standing] = {}
        self._unanswered: dict[str, Future[list[note.Signature]]] = {}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def standings(self) -> dict[str, Standing]:
        """What each witness did last, by name; those that were never asked are missing."""
        return dict(self._standings)

    def collect(self, signed: bytes, old_size: int, prove: Prove) -> list[note.Signature]:
        """Verified cosignatures of a signed checkpoint, from those witnesses that gave one, in their order.

        Only the log's own signatures are sent on. `old_size` is where growth is shown from to a witness that has not
        answered yet; from then on it is what that witness cosigned last. Raises Malformed where `signed` is no
        checkpoint; whatever a witness does raises nothing.
        """
        unverified = note.parse(signed)
        tree = checkpoints.parse(unverified.text)
        own = b"".join(line.encode() for line in unverified.signatures if line.name == tree.origin)
        asked = _Asked(tree, unverified.text + b"\n" + own, cache(prove))

        asking: dict[str, Future[list[note.Signature]]] = {}
        for witness in self._witnesses:
            # One that is still being waited for since last time is not asked twice at once.
            if witness.name not in self._unanswered or self._unanswered[witness.name].done():
                old = min(self._sizes.get(witness.name, old_size), tree.size)
                asking[witness.name] = self._pool.submit(self._ask, witness, asked, old)
        wait(asking.values(), self._timeout)

        given: list[note.Signature] = []
        for witness in self._witnesses:
            answer = asking.get(witness.name)
            if answer is not None and answer.done():
                self._unanswered.pop(witness.name, None)
                given += answer.result()
                continue
            if answer is not None:
                self._unanswered[witness.name] = answer
            self._stand(witness, State.UNREACHABLE, f"no answer within {self._timeout:g} s")
        return given

    def _ask(self, witness: Witness, asked: _Asked, old: int) -> list[note.Signature]:
        """Its cosignatures, or none and why."""
        try:
            given = _cosignatures(self._http, witness, asked, old, self._timeout)
        except _NotGiven as reason:
            if reason.size is not None:
                self._sizes[witness.name] = reason.size
            self._stand(witness, reason.state, str(reason))
            return []
        except Exception as error:  # of a witness's making, or a proof's; the others go on
            self._stand(witness, State.REFUSED, f"could not be asked: {type(error).__name__}")
            return []
        self._sizes[witness.name] = asked.tree.size
        self._stand(witness, State.OK, "")
        return given

    def _stand(self, witness: Witness, state: State, reason: str) -> None:
        before = self._standings.get(witness.name)
        alarms = (before.alarms if before else 0) + (state is State.ALARM)
        size = self._sizes.get(witness.name)
        self._standings[witness.name] = Standing(state, reason, self._now(), size, alarms)
        if state is not State.OK and (before is None or (before.state, before.reason) != (state, reason)):
            _LOG.log(
                logging.ERROR if state is State.ALARM else logging.WARNING,
                "witness %s: %s: %s",
                witness.name,
                state.value,
                reason,
                extra={"event": "witness", "witness": witness.name, "state": state.value, "witness_size": size},
            )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every witness is asked."""

    tree: Checkpoint
    signed: bytes  # with the log's own signatures alone
    prove: Prove

    def growing_from(self, old: int) -> bytes:
        try:
            return AddCheckpoint(old, tuple(self.prove(old)), self.signed).encode()
        except LedgerError as error:
            raise _NotGiven(State.REFUSED, f"no proof of growth from size {old} can be made: {error}") from None


class _NotGiven(Exception):
    """Why a witness gave no cosignature, and the size that it named, if any."""

    def __init__(self, state: State, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.state = state
        self.size = size


def _cosignatures(
    http: httpx.Client, witness: Witness, asked: _Asked, old: int, timeout: float
) -> list[note.Signature]:
    """Ask one witness, and once more where it names another size. Raises _NotGiven."""
    end = time.monotonic() + timeout
    status, body = _post(http, witness.url, asked.growing_from(old), end)
    if status == 409:
        old = _named_size(body, asked.tree, old)
        status, body = _post(http, witness.url, asked.growing_from(old), end)
    where = f"growth from size {old} to {asked.tree.size}"
    match status:
        case 200:
            return _verified(body, asked, witness)
        case 409:
            named = _named_size(body, asked.tree, old)
            raise _NotGiven(State.BEHIND, f"{where}: it named size {old}, and then size {named}", named)
        case 422 if old > 0:
            raise _NotGiven(State.ALARM, f"{where}: the tree that it cosigned at size {old} is not the one of this log")
        case 403:
            raise _NotGiven(State.REFUSED, "it does not know this log's key")
        case 404:
            raise _NotGiven(State.REFUSED, "it does not know this log")
    if status == 429 or status >= 500:
        raise _NotGiven(State.UNREACHABLE, f"it answered with status {status}")
    raise _NotGiven(State.REFUSED, f"{where}: it answered with status {status}")


def _named_size(body: bytes, tree: Checkpoint, old: int) -> int:
    """Where a witness wants growth to start that answered 409. Raises _NotGiven where nothing leads from there here."""
    try:
        named = parse_size(body)
    except Malformed:
        named = old  # tlog-witness 1.0.0 asks for a size only where it is another than the one that was sent
    if named > tree.size:
        said = f"it cosigned size {named}, this is size {tree.size}: the log went back, or was split"
        raise _NotGiven(State.ALARM, said, named)
    if named == old == tree.size:
        raise _NotGiven(State.ALARM, f"it cosigned another root at size {named}: the log was split", named)
    if named == old:
        raise _NotGiven(State.REFUSED, f"it was shown growth from size {old}, answered 409 and named no other size")
    return named


def _verified(body: bytes, asked: _Asked, witness: Witness) -> list[note.Signature]:
    """The cosignatures in an answer, checked against the keys of the witness that gave it. Raises _NotGiven."""
    text = asked.tree.encode()
    try:
        opened = note.open_note(text + b"\n" + body, witness.verifiers)
        if opened.text != text:  # an empty line in the answer moves the end of the text
            raise Malformed("expected signature lines alone")
        if any(cosigned_at(line.signature) == 0 for line in opened.signatures):
            raise BadSignature("expected a time in the cosignature")
    except LedgerError as error:
        raise _NotGiven(State.REFUSED, f"what it answered does not hold: {error}") from None
    return list(opened.signatures)


def _post(http: httpx.Client, prefix: str, request: bytes, end: float) -> tuple[int, bytes]:
    """Status and body of the answer. Raises _NotGiven where none comes in time, or a very long one."""
    try:
        url = f"{prefix.rstrip('/')}/add-checkpoint"
        headers = {"accept-encoding": "identity", "content-type": "text/plain; charset=utf-8"}
        with http.stream("POST", url, content=request, headers=headers) as answer:
            body = b""
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > LONGEST_ANSWER:
                    raise _NotGiven(State.REFUSED, f"expected an answer of at most {LONGEST_ANSWER} bytes")
                if time.monotonic() > end:
                    raise _NotGiven(State.UNREACHABLE, "no whole answer in time")
            return answer.status_code, body
    except httpx.InvalidURL as error:
        raise _NotGiven(State.REFUSED, f"its URL cannot be used: {error}") from None
    except httpx.HTTPError as error:
        raise _NotGiven(State.UNREACHABLE, f"no answer: {type(error).__name__}") from None
