"""What a question is about, as the base itself has it: its state half way up, where the answer is to begin.

There a base has worked out what is asked and not yet what it will say, so that two questions about one thing lie close
however they are worded. Each text goes through the model alone: what it is about never depends on what else is asked.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from modelfork.base import Base
from modelfork.interaction import Message

HEIGHT = 0.6  # of the layers
SEEN = 512  # tokens: the end of a longer question
FEWEST = 16  # anchor questions from which the middle of all questions is known


def topics(base: Base, seen: MutableMapping[str, Tensor], texts: Sequence[str]) -> Tensor:
    """Directions (texts, hidden), of length 1, on the CPU: their products are cosines. `seen` keeps what was computed.

    Where the base has too few anchor rows to know what questions have in common, all are 0: unlike any.
    """
    middle = _middle(base)
    for text in texts:
        if text not in seen:
            seen[text] = _direction(_state(base, text), middle)
    return torch.stack([seen[text] for text in texts])


def _middle(base: Base) -> Tensor:
    """What all questions have in common: the mean over those of the anchor rows. What these are about comes with it."""
    if base.own.middle is None:
        asked = [anchor.messages[0].content for anchor in base.anchors if len(anchor.messages) == 2]
        states = {text: _state(base, text) for text in dict.fromkeys(asked)}
        middle = torch.zeros(base.model.config.hidden_size)
        if len(asked) >= FEWEST:
            middle = torch.stack([states[text] for text in asked]).mean(0)
        base.own.topics.update({text: _direction(state, middle) for text, state in states.items()})
        base.own.middle = middle
    return base.own.middle


def _direction(state: Tensor, middle: Tensor) -> Tensor:
    return functional.normalize(state - middle, dim=0) * (middle != 0).any()


def _state(base: Base, text: str) -> Tensor:
    prompt = base.render((Message("user", text),), prompt=True)[-min(base.context, SEEN) :]
    layer = round(HEIGHT * base.model.config.num_hidden_layers)
    with torch.no_grad(), base.cores.running(None):
        out = base.model.model(input_ids=base.placed([prompt]), use_cache=False, output_hidden_states=True)
    state: Tensor = out.hidden_states[layer][0, -1].float().cpu()
    return state
