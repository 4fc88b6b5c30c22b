"""Text models: BERT shapes, attention in several spellings, norms and rotary positions."""

import math

import torch
from torch import nn
from torch.nn import functional

from encoder_model import Encoder, EncoderShape
from small_graphs.spec import Graph, floats, integers


class PairClassifier(nn.Module):
    """A cross-encoder: BERT with fused QKV, boolean mask, tanh pooler, two softmax heads."""

    def __init__(self):
        super().__init__()
        self.words, self.types = nn.Embedding(90, 32), nn.Embedding(2, 32)
        self.places = nn.Parameter(torch.randn(1, 16, 32) * 0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(3))
        self.qkv, self.mix = nn.Linear(32, 96), nn.Linear(32, 32)
        self.widen, self.narrow = nn.Linear(32, 64), nn.Linear(64, 32)
        self.pooler, self.head = nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, input_ids, attention_mask, token_type_ids):
        batch, length = input_ids.shape
        x = self.words(input_ids) + self.types(token_type_ids) + self.places[:, :length]
        x = self.norms[0](x)
        q, k, v = self.qkv(x).view(batch, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(8))
        keep = attention_mask.bool()[:, None, None, :]
        scores = scores.masked_fill(~keep, torch.finfo(torch.float32).min)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, 32)
        x = self.norms[1](x + self.mix(mixed))
        x = self.norms[2](x + self.narrow(functional.gelu(self.widen(x))))
        return functional.log_softmax(self.head(torch.tanh(self.pooler(x[:, 0]))), dim=-1)


class CausalAttention(nn.Module):
    """scaled_dot_product_attention with is_causal and a fused projection."""

    def __init__(self):
        super().__init__()
        self.qkv, self.output = nn.Linear(24, 72, bias=False), nn.Linear(24, 24)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, 3, 8).transpose(1, 2)
                   for part in self.qkv(x).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))


class MaskedAttention(nn.Module):
    """scaled_dot_product_attention with a boolean key mask that keeps position 0."""

    def forward(self, query, key, value, mask):
        keep = mask.bool() | (torch.arange(mask.size(1)) == 0)
        return functional.scaled_dot_product_attention(query, key, value,
                                                       attn_mask=keep[:, None, None, :])


class GroupedAttention(nn.Module):
    """Four query heads share two key/value heads, repeated by expand and reshape."""

    def __init__(self):
        super().__init__()
        self.q, self.kv = nn.Linear(16, 32), nn.Linear(16, 32)

    def forward(self, x):
        batch, length, _ = x.shape
        q = self.q(x).view(batch, length, 4, 8).transpose(1, 2)
        k, v = self.kv(x).view(batch, length, 2, 2, 8).permute(2, 0, 3, 1, 4)
        k, v = (part[:, :, None].expand(batch, 2, 2, length, 8).reshape(batch, 4, length, 8)
                for part in (k, v))
        return torch.softmax(q @ k.transpose(-1, -2) / 8 ** 0.5, -1) @ v


class RotaryAttention(nn.Module):
    """Rotary positions computed in the graph, RMS norm, a causal mask by triu."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(16) + 0.5)
        self.qkv = nn.Linear(16, 48)

    def rotate(self, x, angles):
        left, right = x[..., :8], x[..., 8:]
        return torch.cat([left * angles.cos() - right * angles.sin(),
                          right * angles.cos() + left * angles.sin()], dim=-1)

    def forward(self, x):
        length = x.size(1)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        q, k, v = self.qkv(x).split(16, dim=-1)
        rates = 100.0 ** (-torch.arange(8) / 8.0)
        angles = torch.arange(length).to(torch.float32)[:, None] * rates
        scores = self.rotate(q, angles) @ self.rotate(k, angles).transpose(1, 2) * 0.25
        later = torch.triu(torch.ones(length, length), diagonal=1) * -1e9
        return torch.softmax(scores + later, dim=-1) @ v


class GatedFeedForward(nn.Module):
    """RMS norm, SwiGLU and a residual."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(24) + 0.5)
        self.gate, self.up = nn.Linear(24, 40, bias=False), nn.Linear(24, 40, bias=False)
        self.down = nn.Linear(40, 24, bias=False)

    def forward(self, x):
        normal = x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + 1e-5) * self.scale
        return x + self.down(functional.silu(self.gate(normal)) * self.up(normal))


