"""Trains the package encoder contrastively: one-line against long descriptions of packages.

Word vectors are trained first (as a mean of words), then the whole encoder. The learning rate
rises, stays, and falls linearly over the last `--decay-steps` steps, so a run that is ended by
`--minutes` is the same run that `--steps N` gives, where N is printed and kept in training.json.

    python train_encoder.py --work DIR --steps 1500
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch.nn import functional

import package_catalogue
from encoder_model import Encoder, EncoderShape
from encoder_pairs import Batch, PairLimits, PairSource
from encoder_tokenizer import load_tokenizer, train_tokenizer

VOCABULARY = 12288
POSITIONS = 128
HELD_OUT_SOURCES = 2000


def contrast(queries: torch.Tensor, documents: torch.Tensor, sources: torch.Tensor,
             log_scale: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE over a batch of pairs, [B, H] each.

    Another pair of the same source package is no negative: their texts are nearly the same.
    """
    scores = queries @ documents.T * log_scale.exp().clamp(max=100.0)
    same = (sources[:, None] == sources[None, :]).fill_diagonal_(False)
    scores = scores.masked_fill(same, -1e4)
    target = torch.arange(len(scores))
    return (functional.cross_entropy(scores, target)
            + functional.cross_entropy(scores.T, target)) / 2


def to_tensors(batch: Batch) -> list[torch.Tensor]:
    """The batch's arrays as tensors, in the order of its fields."""
    return [torch.from_numpy(array) for array in
            (batch.query_ids, batch.query_mask, batch.document_ids, batch.document_mask,
             batch.sources)]


def train_words(model: Encoder, pairs: PairSource, log_scale: torch.Tensor, epochs: int) -> None:
    """Trains the word vectors alone, in batches of 512."""
    optimizer = torch.optim.Adam([model.words.weight, log_scale], lr=3e-3)
    limits = PairLimits(query=32, document=POSITIONS, batch=512)
    for epoch in range(epochs):
        begun, losses = time.time(), []
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - epoch / epochs)
        for batch in pairs.epoch(0, limits):
            q_ids, q_mask, d_ids, d_mask, sources = to_tensors(batch)
            loss = contrast(model.mean_of_words(q_ids, q_mask), model.mean_of_words(d_ids, d_mask),
                            sources, log_scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"words epoch {epoch} loss {np.mean(losses):.3f} seconds {time.time() - begun:.0f}",
              flush=True)


class Schedule:
    """The learning rate's factor by step; the last step may be set while it runs."""

    def __init__(self, warmup: int, decay: int, steps: int):
        self.warmup, self.decay, self.steps = warmup, max(decay, 1), steps

    def factor(self, step: int) -> float:
        """Between 0 and 1."""
        return min(1.0, (step + 1) / self.warmup, max(0.0, (self.steps - step) / self.decay))


def train_blocks(model: Encoder, pairs: PairSource, log_scale: torch.Tensor,
                 options: argparse.Namespace) -> int:
    """Trains the whole encoder; returns the number of steps taken."""
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2] + [log_scale]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01},
                                   {"params": plain, "weight_decay": 0.0}],
                                  lr=options.rate, betas=(0.9, 0.98))
    schedule = Schedule(100, options.decay_steps, options.steps or 10**9)
    step, epoch, begun, losses = 0, 0, time.time(), []
    while step < schedule.steps:
        limits = PairLimits(query=32, document=POSITIONS if epoch % 3 == 2 else 80,
                            batch=options.batch)
        for batch in pairs.epoch(epoch, limits):
            for group in optimizer.param_groups:
                group["lr"] = options.rate * schedule.factor(step)
            q_ids, q_mask, d_ids, d_mask, sources = to_tensors(batch)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                queries = model(q_ids, q_mask, torch.zeros_like(q_ids))
                documents = model(d_ids, d_mask, torch.zeros_like(d_ids))
            loss = contrast(queries.float(), documents.float(), sources, log_scale)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            step += 1
            passed = time.time() - begun
            if options.minutes and not options.steps:
                left = options.minutes * 60 - passed
                if schedule.steps == 10**9 and left < options.decay_steps * passed / step:
                    schedule.steps = step + options.decay_steps
                    print(f"the learning rate falls until step {schedule.steps}", flush=True)
            if step % 20 == 0:
                print(f"step {step} epoch {epoch} loss {np.mean(losses[-20:]):.4f} "
                      f"scale {log_scale.exp().item():.1f} seconds {passed:.0f}", flush=True)
            if step % 200 == 0:
                save(model, log_scale, options.work / "checkpoint.pt")
            if step >= schedule.steps:
                break
        epoch += 1
    return step


def save(model: Encoder, log_scale: torch.Tensor, path: Path) -> None:
    """Writes the weights so that a reader never sees half a file."""
    torch.save({"model": model.state_dict(), "log_scale": log_scale.detach()}, f"{path}.part")
    os.replace(f"{path}.part", path)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for lists, checkpoints")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--steps", type=int, default=0, help="steps of the whole encoder")
    parser.add_argument("--minutes", type=float, default=0, help="in place of --steps")
    parser.add_argument("--decay-steps", type=int, default=200)
    parser.add_argument("--word-epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main() -> None:
    """Fetches, splits, trains and saves."""
    options = parse_options()
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    package_catalogue.fetch_lists(options.work)
    packages = package_catalogue.read_packages(options.work)
    train, held_out = package_catalogue.split_by_source(packages, HELD_OUT_SOURCES, options.seed)
    print(f"{len(packages)} packages, {len(train)} to train, {len(held_out)} held out", flush=True)
    tokenizer_path = options.work / "tokenizer.json"
    if not tokenizer_path.exists():
        texts = [text for package in train for text in (package.short, package.long)]
        train_tokenizer(texts, VOCABULARY, POSITIONS).save(str(tokenizer_path))
    tokenizer = load_tokenizer(tokenizer_path)
    pairs = PairSource(train, tokenizer, options.seed)
    model = Encoder(EncoderShape(tokenizer.get_vocab_size(), positions=POSITIONS))
    log_scale = torch.tensor(np.log(20.0), dtype=torch.float32, requires_grad=True)
    train_words(model, pairs, log_scale, options.word_epochs)
    save(model, log_scale, options.work / "words.pt")
    steps = train_blocks(model, pairs, log_scale, options)
    save(model, log_scale, options.work / "encoder.pt")
    record = {"seed": options.seed, "steps": steps, "decay_steps": options.decay_steps,
              "word_epochs": options.word_epochs, "batch": options.batch, "rate": options.rate,
              "bf16": options.bf16, "catalogue_sha256": package_catalogue.checksum(options.work),
              "packages": len(packages), "train": len(train), "held_out": len(held_out),
              "held_out_sources": HELD_OUT_SOURCES}
    (options.work / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"done after {steps} steps", flush=True)


if __name__ == "__main__":
    main()
