"""Rankers whose layers meet in ways that a product can finish itself: crosses, activation units, bags, splits."""

import torch
from torch import nn
from torch.nn import functional

from small_graphs.spec import Graph, floats, integers


class VectorCross(nn.Module):
    """DCN: x0 * (x . w) + b + x, three times, the dot product as a linear layer and as a bare product."""

    def __init__(self, width=20, layers=3):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(layers, width, 1) * 0.2)
        self.biases = nn.Parameter(torch.randn(layers, width) * 0.1)
        self.last = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(width, 1)

    def forward(self, features):
        x = features
        for weight, bias in zip(self.weights, self.biases):
            x = features * torch.matmul(x, weight) + bias + x
        x = self.last(x) * features + x
        return torch.sigmoid(self.head(x))


class ColumnCross(nn.Module):
    """DCN as DeepCTR writes it: rows are columns [batch, width, 1], products by tensordot and matmul."""

    def __init__(self, width=20, layers=3):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(layers, width, 1) * 0.2)
        self.biases = nn.Parameter(torch.randn(layers, width, 1) * 0.1)
        self.head = nn.Linear(width, 1)

    def forward(self, features):
        first = features.unsqueeze(2)
        x = first
        for weight, bias in zip(self.weights, self.biases):
            x = torch.matmul(first, torch.tensordot(x, weight, dims=([1], [0]))) + bias + x
        return torch.sigmoid(self.head(torch.squeeze(x, dim=2)))


class MatrixCross(nn.Module):
    """DCN v2 with low-rank crosses as linear layers, and one of full rank in another order of operands."""

    def __init__(self, width=24, rank=6):
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(2))
        self.full = nn.Linear(width, width)

    def forward(self, features):
        x = features
        for down, up in zip(self.down, self.up):
            x = x + up(down(x)) * features
        return features * self.full(x) + x


class Dice(nn.Module):
    """p x + (1 - p) alpha x, p the sigmoid of x normalised, along the last axis (DIN, section 5.3)."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=1e-8)
        self.alpha = nn.Parameter(torch.rand(width) * 0.5)
        nn.init.normal_(self.norm.running_mean, std=0.3)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.normal_(self.norm.bias, std=0.3)


class RowDice(Dice):
    """Over rows: [B, T, N] seen as [B T, N]."""

    def forward(self, x):
        rows = x.reshape(-1, x.size(-1))
        p = torch.sigmoid(self.norm(rows)).reshape(x.shape)
        return self.alpha * (1 - p) * x + p * x


class TurnedDice(Dice):
    """With the channels in the middle, as the common implementations for PyTorch write it."""

    def forward(self, x):
        x = torch.transpose(x, 1, 2)
        p = torch.sigmoid(self.norm(x))
        x = self.alpha.unsqueeze(1) * (1 - p) * x + p * x
        return torch.transpose(x, 1, 2)


class DiceUnit(nn.Module):
    """DIN whose activation unit has a Dice after each of its layers."""

    def __init__(self, first, second, items=60, size=8):
        super().__init__()
        self.items = nn.Embedding(items, size)
        self.score = nn.Sequential(nn.Linear(4 * size, 16), first(16), nn.Linear(16, 12), second(12),
                                   nn.Linear(12, 1))

    def forward(self, candidate, history):
        target = self.items(candidate)
        past = self.items(history)
        wide = target.unsqueeze(1).expand_as(past)
        scores = self.score(torch.cat([wide, past, wide - past, wide * past], -1)).squeeze(-1)
        scores = scores.masked_fill(history == 0, -1e9)
        return (torch.softmax(scores, 1).unsqueeze(-1) * past).sum(1)


class ChannelSlopes(nn.Module):
    """DIN whose activation unit has a PReLU of one slope a channel, then one of a single slope."""

    def __init__(self, items=60, size=8):
        super().__init__()
        self.items = nn.Embedding(items, size)
        self.first, self.second = nn.Linear(4 * size, 16), nn.Linear(16, 12)
        self.slopes = nn.Parameter(torch.rand(16) * 0.5)
        self.slope, self.last = nn.PReLU(), nn.Linear(12, 1)

    def forward(self, candidate, history):
        target = self.items(candidate).unsqueeze(1)
        past = self.items(history)
        wide = target.expand_as(past)
        x = self.first(torch.cat([wide, past, wide - past, wide * past], -1))
        x = functional.prelu(x.transpose(1, 2), self.slopes).transpose(1, 2)
        scores = self.last(self.slope(self.second(x)))
        return (torch.softmax(scores, 1) * past).sum(1)


class RaggedMeanBags(nn.Module):
    """Means of bags of any length, none empty, cut by offsets; the last takes what is left."""

    def __init__(self, vocabulary=40, size=8):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocabulary, size, mode="mean")

    def forward(self, ids, lengths):
        lengths = lengths.clamp(min=1)
        return self.bag(ids.flatten(), torch.cumsum(lengths, 0) - lengths)


class EvenMeanBags(nn.Module):
    """Means of bags of one length from two tables, beside each other."""

    def __init__(self, vocabulary=40, size=8):
        super().__init__()
        self.left = nn.EmbeddingBag(vocabulary, size, mode="mean")
        self.right = nn.EmbeddingBag(vocabulary, size, mode="mean")
        self.head = nn.Linear(2 * size, 3)

    def forward(self, ids):
        return self.head(torch.cat([self.left(ids[:, 0]), self.right(ids[:, 1])], 1))


class SplitTowers(nn.Module):
    """A layer's result is split: one part goes on through a tower, two multiply, all are joined again."""

    def __init__(self, width=12):
        super().__init__()
        self.wide, self.deep = nn.Linear(width, 30), nn.Linear(10, 8)
        self.head = nn.Linear(8 + 10 + 10, 2)

    def forward(self, features):
        a, b, c = functional.relu(self.wide(features)).chunk(3, dim=1)
        deep = functional.relu(self.deep(a))
        return self.head(torch.cat([deep, b * torch.sigmoid(c), a], 1))


BATCH_TIME = {"candidate": {0: "batch"}, "history": {0: "batch", 1: "time"}}
HISTORY = {"candidate": 60, "history": 60}


def history() -> dict[str, torch.Tensor]:
    """A candidate and a padded history for each row."""
    return {"candidate": integers(60, 3), "history": integers(60, 3, 9)}


def graphs() -> list[Graph]:
    """All graphs of this file."""
    bags = {"ids": {0: "batch", 1: "slots"}, "lengths": {0: "batch"}}
    return [
        Graph("dcn_vector", VectorCross, {"features": floats(3, 20)}, both=True),
        Graph("dcn_matrix", MatrixCross, {"features": floats(3, 24)}, both=True),
        Graph("din_dice_rows", lambda: DiceUnit(RowDice, RowDice), history(), BATCH_TIME, HISTORY, both=True),
        Graph("din_dice_turned", lambda: DiceUnit(TurnedDice, TurnedDice), history(), BATCH_TIME, HISTORY,
              both=True),
        Graph("din_slopes", ChannelSlopes, history(), BATCH_TIME, HISTORY, both=True),
        Graph("mean_bags_ragged", RaggedMeanBags, {"ids": integers(40, 3, 4), "lengths": integers(5, 3)}, bags,
              {"ids": 40, "lengths": 5}, both=True),
        Graph("mean_bags_even", EvenMeanBags, {"ids": integers(40, 3, 2, 5)}, high={"ids": 40}, both=True),
        Graph("dcn_columns", ColumnCross, {"features": floats(3, 20)}, both=True),
        Graph("split_towers", SplitTowers, {"features": floats(3, 12)}, both=True),
    ]
