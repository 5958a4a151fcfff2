"""The frozen base: a causal language model in a local folder, its basis, layout and anchor rows, all checked by digest.

`manifest.json` beside the model names every file and its SHA-256. Nothing is fetched, nothing derived again, no
code from the folder runs, weights are safetensors only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from modelfork import basis as bases
from modelfork.cores import Cores
from modelfork.errors import ForkError, Malformed, Unsuited
from modelfork.interaction import Message
from modelfork.layout import Layout, Segment, decode_layout, encode_layout, layout_digest
from modelfork.manifest import ANCHORS, BASIS, LAYOUT, base_digest, digests, present, read_manifest, write_manifest

ROLES = ("system", "user", "assistant")

Numbers = Literal["float32", "bfloat16"]


UNKNOWN, CONTEXT = "unknown", "context"  # kinds of anchors: one owns not to know, one was told what it is asked


@dataclass(frozen=True, slots=True)
class Anchor:
    """An example that keeps one of the base's own skills: the last message is the assistant's."""

    kind: str
    messages: tuple[Message, ...]


@dataclass(slots=True)
class Own:
    """What the base itself makes of its anchor rows, each part computed when it is first needed."""

    # By anchor and longest row: its tokens, where its answer begins, and (losses, hidden) along that.
    answers: dict[tuple[Anchor, int], tuple[tuple[int, ...], int, Tensor]] = field(default_factory=dict)
    topics: dict[str, Tensor] = field(default_factory=dict)  # by question of an anchor row: (hidden,)
    middle: Tensor | None = None  # (hidden,): of all questions


@dataclass(frozen=True, slots=True)
class Base:
    """Model, tokenizer and what hangs on them. Every use of `model` stands inside `cores.running`."""

    model: Any  # a causal LM: eval, frozen, its projections replaced by `Cored`
    tokenizer: Any
    cores: Cores
    layout: Layout
    layout_digest: bytes
    anchors: tuple[Anchor, ...]
    anchors_digest: bytes
    context: int  # tokens that prompt and answer may have together
    row: int  # tokens of the longest row of a step: within the window of layers that look back only so far
    ends: frozenset[int]  # tokens that end a turn
    end: int  # the one that an answer is taught to end with
    pad: int
    specials: tuple[str, ...]
    takes_system: bool  # else a system message is put before what the user says first
    own: Own = field(default_factory=Own, compare=False, repr=False)

    def render(self, messages: Sequence[Message], prompt: bool) -> list[int]:
        """Tokens of a chat through the model's own template; with `prompt`, the assistant's turn begun.

        Raises Malformed where the template does not take the roles as they follow each other.
        """
        if not self.takes_system:
            messages = _system_said_by_user(messages)
        chat = [{"role": message.role, "content": self._plain(message.content)} for message in messages]
        try:
            made = self.tokenizer.apply_chat_template(
                chat, tokenize=True, add_generation_prompt=prompt, return_dict=False
            )
        except TemplateError:
            roles = ", ".join(message.role for message in messages)
            raise Malformed(f"chat: the model's template does not take messages of {roles} in this order") from None
        return [int(token) for token in made]

    def tokens(self, text: str) -> list[int]:
        """Tokens of bare text."""
        return [int(token) for token in self.tokenizer.encode(self._plain(text), add_special_tokens=False)]

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out; half a character at the end becomes U+FFFD."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def mask(self, seen: Tensor) -> Tensor:
        """Who may see whom (any shape, true or false), as the model's attention takes it."""
        if self.model.config._attn_implementation == "eager":  # adds its mask to the scores
            dtype = self.model.dtype
            return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return seen

    def _plain(self, text: str) -> str:
        """A marker of turns that somebody typed stays text: a space after its first character sees to that."""
        for special in self.specials:
            if special in text:
                text = text.replace(special, special[0] + " " + special[1:])
        return text


