"""Rows of different lengths in one batch have the logits that each has alone, whoever joins and leaves."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from modelfork.base import Base, load_base, prepare_base
from modelfork.kvcache import PAGE, RowCache
from tests.modelfork.conftest import make_tiny_model
from tests.modelfork.test_families import FAMILIES

WINDOW = 20  # shorter than most rows here
DRAWN = torch.Generator().manual_seed(8)
LONG, SHORT, MIDDLE, OTHER = (torch.randint(0, 200, (1, size), generator=DRAWN) for size in (4 * PAGE + 9, 5, 30, 24))


@pytest.fixture(scope="module", params=["llama", "qwen2", "mistral", "gemma2", "gemma3", "phi3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """One of each way in which a model takes its masks."""
    folder = tmp_path_factory.mktemp("family")
    config_class, more = FAMILIES[request.param]
    if request.param in ("mistral", "gemma2", "gemma3", "phi3"):
        more = more | {"sliding_window": WINDOW}
    make_tiny_model(folder, config_class, vocab_size=288, **more)
    prepare_base(folder, 4)
    return load_base(folder)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def joined(base: Base, *prompts: Tensor) -> RowCache:
    """All but the last token of each."""
    rows = RowCache(base)
    for prompt in prompts:
        one = RowCache(base, 1)
        one.feed(prompt[:, :-1])
        rows.take(one)
    return rows


def expect_each_as_alone(base: Base, rows: RowCache, *said: Tensor) -> None:
    """Feed every row the last of what it has said; all before that is in the cache."""
    assert rows.lengths == [one.shape[1] - 1 for one in said]
    logits = rows.feed(torch.cat([one[:, -1:] for one in said]))
    for row, one in zip(logits, said, strict=True):
        alone = base.model(input_ids=one).logits[0, -1]  # by the model's own way
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-4)


def longer(said: Tensor) -> Tensor:
    return torch.cat([said, said[:, :1]], -1)


def test_rows_of_any_length_have_the_logits_that_each_has_alone(base: Base) -> None:
    rows = joined(base, SHORT, LONG, MIDDLE)
    expect_each_as_alone(base, rows, SHORT, LONG, MIDDLE)
    expect_each_as_alone(base, rows, *map(longer, (SHORT, LONG, MIDDLE)))


def test_a_prompt_may_come_in_pieces(base: Base) -> None:
    rows = RowCache(base, 1)
    for piece in LONG[:, :-1].split(50, dim=1):
        rows.feed(piece)
    expect_each_as_alone(base, rows, LONG)


def test_prompts_of_different_lengths_are_fed_at_once(base: Base) -> None:
    fed, counts = torch.full((3, LONG.shape[1]), 7), [one.shape[1] - 1 for one in (SHORT, LONG, MIDDLE)]
    for row, one in zip(fed, (SHORT, LONG, MIDDLE), strict=True):
        row[: one.shape[1] - 1] = one[0, :-1]
    rows = RowCache(base, 3)
    rows.feed(fed, counts)
    first = RowCache(base)
    first.take(rows, 1)
    expect_each_as_alone(base, rows, SHORT, LONG, MIDDLE)
    expect_each_as_alone(base, first, LONG)


def test_rows_leave_and_others_take_their_place(base: Base) -> None:
    rows = joined(base, SHORT, MIDDLE, LONG)
    rows.drop(0)  # the last row comes into its place
    expect_each_as_alone(base, rows, LONG, MIDDLE)
    rows.drop(0)
    rows.take(joined(base, OTHER))
    expect_each_as_alone(base, rows, longer(MIDDLE), OTHER)
    rows.drop(1)
    rows.drop(0)
    assert rows.lengths == []
    rows.take(joined(base, SHORT))
    expect_each_as_alone(base, rows, SHORT)


def test_a_row_grows_past_the_room_there_was(base: Base) -> None:
    whole = LONG[:, : 2 * PAGE + 2]
    rows = joined(base, SHORT, whole[:, :-3])
    for at in (3, 2, 1):
        rows.feed(torch.cat([SHORT[:, :1], whole[:, -at - 1 : -at]]))
    rows.drop(0)
    expect_each_as_alone(base, rows, whole)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_row_of_what_is_no_number_leaves_nothing_behind(base: Base, broken: int) -> None:
    rows = joined(base, MIDDLE, MIDDLE)
    for held in (*rows._keys.values(), *rows._values.values()):
        held[broken] = torch.nan
    rows.drop(broken)
    rows.take(joined(base, SHORT))
    expect_each_as_alone(base, rows, MIDDLE, SHORT)


def test_the_memory_of_a_batch_goes_with_its_last_row(base: Base) -> None:
    rows = joined(base, LONG, MIDDLE)
    rows.drop(0)
    assert rows._keys
    rows.drop(0)
    assert not rows._keys
    assert not rows._values
