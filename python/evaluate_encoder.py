"""Measures the committed encoder on held-out packages beside BM25 and the fusion of both.

A query is a held-out package's short description, the corpus all held-out long descriptions, the
one right answer the package's own. ONNX Runtime runs the file that is served.

    python evaluate_encoder.py --work DIR --model ../demo/models/package_encoder
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime

import package_catalogue
import ranking
from encoder_pairs import pad
from encoder_tokenizer import load_tokenizer

DEPTHS = (1, 10, 100)
BOOTSTRAP_DRAWS = 1000


def embed(session: onnxruntime.InferenceSession, tokenizer, texts: list[str], batch: int = 32
          ) -> np.ndarray:
    """Texts -> [N, hidden] f32; texts of like length share a batch."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    vectors = None
    for begin in range(0, len(order), batch):
        chosen = order[begin:begin + batch]
        ids, mask = pad([rows[at] for at in chosen])
        answer = session.run(None, {"input_ids": ids, "attention_mask": mask,
                                    "token_type_ids": np.zeros_like(ids)})[0]
        if vectors is None:
            vectors = np.zeros((len(rows), answer.shape[1]), dtype=np.float32)
        vectors[chosen] = answer
    return vectors


def interval(hits: np.ndarray, sources: np.ndarray, seed: int) -> dict[str, float]:
    """The mean with a 95 % bootstrap interval over source packages."""
    generator = np.random.default_rng(seed)
    _, group = np.unique(sources, return_inverse=True)
    totals, counts = np.bincount(group, weights=hits), np.bincount(group)
    drawn = []
    for _ in range(BOOTSTRAP_DRAWS):
        rows = generator.integers(0, len(counts), len(counts))
        drawn.append(totals[rows].sum() / counts[rows].sum())
    return {"value": float(hits.mean()), "low": float(np.quantile(drawn, 0.025)),
            "high": float(np.quantile(drawn, 0.975))}


def measure(places: np.ndarray, sources: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """Recall at each depth and the mean reciprocal rank of the right answers."""
    wanted = np.arange(len(places))
    found = {f"recall@{at}": interval(ranking.recall(places, wanted, at), sources, seed)
             for at in DEPTHS}
    found["mrr"] = interval(1 / (1.0 + places[wanted, wanted]), sources, seed)
    return found


def write_report(record: dict, path: Path) -> None:
    """EVALUATION.md from the record."""
    training = record["training"]

    def cell(value: dict[str, float]) -> str:
        return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"

    names = list(next(iter(record["rankings"].values())))
    lines = [
        "# Package encoder: what it reaches", "",
        f"Query: the one-line description of a package. Corpus: {record['corpus']:,} distinct "
        f"long descriptions of all packages of {training['held_out_sources']:,} held-out source "
        "packages. Right answer: the package's own long description. No package of these sources, "
        "and no text equal to theirs, was trained on. In brackets: 95 % bootstrap intervals over "
        "source packages.", "",
        "| ranking | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cell(values[n]) for n in names) + " |"
              for name, values in record["rankings"].items()]
    lines += [
        "",
        "- **BM25**: Okapi, k1 = 1.2, b = 0.75, over lower-case words, no stemming "
        "(`python/ranking.py`). **hybrid**: reciprocal-rank fusion of the two, constant 60. "
        "Neither was tuned.",
        "- The task suits BM25: maintainers often repeat the short description's words in the long "
        "one. It also has a ceiling below 1: packages of one source can share their short "
        f"description ({record['shared_queries']:,} of the queries are not unique).",
        "- Packages of one source often differ in their last paragraph only; texts are cut at "
        f"{record['max_length']} pieces, which touches {record['cut_share']:.1%} of the corpus.",
        "",
        "## How it was made", "",
        f"- Training: {training['train']:,} packages, {training['word_epochs']} epochs for the "
        f"word vectors, {training['steps']:,} steps of {training['batch']} pairs for the whole, "
        f"learning rate {training['rate']}, " + (
            f"falling over the last {training['decay_steps']} steps, " if training["decay_steps"]
            else "constant after its rise (the run was ended before its fall), ")
        + f"{'bf16 autocast' if training['bf16'] else 'f32'}, seed {training['seed']}.",
        f"- Command: `python train_encoder.py --work DIR --steps {training['steps']} "
        f"--decay-steps {training['decay_steps']}`, then `export_encoder.py`, then "
        "`evaluate_encoder.py` (see `python/README.md`).",
        f"- Catalogue: {training['packages']:,} packages of Debian bookworm; SHA-256 of its lists "
        f"(as `package_catalogue.checksum` takes it): `{training['catalogue_sha256']}`. The suite "
        "moves: another day's lists give slightly other figures.",
        "- Held-out packages: `held_out.txt`. The same numbers with all digits: "
        "`evaluation.json`.",
        f"- Model file: {record['model_bytes']:,} bytes, SHA-256 `{record['model_sha256']}`.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Embeds, ranks, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of train_encoder.py")
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    options = parser.parse_args()
    training = json.loads((options.work / "training.json").read_text())
    packages = package_catalogue.read_packages(options.work)
    _, held_out = package_catalogue.split_by_source(packages, training["held_out_sources"],
                                                    training["seed"])
    queries, corpus = [p.short for p in held_out], [p.long for p in held_out]
    sources = np.array([p.source for p in held_out])
    tokenizer = load_tokenizer(options.model / "1" / "tokenizer.json")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(options.model / "1" / "model.onnx"), settings,
                                           providers=["CPUExecutionProvider"])
    begun = time.time()
    vectors = embed(session, tokenizer, queries), embed(session, tokenizer, corpus)
    print(f"embedded in {time.time() - begun:.0f} s", flush=True)
    dense = ranking.ranks(vectors[0] @ vectors[1].T)
    bm25 = ranking.Bm25(corpus)
    words = ranking.ranks(np.stack([bm25.scores(query) for query in queries]))
    rankings = {"BM25": words, "encoder": dense,
                "hybrid": ranking.ranks(ranking.fuse(words, dense))}
    limit = tokenizer.truncation["max_length"]
    tokenizer.no_truncation()
    lengths = np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(corpus)])
    _, repeats = np.unique(queries, return_counts=True)
    record = {"training": training, "corpus": len(corpus), "max_length": limit,
              "cut_share": float((lengths > limit).mean()),
              "shared_queries": int(repeats[repeats > 1].sum()),
              "model_bytes": (options.model / "1" / "model.onnx").stat().st_size,
              "model_sha256": package_catalogue.file_checksum(options.model / "1" / "model.onnx"),
              "rankings": {name: measure(places, sources, training["seed"])
                           for name, places in rankings.items()}}
    (options.model / "evaluation.json").write_text(json.dumps(record, indent=2) + "\n")
    (options.model / "held_out.txt").write_text("\n".join(p.name for p in held_out) + "\n")
    write_report(record, options.model / "EVALUATION.md")
    print((options.model / "EVALUATION.md").read_text())


if __name__ == "__main__":
    main()