def use_threads(count: int) -> None:
    """How many threads a model step may take, in this whole process."""
    torch.set_num_threads(count)


def load_base(folder: Path, numbers: Numbers = "float32") -> Base:
    """Read and check a folder that `prepare_base` finished. The model runs in `numbers`, its cores in float32.

    Raises Unsuited where a file is missing or not the one that the manifest names, where the folder holds a file of
    the model that it does not name, or where the parts do not fit together.
    """
    _expect_folder(folder)
    # 1. Every file is the one that the manifest names, and none is beside it that would be read unchecked.
    named = read_manifest(folder)
    # 2. The layout belongs to this base and this basis.
    layout_bytes = (folder / LAYOUT).read_bytes()
    layout = decode_layout(layout_bytes)
    if layout.base_digest != base_digest(named) or layout.basis_digest != bytes.fromhex(named[BASIS]):
        raise Unsuited(f"base: {LAYOUT} belongs to another base or basis")
    # 3. Model and tokenizer fit each other.
    model, tokenizer = _read_model(folder, numbers)
    # 4. The cores fit the model.
    try:
        found: Mapping[str, Tensor] = read_tensors((folder / BASIS).read_bytes())
    except SafetensorError:
        raise Unsuited(f"base: {BASIS} is not a safetensors file") from None
    for name, tensor in found.items():
        if not torch.isfinite(tensor).all():
            raise Unsuited(f"base: {BASIS}: {name} has numbers that are not finite")
    anchors = _read_anchors(folder / ANCHORS)
    base = _together(model, tokenizer, layout, layout_bytes, found, anchors, bytes.fromhex(named[ANCHORS]))
    # 5. The template takes every anchor row: a step would fail of one that it does not take, days later.
    _expect_rendered(base)
    return base


def _together(
    model: Any,
    tokenizer: Any,
    layout: Layout,
    layout_bytes: bytes,
    basis: Mapping[str, Tensor],
    anchors: Sequence[Anchor],
    anchors_digest: bytes,
) -> Base:
    cores = Cores(model, layout, basis)
    ends, context = _ends(model, tokenizer), int(model.config.max_position_embeddings)
    return Base(
        model=model,
        tokenizer=tokenizer,
        cores=cores,
        layout=layout,
        layout_digest=layout_digest(layout_bytes),
        anchors=tuple(anchors),
        anchors_digest=anchors_digest,
        context=context,
        row=min(context, int(getattr(model.config, "sliding_window", None) or context)),
        ends=ends,
        end=_end(tokenizer, ends),
        pad=int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else min(ends),
        specials=tuple(sorted(map(str, tokenizer.get_added_vocab()), key=len, reverse=True)),
        takes_system=_takes_system(tokenizer),
    )


def _expect_rendered(base: Base) -> None:
    for number, anchor in enumerate(base.anchors, 1):
        try:
            base.render(anchor.messages[:-1], prompt=True)
        except Malformed as error:
            raise Unsuited(f"base: {ANCHORS}, line {number}: {error}") from None


def prepare_base(
    folder: Path,
    rank: int,
    own_rows: Callable[[Base], Sequence[Anchor]] | None = None,
    own_basis: Callable[[Base], Mapping[str, Tensor] | None] | None = None,
) -> None:
    """Write basis, layout and manifest beside a model, the manifest last: what stops before it can be done again.

    An `anchors.jsonl` that is there stays (it may be empty, which means no rows); else `own_rows` makes them.
    The basis is that of the weights, unless `own_basis` has a better one for this base and its rows.
    Raises Unsuited where there is no usable model, or neither rows nor what makes them.
    """
    _expect_folder(folder)
    there = (folder / ANCHORS).is_file()
    if not there and own_rows is None:
        raise Unsuited(f"base: {ANCHORS} is missing; an empty file means no anchor rows")
    model, tokenizer = _read_model(folder, "float32")
    found: Mapping[str, Tensor] = bases.compute(model, rank)
    named = digests(folder, present(folder))
    layout, _ = _layout_over(named, found)
    base = _together(model, tokenizer, layout, encode_layout(layout), found, (), bytes(32))
    if there:
        base = replace(base, anchors=_read_anchors(folder / ANCHORS))
    elif own_rows is not None:
        base = replace(base, anchors=tuple(own_rows(base)))
        (folder / ANCHORS).write_text("".join(map(_anchor_line, base.anchors)), encoding="utf-8")
    found = (own_basis(base) if own_basis else None) or found
    layout, basis = _layout_over(named, found)
    (folder / BASIS).write_bytes(basis)
    (folder / LAYOUT).write_bytes(encode_layout(layout))
    write_manifest(folder)


