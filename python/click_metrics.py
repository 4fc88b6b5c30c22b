"""Quality of predicted click probabilities, with bootstrap intervals."""

from collections.abc import Callable

import numpy as np


def log_loss(clicks: np.ndarray, predicted: np.ndarray) -> float:
    """Mean negative log likelihood, natural logarithm."""
    return float(-np.mean(np.where(clicks > 0, np.log(predicted), np.log1p(-predicted))))


def auc(clicks: np.ndarray, predicted: np.ndarray) -> float:
    """Area under the ROC curve; equal predictions count a half."""
    _, place, count = np.unique(predicted, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    positive = clicks > 0
    hits, misses = positive.sum(), (~positive).sum()
    return float((rank[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def calibration_ratio(clicks: np.ndarray, predicted: np.ndarray) -> float:
    """Predicted clicks over observed clicks."""
    return float(predicted.sum() / clicks.sum())


def calibration_error(clicks: np.ndarray, predicted: np.ndarray) -> float:
    """Mean |predicted - observed rate| over ten bins of equally many rows (ECE)."""
    bins = np.array_split(np.argsort(predicted, kind="stable"), 10)
    return float(sum(abs(predicted[rows].sum() - clicks[rows].sum()) for rows in bins)
                 / len(clicks))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "log_loss": log_loss, "auc": auc, "calibration_ratio": calibration_ratio,
    "calibration_error": calibration_error}


def bootstrap(clicks: np.ndarray, predictions: dict[str, np.ndarray], reference: str, draws: int,
              seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Model -> metric -> {value, low, high}: 95 % intervals over resampled impressions.

    For log_loss and auc also NAME_minus_REFERENCE, whose interval is of the paired difference.
    """
    generator = np.random.default_rng(seed)
    samples: dict[str, dict[str, list[float]]] = {model: {} for model in predictions}
    rows = np.arange(len(clicks))
    for draw in range(draws + 1):
        measured = {model: {name: metric(clicks[rows], predicted[rows])
                            for name, metric in METRICS.items()}
                    for model, predicted in predictions.items()}
        for model, values in measured.items():
            for name in ("log_loss", "auc"):
                values[f"{name}_minus_{reference}"] = values[name] - measured[reference][name]
            for name, value in values.items():
                samples[model].setdefault(name, []).append(value)
        rows = generator.integers(0, len(clicks), len(clicks))
    return {model: {name: {"value": drawn[0], "low": float(np.quantile(drawn[1:], 0.025)),
                           "high": float(np.quantile(drawn[1:], 0.975))}
                    for name, drawn in metrics.items()} for model, metrics in samples.items()}
