"""``python -m modelfork.demo.train --out DIR``: makes the demo base from nothing but its grammar and a seed.

On two cores it takes under an hour. With ``--corpus`` a small part of the text is real conversation.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator, default_rng
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from modelfork.demo import anchors
from modelfork.demo.card import card, mix
from modelfork.demo.corpus import Conversation, conversations, window
from modelfork.demo.folder import load, plain
from modelfork.demo.general import GENERAL
from modelfork.demo.grammar import USER_WEIGHT, Chat, chat
from modelfork.demo.model import fresh, loss, save
from modelfork.demo.score import Bench, scores
from modelfork.demo.tokens import Rows, batches, encode, pack, train_tokenizer

CORPUS_SHARE = 0.035  # of chats; about 7% of the tokens, as these windows are long
CHUNK = 12_000  # chats generated and packed at a time: about a million tokens, four seconds
SHORT, LONG = 256, 512  # row lengths; only chats that need it go into long rows
TOKENS_A_STEP = 2_048  # more learns less per token; and from 32 MiB on, every page of a buffer is a page fault
PEAK_RATE, WARM_UP, DECAY = 2e-3, 150, 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides the result, apart from the machine."""

    tokens: int | None
    minutes: float | None
    seed: int
    device: str

    def progress(self, tokens: int, seconds: float) -> float:
        by_tokens = tokens / self.tokens if self.tokens else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_tokens, by_time))


def draw(rng: Generator, talks: tuple[Conversation, ...], count: int) -> list[Chat]:
    return [window(rng, talks) if talks and rng.random() < CORPUS_SHARE else chat(rng) for _ in range(count)]


def stream(tokenizer: Tokenizer, talks: tuple[Conversation, ...], seed: int, chunk: int) -> Iterator[tuple[int, Rows]]:
    """Batches without end; each chunk follows from seed and number alone, so a resumed run sees what it would have seen."""
    while True:
        rng = default_rng([seed, chunk])
        encoded = encode(tokenizer, draw(rng, talks, CHUNK))
        drawn: list[Rows] = []
        for length, items in (
            (SHORT, [item for item in encoded if len(item.tokens) <= SHORT]),
            (LONG, [item for item in encoded if len(item.tokens) > SHORT]),
        ):
            rows = pack(items, length)
            drawn += batches(rows, TOKENS_A_STEP // length, rng.permutation(len(rows)))
        for at in rng.permutation(len(drawn)):
            yield chunk, drawn[int(at)]
        chunk += 1


def optimizer_for(model: LlamaForCausalLM) -> torch.optim.AdamW:
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    scales = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": scales, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.97), fused=True)


def rate(progress: float, step: int) -> float:
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def evaluate(model: LlamaForCausalLM, rows: Rows, device: str) -> float:
    summed, weight = torch.zeros(()), torch.zeros(())
    for batch in batches(rows, 16, np.arange(len(rows))):
        total, weights = loss(model, batch, device)
        summed, weight = summed + total.cpu(), weight + weights.cpu()
    return float(summed / weight)


def validation(tokenizer: Tokenizer, talks: tuple[Conversation, ...], seed: int, chats: int = 400) -> Rows:
    """Chats that no training chunk holds; of the train split, so it measures fit, not the figures of the card."""
    rng = default_rng([seed, 2**31])
    made = [window(rng, talks) for _ in range(chats)] if talks else [chat(rng) for _ in range(chats)]
    return pack(encode(tokenizer, made), SHORT)


def checkpoint(folder: Path, model: LlamaForCausalLM, optimizer: torch.optim.AdamW, place: dict[str, float]) -> None:
    """Weights, both moments and the place, as safetensors: nothing that executes on load."""
    tensors = {}
    for name, weight in model.named_parameters():
        tensors["weight." + name] = weight.detach()
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}.{name}"] = optimizer.state[weight][moment]
    temporary = folder / "checkpoint.partial"
    save_file(tensors, temporary, {key: repr(value) for key, value in place.items()})
    temporary.rename(folder / "checkpoint.safetensors")


def resume(folder: Path, model: LlamaForCausalLM, optimizer: torch.optim.AdamW) -> dict[str, float]:
    with safe_open(folder / "checkpoint.safetensors", "pt") as file, torch.no_grad():
        place = {key: float(value) for key, value in file.metadata().items()}
        for name, weight in model.named_parameters():
            weight.copy_(file.get_tensor("weight." + name))
            optimizer.state[weight] = {
                "step": torch.tensor(place["step"]),
                "exp_avg": file.get_tensor("exp_avg." + name),
                "exp_avg_sq": file.get_tensor("exp_avg_sq." + name),
            }
    return place