def _layout_over(named: Mapping[str, str], found: Mapping[str, Tensor]) -> tuple[Layout, bytes]:
    """A core for each projection that the basis has, in its order; and the basis as it is stored."""
    segments = tuple(
        Segment(name.removesuffix(".a"), len(a), len(a), 0) for name, a in found.items() if name.endswith(".a")
    )
    basis = cast(bytes, write_tensors(dict(found)))
    return Layout(base_digest(named), hashlib.sha256(basis).digest(), segments), basis


def _expect_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise Unsuited(
            f"base: {folder} is no folder here, and nothing is fetched: give the path of a local folder that holds "
            "config.json, model.safetensors (or its shards) and the tokenizer's files"
        )


def _read_model(folder: Path, numbers: Numbers) -> tuple[Any, Any]:
    """Model on the CPU and its tokenizer, after the checks that need both."""
    transformers_logging.disable_progress_bar()  # neither a bar for each load nor a table of what is wrong
    transformers_logging.set_verbosity_error()  # has a place in a service's log: what is wrong is raised in a line
    # 1. The weights are there, whole, and nothing that would have to be run or unpacked.
    _check_weights(folder)
    # 2. Transformers can read config, tokenizer and model.
    part = "config.json"
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if getattr(config, "quantization_config", None):
            raise Unsuited("base: the weights are quantised; expected float32, float16 or bfloat16")
        part = "the tokenizer"
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        part = "the model"
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, numbers),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager" if _caps_scores(config) else "sdpa",
            output_loading_info=True,
        )
    except ForkError:
        raise
    except Exception as error:  # a folder with rubbish in it makes them fail in every way there is
        raise Unsuited(f"base: transformers cannot read {part} ({type(error).__name__})") from None
    # 3. No weight was left to chance: transformers draws those that it does not find.
    if told["missing_keys"]:
        some = sorted(told["missing_keys"])
        raise Unsuited(f"base: the weights lack {some[0]} and {len(some) - 1} others that config.json asks for")
    # 4. It is a language model of the shape that a step goes through.
    if not hasattr(model, "model") or not hasattr(model, "lm_head") or not hasattr(config, "max_position_embeddings"):
        raise Unsuited(f"base: {type(model).__name__} is no causal language model of text alone")
    if not isinstance(config.max_position_embeddings, int) or config.max_position_embeddings < 1:
        raise Unsuited("base: config.json says of no token that there is room for it (max_position_embeddings)")
    # 5. Model and tokenizer fit each other.
    if not getattr(tokenizer, "chat_template", None):
        raise Unsuited("base: the tokenizer has no chat template")
    rows = model.get_input_embeddings().weight.shape[0]
    tokens = max(len(tokenizer), max(tokenizer.get_vocab().values(), default=0) + 1)
    if tokens > rows:
        raise Unsuited(f"base: the tokenizer has {tokens} tokens, the embedding {rows} rows")
    ends = _ends(model, tokenizer)
    if not ends:
        raise Unsuited("base: neither model nor tokenizer says which token ends a turn")
    if max(ends) >= rows:
        raise Unsuited(f"base: token {max(ends)} is to end a turn, the embedding has {rows} rows")
    _end(tokenizer, ends)  # the template must hold for a question and its answer
    model.eval().requires_grad_(False)
    return model, tokenizer


