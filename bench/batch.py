"""What many users at once cost: `python bench/batch.py`.

The same greedy answers of 32 tokens to prompts of 21, several ways in turn; processor time, so that others on the
machine count less:

base    the plain model by transformers, with its own cache, all prompts as one batch
cores   the same loop with cores and the cache that rows join and leave: one user merged, 16 different ones by row
whole   `Batcher.generate` in a thread for each user that takes its tokens: queues, threads and admission included
peft    PEFT's mixed batch: 16 LoRA adapters of rank 16 on the same seven projections, `adapter_names`

*A token* is a forward pass after the prompts; *whole* is from asking to the last token.

And what learning could gain from batches: the rows of one step of each of 16 users, forward and backward through the
plain model to its input embeddings, one user after another / all at once. No cores, no choice of rows, no rounding: a
step in a batch can hardly gain more than that.

Medians of the ratios of neighbouring runs. Exits with 1 where a floor is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learn_step import batches_of, lessons_and_memory, loss_of, plain
from peft import LoraConfig, get_peft_model
from transformers import DynamicCache

from modelfork.base import Base, load_base
from modelfork.basis import ADAPTED
from modelfork.batcher import Batcher
from modelfork.generate import Sampling
from modelfork.interaction import Message
from modelfork.kvcache import RowCache
from modelfork.learn import learn
from modelfork.recipe import default_recipe
from modelfork.rows import Batch
from modelfork.settings import DEMO_BASE

USERS = 16
MOST = {"a token, one user: cores / base": 1.1, "a token, 16 users: cores / base": 1.4}
LEAST = {"16 users: peft / whole": 3.0}

Taken = tuple[float, float]  # processor milliseconds until the last token, and of the passes after the prompts


def spent() -> float:
    return 1000 * time.process_time()


def by_transformers(model: Any, prompts: Sequence[Sequence[int]], most: int, **more: Any) -> Taken:
    begun, cache = spent(), DynamicCache(config=model.config)
    fed, first = torch.tensor(prompts), 0.0
    with torch.inference_mode():
        for number in range(most):
            made = model(input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1, **more)
            fed = made.logits[:, -1].argmax(-1, keepdim=True)
            fed.tolist()  # whoever listens wants them now
            first = first if number else spent()
    return spent() - begun, spent() - first


def with_cores(base: Base, states: np.ndarray, prompts: Sequence[Sequence[int]], most: int) -> Taken:
    begun, rows, fed, first = spent(), RowCache(base, len(prompts)), torch.tensor(prompts), 0.0
    with torch.inference_mode(), base.cores.running(base.cores.of(states if len(prompts) > 1 else states[0])):
        for number in range(most):
            fed = rows.feed(fed).argmax(-1, keepdim=True)
            fed.tolist()
            first = first if number else spent()
    return spent() - begun, spent() - first


def by_batcher(batcher: Batcher, states: np.ndarray, prompts: Sequence[Sequence[int]], most: int) -> Taken:
    begun, sampling = spent(), Sampling(max_tokens=most)

    def answer(at: int) -> None:
        assert len(list(batcher.generate(states[at], prompts[at], sampling))) == most

    threads = [threading.Thread(target=answer, args=(at,)) for at in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent() - begun, 0.0


def adapted(folder: Path) -> Any:
    config = LoraConfig(r=16, target_modules=list(ADAPTED), init_lora_weights=False)
    model = get_peft_model(plain(folder), config, adapter_name="0")
    for user in range(1, USERS):
        model.add_adapter(str(user), config)
    return model.eval()


def interleaved(sides: dict[str, Callable[[], Taken]], repeats: int) -> dict[str, list[Taken]]:
    for side in sides.values():
        side()
    times: dict[str, list[Taken]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            times[name].append(side())
    return times


def ratio(times: dict[str, list[Taken]], above: str, below: str, part: int = 0) -> float:
    return round(statistics.median(a[part] / b[part] for a, b in zip(times[above], times[below], strict=True)), 3)


def answering(folder: Path, base: Base, repeats: int, tokens: int) -> dict[str, float]:
    base = replace(base, ends=frozenset())  # every answer has all of its tokens
    states = np.random.default_rng(7).integers(-(2**18), 2**18, (USERS, base.cores.dimension))
    asked = "What is the name of the street that my sister and her dog live in now?"
    prompt = base.render([Message("user", asked)], prompt=True)
    prompts = [[*prompt[:-4], 100 + user, *prompt[-3:]] for user in range(USERS)]
    bare, peft, batcher = plain(folder), adapted(folder), Batcher(base)
    names = [str(user) for user in range(USERS)]

    def by_peft() -> Taken:
        return by_transformers(peft, prompts, tokens, adapter_names=names)

    one, many = (
        interleaved(
            {
                "base": lambda some=some: by_transformers(bare, some, tokens),  # type: ignore[misc]
                "cores": lambda some=some: with_cores(base, states, some, tokens),  # type: ignore[misc]
                "whole": lambda some=some: by_batcher(batcher, states, some, tokens),  # type: ignore[misc]
            }
            | ({"peft": by_peft} if some is prompts else {}),
            repeats,
        )
        for some in (prompts[:1], prompts)
    )
    return {
        "a token, one user: base ms": round(statistics.median(taken[1] for taken in one["base"]) / (tokens - 1), 2),
        "a token, 16 users: base ms": round(statistics.median(taken[1] for taken in many["base"]) / (tokens - 1), 2),
        "a token, one user: cores / base": ratio(one, "cores", "base", 1),
        "a token, 16 users: cores / base": ratio(many, "cores", "base", 1),
        "one user: whole / base": ratio(one, "whole", "base"),
        "16 users: whole / base": ratio(many, "whole", "base"),
        "16 users: peft / base": ratio(many, "peft", "base"),
        "16 users: peft / whole": ratio(many, "peft", "whole"),
    }


def rows_of_a_step(base: Base, user: int) -> Batch:
    """What the first iteration of a correction learns of, with ten earlier ones to rehearse."""
    recipe = replace(default_recipe(base.anchors_digest), iterations=1, contradiction_iterations=1)
    lessons, memory = lessons_and_memory(recipe.rehearsed)
    state = np.zeros(base.cores.dimension, np.int64)
    return batches_of(lambda: learn(base, recipe, state, lessons[-1], memory, user))[0]


def together(batches: Sequence[Batch]) -> Batch:
    begins = np.cumsum([0] + [batch.tokens.numel() for batch in batches[:-1]])
    return Batch(
        tokens=torch.cat([batch.tokens for batch in batches]),
        places=torch.cat([batch.places for batch in batches]),
        mask=torch.cat([batch.mask for batch in batches]),
        counted=torch.cat([batch.counted + int(begin) for batch, begin in zip(batches, begins, strict=True)]),
        targets=torch.cat([batch.targets for batch in batches]),
        shares=torch.cat([batch.shares for batch in batches]),
        avoid=torch.cat([batch.avoid for batch in batches]),
        lesson=batches[0].lesson,
        anchored=torch.cat([batch.anchored for batch in batches]),
        own=None,  # a bare pass looks at the targets alone
        taught=statistics.mean(batch.taught for batch in batches),
    )


def learning_rows(folder: Path, base: Base, repeats: int) -> dict[str, float]:
    batches, bare = [rows_of_a_step(base, user) for user in range(USERS)], plain(folder)
    whole = together(batches)

    def run(*several: Batch) -> Taken:
        begun = spent()
        for batch in several:
            embedded = bare.model.embed_tokens(batch.tokens).requires_grad_()
            loss_of(bare.model, bare.lm_head, embedded, batch).backward()
        return spent() - begun, 0.0

    times = interleaved({"apart": lambda: run(*batches), "at once": lambda: run(whole)}, repeats)
    return {
        "learning: tokens of a user's iteration": statistics.mean(float(one.mask.any(-1).sum()) for one in batches),
        "learning, 16 users: apart ms": round(statistics.median(taken[0] for taken in times["apart"]), 1),
        "learning, 16 users: apart / at once": ratio(times, "apart", "at once"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, default=DEMO_BASE)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    base = load_base(given.base)
    measured = answering(given.base, base, given.repeats, given.tokens)
    measured |= learning_rows(given.base, base, max(3, given.repeats // 5))
    if given.json:
        sys.stdout.write(json.dumps(measured) + "\n")
    else:
        floors = {name: f"at most {most:g}" for name, most in MOST.items()}
        floors |= {name: f"at least {least:g}" for name, least in LEAST.items()}
        lines = ["| figure | measured | floor |", "| --- | --- | --- |"]
        lines += [f"| {name} | {found:g} | {floors.get(name, 'reported')} |" for name, found in measured.items()]
        sys.stdout.write("\n".join(lines) + "\n")
    missed = [name for name, most in MOST.items() if measured[name] > most]
    missed += [name for name, least in LEAST.items() if measured[name] < least]
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
