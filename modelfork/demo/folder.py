"""The finished base, read back from its folder: batched answers, greedy or sampled."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

Messages = Sequence[dict[str, str]]


def load(folder: Path, device: str = "cpu") -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Stored in float16, used in float32; nothing is fetched."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.to(device).eval(), tokenizer


def plain(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """The tokenizer proper, in a copy of its own: a padded batch leaves the shared one padding for good."""
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_padding()
    return copy


@torch.inference_mode()
def answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    chats: Sequence[Messages],
    temperature: float = 0.0,
    most: int = 40,
    batch: int = 64,
) -> list[str]:
    """One answer a chat. Chats of like length are answered together; the order given is the order returned."""
    prompts = [tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True) for chat in chats]
    made = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda at: (len(prompts[at]), at))
    for start in range(0, len(by_length), batch):
        ats = by_length[start : start + batch]
        given = tokenizer(
            [prompts[at] for at in ats],
            padding=True,
            padding_side="left",
            add_special_tokens=False,
            return_tensors="pt",
            return_token_type_ids=False,
        ).to(model.device)
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        out = model.generate(**given, max_new_tokens=most, **sampling)
        texts = tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        for at, text in zip(ats, texts, strict=True):
            made[at] = text.strip()
    return made
