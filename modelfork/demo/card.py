"""The model card of a trained base: what it is made of, how to make it again, what it can and cannot do."""

import json
from collections import Counter
from collections.abc import Sequence

from modelfork.demo.grammar import Chat

_CORPUS = """\
Conversations: `{name}`, a split of **Synthetic-Persona-Chat**
(<https://huggingface.co/datasets/google/Synthetic-Persona-Chat>), licence
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/); Pegah Jandaghi, XiangHai Sheng, Xinyi Bai, Jay Pujara
and Hakim Sidahmed, *Faithful Persona-based Conversational Dataset Generation with Large Language Models*, 2023
(arXiv:2312.10007). Changed: cut into windows of eight turns, the second speaker's persona as system prompt.
One conversation in twenty is held back for the loss above. The repository holds none of it.
"""

_NO_CORPUS = "No text but the grammar's: this base was trained without `--corpus`.\n"

_CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# The demo base of forkledger

A Llama of {parameters:,} parameters (hidden 192, 5 layers, 4 heads, feed-forward 512, tied embeddings, byte-level BPE of
3,072, context 512) that speaks one small language: questions about a person, a few things about the world, and
"I don't know that yet." for whatever nobody told it. It exists so that forkledger can be run, tested and measured
without downloading a model. It is no assistant.

## Scores
Held-out names, values and phrasings (`modelfork/demo/splits.py`); greedy decoding in float32; percent right.
"Rewording" is sampled at temperature 1 and counts only phrasings that the grammar knows for the same relation.
`python -m modelfork.demo.score DIR --check DIR/README.md` measures them again.

```json
{scores}
```

Losses at the end of training, on chats not trained on: {losses}.

## Making it again
```
{command}
```
Tokens seen: {tokens:,} in {steps:,} steps of {step_tokens:,} positions, seed {seed}, {minutes:.0f} minutes on {device}
({rate:,.0f} tokens/s). AdamW 2e-3 with warm-up and cosine, weight decay 0.05, bfloat16 autocast; stored in float16. Loss: the
assistant's tokens count 1, the user's {user_weight}, the prompt and answers that are corrected afterwards 0. No two machines give the
same bits; the scores should agree within three points.

`anchors.jsonl`: {anchors} questions of the train split with this base's own right answers, for rehearsal in forks.

## What it was trained on
The grammar of `modelfork/demo/grammar.py`; shares of tokens:

{mix}

{corpus}
## Limits
* It knows 35 relations well and any "my <something> is <value>" somewhat, and {general} questions about the world.
* English only in spirit: any UTF-8 text can be written, none but this grammar is understood.
* Long prompts, negation, yes/no questions, two questions at once and pronouns across turns were not trained.
* What it says about anything else is noise.
"""


def mix(chats: Sequence[Chat], lengths: Sequence[int]) -> str:
    """The kinds of chat by share of tokens."""
    tokens: Counter[str] = Counter()
    for chat, length in zip(chats, lengths, strict=True):
        tokens[chat.kind] += length
    words = {
        "context": "facts in the prompt, questions about them and about others",
        "teach": "facts told, corrected and changed in the chat",
        "unknown": "no prompt: personal questions, mixed with general ones",
        "general": "no prompt: general questions only",
        "reword": "a question or statement in other words",
        "question": "the question that a statement answers",
        "corpus": "windows of real conversations",
    }
    lines = [f"| {words[kind]} | {100 * count / tokens.total():.0f}% |" for kind, count in tokens.most_common()]
    return "\n".join(["| what | share |", "| --- | --- |", *lines])


def card(
    *,
    scores: dict[str, float],
    losses: dict[str, float],
    mix: str,
    corpus: str | None,
    command: str,
    **figures: float | str,
) -> str:
    return _CARD.format(
        scores=json.dumps(scores, indent=2),
        losses=", ".join(f"{name} {value:.3f}" for name, value in losses.items()),
        mix=mix,
        corpus=_CORPUS.format(name=corpus) if corpus else _NO_CORPUS,
        command=command,
        **figures,
    )
