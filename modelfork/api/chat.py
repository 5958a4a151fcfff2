"""OpenAI-compatible chat: `model` names a fork, and the answer comes with the id of its record.

An interaction is the last user message and its answer; earlier messages are context and teach nothing again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ledger import api_errors, service
from modelfork.api.bodies import ChatBody, MessageBody
from modelfork.api.turns import Push, Turn
from modelfork.api.wiring import Forks, record_id_of, recorded_view
from modelfork.forks import Answered, ForkManager
from modelfork.generate import Sampling
from modelfork.interaction import Message

router = APIRouter(prefix="/v1", tags=["chat"])

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.get("/models")
def models(caller: service.Caller, served: service.Served) -> dict[str, Any]:
    """The app's forks, as OpenAI lists models."""
    forks = served.keystore.forks_of(caller.app_id)
    return {
        "object": "list",
        "data": [{"id": fork_id, "object": "model", "created": 0, "owned_by": caller.app_id} for fork_id in forks],
    }


@router.post("/chat/completions", response_model=None)
async def complete(
    request: Request,
    body: ChatBody,
    caller: service.Caller,
    served: service.Served,
    forks: Forks,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answer with the fork, learn what the last user message teaches, record it, and say under which id."""
    fork_id = service.expect_own_fork(served, caller, body.model)
    messages = messages_of(body.messages)
    sampling = Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=body.top_p or 1.0,
        seed=body.seed if body.seed is not None else int.from_bytes(served.random(7), "big"),
        max_tokens=body.max_completion_tokens or body.max_tokens or forks.manager.longest_answer,
        stop=body.stops,
    )
    record_id = record_id_of(served, caller, fork_id, idempotency_key)
    teaches = body.store is not False
    key = f"idempotency:{record_id.hex()}" if idempotency_key else _fingerprint(served, caller.app_id, body)

    def work(push: Push) -> Answered:
        return _answer(forks.manager, fork_id, record_id, messages, sampling, teaches, push)

    turn = forks.turns.join_or_start(key, work)
    await turn.begun()
    completion = _Completion(fork_id, forks.now() // 1_000_000)
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        events = completion.stream(turn, usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
    return JSONResponse(completion.whole(await turn.result()))


def messages_of(bodies: list[MessageBody]) -> tuple[Message, ...]:
    """OpenAI's developer role is what was called system before."""
    return tuple(Message("system" if said.role == "developer" else said.role, said.content) for said in bodies)


def _answer(
    manager: ForkManager,
    fork_id: str,
    record_id: bytes,
    messages: tuple[Message, ...],
    sampling: Sampling,
    teaches: bool,
    push: Push,
) -> Answered:
    """What one turn does, in a thread of its own. A record that exists already is answered from the ledger."""
    known = manager.find(fork_id, record_id)
    if known is not None:
        answered = manager.answered_again(known, messages)
        push(answered.interaction.answer)
        return answered
    return manager.take_turn(fork_id, record_id, messages, sampling, teaches, push)


def _fingerprint(served: service.Service, app_id: str, body: ChatBody) -> str:
    """What makes two requests identical: the app and every field. Keyed, so that no content's hash is kept about."""
    spelled = json.dumps([app_id, body.model_dump()], sort_keys=True).encode()
    return hmac.new(served.service_key.derive(b"identical-requests"), spelled, hashlib.sha256).hexdigest()


class _Completion:
    """Spells a turn as OpenAI's chat completion, whole or in chunks."""

    def __init__(self, fork_id: str, created: int) -> None:
        self._fork_id = fork_id
        self._created = created

    def _object(self, kind: str, completion_id: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": completion_id, "object": kind, "created": self._created, "model": self._fork_id}
        return {**head, "choices": choices, **more}

    def whole(self, answered: Answered) -> dict[str, Any]:
        said = answered.interaction
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": said.answer, "refusal": None},
            "logprobs": None,
            "finish_reason": said.finish_reason,
        }
        completion_id = f"chatcmpl-{answered.recorded.record_id.hex()}"
        more = {"usage": _usage(answered), "forkledger": recorded_view(answered.recorded)}
        return self._object("chat.completion", completion_id, [choice], **more)

    async def stream(self, turn: Turn[Answered], usage: bool) -> AsyncIterator[bytes]:
        """Chunks; the last one that has a choice comes after the commit and names the record."""
        kind = "chat.completion.chunk"
        completion_id = f"chatcmpl-{self._created}"

        def chunk(delta: dict[str, Any], finish: str | None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event(self._object(kind, completion_id, [choice], **more))

        yield chunk({"role": "assistant", "content": ""}, None)
        async for piece in turn.pieces():
            yield chunk({"content": piece}, None)
        try:
            answered = await turn.result()
        except Exception as error:  # the status line is long gone: the error goes into the stream
            response = api_errors.error_response(500, type(error).__name__, "the turn failed; nothing was recorded")
            yield b"data: " + bytes(response.body) + b"\n\n"
            return
        yield chunk({}, answered.interaction.finish_reason, forkledger=recorded_view(answered.recorded))
        if usage:
            yield _event(self._object(kind, completion_id, [], usage=_usage(answered)))
        yield b"data: [DONE]\n\n"


def _usage(answered: Answered) -> dict[str, int]:
    prompt, completion = answered.prompt_tokens, answered.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"
