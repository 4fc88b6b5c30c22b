"""The click models: a DeepFM, and the baselines it is read beside."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class ClickData:
    """ids [N, fields] int64, dense [N, D] f32, clicks [N] f64."""

    ids: np.ndarray
    dense: np.ndarray
    clicks: np.ndarray

    def rows(self, chosen: np.ndarray) -> "ClickData":
        """The chosen rows."""
        return ClickData(self.ids[chosen], self.dense[chosen], self.clicks[chosen])


class DeepFm(nn.Module):
    """DeepFM (Guo et al. 2017): linear part, factorisation machine and tower on one embedding.

    A dense feature, standardised by constants of the graph, scales a vector of its own, so it takes
    part in the factorisation machine like a field. `sizes` has each field's number of ids.
    """

    def __init__(self, sizes: list[int], dense_mean: np.ndarray, dense_deviation: np.ndarray,
                 width: int = 8):
        super().__init__()
        total, dense = sum(sizes), len(dense_mean)
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.register_buffer("offsets", torch.from_numpy(offsets.astype(np.int64)))
        self.register_buffer("mean", torch.from_numpy(dense_mean.astype(np.float32)))
        self.register_buffer("deviation", torch.from_numpy(dense_deviation.astype(np.float32)))
        self.vectors = nn.Embedding(total, width)
        self.weights = nn.Embedding(total, 1)
        self.dense_vectors = nn.Parameter(torch.randn(dense, width) * 0.01)
        self.dense_weights = nn.Linear(dense, 1)
        self.tower = nn.Sequential(
            nn.Linear((len(sizes) + dense) * width, 64), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))
        nn.init.normal_(self.vectors.weight, std=0.01)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.dense_weights.weight)

    def forward(self, ids: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """ids [B, fields] int64, dense [B, D] f32 -> probability of a click [B, 1] f32."""
        return torch.sigmoid(self.score(ids, dense))

    def score(self, ids: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """The logit, [B, 1]."""
        at = ids + self.offsets
        dense = ((dense - self.mean) / self.deviation).clamp(-5.0, 5.0)
        fields = torch.cat([self.vectors(at), dense.unsqueeze(-1) * self.dense_vectors], dim=1)
        pairs = (fields.sum(1).pow(2) - fields.pow(2).sum(1)).sum(1, keepdim=True) * 0.5
        return (self.weights(at).sum(1) + self.dense_weights(dense) + pairs
                + self.tower(fields.flatten(1)))


def fit_deepfm(data: ClickData, sizes: list[int], seed: int, epochs: int = 2) -> DeepFm:
    """Trains a DeepFM with Adam; the vectors are pulled towards zero, as clicks are few."""
    torch.manual_seed(seed)
    model = DeepFm(sizes, data.dense.mean(0), data.dense.std(0) + 1e-6)
    rate = data.clicks.mean()
    nn.init.constant_(model.dense_weights.bias, float(np.log(rate / (1 - rate))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    ids, dense = torch.from_numpy(data.ids), torch.from_numpy(data.dense)
    clicks = torch.from_numpy(data.clicks).float()
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(ids)).split(512):
            scores = model.score(ids[rows], dense[rows])[:, 0]
            loss = functional.binary_cross_entropy_with_logits(scores, clicks[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def predict_deepfm(model: DeepFm, data: ClickData) -> np.ndarray:
    """Probabilities, [N] f64."""
    with torch.no_grad():
        answer = model(torch.from_numpy(data.ids), torch.from_numpy(data.dense))
    return answer[:, 0].double().numpy()


def predict_rate(train: ClickData, test: ClickData) -> np.ndarray:
    """The training rows' click rate for every row, [N] f64."""
    return np.full(len(test.clicks), train.clicks.mean())


def predict_popularity(train: ClickData, test: ClickData, prior: float = 500.0) -> np.ndarray:
    """Each item's click rate, drawn towards the overall rate by `prior` impressions, [N] f64."""
    items, rate = 1, train.clicks.mean()
    count = 1 + max(train.ids[:, items].max(), test.ids[:, items].max())
    shown = np.bincount(train.ids[:, items], minlength=count)
    clicked = np.bincount(train.ids[:, items], weights=train.clicks, minlength=count)
    return ((clicked + prior * rate) / (shown + prior))[test.ids[:, items]]


def predict_logistic(train: ClickData, test: ClickData, sizes: list[int], penalty: float = 3.0
                     ) -> np.ndarray:
    """Logistic regression with an L2 penalty on one-hot fields and standardised dense, [N] f64."""
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    mean, deviation = train.dense.mean(0), train.dense.std(0) + 1e-6
    weights = torch.zeros(sum(sizes) + len(mean), dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(float(np.log(train.clicks.mean())), dtype=torch.float64,
                        requires_grad=True)

    def score(data: ClickData) -> torch.Tensor:
        """The logit of each row."""
        fields = weights[torch.from_numpy(data.ids + offsets)].sum(1)
        dense = torch.from_numpy(((data.dense - mean) / deviation).clip(-5, 5).astype(np.float64))
        return fields + dense @ weights[sum(sizes):] + bias

    optimizer = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")
    clicks = torch.from_numpy(train.clicks)

    def closure() -> torch.Tensor:
        """Loss and gradient."""
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(score(train), clicks, reduction="sum")
        loss = loss + penalty * weights.pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return torch.sigmoid(score(test)).numpy()
