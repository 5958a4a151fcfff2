"""Chat as OpenAI's own client speaks it. The tiny base says nothing sensible, but always the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from modelfork import forks
from modelfork.interaction import Message
from modelfork.learn import Learned
from modelfork.recording import Metrics
from modelfork.update import empty
from tests.modelfork.api.house import House

ASKED: list[Any] = [{"role": "user", "content": "What is it?"}]  # a bare question: it teaches nothing
TOLD: list[Any] = [{"role": "user", "content": "My dog is called Rex."}]


def ask(client: openai.OpenAI, fork: str, messages: list[Any] = ASKED, **more: Any) -> Any:
    return client.chat.completions.create(model=fork, messages=messages, **{"max_tokens": 8, **more})


def history(http: httpx.Client, fork: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = http.get(f"/v1/forks/{fork}/history").raise_for_status().json()["history"]
    return told[1:]


def test_an_answer_is_a_chat_completion_that_names_its_record(
    client: openai.OpenAI, http: httpx.Client, fork: str
) -> None:
    answer = ask(client, fork)
    assert answer.object == "chat.completion"
    assert answer.model == fork
    assert answer.choices[0].message.role == "assistant"
    (recorded,) = history(http, fork)
    assert recorded["record_id"] == answer.forkledger["record_id"]
    assert recorded["answer"] == answer.choices[0].message.content
    assert recorded["said"] == "What is it?"


def test_usage_counts_the_tokens_of_the_rendered_prompt_and_of_the_answer(
    house: House, client: openai.OpenAI, fork: str
) -> None:
    usage = ask(client, fork, temperature=0, max_tokens=7).usage
    prompt = house.manager._base.render([Message("user", "What is it?")], prompt=True)
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(prompt), 7)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_record_says_how_its_step_went_and_how_many_tokens_were_read_and_said(
    house: House, client: openai.OpenAI, fork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    went = Metrics(loss_before=2.5, learned_tokens=90, iterations=3, guard_quarters=2, loss_after=0.5, anchor_loss=0.25)
    monkeypatch.setattr(forks, "practise", lambda base, *_: Learned(empty(base.cores.dimension), metrics=went))
    answer = ask(client, fork, temperature=0, max_tokens=7)
    known = house.manager.find(fork, bytes.fromhex(answer.forkledger["record_id"]))
    assert known is not None
    read = answer.usage.prompt_tokens
    assert known.particulars.metrics == replace(went, prompt_tokens=read, completion_tokens=7)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_that_reaches_its_limit_says_length(client: openai.OpenAI, fork: str, name: str) -> None:
    answer = client.chat.completions.create(model=fork, messages=ASKED, **{name: 3})  # type: ignore[call-overload]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_an_answer_without_a_limit_ends_where_the_context_does(house: House, client: openai.OpenAI, fork: str) -> None:
    answer = client.chat.completions.create(model=fork, messages=ASKED, temperature=0)
    assert answer.usage is not None
    assert answer.usage.total_tokens <= house.manager.longest_answer
    if answer.choices[0].finish_reason == "length":
        assert answer.usage.total_tokens == house.manager.longest_answer


def test_a_stop_string_ends_the_answer_and_is_no_part_of_it(client: openai.OpenAI, fork: str) -> None:
    whole = ask(client, fork, temperature=0, max_tokens=60).choices[0].message.content
    stop = next(whole[at : at + 2] for at in range(3, len(whole)) if whole[at : at + 2].isascii())
    for given in (stop, [stop, "\0 never"]):
        cut = ask(client, fork, temperature=0, max_tokens=60, stop=given)
        assert cut.choices[0].message.content == whole[: whole.find(stop)]
        assert cut.choices[0].finish_reason == "stop"


def test_temperature_0_always_gives_the_same_answer(client: openai.OpenAI, fork: str) -> None:
    answers = {ask(client, fork, temperature=0, seed=seed, max_tokens=30).choices[0].message.content for seed in (1, 2)}
    assert len(answers) == 1


def test_a_seed_gives_the_same_answer_again_and_another_seed_another(client: openai.OpenAI, fork: str) -> None:
    first, again, other = (
        ask(client, fork, temperature=1.5, seed=seed, max_tokens=40).choices[0].message.content for seed in (7, 7, -8)
    )
    assert first == again
    assert first != other


def test_a_small_top_p_is_greedy(client: openai.OpenAI, fork: str) -> None:
    greedy = ask(client, fork, temperature=0, max_tokens=20)
    narrow = ask(client, fork, temperature=2, top_p=1e-9, max_tokens=20)
    assert greedy.choices[0].message.content == narrow.choices[0].message.content


def chunks(client: openai.OpenAI, fork: str, **more: Any) -> Iterator[Any]:
    yield from ask(client, fork, stream=True, **more)


def test_a_stream_says_what_an_answer_in_one_piece_says(client: openai.OpenAI, fork: str) -> None:
    whole = ask(client, fork, temperature=0, max_tokens=40)
    streamed = list(chunks(client, fork, temperature=0, max_tokens=40))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == whole.choices[0].message.content
    assert len({chunk.id for chunk in streamed}) == 1
    assert streamed[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in streamed[:-1]] == [None] * (len(streamed) - 1)
    assert streamed[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_streams_last_chunk_names_a_record_that_is_durable_by_then(
    house: House, client: openai.OpenAI, fork: str
) -> None:
    for chunk in chunks(client, fork):
        named = getattr(chunk, "forkledger", None)
        if named:
            stored = house.ledger.record(fork, bytes.fromhex(named["record_id"]))
            assert stored is not None
            assert stored.version == named["version"] == 2
            return
    pytest.fail("no chunk named the record")


def test_usage_comes_in_a_stream_only_when_it_is_asked_for(client: openai.OpenAI, fork: str) -> None:
    *_, last = chunks(client, fork, max_tokens=5, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens == 5
    assert all(chunk.usage is None for chunk in chunks(client, fork, max_tokens=5))


def test_a_bare_question_teaches_nothing_and_an_answer_says_whether_the_state_changed(
    client: openai.OpenAI, http: httpx.Client, fork: str
) -> None:
    before = http.get(f"/v1/forks/{fork}").json()["state_digest"]
    assert ask(client, fork).forkledger["learned"] is False
    assert http.get(f"/v1/forks/{fork}").json()["state_digest"] == before
    learned = ask(client, fork, TOLD).forkledger["learned"]  # whether own words teach is for the base to say
    assert (http.get(f"/v1/forks/{fork}").json()["state_digest"] != before) is learned


def test_store_false_records_the_turn_with_an_empty_update(
    house: House, client: openai.OpenAI, http: httpx.Client, fork: str
) -> None:
    before = http.get(f"/v1/forks/{fork}").json()["state_digest"]
    answer = ask(client, fork, TOLD, store=False)
    assert answer.forkledger["learned"] is False
    known = house.manager.find(fork, bytes.fromhex(answer.forkledger["record_id"]))
    assert known is not None
    assert known.interaction.teaches is False
    (recorded,) = history(http, fork)
    assert (recorded["said"], recorded["learned"], recorded["step"]) == (TOLD[0]["content"], False, 0)
    assert http.get(f"/v1/forks/{fork}").json()["state_digest"] == before


def test_earlier_messages_of_a_request_teach_nothing_again(
    client: openai.OpenAI, http: httpx.Client, fork: str
) -> None:
    ask(client, fork, TOLD)
    before = http.get(f"/v1/forks/{fork}").json()["state_digest"]
    again = ask(client, fork, [*TOLD, {"role": "assistant", "content": "I see."}, *ASKED])
    assert again.forkledger["learned"] is False
    assert http.get(f"/v1/forks/{fork}").json()["state_digest"] == before


def test_a_developer_message_is_a_system_message_and_text_parts_are_joined(
    client: openai.OpenAI, http: httpx.Client, fork: str
) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "it?"}]
    plain, other = (
        ask(client, fork, [{"role": role, "content": "Be brief."}, {"role": "user", "content": content}], temperature=0)
        for role, content in (("system", "What is it?"), ("developer", parts))
    )
    assert plain.choices[0].message.content == other.choices[0].message.content
    assert plain.usage == other.usage
    assert {told["said"] for told in history(http, fork)} == {"What is it?"}


def test_models_are_the_apps_forks(client: openai.OpenAI, http: httpx.Client, fork: str) -> None:
    second = http.post("/v1/forks").json()["fork_id"]
    assert [model.id for model in client.models.list()] == [fork, second]
    assert client.models.retrieve(fork).id == fork


@pytest.mark.parametrize("model", ["gpt-4", "00000000-0000-4000-8000-000000000000", "../../etc", "é" * 50])
def test_an_unknown_model_is_not_found(client: openai.OpenAI, house: House, model: str) -> None:
    size = house.ledger.size()
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, model)
    assert refused.value.code == "not_found"
    assert house.ledger.size() == size


def test_a_prompt_longer_than_the_context_is_a_bad_request_of_openais_own_code(
    client: openai.OpenAI, house: House, fork: str
) -> None:
    size = house.ledger.size()
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, fork, [{"role": "user", "content": "long " * 100}], stream=stream)
        assert refused.value.code == "context_length_exceeded"
        assert refused.value.type == "invalid_request_error"
    assert house.ledger.size() == size


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"functions": [{"name": "f"}]},
        {"tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"logit_bias": {"5": 1}},
        {"frequency_penalty": 1.0},
        {"temperature": 2.5},
        {"temperature": -1},
        {"top_p": 0},
        {"max_tokens": 0},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"seed": 2**63},
        {"messages": []},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "  \n"}]},
        {"messages": [{"role": "user", "content": "x" * 100_000}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [*ASKED, {"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x"}] * 257},
    ],
    ids=lambda wanted: "-".join(f"{name}={str(value)[:30]}" for name, value in wanted.items()),
)
def test_what_cannot_be_honoured_is_refused_and_not_recorded(
    client: openai.OpenAI, house: House, fork: str, wanted: dict[str, Any]
) -> None:
    size = house.ledger.size()
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, fork, **wanted)
    assert refused.value.code == "invalid_value"
    assert refused.value.param or "message" in str(refused.value)
    assert house.ledger.size() == size
    assert ask(client, fork).forkledger["version"] == 2


def test_options_at_their_defaults_are_taken(client: openai.OpenAI, fork: str) -> None:
    ask(
        client, fork, n=1, frequency_penalty=0, presence_penalty=0.0, response_format={"type": "text"}, logprobs=False,
        user="u", metadata={"a": "b"}, stop=None, tool_choice="none", modalities=["text"],
    )  # fmt: skip
