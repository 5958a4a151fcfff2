"""Answers: token by token with a user's cores, as a stream of whole characters, and in batches of many users.

Everything here holds the model for single steps only, so that others use it in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from modelfork.base import Base
from modelfork.cores import Running
from modelfork.errors import TooLong

BROKEN = "\ufffd"  # what decoding makes of half a character


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 is greedy. `seed` alone fixes what is drawn. A `stop` string ends an answer, no part of it."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()


def generate(base: Base, state: NDArray[np.int64] | None, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
    """Tokens one by one, the one that ends the turn included; at most `max_tokens`, or what the context has room for.

    `state` is (dimension,) or None for the base itself. Raises TooLong, at once, where the prompt leaves no room.
    """
    return _generate(base, state, prompt, sampling, min(room_for(base, prompt), sampling.max_tokens))


def room_for(base: Base, prompt: Sequence[int]) -> int:
    """Tokens that an answer may have; at least one, or TooLong."""
    room = base.context - len(prompt)
    if room < 1:
        raise TooLong(f"generate: a prompt of {len(prompt)} tokens, the base has room for {base.context - 1}")
    return room


def _generate(
    base: Base, state: NDArray[np.int64] | None, prompt: Sequence[int], sampling: Sampling, most: int
) -> Iterator[int]:
    drawn = torch.Generator().manual_seed(sampling.seed % 2**63)
    cores = base.cores.of(state)
    cache = DynamicCache(config=base.model.config)
    fed = base.placed([prompt])  # (1, tokens)
    for _ in range(most):
        with torch.inference_mode(), base.cores.running(cores):
            logits = base.model(input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1:]
            token = int(choose(logits, sampling.temperature, sampling.top_p, drawn))
        yield token
        if token in base.ends:
            return
        fed = base.placed([[token]])


def choose(logits: Tensor, temperature: float, top_p: float, drawn: torch.Generator) -> Tensor:
    """A token for each row of logits (rows, vocabulary) -> (rows,). Drawn on the CPU, by whose generator a seed is."""
    if temperature <= 0:
        return logits.argmax(-1)
    chances = torch.softmax(logits.cpu().double() / temperature, -1)
    if top_p < 1:
        ordered, at = chances.sort(-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered >= top_p] = 0  # the first always stays
        chances = torch.zeros_like(chances).scatter(-1, at, ordered)
    return torch.multinomial(chances, 1, generator=drawn)[:, 0].to(logits.device)


class TextStream:
    """Tokens in, text out: whole characters only, and nothing of a stop string or after it."""

    def __init__(self, base: Base, stop: Sequence[str] = ()) -> None:
        self._base = base
        self._stop = tuple(one for one in stop if one)
        self._ids: list[int] = []
        self._from = self._read = 0  # a window of tokens: decoding it twice tells what the newest token adds
        self._held = ""  # text that may yet turn out to be the start of a stop string
        self.done = False  # an end-of-turn token or a stop string came

    @property
    def finish_reason(self) -> str:
        return "stop" if self.done else "length"

    @property
    def tokens(self) -> int:
        """Tokens taken in, without the one that ends the turn."""
        return len(self._ids)

    def push(self, token: int) -> str:
        """The text that may be shown now, often none."""
        if self.done:
            return ""
        if token in self._base.ends:
            text = self._rest()
            self.done = True
            return text
        self._ids.append(token)
        before = self._base.text(self._ids[self._from : self._read])
        after = self._base.text(self._ids[self._from :])
        if len(after) <= len(before) or after.endswith(BROKEN):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return self._release(after[len(before) :], final=False)

    def finish(self) -> str:
        """What was held back when no more tokens come; half a character is dropped."""
        return "" if self.done else self._rest()

    def _rest(self) -> str:
        before = self._base.text(self._ids[self._from : self._read])
        after = self._base.text(self._ids[self._from :]).rstrip(BROKEN)
        self._from = self._read = len(self._ids)
        return self._release(after[len(before) :], final=True)

    def _release(self, text: str, final: bool) -> str:
        self._held += text
        found = [at for at in (self._held.find(one) for one in self._stop) if at >= 0]
        if found:
            shown, self._held, self.done = self._held[: min(found)], "", True
            return shown
        keep = 0 if final else max((_begins(self._held, one) for one in self._stop), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown


def _begins(text: str, stop: str) -> int:
    """How many characters at the end of the text are the start of the stop string."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def generate_batch(
    base: Base,
    states: NDArray[np.int64] | None,
    prompts: Sequence[Sequence[int]],
    most: int = 40,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """One answer a prompt, all at once. `states` is (dimension,) for all, (rows, dimension) one each, or None.

    Padded on the left. Raises TooLong where the longest prompt leaves no room.
    """
    if not prompts:
        return []
    longest = max(map(len, prompts))
    most = min(most, base.context - longest)
    if most < 1:
        raise TooLong(f"generate: a prompt of {longest} tokens, the base has room for {base.context - 1}")
    fed = base.placed([[base.pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts])  # (rows, longest)
    seen = base.placed([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])  # (rows, longest)
    drawn = torch.Generator().manual_seed(seed % 2**63)
    ids = _batch(base, base.cores.of(states), fed, seen, most, temperature, drawn)
    return [base.text(row).strip() for row in ids]


@torch.inference_mode()
def _batch(
    base: Base, cores: Running, fed: Tensor, seen: Tensor, most: int, temperature: float, drawn: torch.Generator
) -> list[list[int]]:
    cache = DynamicCache(config=base.model.config)
    places = (seen.cumsum(-1) - 1).clamp(min=0)  # (rows, longest)
    made: list[list[int]] = [[] for _ in range(len(fed))]
    open_rows = set(range(len(fed)))
    for _ in range(most):
        with base.cores.running(cores):
            out = base.model(
                input_ids=fed,
                attention_mask=seen,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        tokens = choose(out.logits[:, -1], temperature, 1.0, drawn)  # (rows,)
        for row, token in enumerate(tokens.tolist()):
            if token in base.ends:
                open_rows.discard(row)
            if row in open_rows:
                made[row].append(token)
        if not open_rows:
            break
        fed, places = tokens[:, None], places[:, -1:] + 1
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], -1)
    return made
