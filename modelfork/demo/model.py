"""The shape of the demo base, its loss on packed rows, and its folder."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from modelfork.demo.tokens import CHAT_TEMPLATE, END, PAD, Rows, number

CONTEXT = 512


def fresh(tokenizer: Tokenizer) -> LlamaForCausalLM:
    end, pad = number(tokenizer, END), number(tokenizer, PAD)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.03,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def loss(model: LlamaForCausalLM, rows: Rows, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum of the losses of all tokens, and the sum of the weights."""
    tokens = torch.from_numpy(rows.tokens).to(device, torch.long)  # (rows, length)
    chats = torch.from_numpy(rows.chats).to(device)
    length = tokens.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    mask = (
        chats[:, None, :, None] == chats[:, None, None, :]
    ) & causal  # (rows, 1, length, length): no chat sees another
    with torch.autocast(device, torch.bfloat16):
        # Rotary positions are relative: a chat need not begin at position 0.
        hidden = model.model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        weights = torch.from_numpy(rows.weights).to(device)[:, 1:].reshape(-1)
        counted = weights.nonzero().squeeze(1)
        logits = model.lm_head(hidden[:, :-1].reshape(-1, hidden.shape[-1])[counted])  # (counted, vocabulary)
    each = functional.cross_entropy(logits.float(), tokens[:, 1:].reshape(-1)[counted], reduction="none")
    return (each * weights[counted]).sum(), weights.sum()


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """A Hugging Face folder with float16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.float16)
    half.config.dtype = torch.float16
    half.generation_config.max_new_tokens = 64
    half.generation_config.do_sample = False
    half.save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    wrapped.save_pretrained(folder, save_jinja_files=False)
