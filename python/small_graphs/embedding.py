"""Bags of embeddings: `nn.EmbeddingBag` in the forms that exporters give it, alone and in a DLRM."""

import torch
from torch import nn

from small_graphs.spec import Graph, floats, integers


class Dlrm(nn.Module):
    """Bags of three tables and a dense tower meet in dot products."""

    def __init__(self, tables=3, vocabulary=40, size=8, dense=4):
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(vocabulary, size, mode="sum") for _ in range(tables))
        self.bottom = nn.Linear(dense, size)
        pairs = torch.tril_indices(tables + 1, tables + 1, offset=-1)
        self.rows, self.columns = pairs[0].tolist(), pairs[1].tolist()
        self.top = nn.Sequential(nn.Linear(size + len(self.rows), 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, dense, ids):
        bottom = torch.relu(self.bottom(dense))
        features = torch.stack([bottom] + [bag(ids[:, i]) for i, bag in enumerate(self.bags)], 1)
        products = torch.bmm(features, features.transpose(1, 2))
        met = products[:, self.rows, self.columns]
        return torch.sigmoid(self.top(torch.cat([bottom, met], 1)))


class MeanBags(nn.Module):
    """The mean of every bag, all of one length."""

    def __init__(self, vocabulary=40, size=8):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocabulary, size, mode="mean")
        self.head = nn.Linear(size, 3)

    def forward(self, ids):
        return self.head(self.bag(ids))


class RaggedBags(nn.Module):
    """Bags of any length, some empty, cut by offsets; the last takes what is left."""

    def __init__(self, vocabulary=40, size=8):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocabulary, size, mode="sum")

    def forward(self, ids, lengths):
        return self.bag(ids.flatten(), torch.cumsum(lengths, 0) - lengths)


class WeightedBags(nn.Module):
    """Bags of any length with a weight an id."""

    def __init__(self, vocabulary=40, size=8):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocabulary, size, mode="sum")

    def forward(self, ids, lengths, weights):
        return self.bag(ids.flatten(), torch.cumsum(lengths, 0) - lengths, weights.flatten())


def graphs() -> list[Graph]:
    """All graphs of this file."""
    return [
        Graph("mean_bags", MeanBags, {"ids": integers(40, 3, 5)}, high={"ids": 40}),
        Graph("dlrm_bags", Dlrm, {"dense": floats(3, 4), "ids": integers(40, 3, 3, 5)},
              high={"ids": 40}),
        Graph("ragged_bags", RaggedBags, {"ids": integers(40, 3, 4), "lengths": integers(5, 3)},
              high={"ids": 40, "lengths": 5}),
        Graph("weighted_bags", WeightedBags,
              {"ids": integers(40, 3, 4), "lengths": integers(5, 3), "weights": floats(3, 4)},
              high={"ids": 40, "lengths": 5}),
    ]
