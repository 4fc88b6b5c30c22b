"""Trains the writer: a small Llama that writes a package's one-line description for its long one.

Every token of a text is learned; a token of the answer weighs `--answer-weight` times one of the
description, whose share teaches the language. Matrices are stepped by Muon, the embeddings and
norms by AdamW; the learning rate rises, then falls along a cosine over `--steps`, or over what
`--minutes` of this machine give. --resume goes on from the checkpoint of a run that was ended.

    python train_writer.py --work DIR --steps 4000
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch.nn import functional

import package_catalogue
from writer_model import Writer, WriterShape
from writer_texts import Batch, TextSource
from writer_tokenizer import load_tokenizer, train_tokenizer

VOCABULARY = 4096
LONGEST = 224
SHORT = 128
WATCHED = 192
HELD_OUT_ONE_IN = 32


def losses(model: Writer, batch: Batch, bf16: bool, share: float = 1.0
           ) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean negative log-likelihoods of a batch: of its descriptions' tokens, of its answers'.

    Logits are computed for a random `share` of the descriptions' tokens and for all answers.
    """
    ids = torch.from_numpy(batch.ids)
    answer = torch.from_numpy(batch.answer[:, 1:]).flatten()
    description = torch.from_numpy(batch.description[:, 1:]).flatten()
    if share < 1:
        description = description * (torch.rand(description.shape) < share)
    chosen = torch.nonzero(answer + description).squeeze(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        states = model.hidden(ids[:, :-1]).flatten(0, 1).index_select(0, chosen)
        logits = functional.linear(states, model.model.embed_tokens.weight)
    each = functional.cross_entropy(logits.float(), ids[:, 1:].flatten()[chosen], reduction="none")
    means = [(each * weight[chosen]).sum() / weight.sum() for weight in (description, answer)]
    return means[0], means[1]


@torch.no_grad()
def evaluate(model: Writer, texts: TextSource, bf16: bool) -> tuple[float, float]:
    """Mean negative log-likelihood a token over all texts: descriptions, answers."""
    sums = np.zeros(4)
    model.eval()
    for batch in texts.all_batches(4096):
        description, answer = losses(model, batch, bf16)
        counts = batch.description.sum(), batch.answer.sum()
        sums += [description.item() * counts[0], answer.item() * counts[1], *counts]
    model.train()
    return sums[0] / sums[2], sums[1] / sums[3]


class Clock:
    """How far a run is, 0 to 1, by steps or by minutes, and the learning rate's factor there."""

    def __init__(self, options: argparse.Namespace, passed: float):
        self.steps, self.minutes, self.warmup = options.steps, options.minutes, options.warmup
        self.begun = time.time() - passed

    def passed(self) -> float:
        """Seconds since the run began, those of the runs it continues included."""
        return time.time() - self.begun

    def done(self, step: int) -> float:
        """Between 0 and 1."""
        if self.steps:
            return min(1.0, step / self.steps)
        return min(1.0, self.passed() / (60 * self.minutes))

    def factor(self, step: int) -> float:
        """Linear rise over `warmup` steps, then a cosine down to 0.02."""
        return min(1.0, (step + 1) / self.warmup) * (
            0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.done(step))))


def longest_text(done: float) -> int:
    """Short texts first: more lines are learned in the same time, and positions come later."""
    return SHORT if done < 0.6 else LONGEST


def make_optimizers(model: Writer, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest."""
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    rest = [model.model.embed_tokens.weight] + [p for p in model.parameters() if p.dim() < 2]
    return [torch.optim.Muon(matrices, lr=options.rate, weight_decay=0.05, momentum=0.95,
                             adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)]


def save(model: Writer, optimizers: list[torch.optim.Optimizer], state: dict, path: Path) -> None:
    """Writes the run's state so that a reader never sees half a file."""
    torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
                "shape": vars(model.shape), **state}, f"{path}.part")
    os.replace(f"{path}.part", path)


