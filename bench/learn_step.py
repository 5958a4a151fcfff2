"""What learning costs beside the bare model: `python bench/learn_step.py`.

The same correction, with the same rehearsal and anchor rows packed alike, three ways in turn:

learn   `learn()` whole: choosing and tokenising rows, packing, every iteration, rounding to integers
bare    the plain model forward and backward to the input embeddings on the same batches, and nothing else
peft    PEFT LoRA r=8 on the same seven projections with AdamW, forward, backward and step on the same batches

Medians of the ratios of neighbouring runs. Rewordings are made once a text and kept, so they are timed apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.random import default_rng
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM

from modelfork import learn as learning
from modelfork.base import Base, load_base
from modelfork.basis import ADAPTED
from modelfork.demo.people import invent
from modelfork.earlier import worded
from modelfork.interaction import Interaction, Message
from modelfork.loss import gradient
from modelfork.recipe import default_recipe
from modelfork.rehearse import Memory
from modelfork.rows import Batch
from modelfork.settings import DEMO_BASE


def corrections(count: int) -> list[Interaction]:
    rng = default_rng(31)
    return [
        Interaction(
            (Message("user", fact.question(rng, "held-out")),),
            "I don't know that yet.",
            correction=fact.answer,
            refers_to=bytes([at]) * 16,
        )
        for at, fact in enumerate(invent(rng, count).facts)
    ]


def plain(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, attn_implementation="sdpa"
    )
    return model.eval().requires_grad_(False)


def loss_of(inner: Any, head: Any, embedded: torch.Tensor, batch: Batch) -> torch.Tensor:
    hidden = inner(
        inputs_embeds=embedded, attention_mask=batch.mask, position_ids=batch.places, use_cache=False
    ).last_hidden_state
    logits = head(hidden.reshape(-1, hidden.shape[-1])[batch.counted])
    each = functional.cross_entropy(logits, batch.targets, reduction="none")
    return (each * batch.shares).sum()


def run_bare(model: Any, batches: Sequence[Batch]) -> None:
    for batch in batches:
        embedded = model.model.embed_tokens(batch.tokens).requires_grad_()
        loss_of(model.model, model.lm_head, embedded, batch).backward()


def run_peft(model: Any, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> None:
    inner = model.base_model.model
    for batch in batches:
        optimizer.zero_grad()
        loss_of(inner.model, inner.lm_head, inner.model.embed_tokens(batch.tokens), batch).backward()
        optimizer.step()


def milliseconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def lessons_and_memory(rehearsed: int) -> tuple[list[Interaction], Memory]:
    """Corrections of one person, the last to be learned and those before it remembered."""
    lessons, memory = corrections(rehearsed + 1), Memory()
    for at, lesson in enumerate(lessons[:-1]):
        memory.remember(bytes([at]) * 16, lesson)
    return lessons, memory


def batches_of(learn: Callable[[], object]) -> list[Batch]:
    """What each iteration of a step learns of."""
    batches: list[Batch] = []

    def recorded(of: Base, numbers: torch.Tensor, batch: Batch) -> tuple[float, float, torch.Tensor]:
        batches.append(batch)
        return gradient(of, numbers, batch)

    with mock.patch.object(learning, "gradient", recorded):
        learn()
    return batches


def measure(folder: Path, base: Base, repeats: int, iterations: int) -> dict[str, float]:
    """`iterations` of both kinds of step are set to the same number, so that the work does not depend on the loss."""
    recipe = replace(
        default_recipe(base.anchors_digest),
        iterations=iterations,
        contradiction_iterations=iterations,
        longest_iterations=iterations,
    )
    lessons, memory = lessons_and_memory(recipe.rehearsed)
    state = np.zeros(base.cores.dimension, np.int64)
    rewording = [
        milliseconds(lambda one=one: worded(base, recipe, memory, one.messages[-1].content) and None)  # type: ignore[misc]
        for one in lessons
    ]

    def learn() -> None:
        learning.learn(base, recipe, state, lessons[-1], memory, 5)

    batches = batches_of(learn)
    bare, adapted = plain(folder), get_peft_model(plain(folder), LoraConfig(r=8, target_modules=list(ADAPTED)))
    optimizer = torch.optim.AdamW([one for one in adapted.parameters() if one.requires_grad], lr=1e-3)
    run_bare(bare, batches)
    run_peft(adapted, optimizer, batches)
    times: dict[str, list[float]] = {"learn": [], "bare": [], "peft": []}
    for _ in range(repeats):
        times["learn"].append(milliseconds(learn))
        times["bare"].append(milliseconds(lambda: run_bare(bare, batches)))
        times["peft"].append(milliseconds(lambda: run_peft(adapted, optimizer, batches)))

    def ratio(above: str, below: str) -> float:
        return round(statistics.median(a / b for a, b in zip(times[above], times[below], strict=True)), 3)

    return {
        "iterations": len(batches),
        "tokens an iteration": statistics.mean(float((one.mask.any(-1)).sum()) for one in batches),
        **{f"{name} ms": round(statistics.median(taken), 1) for name, taken in times.items()},
        "learn / bare": ratio("learn", "bare"),
        "learn / peft": ratio("learn", "peft"),
        "rewordings of one text ms": round(statistics.median(rewording), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, default=DEMO_BASE)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    base = load_base(given.base)
    recipe = default_recipe(base.anchors_digest)
    steps = {"one iteration": 1, "ordinary": recipe.iterations, "contradicting": recipe.contradiction_iterations}
    measured = {name: measure(given.base, base, given.repeats, count) for name, count in steps.items()}
    if given.json:
        sys.stdout.write(json.dumps(measured) + "\n")
        return
    figures = list(next(iter(measured.values())))
    lines = [f"| step | {' | '.join(figures)} |", "| --- |" + " --- |" * len(figures)]
    lines += [f"| {name} | {' | '.join(f'{row[figure]:g}' for figure in figures)} |" for name, row in measured.items()]
    sys.stdout.write("\n".join(lines) + "\n\nFloors: learn / bare at most 1.5, learn / peft below 1.\n")


if __name__ == "__main__":
    main()
