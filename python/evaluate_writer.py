"""Measures the committed writer on held-out packages with transformers, in f32.

Perplexity is a token's of the answers (the end of the line is one of them); bits a byte do not
depend on the vocabulary. Lines are greedy. `--golden` keeps the tokens of lines for descriptions
that are our own, which a test holds the server to.

    python evaluate_writer.py --work DIR --model ../demo/models/package_writer
"""

import argparse
import json
import math
import re
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import package_catalogue
from package_catalogue import Package
from train_writer import HELD_OUT_ONE_IN, LONGEST
from writer_texts import TextSource
from writer_tokenizer import load_tokenizer

LINES = 240
SAMPLES = 10
NEW_TOKENS = 32
LEAD = 0.02

# Of no package: written for the test.
OWN_DESCRIPTIONS = [
    "Quickfetch is a small download manager for the command line. It supports resuming, several "
    "connections at once and checks the files against their checksums.",
    "libmeadow is a C library that reads and writes geographic vector data. It supports shapefiles "
    "and GeoJSON. This package contains the development files.",
    "This package provides a Python module to parse and generate calendar files. It handles "
    "recurring events and time zones.",
    "Tilecross is a puzzle game in which coloured tiles have to be put in order before the time "
    "runs out. It has forty levels and a level editor.",
    "A daemon that watches the temperatures of disks and processors and writes them to the system "
    "log. It can send mail when a limit is exceeded.",
    "This package contains the documentation of the Harbour web framework in HTML."]


def likelihood(model: torch.nn.Module, texts: TextSource) -> dict[str, float]:
    """Perplexity a token of the answers and of the descriptions; bits a byte of the answers."""
    sums = {"answer": 0.0, "description": 0.0}
    counts = {"answer": 0.0, "description": 0.0}
    for batch in texts.all_batches(4096):
        ids = torch.from_numpy(batch.ids)
        logits = model(input_ids=ids[:, :-1]).logits
        each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(),
                                                 reduction="none")
        for name, weights in (("answer", batch.answer), ("description", batch.description)):
            weight = torch.from_numpy(weights[:, 1:]).flatten()
            sums[name] += float((each * weight).sum())
            counts[name] += float(weight.sum())
    size = sum(len(package.short.encode()) for package in texts.packages)
    return {"answer_perplexity": math.exp(sums["answer"] / counts["answer"]),
            "description_perplexity": math.exp(sums["description"] / counts["description"]),
            "answer_tokens": int(counts["answer"]),
            "answer_bits_a_byte": sums["answer"] / math.log(2) / size}


def write_line(model: torch.nn.Module, tokenizer, description: str) -> tuple[list[int], float]:
    """A greedy line as tokens, the end left out, and the least lead of a chosen token's logit."""
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": description}],
                                           add_generation_prompt=True, tokenize=False)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    done = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                          max_new_tokens=NEW_TOKENS, return_dict_in_generate=True,
                          output_logits=True)
    best = torch.stack(done.logits).topk(2, dim=-1).values
    line = done.sequences[0, ids.size(1):].tolist()
    return [at for at in line if at != tokenizer.eos_token_id], float(
        (best[..., 0] - best[..., 1]).min())


def words(text: str) -> Counter:
    """The words of a line, lower case."""
    return Counter(re.findall(r"[a-z0-9+#]+", text.lower()))


def word_agreement(written: str, wanted: str) -> float:
    """F1 of the words that two lines share."""
    ours, theirs = words(written), words(wanted)
    shared = sum((ours & theirs).values())
    return 2 * shared / max(1, sum(ours.values()) + sum(theirs.values()))


def first_words(package: Package) -> str:
    """What needs no model: the description's first words, as many as a line usually has."""
    return " ".join(package.long.split()[:7])