def _check_weights(folder: Path) -> None:
    """Every safetensors file can be opened: its header is one, and its length is what that says."""
    files = [name for name in present(folder) if name.startswith("model") and name.endswith(".safetensors")]
    if not files:
        raise Unsuited("base: no weights in the folder; expected model.safetensors, or its shards")
    for name in files:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (OSError, SafetensorError):
            raise Unsuited(f"base: {name} is not a whole safetensors file") from None


def _caps_scores(config: Any) -> bool:
    """Whether attention scores are capped, as in Gemma 2: torch's own attention cannot do that."""
    return config.model_type == "gemma2" or bool(getattr(config, "attn_logit_softcapping", None))


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a turn, by any of the three places that may say so."""
    said = (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id)
    named = [one for each in said for one in (each if isinstance(each, list) else [each]) if one is not None]
    if not all(isinstance(one, int) for one in named):
        raise Unsuited("base: expected the token that ends a turn (eos_token_id) as a number or a list of numbers")
    return frozenset(named)


def _end(tokenizer: Any, ends: frozenset[int]) -> int:
    """What the template closes an answer with, where that ends a turn; else the tokenizer's own end of text.

    The two differ: Phi-3 and Gemma close a turn with a marker, and end a text with another.
    """
    asked = {"role": "user", "content": "1"}
    try:
        whole = tokenizer.apply_chat_template(
            [asked, {"role": "assistant", "content": "2"}], tokenize=True, return_dict=False
        )
        prompt = tokenizer.apply_chat_template([asked], tokenize=True, add_generation_prompt=True, return_dict=False)
    except (TemplateError, ValueError, TypeError) as error:
        raise Unsuited(f"base: the chat template fails on a question and its answer ({type(error).__name__})") from None
    closing = [int(token) for token in whole[len(prompt) :] if token in ends]
    if closing:
        return closing[0]
    return int(tokenizer.eos_token_id) if tokenizer.eos_token_id is not None else min(ends)


def _takes_system(tokenizer: Any) -> bool:
    """Whether the template has a place for a system message: Gemma's refuses one, others leave it out unsaid."""
    mark = "Answer briefly."
    chat = [{"role": "system", "content": mark}, {"role": "user", "content": "1"}]
    try:
        return mark in tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False


def _system_said_by_user(messages: Sequence[Message]) -> Sequence[Message]:
    if not messages or messages[0].role != "system":
        return messages
    system, *others = messages
    if others and others[0].role == "user":
        return (Message("user", f"{system.content}\n\n{others[0].content}"), *others[1:])
    return (Message("user", system.content), *others)


def _anchor_line(anchor: Anchor) -> str:
    messages = [{"role": message.role, "content": message.content} for message in anchor.messages]
    return json.dumps({"kind": anchor.kind, "messages": messages}, ensure_ascii=False) + "\n"


def _read_anchors(path: Path) -> tuple[Anchor, ...]:
    """One JSON object a line: kind, and messages that end with the assistant's."""
    anchors = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Unsuited(f"base: {ANCHORS} is not UTF-8") from None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if number == 1 and not line:
            break  # an empty file
        try:
            row = json.loads(line)
            messages = tuple(Message(str(said["role"]), str(said["content"])) for said in row["messages"])
            anchor = Anchor(str(row["kind"]), messages)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Unsuited(f"base: {ANCHORS}, line {number} is not an anchor row") from None
        if any(message.role not in ROLES for message in messages):
            raise Unsuited(f"base: {ANCHORS}, line {number}: expected the roles {', '.join(ROLES)}")
        if len(messages) < 2 or messages[-1].role != "assistant":
            raise Unsuited(f"base: {ANCHORS}, line {number} does not end with an answer to something")
        anchors.append(anchor)
    return tuple(anchors)
