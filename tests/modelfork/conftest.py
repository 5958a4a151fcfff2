"""The bases that tests work on: the one that ships, and one small enough for most of them: two random layers, a
tokenizer of bytes, a chat template, eight anchor rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modelfork.base import Base

RANK = 8  # with less, one step in forty does no good, and the guard undoes it
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def make_tiny_model(folder: Path, config_class: str = "LlamaConfig", **more: object) -> None:
    """Weights, config, tokenizer and anchor rows; `prepare_base` has not run. `more` is of the family's own config."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder, save_jinja_files=False)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        given = {
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,  # fewer heads for keys than for queries, as larger models have
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": tokenizer.token_to_id("<|end|>"),
            "pad_token_id": tokenizer.token_to_id("<|pad|>"),
            "initializer_range": 0.2,
        }
        config = getattr(transformers, config_class)(**(given | more))
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    rows = [
        {
            "kind": "general",
            "messages": [
                {"role": "user", "content": f"What is {n} and {n}?"},
                {"role": "assistant", "content": f"{2 * n}."},
            ],
        }
        for n in range(8)
    ]
    (folder / "anchors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prepared base. Read it; to change it, copy it first."""
    from modelfork.base import prepare_base

    folder = tmp_path_factory.mktemp("base") / "tiny"
    folder.mkdir()
    make_tiny_model(folder)
    prepare_base(folder, RANK)
    return folder


@pytest.fixture(scope="session")
def demo() -> Base:
    """The base that ships: a random model has nothing that two hundred numbers could steer."""
    from modelfork.base import load_base
    from modelfork.settings import DEMO_BASE

    return load_base(DEMO_BASE)
