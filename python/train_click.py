"""Cross-validates the click models, trains the demo's DeepFM, exports it and writes the figures.

The committed model is the one of the first fold: it never saw that tenth of the log, and the
demo's sample of impressions is drawn from it.

    python train_click.py ../demo
"""

import argparse
import csv
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import click_log
import click_model
from click_metrics import METRICS, bootstrap
from click_model import ClickData

FOLDS = 10
BOOTSTRAP_DRAWS = 1000
SAMPLE_SIZE = 400


def cross_validate(data: ClickData, sizes: list[int], folds: np.ndarray, seed: int
                   ) -> tuple[dict[str, np.ndarray], click_model.DeepFm]:
    """Out-of-fold probabilities of each model, [N] each, and the DeepFM that never saw fold 0."""
    predictions = {name: np.zeros(len(folds))
                   for name in ("click rate", "popularity", "logistic", "deepfm")}
    kept = None
    for fold in range(FOLDS):
        train, test, rows = data.rows(folds != fold), data.rows(folds == fold), folds == fold
        model = click_model.fit_deepfm(train, sizes, seed + fold)
        kept = kept or model
        predictions["click rate"][rows] = click_model.predict_rate(train, test)
        predictions["popularity"][rows] = click_model.predict_popularity(train, test)
        predictions["logistic"][rows] = click_model.predict_logistic(train, test, sizes)
        predictions["deepfm"][rows] = click_model.predict_deepfm(model, test)
        print(f"fold {fold + 1} of {FOLDS}", flush=True)
    return predictions, kept


