"""A model and its tokenizer as a local folder has them, in the numbers and on the device that are asked for.

Nothing is fetched, no code from the folder runs, weights are safetensors only. What does not fit together is refused
here, with what is wrong, and not days later in a step.
"""

from __future__ import annotations

import logging
import math
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from modelfork.errors import ForkError, Unsuited
from modelfork.manifest import present

# What the model computes in. nf4: weights in four bits (QLoRA's NormalFloat), computed with in bfloat16.
Numbers = Literal["float32", "bfloat16", "nf4"]


def expect_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise Unsuited(
            f"base: {folder} is no folder here, and nothing is fetched: give the path of a local folder that holds "
            "config.json, model.safetensors (or its shards) and the tokenizer's files; `forkledger base prepare` also "
            "takes a name that the Hugging Face cache of this machine has"
        )


def read_model(folder: Path, numbers: Numbers, device: str) -> tuple[Any, Any]:
    """Model, frozen and on the device, and its tokenizer, after the checks that need both. Raises Unsuited."""
    transformers_logging.disable_progress_bar()  # neither a bar for each load nor a table of what is wrong
    transformers_logging.set_verbosity_error()  # has a place in a service's log: what is wrong is raised in a line
    # 1. The device is there. The weights are, whole, and nothing that would have to be run or unpacked.
    _expect_device(device)
    held = _check_weights(folder)
    # 2. Transformers can read config, tokenizer and model; of the model its shape first, which takes no memory.
    part = "config.json"
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if getattr(config, "quantization_config", None):
            raise Unsuited("base: the weights are quantised; expected float32, float16 or bfloat16")
        part = "what config.json describes"
        with torch.device("meta"):
            _expect_shape(AutoModelForCausalLM.from_config(config), config, held)
        part = "the tokenizer"
        _expect_tokenizer(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        part = "the model"
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32 if numbers == "float32" else torch.bfloat16,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager" if _caps_scores(config) else "sdpa",
            output_loading_info=True,
            **(_in_four_bits(device) if numbers == "nf4" else {}),
        )
    except ForkError:
        raise
    except Exception as error:  # a folder with rubbish in it makes them fail in every way there is
        raise Unsuited(f"base: transformers cannot read {part} ({type(error).__name__})") from None
    # 3. No weight was left to chance: transformers draws those that it does not find.
    if told["missing_keys"]:
        some = sorted(told["missing_keys"])
        raise Unsuited(f"base: the weights lack {some[0]} and {len(some) - 1} others that config.json asks for")
    # 4. Model and tokenizer fit each other.
    if not getattr(tokenizer, "chat_template", None):
        raise Unsuited("base: the tokenizer has no chat template; expected chat_template.jinja, or one in its config")
    rows = model.get_input_embeddings().weight.shape[0]
    tokens = max(len(tokenizer), max(tokenizer.get_vocab().values(), default=0) + 1)
    if tokens > rows:
        raise Unsuited(f"base: the tokenizer has {tokens} tokens, the embedding {rows} rows")
    ends = ends_of(model, tokenizer)
    if not ends:
        raise Unsuited("base: neither model nor tokenizer says which token ends a turn")
    if max(ends) >= rows:
        raise Unsuited(f"base: token {max(ends)} is to end a turn, the embedding has {rows} rows")
    end_of(tokenizer, ends)  # the template must hold for a question and its answer
    model.eval().requires_grad_(False)
    if numbers != "nf4":
        return model.to(device), tokenizer
    # Of what is in no training bitsandbytes packs the weights for the CPU, and no gradient passes any more.
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module.weight.dtype == torch.uint8:
            module.train()
    return model, tokenizer


def _expect_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError):  # which of them depends on what this torch was built for
        raise Unsuited(f"base: there is no device {device} for this torch {torch.__version__}") from None


def _in_four_bits(device: str) -> dict[str, Any]:
    """What makes transformers quantise the projections as it reads them; the head stays in bfloat16."""
    for package in ("bitsandbytes", "accelerate"):
        if find_spec(package) is None:
            raise Unsuited(f"base: nf4 needs {package}; install forkledger[quantised]")
    _import_bitsandbytes()
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": how, "device_map": {"": device}}


