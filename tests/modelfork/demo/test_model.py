"""The trainer on a handful of tokens: packing changes nothing, and a run can be taken up again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from modelfork.demo.folder import answers, load
from modelfork.demo.grammar import chat
from modelfork.demo.model import fresh, loss
from modelfork.demo.score import misses, on_card
from modelfork.demo.tokens import Rows, encode, pack, train_tokenizer
from modelfork.demo.train import Plan, rate, train


def test_chats_that_share_a_row_do_not_see_each_other() -> None:
    torch.manual_seed(1)
    rng = default_rng(1)
    chats = [chat(rng) for _ in range(200)]
    tokenizer = train_tokenizer(chats)
    model = fresh(tokenizer)
    items = [item for item in encode(tokenizer, chats) if len(item.tokens) < 80][:3]
    together = pack(items, 256)
    assert len(together) == 1
    with torch.inference_mode():
        total, weight = loss(model, together, "cpu")
        apart = [loss(model, pack([item], 256), "cpu") for item in items]
    assert float(weight) == pytest.approx(sum(float(each) for _, each in apart))
    assert float(total) == pytest.approx(sum(float(each) for each, _ in apart), rel=2e-3)  # bfloat16


def test_padding_counts_nothing() -> None:
    rows = Rows(np.zeros((1, 8), np.int32), np.zeros((1, 8), np.float32), np.full((1, 8), -1, np.int16))
    rng = default_rng(1)
    model = fresh(train_tokenizer([chat(rng) for _ in range(50)]))
    with torch.inference_mode():
        total, weight = loss(model, rows, "cpu")
    assert (float(total), float(weight)) == (0, 0)


def test_the_rate_rises_and_falls() -> None:
    assert rate(0.0, 0) < rate(0.0, 75) < rate(0.0, 150)
    assert rate(0.1, 500) > rate(0.5, 500) > rate(1.0, 500) > 0


@pytest.mark.slow
def test_training_makes_a_folder_that_loads_and_a_run_that_can_go_on(tmp_path: Path) -> None:
    first = train(Plan(20_000, None, 3, "cpu"), tmp_path, None, resumed=False)
    assert first["tokens"] >= 20_000
    model, tokenizer = load(tmp_path)
    assert model.dtype == torch.float32
    assert answers(model, tokenizer, [[{"role": "user", "content": "What is my name?"}]])
    then = train(Plan(40_000, None, 3, "cpu"), tmp_path, None, resumed=True)
    assert then["tokens"] >= 40_000
    assert then["step"] > first["step"]
    assert then["grammar loss"] < first["grammar loss"]


def test_a_card_is_kept_or_missed() -> None:
    card = 'Scores\n```json\n{"general questions": 98.0, "grammar loss": 0.2}\n```\n```json\n{}\n```'
    promised = on_card(card)
    assert promised == {"general questions": 98.0, "grammar loss": 0.2}
    assert misses({"general questions": 95.5, "grammar loss": 0.22}, promised) == []
    assert misses({"general questions": 94.0, "grammar loss": 0.25}, promised) == [
        "general questions",
        "grammar loss",
    ]
