"""Graphs that gather operators by kind: shapes, reductions, integers, masks, convolutions."""

import torch
from torch import nn
from torch.nn import functional

from small_graphs.spec import Graph, floats, integers


class ShapeChain(nn.Module):
    """Reshapes, transposes and expands whose sizes are computed from the input's shape."""

    def forward(self, x):
        batch, rows, columns = x.shape
        y = x.permute(2, 0, 1).reshape(columns, batch * rows).t()
        y = y.view(batch, rows, 2, columns // 2).transpose(1, 2).flatten(2)
        tiled = x.mean(1).unsqueeze(1).repeat(1, rows, 1)
        return y, tiled + x, x.unsqueeze(1).expand(batch, 3, rows, columns).sum(dim=(1, 2))


class SplitConcatSlice(nn.Module):
    """Uneven splits, strided and negative slices, concatenations, stacks, flips, padding."""

    def forward(self, x):
        a, b, c = torch.split(x, [3, 5, 4], dim=1)
        d = torch.cat([c, a, b[:, ::2], x[:, -3:]], dim=1)
        e = torch.stack([a, b[:, :3]], dim=2).flatten(1)
        f = functional.pad(torch.flip(a, dims=[1]), (1, 2), value=0.5)
        return d, e, f, torch.roll(c, 1, dims=1)


class Reductions(nn.Module):
    """Sums, means, extrema, products, norms and logarithms of sums over several axes."""

    def forward(self, x):
        near = torch.cat([x.sum((1, 2))[:, None], x.mean((1, 2))[:, None], x.amax((1, 2))[:, None],
                          x.amin((1, 2))[:, None], x.norm(dim=(1, 2))[:, None],
                          x.abs().sum((1, 2))[:, None]], dim=1)
        return (near, torch.logsumexp(x, dim=-1), (x * 0.1 + 1).prod(dim=1),
                x.var(dim=-1, unbiased=False), x.std(dim=1), x.max(dim=2).values)


class SoftmaxHeads(nn.Module):
    """Softmax over an inner and the last dimension, log-softmax, temperature, sigmoid."""

    def __init__(self):
        super().__init__()
        self.body, self.labels, self.tags = nn.Linear(10, 16), nn.Linear(16, 5), nn.Linear(16, 6)

    def forward(self, x):
        x = functional.relu(self.body(x))
        tags = self.tags(x).view(x.size(0), 2, 3)
        return (torch.softmax(self.labels(x) / 0.7, -1), functional.log_softmax(tags, -1),
                torch.softmax(tags, 1), torch.sigmoid(self.labels(x)))


class Activations(nn.Module):
    """The activations of torch.nn, side by side."""

    def forward(self, x):
        return torch.stack([
            functional.relu6(x), functional.silu(x), functional.hardswish(x),
            functional.hardsigmoid(x), functional.leaky_relu(x, 0.1), functional.elu(x, 0.8),
            functional.selu(x), functional.softplus(x), functional.mish(x), functional.softsign(x),
            functional.celu(x, 1.3), torch.tanh(x), functional.logsigmoid(x)], dim=1)


class Arithmetic(nn.Module):
    """Pointwise mathematics in chains, with scalars and broadcasting."""

    def __init__(self):
        super().__init__()
        self.row = nn.Parameter(torch.rand(1, 8) + 0.5)
        self.column = nn.Parameter(torch.rand(6, 1) + 0.5)

    def forward(self, x, y):
        positive = x.abs() + 0.1
        a = torch.log(positive) * self.row + torch.exp(-positive) / self.column
        b = torch.sqrt(positive) - torch.rsqrt(positive) + positive.pow(1.5) - y.pow(2)
        c = torch.sin(x) * torch.cos(y) + torch.atan(x) - torch.reciprocal(positive)
        d = torch.maximum(x, y).clamp(-0.7, 0.9) + torch.minimum(x, y * 2).floor() + torch.sign(x)
        return a + b, c * d, torch.round(x * 3) + torch.ceil(y), torch.log1p(positive)


class MaskLogic(nn.Module):
    """Comparisons, boolean algebra, where, masked fill; booleans as output."""

    def forward(self, x, y, mask):
        both = (x > y) & (mask == 1)
        either = (x < -0.5) | ~both
        chosen = torch.where(both, x, torch.where(either, y, torch.zeros_like(x)))
        return chosen.masked_fill((x - y).abs() < 0.05, 7.0), both ^ either, (x >= 0).sum(1)


class IntegerCasts(nn.Module):
    """Integer division, remainder, clamps and casts, then a look-up by the computed id."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(17, 6)

    def forward(self, ids, x):
        bucket = torch.div(ids, 3, rounding_mode="floor") + torch.remainder(ids, 5)
        steps = (x * 4).to(torch.int32).clamp(-6, 6).to(torch.int64) + 6
        at = torch.remainder(bucket * 7 + steps, 17)
        return self.embed(at), at, (ids % 2 == 0).to(torch.float32), x.abs().to(torch.uint8)


class RunningSums(nn.Module):
    """Positions from a mask by cumulative sum, as RoBERTa has them, and a running mean."""

    def __init__(self):
        super().__init__()
        self.places = nn.Embedding(20, 8)

    def forward(self, mask, x):
        places = (torch.cumsum(mask, dim=1) * mask).to(torch.int64)
        counts = torch.arange(1, x.size(1) + 1).to(torch.float32)
        return self.places(places), places, torch.cumsum(x, dim=1) / counts[None, :, None]


class EinsumForms(nn.Module):
    """Bilinear scores, outer products, batched contractions and a trace-like sum."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6, 5) * 0.3)

    def forward(self, x, y):
        return (torch.einsum("bi,kij,bj->bk", x, self.weight, y),
                torch.einsum("bi,bj->bij", x, y), torch.einsum("bi,bi->b", x, x))


class TopAndGather(nn.Module):
    """The three best of each row, their places, and another tensor's rows at those places."""

    def forward(self, scores, rows):
        values, places = torch.topk(scores, 3, dim=1)
        wide = places.unsqueeze(-1).expand(-1, -1, rows.size(2))
        return values, places, torch.gather(rows, 1, wide), scores.argmax(1), scores.argmin(1)


class Convolution(nn.Module):
    """Convolutions with stride, groups and dilation, pooling, a global mean, a linear head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False)
        self.point = nn.Conv2d(8, 12, 1)
        self.head = nn.Linear(12, 5)
        nn.init.normal_(self.norm.running_mean, std=0.2)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)

    def forward(self, image):
        x = functional.relu(self.norm(self.first(image)))
        x = functional.max_pool2d(functional.relu(self.point(self.depth(x))), 2)
        x = functional.avg_pool2d(x, 2)
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class TextConvolution(nn.Module):
    """Kim's convolutions of widths 2 and 3 over embedded tokens, maximum over time."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(60, 12)
        self.widths = nn.ModuleList(nn.Conv1d(12, 8, width) for width in (2, 3))

    def forward(self, ids):
        x = self.embed(ids).transpose(1, 2)
        return torch.cat([functional.relu(conv(x)).max(dim=2).values for conv in self.widths], 1)


class GroupNorms(nn.Module):
    """Group and instance normalisation over an image."""

    def __init__(self):
        super().__init__()
        self.group = nn.GroupNorm(2, 6)
        self.instance = nn.InstanceNorm2d(6, affine=True)
        nn.init.uniform_(self.group.weight, 0.5, 1.5)
        nn.init.normal_(self.group.bias)

    def forward(self, image):
        return self.group(image), self.instance(image)


class MatrixForms(nn.Module):
    """addmm, batched and broadcast products, a vector product, a linear layer on 3-D input."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.randn(6))
        self.stack = nn.Parameter(torch.randn(4, 8, 5))
        self.vector = nn.Parameter(torch.randn(8))
        self.line = nn.Linear(8, 7)

    def forward(self, x):
        flat = x.reshape(-1, 8)
        return (torch.addmm(self.bias, flat, self.weight, beta=0.5, alpha=2.0),
                torch.matmul(x.unsqueeze(1), self.stack), torch.matmul(x, self.vector),
                self.line(x), torch.bmm(x, x.transpose(1, 2)))


def graphs() -> list[Graph]:
    """All graphs of this file."""
    grid = floats(3, 4, 6)
    return [
        Graph("shape_chain", ShapeChain, {"x": grid}, {"x": {0: "batch", 1: "rows"}}),
        Graph("split_concat_slice", SplitConcatSlice, {"x": floats(3, 12)}),
        Graph("reductions", Reductions, {"x": grid}),
        Graph("softmax_heads", SoftmaxHeads, {"x": floats(3, 10)}),
        Graph("activations", Activations, {"x": floats(3, 9)}),
        Graph("arithmetic", Arithmetic, {"x": floats(3, 6, 8), "y": floats(3, 6, 8)}),
        Graph("mask_logic", MaskLogic,
              {"x": floats(3, 9), "y": floats(3, 9), "mask": integers(2, 3, 9)}, high={"mask": 2}),
        Graph("integer_casts", IntegerCasts, {"ids": integers(50, 3, 5), "x": floats(3, 5)},
              high={"ids": 50}),
        Graph("running_sums", RunningSums, {"mask": integers(2, 3, 9), "x": floats(3, 9, 4)},
              {"mask": {0: "batch", 1: "time"}, "x": {0: "batch", 1: "time"}}, {"mask": 2}),
        Graph("einsum_forms", EinsumForms, {"x": floats(3, 6), "y": floats(3, 5)}),
        Graph("top_and_gather", TopAndGather, {"scores": floats(3, 8), "rows": floats(3, 8, 4)}),
        Graph("convolution", Convolution, {"image": floats(3, 3, 20, 20)}),
        Graph("text_convolution", TextConvolution, {"ids": integers(60, 3, 9)},
              {"ids": {0: "batch", 1: "time"}}, {"ids": 60}),
        Graph("group_norms", GroupNorms, {"image": floats(3, 6, 5, 4)}),
        Graph("matrix_forms", MatrixForms, {"x": floats(3, 4, 8)}),
    ]
