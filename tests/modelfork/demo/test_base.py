"""The base as shipped: small, whole, loaded without a network, and as good as its card says."""

import json
from collections import Counter

import pytest

from modelfork.demo import anchors
from modelfork.demo.folder import answers, load
from modelfork.demo.people import is_unknown
from modelfork.demo.score import Bench, context, general, on_card, teaching, unknown
from modelfork.settings import DEMO_BASE


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(*load(DEMO_BASE), size=0.15)


def test_the_folder_is_small_and_whole() -> None:
    names = {path.name for path in DEMO_BASE.iterdir()}
    assert names >= {
        "README.md",
        "anchors.jsonl",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in DEMO_BASE.iterdir()) < 8_000_000


def test_a_turn_ends_with_the_end_of_text_token_and_the_prompt_asks_for_the_next(bench: Bench) -> None:
    messages = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello!"}]
    text = bench.tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == "<|user|>Hello!<|end|><|assistant|>Hello!<|end|>"
    asked = bench.tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|user|>Hello!<|end|><|assistant|>"
    assert bench.tokenizer.eos_token == "<|end|>"
    assert bench.model.generation_config.eos_token_id == bench.tokenizer.eos_token_id


def test_it_answers_what_it_knows_and_says_what_it_does_not(bench: Bench) -> None:
    def ask(*texts: str) -> list[str]:
        return answers(bench.model, bench.tokenizer, [[{"role": "user", "content": text}] for text in texts])

    paris, dog = ask("What is the capital of France?", "What is my dog called?")
    assert "Paris" in paris
    assert is_unknown(dog)


def test_a_small_sample_scores_near_the_card(bench: Bench) -> None:
    card = on_card((DEMO_BASE / "README.md").read_text(encoding="utf-8"))
    # Sixty cases or so each: ten points are two standard deviations.
    assert general(bench) == pytest.approx(card["general questions"], abs=10)
    assert unknown(bench) == pytest.approx(card["unknown, nothing told"], abs=10)
    assert context(bench, 5) == pytest.approx(card["facts read in a prompt of 5"], abs=15)
    assert teaching(bench) == pytest.approx(card["taught in the chat"], abs=15)


def test_anchor_rows_are_of_all_kinds_and_end_with_the_bases_answer() -> None:
    lines = (DEMO_BASE / anchors.FILE).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) >= 500
    assert set(kinds) == {kind for kind, _ in anchors.SHARES}
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles in (["user", "assistant"], ["system", "user", "assistant"])
        assert (roles[0] == "system") == (row["kind"] == "context")
        if row["kind"] == "unknown":
            assert is_unknown(row["messages"][-1]["content"])