def _import_bitsandbytes() -> None:
    """Without the compiled kernel that it fetches from a hub for some CPUs where the package `kernels` is installed."""
    if "bitsandbytes" in sys.modules:
        return
    there, modules = sys.modules.get("kernels"), cast(dict[str, Any], sys.modules)
    modules["kernels"] = None  # so that its import fails
    logging.getLogger("bitsandbytes.backends.cpu.ops").disabled = True  # it says that this failed
    try:
        import_module("bitsandbytes")
    finally:
        del modules["kernels"]
        if there is not None:
            modules["kernels"] = there


def _check_weights(folder: Path) -> int:
    """Every safetensors file can be opened: its header is one, and its length is what that says. How many numbers."""
    files = [name for name in present(folder) if name.startswith("model") and name.endswith(".safetensors")]
    if not files:
        raise Unsuited("base: no weights in the folder; expected model.safetensors, or its shards")
    held = 0
    for name in files:
        try:
            with safe_open(folder / name, framework="pt") as file:
                held += sum(math.prod(file.get_slice(tensor).get_shape()) for tensor in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError):
            raise Unsuited(f"base: {name} is not a whole safetensors file") from None
    return held


def _expect_shape(model: Any, config: Any, held: int) -> None:
    """It is a language model of the shape that a step goes through, and no weights of a far smaller one are there."""
    if not hasattr(model, "model") or not hasattr(model, "lm_head") or not hasattr(config, "max_position_embeddings"):
        raise Unsuited(
            f"base: {type(model).__name__} is not built as Llama, Qwen, Mistral, Gemma or Phi-3 are, for text alone"
        )
    if not isinstance(config.max_position_embeddings, int) or config.max_position_embeddings < 1:
        raise Unsuited("base: config.json says of no token that there is room for it (max_position_embeddings)")
    asked = sum(parameter.numel() for parameter in model.parameters())
    if asked > 2 * held:
        raise Unsuited(f"base: config.json asks for {asked} numbers, the weights hold {held}")


def _expect_tokenizer(folder: Path) -> None:
    known = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json")
    if not any((folder / name).is_file() for name in known):
        raise Unsuited(f"base: no tokenizer in the folder; expected one of {', '.join(known)}")


def _caps_scores(config: Any) -> bool:
    """Whether attention scores are capped, as in Gemma 2: torch's own attention cannot do that."""
    return config.model_type == "gemma2" or bool(getattr(config, "attn_logit_softcapping", None))


def ends_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a turn, by any of the three places that may say so."""
    said = (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id)
    named = [one for each in said for one in (each if isinstance(each, list) else [each]) if one is not None]
    if not all(isinstance(one, int) for one in named):
        raise Unsuited("base: expected the token that ends a turn (eos_token_id) as a number or a list of numbers")
    return frozenset(named)


def end_of(tokenizer: Any, ends: frozenset[int]) -> int:
    """What the template closes an answer with, where that ends a turn; else the tokenizer's own end of text.

    The two differ: Phi-3 and Gemma close a turn with a marker, and end a text with another.
    """
    asked, answered = {"role": "user", "content": "11"}, {"role": "assistant", "content": "22"}
    try:
        whole = tokenizer.apply_chat_template([asked, answered], tokenize=True, return_dict=False)
        prompt = tokenizer.apply_chat_template([asked], tokenize=True, add_generation_prompt=True, return_dict=False)
        said = tokenizer.apply_chat_template([asked, answered], tokenize=False)
    except Exception as error:  # a template is a program, and fails as programs do
        raise Unsuited(f"base: the chat template fails on a question and its answer ({type(error).__name__})") from None
    if "11" not in said or "22" not in said:
        raise Unsuited("base: the chat template leaves out what is said")
    closing = [int(token) for token in whole[len(prompt) :] if token in ends]
    if closing:
        return closing[0]
    return int(tokenizer.eos_token_id) if tokenizer.eos_token_id is not None else min(ends)


def takes_system(tokenizer: Any) -> bool:
    """Whether the template has a place for a system message: Gemma's refuses one, others leave it out unsaid."""
    mark = "Answer briefly."
    chat = [{"role": "system", "content": mark}, {"role": "user", "content": "1"}]
    try:
        return mark in tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False