def train(plan: Plan, out: Path, corpus: Path | None, resumed: bool) -> dict[str, float]:
    """Trains until the plan is fulfilled and saves the folder; gives the steps, tokens, seconds and losses."""
    torch.manual_seed(plan.seed)
    out.mkdir(parents=True, exist_ok=True)
    talks = conversations(corpus, "train") if corpus else ()
    unseen = conversations(corpus, "held-out") if corpus else ()
    rng = default_rng([plan.seed, 2**30])
    if resumed:
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    else:
        tokenizer = train_tokenizer(draw(rng, talks, 40_000))
    model = fresh(tokenizer).to(plan.device)
    optimizer = optimizer_for(model)
    place = {"step": 0.0, "tokens": 0.0, "seconds": 0.0, "chunk": 0.0}
    if resumed:
        place = resume(out, model, optimizer)
    held_back = {"grammar": validation(tokenizer, (), plan.seed)}
    if unseen:
        held_back["conversation"] = validation(tokenizer, unseen, plan.seed, 100)
    print(f"parameters {sum(weight.numel() for weight in model.parameters())}, plan {asdict(plan)}", flush=True)

    began = time.monotonic() - place["seconds"]
    smooth = 0.0
    for chunk, batch in stream(tokenizer, talks, plan.seed, int(place["chunk"]) + (1 if resumed else 0)):
        place["seconds"] = time.monotonic() - began
        progress = plan.progress(int(place["tokens"]), place["seconds"])
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate(progress, int(place["step"]))
        total, weights = loss(model, batch, plan.device)
        value = total / weights
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        smooth = float(value.detach()) if place["step"] == 0 else 0.98 * smooth + 0.02 * float(value.detach())
        place |= {
            "step": place["step"] + 1,
            "tokens": place["tokens"] + int((batch.chats >= 0).sum()),
            "chunk": chunk,
        }
        if place["step"] % 50 == 0:
            rates = f"{place['tokens'] / (time.monotonic() - began):.0f} tokens/s"
            print(
                f"step {place['step']:.0f}, {place['tokens'] / 1e6:.2f}M tokens, loss {smooth:.4f}, {rates}, {progress:.1%}",
                flush=True,
            )
        if place["step"] % 400 == 0:
            losses = ", ".join(f"{name} {evaluate(model, rows, plan.device):.4f}" for name, rows in held_back.items())
            print(f"  validation: {losses}", flush=True)
            save(model, tokenizer, out)
            checkpoint(out, model, optimizer, place)
    checkpoint(out, model, optimizer, place)
    save(model, tokenizer, out)
    return place | {f"{name} loss": evaluate(model, rows, plan.device) for name, rows in held_back.items()}


def finish(plan: Plan, out: Path, corpus: Path | None, place: dict[str, float]) -> dict[str, float]:
    """Anchors, scores and card, all from the folder as saved: what is measured is what is shipped."""
    model, tokenizer = load(out, plan.device)
    rows = anchors.make(model, tokenizer, plan.seed)
    anchors.write(rows, out)
    measured = scores(Bench(model, tokenizer))
    sample = draw(default_rng([plan.seed, 2**28]), conversations(corpus, "train") if corpus else (), 4_000)
    lengths = [len(item.tokens) for item in encode(plain(tokenizer), sample)]
    arguments = f"--tokens {place['tokens']:.0f} --seed {plan.seed}" + (f" --corpus {corpus.name}" if corpus else "")
    text = card(
        scores=measured,
        losses={name: value for name, value in place.items() if name.endswith("loss")},
        mix=mix(sample, lengths),
        corpus=corpus.name if corpus else None,
        command=f"python -m modelfork.demo.train --out DIR {arguments}",
        parameters=sum(weight.numel() for weight in model.parameters()),
        tokens=int(place["tokens"]),
        steps=int(place["step"]),
        step_tokens=TOKENS_A_STEP,
        seed=plan.seed,
        minutes=place["seconds"] / 60,
        device="two CPU cores" if plan.device == "cpu" else "a GPU",
        rate=place["tokens"] / place["seconds"],
        user_weight=USER_WEIGHT,
        anchors=len(rows),
        general=len(GENERAL),
    )
    (out / "README.md").write_text(text, encoding="utf-8")
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m modelfork.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, help="a CSV in the form of Synthetic-Persona-Chat")
    parser.add_argument(
        "--minutes", type=float, help="stop after so many minutes; the learning rate falls with the clock"
    )
    parser.add_argument("--tokens", type=int, help="stop after so many tokens (14 million unless --minutes is given)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    given = parser.parse_args()
    tokens = given.tokens or (None if given.minutes else 14_000_000)
    plan = Plan(tokens, given.minutes, given.seed, given.device)
    place = train(plan, given.out, given.corpus, given.resume)
    print(json.dumps(place), flush=True)
    print(json.dumps(finish(plan, given.out, given.corpus, place), indent=2), flush=True)


if __name__ == "__main__":
    main()
