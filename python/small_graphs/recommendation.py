"""Models of ads and recommendation: towers, crosses, behaviour attention, mixtures of experts."""

import torch
from torch import nn
from torch.nn import functional

from small_graphs.spec import Graph, floats, integers


def tower(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inner, outer in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class BatchNormTower(nn.Module):
    """Linear, batch normalisation, ReLU, twice; sigmoid."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(13, 32), nn.BatchNorm1d(32), nn.ReLU(),
                                    nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(),
                                    nn.Dropout(0.2), nn.Linear(16, 1))
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm1d):
                nn.init.normal_(layer.running_mean, std=0.3)
                nn.init.uniform_(layer.running_var, 0.5, 2.0)

    def forward(self, dense):
        return torch.sigmoid(self.layers(dense))


class DeepFm(nn.Module):
    """Factorisation machine over field embeddings beside a tower on the same embeddings."""

    def __init__(self, fields=6, vocabulary=40, size=8, dense=4):
        super().__init__()
        self.offsets = nn.Parameter(torch.arange(fields) * vocabulary, requires_grad=False)
        self.embed = nn.Embedding(fields * vocabulary, size)
        self.linear = nn.Embedding(fields * vocabulary, 1)
        self.dense = nn.Linear(dense, 1)
        self.deep = tower(fields * size + dense, 32, 16, 1)

    def forward(self, ids, dense):
        at = ids + self.offsets
        vectors = self.embed(at)
        pairs = (vectors.sum(1).pow(2) - vectors.pow(2).sum(1)).sum(1, keepdim=True) * 0.5
        first = self.linear(at).sum(1) + self.dense(dense)
        return torch.sigmoid(first + pairs + self.deep(torch.cat([vectors.flatten(1), dense], 1)))


class CrossNetwork(nn.Module):
    """DCN v2: x0 * (W x + b) + x, three times, beside a tower."""

    def __init__(self, width=20):
        super().__init__()
        self.crosses = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.deep = tower(width, 32, 16)
        self.head = nn.Linear(width + 16, 1)

    def forward(self, features):
        x = features
        for cross in self.crosses:
            x = features * cross(x) + x
        return torch.sigmoid(self.head(torch.cat([x, self.deep(features)], dim=-1)))


class LowRankCross(nn.Module):
    """DCN v2 with low-rank crosses as bare matrix products."""

    def __init__(self, width=24, rank=4):
        super().__init__()
        self.down = nn.Parameter(torch.randn(2, width, rank) * 0.2)
        self.up = nn.Parameter(torch.randn(2, rank, width) * 0.2)
        self.bias = nn.Parameter(torch.randn(2, width) * 0.1)

    def forward(self, features):
        x = features
        for layer in range(2):
            x = features * (x @ self.down[layer] @ self.up[layer] + self.bias[layer]) + x
        return x


class InterestAttention(nn.Module):
    """DIN: a candidate attends to a padded history (id 0 is padding)."""

    def __init__(self, items=60, size=8):
        super().__init__()
        self.items = nn.Embedding(items, size)
        self.score = nn.Sequential(nn.Linear(4 * size, 16), nn.PReLU(), nn.Linear(16, 1))
        self.head = tower(2 * size, 16, 1)

    def forward(self, candidate, history):
        target = self.items(candidate)
        past = self.items(history)
        wide = target.unsqueeze(1).expand_as(past)
        scores = self.score(torch.cat([wide, past, wide - past, wide * past], -1)).squeeze(-1)
        scores = scores.masked_fill(history == 0, -1e9)
        interest = (torch.softmax(scores, 1).unsqueeze(-1) * past).sum(1)
        return torch.sigmoid(self.head(torch.cat([target, interest], -1)))


class ExpertMixture(nn.Module):
    """MMoE: four experts, two tasks with softmax gates, combined by einsum."""

    def __init__(self, width=16):
        super().__init__()
        self.experts = nn.Parameter(torch.randn(4, width, 12) * 0.2)
        self.gates = nn.ModuleList(nn.Linear(width, 4) for _ in range(2))
        self.heads = nn.ModuleList(tower(12, 8, 1) for _ in range(2))

    def forward(self, features):
        experts = functional.relu(torch.einsum("bi,eio->beo", features, self.experts))
        answers = []
        for gate, head in zip(self.gates, self.heads):
            weights = torch.softmax(gate(features), dim=-1)
            answers.append(torch.sigmoid(head(torch.einsum("be,beo->bo", weights, experts))))
        return torch.cat(answers, dim=1)


class TwoTower(nn.Module):
    """User and item towers; cosine of each pair and the vectors themselves."""

    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(50, 12), nn.Embedding(70, 12)
        self.user, self.item = tower(12, 24, 16), tower(12, 24, 16)

    def forward(self, user, item):
        left = functional.normalize(self.user(self.users(user)), dim=-1)
        right = functional.normalize(self.item(self.items(item)), dim=-1)
        return (left * right).sum(-1), left, right


class WideAndDeep(nn.Module):
    """One-hot wide part beside an embedded deep part."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(3 * 11, 1)
        self.embed = nn.Embedding(11, 6)
        self.deep = tower(18, 16, 1)

    def forward(self, ids):
        wide = functional.one_hot(ids, 11).to(torch.float32).flatten(1)
        return torch.sigmoid(self.wide(wide) + self.deep(self.embed(ids).flatten(1)))


class PairInteractions(nn.Module):
    """FwFM: inner products of all pairs of fields, picked from the Gram matrix, weighted."""

    def __init__(self, fields=7):
        super().__init__()
        self.embed = nn.Embedding(30, 8)
        rows, columns = torch.triu_indices(fields, fields, offset=1)
        self.pairs = nn.Parameter(rows * fields + columns, requires_grad=False)
        self.weights = nn.Linear(len(rows), 1)

    def forward(self, ids):
        vectors = self.embed(ids)
        gram = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return torch.sigmoid(self.weights(gram.index_select(1, self.pairs)))


class FieldGates(nn.Module):
    """FiBiNET's squeeze and excitation over fields."""

    def __init__(self, fields=8):
        super().__init__()
        self.embed = nn.Embedding(30, 6)
        self.squeeze, self.excite = nn.Linear(fields, 3), nn.Linear(3, fields)

    def forward(self, ids):
        vectors = self.embed(ids)
        gates = torch.sigmoid(self.excite(functional.relu(self.squeeze(vectors.mean(-1)))))
        return (vectors * gates.unsqueeze(-1)).max(dim=1).values


class BagMean(nn.Module):
    """Mean of the embeddings of a padded bag of ids, the padding left out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 16)

    def forward(self, ids, lengths):
        places = torch.arange(ids.size(1)).unsqueeze(0)
        mask = (places < lengths.unsqueeze(1)).to(torch.float32).unsqueeze(-1)
        return (self.embed(ids) * mask).sum(1) / mask.sum(1).clamp(min=1.0)


class FieldAttention(nn.Module):
    """AutoInt: self-attention over fields with PyTorch's MultiheadAttention, residual, ReLU."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(5 * 16, 1)

    def forward(self, ids):
        x = self.embed(ids)
        x = functional.relu(self.attention(x, x, x, need_weights=False)[0] + x)
        return self.head(x.flatten(1))


BATCH_TIME = {"candidate": {0: "batch"}, "history": {0: "batch", 1: "time"}}
BAG = {"ids": {0: "batch", 1: "slots"}, "lengths": {0: "batch"}}


def graphs() -> list[Graph]:
    """All graphs of this file."""
    return [
        Graph("batch_norm_tower", BatchNormTower, {"dense": floats(3, 13)}),
        Graph("deepfm", DeepFm, {"ids": integers(40, 3, 6), "dense": floats(3, 4)},
              high={"ids": 40}),
        Graph("dcn_cross", CrossNetwork, {"features": floats(3, 20)}),
        Graph("dcn_low_rank", LowRankCross, {"features": floats(3, 24)}),
        Graph("din_attention", InterestAttention,
              {"candidate": integers(60, 3), "history": integers(60, 3, 9)}, BATCH_TIME,
              {"candidate": 60, "history": 60}),
        Graph("mmoe", ExpertMixture, {"features": floats(3, 16)}),
        Graph("two_tower_cosine", TwoTower, {"user": integers(50, 3), "item": integers(70, 3)},
              high={"user": 50, "item": 70}),
        Graph("wide_and_deep", WideAndDeep, {"ids": integers(11, 3, 3)}, high={"ids": 11}),
        Graph("pair_interactions", PairInteractions, {"ids": integers(30, 3, 7)}, high={"ids": 30}),
        Graph("field_gates", FieldGates, {"ids": integers(30, 3, 8)}, high={"ids": 30}),
        Graph("bag_mean", BagMean, {"ids": integers(100, 3, 6), "lengths": integers(7, 3)}, BAG,
              {"ids": 100, "lengths": 7}),
        Graph("field_attention", FieldAttention, {"ids": integers(40, 3, 5)}, high={"ids": 40}),
    ]