def write_report(record: dict, path: Path) -> None:
    """EVALUATION.md from the record."""
    training, found = record["training"], record["likelihood"]
    lines = [
        "# Package writer: what it reaches", "",
        "A Llama of 5.8 million weights writes a package's one-line description for its long one. "
        f"Held out: {record['held_out']:,} packages of the source packages whose names' SHA-256 is "
        f"divisible by {HELD_OUT_ONE_IN}; no package of these sources, and no text equal to theirs, was "
        "trained on. transformers, f32, on the committed bf16 weights:", "",
        "| held out | |", "|---|---|",
        f"| perplexity of a token of the lines ({found['answer_tokens']:,} tokens) | "
        f"{found['answer_perplexity']:.2f} |",
        f"| bits a byte of the lines | {found['answer_bits_a_byte']:.3f} |",
        f"| perplexity of a token of the descriptions | {found['description_perplexity']:.1f} |",
        f"| greedy lines equal to the maintainer's, of {record['lines']} | {record['equal']:.1%} |",
        f"| words shared with the maintainer's line (F1) | {record['words']:.3f} |",
        f"| the same of the description's first seven words, no model | "
        f"{record['words_of_first']:.3f} |", "",
        f"Lines of {len(record['samples'])} held-out packages, drawn by number and not chosen:", "",
        "| package | the writer | its maintainer |", "|---|---|---|"]
    lines += [f"| {sample['package']} | {sample['written'].replace('|', '/')} | "
              f"{sample['wanted'].replace('|', '/')} |" for sample in record["samples"]]
    lines += [
        "", "It is a small model, trained briefly: it finds the kind of a package and copies its "
        "words, and it invents. Its lines are a demonstration, not a description to rely on.", "",
        "## How it was made", "",
        f"- Training: {training['train']:,} packages with texts of up to {training['longest']} "
        f"tokens (the short ones first), {training['steps']:,} steps of "
        f"{training['batch_tokens']:,} tokens "
        f"({training['tokens']:,} in all), Muon for matrices and AdamW for the rest, learning rate "
        f"{training['rate']} falling along a cosine, a token of a line weighed "
        f"{training['answer_weight']:g} times one of a description, "
        f"{'bf16 autocast' if training['bf16'] else 'f32'}, seed {training['seed']}.",
        f"- Command: `python train_writer.py --work DIR --steps {training['steps']}`, then "
        "`export_writer.py`, then `evaluate_writer.py` (see `python/README.md`). The committed run "
        "was paced by `--minutes`: its learning rate fell by the clock. " + training.get("note", ""),
        f"- Catalogue: {training['packages']:,} packages of Debian bookworm; SHA-256 of its lists "
        f"(as `package_catalogue.checksum` takes it): `{training['catalogue_sha256']}`.",
        f"- Weights: {record['model_bytes']:,} bytes, SHA-256 `{record['model_sha256']}`. The same "
        "numbers with all digits: `evaluation.json`.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def keep_golden(model: torch.nn.Module, tokenizer, path: Path) -> None:
    """The greedy lines of our own descriptions: what the server must write.

    Lines with a token that leads by less are left out: arithmetic in another order may end them
    otherwise.
    """
    kept = []
    for description in OWN_DESCRIPTIONS:
        ids, lead = write_line(model, tokenizer, description)
        print(f"{lead:7.4f}  {tokenizer.decode(ids)}")
        if lead < LEAD:
            continue
        kept.append({"description": description, "ids": ids, "line": tokenizer.decode(ids),
                     "least_lead": round(lead, 4)})
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of train_writer.py")
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    version = options.model / "1"
    model = AutoModelForCausalLM.from_pretrained(version, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(version)
    keep_golden(model, tokenizer, options.model / "golden.json")
    packages = package_catalogue.read_packages(options.work)
    _, held_out = package_catalogue.split_by_hash(packages, HELD_OUT_ONE_IN)
    texts = TextSource(held_out, load_tokenizer(version / "tokenizer.json"), LONGEST, 0)
    found = likelihood(model, texts)
    print(found, flush=True)
    drawn = texts.packages[::max(1, len(texts.packages) // LINES)][:LINES]
    samples = []
    for package in drawn:
        line = tokenizer.decode(write_line(model, tokenizer, package.long)[0])
        samples.append({"package": package.name, "written": line, "wanted": package.short})
    record = {
        "training": json.loads((options.work / "training.json").read_text()),
        "held_out": len(texts.texts), "likelihood": found, "lines": len(samples),
        "equal": sum(s["written"] == s["wanted"] for s in samples) / len(samples),
        "words": sum(word_agreement(s["written"], s["wanted"]) for s in samples) / len(samples),
        "words_of_first": sum(word_agreement(first_words(package), package.short)
                              for package in drawn) / len(drawn),
        "samples": samples[::len(samples) // SAMPLES][:SAMPLES],
        "model_bytes": (version / "model.safetensors").stat().st_size,
        "model_sha256": package_catalogue.file_checksum(version / "model.safetensors")}
    (options.model / "evaluation.json").write_text(json.dumps(record, indent=2) + "\n")
    write_report(record, options.model / "EVALUATION.md")


if __name__ == "__main__":
    main()