def export(model: click_model.DeepFm, data: ClickData, path: Path) -> None:
    """Writes ONNX, opset 17, dynamic batch, and compares it with the PyTorch model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.onnx.export(model, (torch.from_numpy(data.ids[:3]), torch.from_numpy(data.dense[:3])),
                      str(path), opset_version=17, input_names=["ids", "dense"],
                      output_names=["click_probability"], dynamo=False,
                      dynamic_axes={name: {0: "batch"}
                                    for name in ("ids", "dense", "click_probability")})
    served = onnx.load(str(path))
    # A test that feeds random ids draws them below this, which every field has.
    onnx.helper.set_model_props(served, {"high.ids": str(int(data.ids.max(0).min()) + 1)})
    onnx.checker.check_model(served, full_check=True)
    onnx.save(served, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    served = session.run(None, {"ids": data.ids, "dense": data.dense})[0][:, 0]
    np.testing.assert_allclose(served, click_model.predict_deepfm(model, data), rtol=1e-4)


def write_sample(impressions: list[click_log.Impression], rows: np.ndarray, seed: int, path: Path
                 ) -> None:
    """All clicked rows and some of the others, with the number of impressions each stands for."""
    generator = np.random.default_rng(seed)
    clicked = [at for at in rows if impressions[at].click]
    others = [at for at in rows if not impressions[at].click]
    drawn = generator.choice(others, SAMPLE_SIZE - len(clicked), replace=False)
    weight = {at: len(others) / len(drawn) for at in drawn} | {at: 1.0 for at in clicked}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["policy", "timestamp", *click_log.FIELDS, *click_log.DENSE, "click",
                         "weight"])
        for at in sorted(weight):
            row = impressions[at]
            writer.writerow([row.policy, row.timestamp, *row.fields,
                             *(f"{value:.6g}" for value in row.dense), row.click,
                             f"{weight[at]:.4f}"])


def write_report(record: dict, path: Path) -> None:
    """EVALUATION.md from the record."""
    def cell(model: str, metric: str) -> str:
        value = record["models"][model][metric]
        digits = 5 if metric.startswith(("log_loss", "calibration_error")) else 3
        return " ".join([f"{value['value']:.{digits}f}",
                         f"({value['low']:.{digits}f} to {value['high']:.{digits}f})"])

    models = list(record["models"])
    lines = [
        "# Click model: what it reaches", "",
        f"Open Bandit log, campaigns *all* and *men*, both logging policies: "
        f"{record['impressions']:,} impressions, {record['clicks']} clicks "
        f"({record['clicks'] / record['impressions']:.3%}). {record['folds']}-fold "
        "cross-validation, folds with equal shares of clicks; every number is over out-of-fold "
        f"predictions. In brackets: 95 % intervals from {record['bootstrap_draws']:,} bootstrap "
        "resamples of impressions.", "",
        "| model | log-loss | AUC | predicted / observed clicks | calibration error (10 bins) |",
        "|---|---|---|---|---|"]
    lines += [f"| {model} | " + " | ".join(cell(model, name) for name in METRICS) + " |"
              for model in models]
    lines += ["", "Paired difference to the DeepFM (positive log-loss, negative AUC: the DeepFM is "
              "better):", "", "| model | log-loss minus DeepFM's | AUC minus DeepFM's |",
              "|---|---|---|"]
    lines += [f"| {model} | {cell(model, 'log_loss_minus_deepfm')} | "
              f"{cell(model, 'auc_minus_deepfm')} |" for model in models if model != "deepfm"]
    lines += [
        "", "How to read it:", "",
        f"- With {record['clicks']} clicks the intervals are wide. Where an interval of a "
        "difference contains 0, the log cannot tell the two models apart, and nothing here says "
        "that a DeepFM is the better model for this log; it is here to be served.",
        "- \"click rate\" predicts the training folds' rate for everything; its AUC differs from "
        "0.5 only because the folds' rates differ by a hair.",
        "- Width, dropout and rates were set beforehand; the number of epochs (2; of 2, 3, 4 and 6 "
        "tried) was settled on another division of the same log, so the DeepFM's figures are "
        "slightly kind to it. The baselines were not tuned.",
        f"- {record['clicks_with_affinity']} of the clicks are among the "
        f"{record['impressions_with_affinity']:,} impressions whose user has any affinity (the "
        "log's count of past clicks); most of what the logistic model and the DeepFM know is "
        "there. The log does not say whether the counts end before the impression.",
        "- The folds are random, not by time: figures for days that were not seen may be worse.",
        "- The committed file is the model of the first fold: it never saw that tenth, from which "
        "`demo/impressions.csv` is drawn (all its clicks; of the rest one in "
        f"{record['sample_weight']:.1f}, which is the column `weight`).", "",
        f"Command: `{record['command']}`, seed {record['seed']}. The same numbers with all digits: "
        "`evaluation.json`.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Everything, in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("demo", type=Path, help="the demo folder")
    parser.add_argument("--seed", type=int, default=20261121)
    options = parser.parse_args()
    torch.set_num_threads(1)
    impressions = click_log.read_log(click_log.log_folder())
    vocabulary = click_log.build_vocabulary(impressions)
    sizes = [len(vocabulary[field]) + 1 for field in click_log.FIELDS]
    data = ClickData(*click_log.to_arrays(impressions, vocabulary))
    folds = click_log.folds_by_click(data.clicks, FOLDS, options.seed)
    predictions, model = cross_validate(data, sizes, folds, options.seed)
    folder = options.demo / "models" / "click"
    export(model, data, folder / "1" / "model.onnx")
    (folder / "vocabulary.json").write_text(json.dumps(
        {"fields": click_log.FIELDS, "dense": click_log.DENSE, "unknown": click_log.UNKNOWN,
         "ids": vocabulary}, indent=1) + "\n", encoding="utf-8")
    held = np.flatnonzero(folds == 0)
    write_sample(impressions, held, options.seed, options.demo / "impressions.csv")
    clicks = int(data.clicks[held].sum())
    known = data.dense[:, click_log.DENSE.index("affinity_total")] > 0
    record = {"impressions_with_affinity": int(known.sum()),
              "clicks_with_affinity": int(data.clicks[known].sum()),
              "impressions": len(data.clicks), "clicks": int(data.clicks.sum()), "folds": FOLDS,
              "bootstrap_draws": BOOTSTRAP_DRAWS, "seed": options.seed,
              "command": "python train_click.py ../demo",
              "sample_weight": (len(held) - clicks) / (SAMPLE_SIZE - clicks),
              "models": bootstrap(data.clicks, predictions, "deepfm", BOOTSTRAP_DRAWS,
                                  options.seed)}
    (folder / "evaluation.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    write_report(record, folder / "EVALUATION.md")
    print((folder / "EVALUATION.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
