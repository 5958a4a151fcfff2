"""From chats to rows of tokens: the tokenizer, its chat template, and packing without padding.

Training runs on rows of one length; short chats share a row and do not see each other. Batches of many
shapes ran three to six times slower on a CPU.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from modelfork.demo.grammar import Chat

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (PAD, SYSTEM, USER, ASSISTANT, END)
VOCABULARY = 3_072

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train_tokenizer(chats: Iterable[Chat]) -> Tokenizer:
    """A byte-level BPE: any UTF-8 text can be written with it. Digits stay single, so that numbers can be copied."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((turn.text for chat in chats for turn in chat.turns), trainer)
    return tokenizer


def number(tokenizer: Tokenizer, special: str) -> int:
    found = tokenizer.token_to_id(special)
    if found is None:
        raise ValueError(f"the tokenizer has no token {special}")
    return int(found)


@dataclass(frozen=True, slots=True)
class Encoded:
    tokens: NDArray[np.int32]  # (length,)
    weights: NDArray[np.float32]  # (length,) what predicting each token counts in the loss


def encode(tokenizer: Tokenizer, chats: Sequence[Chat]) -> list[Encoded]:
    """Each chat exactly as the chat template renders it."""
    roles = {role: number(tokenizer, f"<|{role}|>") for role in ("system", "user", "assistant")}
    end = number(tokenizer, END)
    texts = iter(
        tokenizer.encode_batch_fast([turn.text for chat in chats for turn in chat.turns], add_special_tokens=False)
    )
    made = []
    for chat in chats:
        tokens: list[int] = []
        weights: list[float] = []
        for turn in chat.turns:
            inner = next(texts).ids
            tokens += [roles[turn.role], *inner, end]
            weights += [0.0, *[turn.weight] * (len(inner) + 1)]
        made.append(Encoded(np.array(tokens, np.int32), np.array(weights, np.float32)))
    return made


@dataclass(frozen=True, slots=True)
class Rows:
    tokens: NDArray[np.int32]  # (rows, length)
    weights: NDArray[np.float32]  # (rows, length)
    chats: NDArray[np.int16]  # (rows, length) which chat of its row a token belongs to; -1 is padding

    def __len__(self) -> int:
        return len(self.tokens)


def pack(encoded: Iterable[Encoded], length: int) -> Rows:
    """First fit into a window of open rows. A chat longer than a row is cut at its end."""
    open_rows: list[list[Encoded]] = []
    space: list[int] = []
    closed: list[list[Encoded]] = []
    for item in encoded:
        size = min(len(item.tokens), length)
        fits = next((at for at, left in enumerate(space) if left >= size), None)
        if fits is None:
            if len(open_rows) >= 48:
                fullest = int(np.argmin(space))
                closed.append(open_rows.pop(fullest))
                space.pop(fullest)
            open_rows.append([])
            space.append(length)
            fits = len(open_rows) - 1
        open_rows[fits].append(item)
        space[fits] -= size
    filled = closed + open_rows
    rows = Rows(
        np.zeros((len(filled), length), np.int32),
        np.zeros((len(filled), length), np.float32),
        np.full((len(filled), length), -1, np.int16),
    )
    for at, items in enumerate(filled):
        start = 0
        for number, item in enumerate(items):
            size = min(len(item.tokens), length - start)
            rows.tokens[at, start : start + size] = item.tokens[:size]
            rows.weights[at, start : start + size] = item.weights[:size]
            rows.chats[at, start : start + size] = number
            start += size
    return rows


def batches(rows: Rows, size: int, order: NDArray[np.int64]) -> Iterator[Rows]:
    """Full batches only: one shape."""
    for start in range(0, len(order) - size + 1, size):
        at = order[start : start + size]
        yield Rows(rows.tokens[at], rows.weights[at], rows.chats[at])
