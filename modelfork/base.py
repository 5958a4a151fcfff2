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
from typing import Any, cast

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor

from modelfork import basis as bases
from modelfork.cores import Cores
from modelfork.errors import Malformed, Unsuited
from modelfork.interaction import Message
from modelfork.layout import Layout, Segment, decode_layout, encode_layout, layout_digest
from modelfork.manifest import ANCHORS, BASIS, LAYOUT, base_digest, digests, present, read_manifest, write_manifest
from modelfork.pretrained import Numbers, end_of, ends_of, expect_folder, read_model, takes_system

ROLES = ("system", "user", "assistant")

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
    words: frozenset[str] | None = None  # that stand in several of its answers


@dataclass(frozen=True, slots=True)
class Base:
    """Model, tokenizer and what hangs on them. Every use of `model` stands inside `cores.running`."""

    model: Any  # a causal LM: eval, frozen, its projections replaced by `Cored`
    tokenizer: Any
    cores: Cores
    device: torch.device  # where the model is; what is kept of a fork stays on the CPU
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

    def placed(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Rows of tokens, all of one length, where the model takes them (rows, tokens)."""
        return torch.tensor(tokens, dtype=torch.long, device=self.device)

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


def load_base(folder: Path, numbers: Numbers = "float32", device: str = "cpu") -> Base:
    """Read and check a folder that `prepare_base` finished. The model runs on `device` in `numbers`, its cores in
    float32.

    Raises Unsuited where a file is missing or not the one that the manifest names, where the folder holds a file of
    the model that it does not name, where the parts do not fit together, or where there is no such device.
    """
    expect_folder(folder)
    # 1. Every file is the one that the manifest names, and none is beside it that would be read unchecked.
    named = read_manifest(folder)
    # 2. The layout belongs to this base and this basis.
    layout_bytes = (folder / LAYOUT).read_bytes()
    layout = decode_layout(layout_bytes)
    if layout.base_digest != base_digest(named) or layout.basis_digest != bytes.fromhex(named[BASIS]):
        raise Unsuited(f"base: {LAYOUT} belongs to another base or basis")
    # 3. Model and tokenizer fit each other.
    model, tokenizer = read_model(folder, numbers, device)
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
    ends, context = ends_of(model, tokenizer), int(model.config.max_position_embeddings)
    return Base(
        model=model,
        tokenizer=tokenizer,
        cores=cores,
        device=cores.scale.device,
        layout=layout,
        layout_digest=layout_digest(layout_bytes),
        anchors=tuple(anchors),
        anchors_digest=anchors_digest,
        context=context,
        row=min(context, int(getattr(model.config, "sliding_window", None) or context)),
        ends=ends,
        end=end_of(tokenizer, ends),
        pad=int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else min(ends),
        specials=tuple(sorted(map(str, tokenizer.get_added_vocab()), key=len, reverse=True)),
        takes_system=takes_system(tokenizer),
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
    device: str = "cpu",
) -> None:
    """Write basis, layout and manifest beside a model, the manifest last: what stops before it can be done again.

    An `anchors.jsonl` that is there stays (it may be empty, which means no rows); else `own_rows` makes them.
    The basis is that of the weights, unless `own_basis` has a better one for this base and its rows.
    Raises Unsuited where there is no usable model, or neither rows nor what makes them.
    """
    expect_folder(folder)
    there = (folder / ANCHORS).is_file()
    if not there and own_rows is None:
        raise Unsuited(f"base: {ANCHORS} is missing; an empty file means no anchor rows")
    model, tokenizer = read_model(folder, "float32", device)
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
