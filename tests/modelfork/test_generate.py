"""Answers repeat under a seed, end where they should, and stream in whole characters."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modelfork.base import Base, load_base
from modelfork.errors import TooLong
from modelfork.generate import Sampling, TextStream, choose, generate, generate_batch
from modelfork.interaction import Message


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base)


def prompt(base: Base, text: str = "What is 3 and 3?") -> list[int]:
    return base.render([Message("user", text)], prompt=True)


def streamed(base: Base, tokens: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    stream = TextStream(base, stop)
    parts = [stream.push(token) for token in tokens]
    return [*parts, stream.finish()], stream


def test_a_seed_fixes_what_is_drawn(base: Base) -> None:
    def drawn(seed: int) -> list[int]:
        return list(generate(base, None, prompt(base), Sampling(temperature=1.0, seed=seed, max_tokens=20)))

    torch.manual_seed(1)
    first = drawn(4)
    torch.manual_seed(2)  # the generator that everybody shares has no say
    assert drawn(4) == first
    assert drawn(5) != first


def test_greedy_with_a_cache_is_greedy_without_one(base: Base) -> None:
    state = np.random.default_rng(0).integers(-(2**20), 2**20, base.cores.dimension)
    tokens = prompt(base)
    for token in generate(base, state, prompt(base), Sampling(max_tokens=12)):
        with torch.inference_mode(), base.cores.running(base.cores.of(state)):
            logits = base.model(input_ids=torch.tensor([tokens])).logits[0, -1]
        assert token == int(logits.argmax())
        tokens.append(token)


def test_answers_take_turns_without_touching_each_other(base: Base) -> None:
    states = np.random.default_rng(1).integers(-(2**21), 2**21, (2, base.cores.dimension))
    alone = [list(generate(base, state, prompt(base), Sampling(max_tokens=10))) for state in states]
    both = [generate(base, state, prompt(base), Sampling(max_tokens=10)) for state in states]
    turns = [(next(both[0]), next(both[1])) for _ in range(min(map(len, alone)))]
    assert [list(column) for column in zip(*turns, strict=True)] == [part[: len(turns)] for part in alone]
    assert alone[0] != alone[1]


def test_a_batch_says_what_each_would_say_alone(base: Base) -> None:
    states = np.random.default_rng(2).integers(-(2**21), 2**21, (3, base.cores.dimension))
    prompts = [prompt(base, "Hi"), prompt(base, "What is 4 and 4?"), prompt(base, "Longer words than before")]
    together = generate_batch(base, states, prompts, 8)
    alone = [generate_batch(base, state, [one], 8)[0] for state, one in zip(states, prompts, strict=True)]
    assert together == alone
    assert generate_batch(base, None, []) == []


def test_an_answer_ends_with_the_turn_or_at_its_limit(base: Base) -> None:
    tokens = list(generate(base, None, prompt(base), Sampling(temperature=1.0, seed=1, max_tokens=7)))
    assert len(tokens) <= 7
    assert all(token not in base.ends for token in tokens[:-1])


def test_an_answer_stops_at_the_end_of_the_context(base: Base) -> None:
    full = [1] * (base.context - 3)
    assert len(list(generate(base, None, full, Sampling(max_tokens=50)))) <= 3


def test_a_prompt_without_room_for_an_answer_is_refused_at_once(base: Base) -> None:
    with pytest.raises(TooLong, match="256 tokens"):
        generate(base, None, [1] * base.context, Sampling())
    with pytest.raises(TooLong):
        generate_batch(base, None, [[1], [1] * base.context])


def test_only_what_top_p_leaves_is_drawn() -> None:
    logits = torch.log(torch.tensor([[0.05, 0.5, 0.3, 0.15]]))
    drawn = torch.Generator().manual_seed(0)
    seen = {int(choose(logits, 1.0, 0.6, drawn)) for _ in range(200)}
    assert seen == {1, 2}
    assert {int(choose(logits, 1.0, 1e-9, drawn)) for _ in range(20)} == {1}
    assert {int(choose(logits, 1.0, 1.0, drawn)) for _ in range(400)} == {0, 1, 2, 3}


def test_a_stream_never_shows_half_a_character(base: Base) -> None:
    text = "Zoë – 你好 🌍!"
    parts, stream = streamed(base, base.tokens(text))
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts)
    assert stream.finish_reason == "length"
    assert "" in parts  # bytes of a character that is not whole yet


def test_half_a_character_at_the_end_is_dropped(base: Base) -> None:
    parts, _ = streamed(base, base.tokens("ok 你")[:-1])
    assert "".join(parts) == "ok "


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        ("one two three", ("two",), "one "),
        ("one two three", ("three", "two"), "one "),
        ("one tw three", ("two",), "one tw three"),
        ("aaab", ("aab",), "a"),
        ("abc", ("abc",), ""),
        ("one two", ("",), "one two"),
        ("né né", ("é n",), "n"),
    ],
)
def test_nothing_of_a_stop_string_or_after_it_is_shown(
    base: Base, text: str, stop: tuple[str, ...], shown: str
) -> None:
    parts, stream = streamed(base, base.tokens(text), stop)
    assert "".join(parts) == shown
    assert stream.done == (shown != text)
    assert stream.finish_reason == ("length" if shown == text else "stop")


def test_the_end_of_the_turn_shows_what_was_held_back(base: Base) -> None:
    (end,) = base.ends
    parts, stream = streamed(base, [*base.tokens("one tw"), end, *base.tokens("more")], ("two",))
    assert "".join(parts) == "one tw"
    assert stream.finish_reason == "stop"
    assert stream.tokens == len(base.tokens("one tw"))