class NormVariants(nn.Module):
    """LayerNorm without weights, over two dimensions, without bias, and written out."""

    def __init__(self):
        super().__init__()
        self.plain = nn.LayerNorm(12, elementwise_affine=False)
        self.wide = nn.LayerNorm([5, 12])
        self.unbiased = nn.LayerNorm(12, bias=False)
        self.scale, self.shift = nn.Parameter(torch.rand(12)), nn.Parameter(torch.randn(12))
        nn.init.uniform_(self.wide.weight, 0.5, 1.5)

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        spread = centred.pow(2).mean(-1, keepdim=True)
        written = centred / torch.sqrt(spread + 1e-5) * self.scale + self.shift
        return self.plain(x), self.wide(x), self.unbiased(x), written


class GeluForms(nn.Module):
    """GELU by erf, by tanh, written out in both ways, and the sigmoid approximation."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.widen, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        x = self.widen(x)
        if self.form == "erf":
            x = functional.gelu(x) + 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
        else:
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))
            x = functional.gelu(x, approximate="tanh") + 0.5 * x * (1 + torch.tanh(inner))
            x = x + x * torch.sigmoid(1.702 * x)
        return self.narrow(x)


class Pooling(nn.Module):
    """First token, masked mean, masked maximum, and a learned weighting of tokens."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(16, 1)

    def forward(self, x, mask):
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)
        weights = mask.unsqueeze(-1).float()
        mean = (x * weights).sum(1) / weights.sum(1)
        top = x.masked_fill(mask.unsqueeze(-1) == 0, -1e4).amax(dim=1)
        share = torch.softmax(self.score(x).squeeze(-1) + (1 - mask) * -1e4, dim=1)
        return torch.cat([x[:, 0], mean, top, torch.einsum("bs,bsh->bh", share, x)], dim=1)


class PreNormLayer(nn.Module):
    """A pre-norm layer around PyTorch's MultiheadAttention with a key padding mask."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(2))
        self.attention = nn.MultiheadAttention(24, 3, batch_first=True)
        self.widen, self.narrow = nn.Linear(24, 48), nn.Linear(48, 24)

    def forward(self, x, mask):
        padding = torch.cat([torch.zeros_like(mask[:, :1]), 1 - mask[:, 1:]], dim=1).bool()
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, key_padding_mask=padding)[0]
        return x + self.narrow(functional.gelu(self.widen(self.norms[1](x))))


def small_encoder() -> nn.Module:
    """The relevance encoder's class at a small shape."""
    return Encoder(EncoderShape(80, hidden=24, layers=2, heads=2, feed_forward=48, positions=24))


def graphs() -> list[Graph]:
    """All graphs of this file."""
    ids = {"input_ids": integers(80, 3, 10), "attention_mask": torch.ones(3, 10, dtype=torch.int64),
           "token_type_ids": integers(2, 3, 10)}
    id_axes = {name: {0: "batch", 1: "sequence"} for name in ids}
    id_high = {"input_ids": 80, "attention_mask": 2, "token_type_ids": 2}
    heads = {name: floats(3, 2, 6, 8) for name in ("query", "key", "value")}
    head_axes = {"query": {0: "batch"}, "key": {0: "batch", 2: "sequence"},
                 "value": {0: "batch", 2: "sequence"}, "mask": {0: "batch", 1: "sequence"}}
    tokens = {"x": {0: "batch", 1: "sequence"}}
    return [
        Graph("bert_encoder", small_encoder, ids, id_axes, id_high),
        Graph("bert_pair_classifier", PairClassifier, ids, id_axes, id_high),
        Graph("attention_causal", CausalAttention, {"x": floats(3, 7, 24)}, tokens),
        Graph("attention_masked", MaskedAttention, {**heads, "mask": integers(2, 3, 6)}, head_axes,
              {"mask": 2}),
        Graph("attention_grouped", GroupedAttention, {"x": floats(3, 7, 16)}, tokens),
        Graph("attention_rotary", RotaryAttention, {"x": floats(3, 7, 16)}, tokens),
        Graph("feed_forward_gated", GatedFeedForward, {"x": floats(3, 7, 24)}, tokens),
        Graph("norm_variants", NormVariants, {"x": floats(3, 5, 12)}),
        Graph("gelu_erf", lambda: GeluForms("erf"), {"x": floats(3, 16)}),
        Graph("gelu_tanh", lambda: GeluForms("tanh"), {"x": floats(3, 16)}),
        Graph("token_pooling", Pooling, {"x": floats(3, 6, 16), "mask": integers(2, 3, 6)},
              {"x": {0: "batch", 1: "sequence"}, "mask": {0: "batch", 1: "sequence"}},
              {"mask": 2}),
        Graph("pre_norm_layer", PreNormLayer, {"x": floats(3, 7, 24), "mask": integers(2, 3, 7)},
              high={"mask": 2}),
    ]