def train(model: Writer, texts: TextSource, held_out: TextSource, options: argparse.Namespace
          ) -> dict:
    """The steps; returns what the record says of them."""
    optimizers = make_optimizers(model, options)
    if options.compile:
        for layer in model.model.layers:
            layer.compile(dynamic=True)
    step, tokens, passed, epoch = 0, 0, 0.0, 0
    path = options.work / "writer.pt"
    if options.resume:
        state = torch.load(path, map_location="cpu")
        model.load_state_dict(state["model"])
        for optimizer, kept in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        step, tokens, passed = state["step"], state["tokens"], state["passed"]
    clock = Clock(options, passed)
    shown, seen, saved, recent = clock.passed(), 0, clock.passed(), []
    share = options.answer_weight
    while clock.done(step) < 1:
        longest = longest_text(clock.done(step))
        for indices in texts.epoch(options.batch_tokens, longest):
            batch = texts.batch(indices)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = options.rate * clock.factor(step)
            description, answer = losses(model, batch, options.bf16, options.description_share)
            # Weighed by token: a batch has about `ratio` times more of descriptions.
            ratio = float(batch.description.sum() / batch.answer.sum())
            loss = (description * ratio + answer * share) / (ratio + share)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step += 1
            seen += batch.ids.size
            tokens += batch.ids.size
            recent.append((description.item(), answer.item()))
            if step % 20 == 0:
                means, now = np.mean(recent[-20:], axis=0), clock.passed()
                print(f"step {step} epoch {epoch} done {clock.done(step):.3f} description "
                      f"{means[0]:.3f} answer {means[1]:.3f} tokens/s {seen / (now - shown):.0f} "
                      f"seconds {now:.0f}", flush=True)
                shown, seen = now, 0
            if clock.passed() - saved > 240 or clock.done(step) >= 1:
                saved = clock.passed()
                save(model, optimizers, {"step": step, "tokens": tokens, "passed": saved}, path)
                means = evaluate(model, held_out, options.bf16)
                print(f"held out at step {step}: description {means[0]:.4f}, answer "
                      f"{means[1]:.4f} (perplexity {math.exp(means[1]):.2f})", flush=True)
                shown, seen = clock.passed(), 0
            if clock.done(step) >= 1 or longest_text(clock.done(step)) != longest:
                break
        epoch += 1
    return {"steps": step, "tokens": tokens, "seconds": round(clock.passed())}


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for lists, checkpoints")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="where --steps is 0")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--answer-weight", type=float, default=6.0)
    parser.add_argument("--description-share", type=float, default=0.25,
                        help="of the descriptions' tokens, how many are learned from each time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True,
                        help="fuse the layers' small operations; needs a C++ compiler")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main() -> None:
    """Fetches, splits, trains and saves."""
    options = parse_options()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    package_catalogue.fetch_lists(options.work)
    packages = package_catalogue.read_packages(options.work)
    train_part, held_part = package_catalogue.split_by_hash(packages, HELD_OUT_ONE_IN)
    tokenizer_path = options.work / "tokenizer.json"
    if not tokenizer_path.exists():
        texts = [text for package in train_part for text in (package.short, package.long)]
        train_tokenizer(texts, VOCABULARY).save(str(tokenizer_path))
    tokenizer = load_tokenizer(tokenizer_path)
    texts = TextSource(train_part, tokenizer, LONGEST, options.seed)
    held_out = TextSource(held_part[::len(held_part) // WATCHED], tokenizer, LONGEST, options.seed)
    model = Writer(WriterShape(tokenizer.get_vocab_size()))
    print(f"{len(packages)} packages; {len(texts.texts)} of {len(train_part)} to train with "
          f"{texts.tokens()} tokens, {len(held_part)} held out; "
          f"{sum(p.numel() for p in model.parameters())} weights", flush=True)
    record = {"seed": options.seed, "packages": len(packages), "train": len(texts.texts),
              "held_out": len(held_part), "longest": LONGEST, "warmup": options.warmup,
              "batch_tokens": options.batch_tokens, "rate": options.rate, "bf16": options.bf16,
              "answer_weight": options.answer_weight,
              "description_share": options.description_share,
              "catalogue_sha256": package_catalogue.checksum(options.work)}
    record |= train(model, texts, held_out, options)
    (options.work / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"done after {record['steps']} steps", flush=True)


if __name__ == "__main__":
    main()
