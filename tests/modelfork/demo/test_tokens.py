"""Rows of tokens: what the trainer sees is what the chat template renders."""

import jinja2
import numpy as np
import pytest
from numpy.random import default_rng
from tokenizers import Tokenizer

from modelfork.demo.grammar import Chat, Turn, chat
from modelfork.demo.tokens import CHAT_TEMPLATE, Encoded, encode, number, pack, train_tokenizer


@pytest.fixture(scope="module")
def chats() -> list[Chat]:
    rng = default_rng(1)
    return [chat(rng) for _ in range(400)]


@pytest.fixture(scope="module")
def tokenizer(chats: list[Chat]) -> Tokenizer:
    return train_tokenizer(chats)


def test_a_chat_is_encoded_as_its_template_renders_it(chats: list[Chat], tokenizer: Tokenizer) -> None:
    template = jinja2.Template(CHAT_TEMPLATE)
    for drawn, encoded in zip(chats, encode(tokenizer, chats), strict=True):
        messages = [{"role": turn.role, "content": turn.text} for turn in drawn.turns]
        assert tokenizer.encode(template.render(messages=messages)).ids == encoded.tokens.tolist()


def test_any_text_comes_back_from_its_tokens(tokenizer: Tokenizer) -> None:
    for text in ("My dog is called Zibo.", "Grüße, 你好 🐕", "a\n\tb  c", "12345"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_weights_follow_the_turns(tokenizer: Tokenizer) -> None:
    turns = (
        Turn("system", "Notes.", 0.0),
        Turn("user", "What is my name?", 0.1),
        Turn("assistant", "Anna.", 1.0),
    )
    made = encode(tokenizer, [Chat("context", turns)])[0]
    roles = {number(tokenizer, f"<|{role}|>") for role in ("system", "user", "assistant")}
    starts = [at for at, token in enumerate(made.tokens) if token in roles]
    assert len(starts) == 3
    # Nobody is taught to say whose turn it is; each turn's own words and its end carry its weight.
    assert all(made.weights[at] == 0 for at in starts)
    assert set(made.weights[starts[1] + 1 : starts[2]]) == {np.float32(0.1)}
    assert set(made.weights[starts[2] + 1 :]) == {np.float32(1)}


def test_packing_loses_no_token_and_pads_little() -> None:
    rng = default_rng(2)
    items = [
        Encoded(np.arange(1, size + 1, dtype=np.int32), np.ones(size, np.float32)) for size in rng.integers(5, 120, 500)
    ]
    rows = pack(items, 256)
    total = sum(len(item.tokens) for item in items)
    assert (rows.chats >= 0).sum() == total == rows.weights.sum()
    assert total / rows.tokens.size > 0.9
    for tokens, chats in zip(rows.tokens, rows.chats, strict=True):
        for at in range(chats.max() + 1):
            held = tokens[chats == at]
            assert held.tolist() == list(range(1, len(held) + 1))


def test_a_chat_longer_than_a_row_is_cut_at_its_end() -> None:
    rows = pack([Encoded(np.arange(300, dtype=np.int32), np.ones(300, np.float32))], 256)
    assert rows.tokens.tolist() == [list(range(256))]
