"""Keys and values of many rows, each as long as it is: the cache behind a batch that rows join and leave.

A row's numbers stand at its own positions from 0, and what is to the right of them is masked, so a row is computed
alike whoever is beside it. Sliding layers keep all positions too, and their mask looks back only as far as they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelfork.base import Base

PAGE = 32  # positions by which the cache grows: a wide stride between rows costs more than copying now and then


class RowCache:
    """What transformers' attention layers call `past_key_values`. Of a model's parts they use `update` alone."""

    def __init__(self, base: Base, rows: int = 0) -> None:
        self.lengths = [0] * rows  # of each row, in tokens
        self._base = base
        self._keys: dict[int, Tensor] = {}  # of each layer (places, heads, positions, width)
        self._values: dict[int, Tensor] = {}
        self._longest = 0  # positions that the forward pass under way looks at
        self._to = torch.empty(0, 0, dtype=torch.long)  # the positions of its tokens (rows, tokens)
        self._index: dict[torch.Size, Tensor] = {}  # where they stand in what a layer holds, by its shape

    def feed(self, tokens: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Each row's next tokens (rows, tokens) -> logits after the last column (rows, vocabulary), with the cores that
        run now. Of a row that is padded on the right, only so many tokens count as `counts` says, and its logits say
        nothing. A cache of no rows takes as many as are fed."""
        rows, width = tokens.shape
        lengths = self.lengths or [0] * rows
        self._longest = max(lengths) + width
        self._to = torch.tensor(lengths, device=tokens.device)[:, None] + torch.arange(width, device=tokens.device)
        self._index = {}
        logits: Tensor = self._base.model(
            input_ids=tokens,
            attention_mask=_masks(self._base, self._to, self._longest),
            position_ids=self._to,
            past_key_values=self,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        for row, count in enumerate(counts or [width] * len(self.lengths)):
            self.lengths[row] += count
        return logits[:, -1]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put a layer's new keys and values (rows, heads, tokens, width) in their places; all that each row has, up to
        the longest (rows, heads, positions, width)."""
        made = []
        for held, new in ((self._keys, keys), (self._values, values)):
            self._make_room(held, layer, new, len(new), self._longest)
            all_of_it = held[layer]
            # One index of one dimension for all layers of a shape: half of what `held[rows, :, positions] = …` takes.
            if all_of_it.shape not in self._index:
                self._index[all_of_it.shape] = self._places_of(all_of_it)
            all_of_it.view(-1, new.shape[3]).index_copy_(0, self._index[all_of_it.shape], new.reshape(-1, new.shape[3]))
            made.append(all_of_it[: len(new), :, : self._longest])
        return made[0], made[1]

    def _places_of(self, held: Tensor) -> Tensor:
        """Of the tokens under way, in what a layer holds seen as (places * heads * positions, width)."""
        _, heads, positions, _ = held.shape
        device = self._to.device
        row = torch.arange(len(self._to), device=device)[:, None, None]
        head = torch.arange(heads, device=device)[None, :, None]
        return ((row * heads + head) * positions + self._to[:, None]).flatten()

    def take(self, other: RowCache, at: int = 0) -> None:
        """Join one row of another cache to these."""
        row, length = len(self.lengths), other.lengths[at]
        for held, theirs in ((self._keys, other._keys), (self._values, other._values)):
            for layer, new in theirs.items():
                self._make_room(held, layer, new, row + 1, length)
                held[layer][row, :, :length] = new[at, :, :length]
                held[layer][row, :, length:] = 0  # masked, but nothing times what is no number is no number
        self.lengths.append(length)

    def drop(self, row: int) -> None:
        """Forget a row; the last one takes its place. With the last of all, its memory goes."""
        last = len(self.lengths) - 1
        if not last:
            self._keys, self._values = {}, {}
        elif row != last:
            for held in (*self._keys.values(), *self._values.values()):
                held[row] = held[last]
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def _make_room(self, held: dict[int, Tensor], layer: int, like: Tensor, rows: int, positions: int) -> None:
        there = held.get(layer)
        if there is not None and there.shape[0] >= rows and there.shape[2] >= positions:
            return
        size = (0, 0) if there is None else (there.shape[0], there.shape[2])
        places = size[0] if rows <= size[0] else max(rows, 2 * size[0])
        wide = max(size[1], -(-positions // PAGE) * PAGE)
        made = like.new_zeros(places, like.shape[1], wide, like.shape[3])
        if there is not None:
            made[: size[0], :, : size[1]] = there
        held[layer] = made


def _masks(base: Base, places: Tensor, longest: int) -> Tensor | dict[str, Tensor]:
    """Who may see whom (rows, 1, tokens, positions), for tokens at `places` (rows, tokens); one mask for each kind of
    layer where the model has several."""
    config = base.model.config
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ("sliding_attention" if window else "full_attention",))
    back = places[:, None, :, None] - torch.arange(longest, device=places.device)  # how far each position lies back
    masks = {kind: base.mask(_seen(back, window if kind == "sliding_attention" else None)) for kind in sorted(kinds)}
    return masks if len(masks) > 1 else next(iter(masks.values()))


def _seen(back: Tensor, window: int | None) -> Tensor:
    seen = back >= 0
    if window is not None:
        seen &= back < window
    return seen
