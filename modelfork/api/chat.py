"""OpenAI-compatible chat: `model` names a fork, or `user` whose it is; the answer comes with the id of its record.

An interaction is the last user message and its answer; earlier messages are context and teach nothing again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from ledger import api_errors, service
from ledger.errors import Unavailable
from modelfork.api.bodies import FORK_OF_USER, LONGEST_KEY, ChatBody
from modelfork.api.outcomes import recorded_view
from modelfork.api.sent import messages_of
from modelfork.api.turns import Push, Turn
from modelfork.api.wiring import Forks, Wired, fork_of_user, record_id_of, request_of
from modelfork.forks import Answered, ForkManager
from modelfork.generate import Sampling
from modelfork.interaction import Message

router = APIRouter(prefix="/v1", tags=["chat"])

_LOG = logging.getLogger("forkledger.chat")

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=LONGEST_KEY)]


@router.get("/models")
def models(caller: service.Caller, served: service.Served) -> dict[str, Any]:
    """The app's forks that can be talked to, as OpenAI lists models."""
    keystore, store = served.keystore, served.ledger.store
    forks = [one for one in keystore.forks_of(caller.app_id) if keystore.holds_key(one) and store.head(one)]
    return {"object": "list", "data": [_model(fork_id, caller.app_id) for fork_id in forks]}


@router.get("/models/{fork_id}")
def model(fork_id: str, caller: service.Caller, served: service.Served) -> dict[str, Any]:
    """One fork, as OpenAI shows a model."""
    return _model(service.expect_own_fork(served, caller, fork_id), caller.app_id)


def _model(fork_id: str, app_id: str) -> dict[str, Any]:
    return {"id": fork_id, "object": "model", "created": 0, "owned_by": app_id}


@router.post("/chat/completions", response_model=None)
async def complete(
    body: ChatBody,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answer with the fork, learn what the last user message teaches, record it, and say under which id."""
    # Whatever may wait for a disk happens off the event loop.
    asked = await run_in_threadpool(_ask, served, forks, caller, body, idempotency_key)

    def work(push: Push) -> Answered:
        return _answer(forks.manager, asked, push)

    turn = forks.turns.join_or_start(asked.key, asked.request, work)
    with _told_of_the_end():
        await turn.begun()
    completion = _Completion(asked.fork_id, forks.now() // 1_000_000, served.random(12).hex())
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        events = completion.stream(turn, usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
    with _told_of_the_end():
        return JSONResponse(completion.whole(await turn.result()))


@contextmanager
def _told_of_the_end() -> Iterator[None]:
    """Requests are cancelled by a server alone that stops and has waited for them long enough. It ends the turn."""
    try:
        yield
    except asyncio.CancelledError:
        raise Unavailable(
            "this server is stopping, and records the turn before it does: ask again with the same Idempotency-Key"
        ) from None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A turn that is wanted. `key` is what a request joins by, `request` what makes it the same one."""

    fork_id: str
    record_id: bytes
    messages: tuple[Message, ...]
    sampling: Sampling
    teaches: bool
    key: str
    request: bytes


def _ask(
    served: service.Service, forks: Wired, caller: service.Caller, body: ChatBody, idempotency_key: str | None
) -> _Asked:
    fork_id = _fork_of(served, forks, caller, body)
    record_id = record_id_of(served, caller, fork_id, idempotency_key)
    request = request_of(served, caller, "chat", fork_id, body)
    drawn = hashlib.sha256(b"forkledger/sampling/v1\0" + record_id).digest()  # a retry that was lost draws the same
    sampling = Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=body.top_p or 1.0,
        seed=body.seed if body.seed is not None else int.from_bytes(drawn[:7], "big"),
        max_tokens=body.max_completion_tokens or body.max_tokens or forks.manager.longest_answer,
        stop=body.stops,
    )
    key = f"idempotency:{record_id.hex()}" if idempotency_key else f"identical:{request.hex()}"
    return _Asked(fork_id, record_id, messages_of(body.messages), sampling, body.store is not False, key, request)


def _fork_of(served: service.Service, forks: Wired, caller: service.Caller, body: ChatBody) -> str:
    if body.model == FORK_OF_USER and body.user is not None:
        return fork_of_user(served, forks, caller, body.user)
    return service.expect_own_fork(served, caller, body.model)


def _answer(manager: ForkManager, asked: _Asked, push: Push) -> Answered:
    """What one turn does, in a thread of its own. A record that exists already is answered from the ledger."""
    known = manager.find(asked.fork_id, asked.record_id)
    if known is not None:
        answered = manager.answered_again(known, asked.request)
        push(answered.interaction.answer)
        return answered
    return manager.take_turn(
        asked.fork_id, asked.record_id, asked.messages, asked.sampling, asked.teaches, push, asked.request
    )


class _Completion:
    """Spells a turn as OpenAI's chat completion, whole or in chunks."""

    def __init__(self, fork_id: str, created: int, number: str) -> None:
        self._fork_id = fork_id
        self._created = created
        self._number = number

    def _object(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": f"chatcmpl-{self._number}", "object": kind, "created": self._created, "model": self._fork_id}
        return {**head, "choices": choices, **more}

    def whole(self, answered: Answered) -> dict[str, Any]:
        said = answered.interaction
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": said.answer, "refusal": None},
            "logprobs": None,
            "finish_reason": said.finish_reason,
        }
        more = {"usage": _usage(answered), "forkledger": recorded_view(answered.recorded)}
        return self._object("chat.completion", [choice], **more)

    async def stream(self, turn: Turn[Answered], usage: bool) -> AsyncIterator[bytes]:
        """Chunks; the last one that has a choice comes after the commit and names the record."""
        kind = "chat.completion.chunk"
        shown = ""

        def chunk(delta: dict[str, Any], finish: str | None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event(self._object(kind, [choice], **more))

        yield chunk({"role": "assistant", "content": ""}, None)
        async for piece in turn.pieces():
            shown += piece
            yield chunk({"content": piece}, None)
        # The status line is long gone: what goes wrong from here on goes into the stream.
        try:
            answered = await turn.result()
        except Exception as error:
            _LOG.error("a turn failed in its stream: %s", api_errors.place_of(error))
            yield _failed("internal", "the turn failed; nothing of it was acknowledged")
            return
        if shown != answered.interaction.answer:
            yield _failed("conflict", "the same request was answered elsewhere; ask again for that answer")
            return
        yield chunk({}, answered.interaction.finish_reason, forkledger=recorded_view(answered.recorded))
        if usage:
            yield _event(self._object(kind, [], usage=_usage(answered)))
        yield b"data: [DONE]\n\n"


def _usage(answered: Answered) -> dict[str, int]:
    prompt, completion = answered.prompt_tokens, answered.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _failed(code: str, message: str) -> bytes:
    return b"data: " + bytes(api_errors.error_response(500, code, message).body) + b"\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"
