"""The relevance encoder: a small BERT with mean pooling, as a PyTorch module."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of an encoder; `positions` is the longest text in pieces."""

    vocabulary: int
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    feed_forward: int = 1024
    positions: int = 128


class SelfAttention(nn.Module):
    """Multi-head self-attention with separate query, key and value projections."""

    def __init__(self, shape: EncoderShape):
        super().__init__()
        self.heads = shape.heads
        self.head_size = shape.hidden // shape.heads
        self.query = nn.Linear(shape.hidden, shape.hidden)
        self.key = nn.Linear(shape.hidden, shape.hidden)
        self.value = nn.Linear(shape.hidden, shape.hidden)
        self.output = nn.Linear(shape.hidden, shape.hidden)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """[B, S, H] -> [B, heads, S, head size]."""
        return x.view(x.size(0), x.size(1), self.heads, self.head_size).transpose(1, 2)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """`x` [B, S, H], `bias` [B, 1, 1, S] added to the scores -> [B, S, H]."""
        query, key = self.split(self.query(x)), self.split(self.key(x))
        value = self.split(self.value(x))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.head_size)
        mixed = torch.matmul(functional.softmax(scores + bias, dim=-1), value)
        return self.output(mixed.transpose(1, 2).reshape(x.size(0), x.size(1), -1))


class Block(nn.Module):
    """One post-LN transformer block."""

    def __init__(self, shape: EncoderShape):
        super().__init__()
        self.attention = SelfAttention(shape)
        self.attention_norm = nn.LayerNorm(shape.hidden, eps=1e-12)
        self.widen = nn.Linear(shape.hidden, shape.feed_forward)
        self.narrow = nn.Linear(shape.feed_forward, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=1e-12)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """[B, S, H] -> [B, S, H]."""
        x = self.attention_norm(x + self.attention(x, bias))
        return self.norm(x + self.narrow(functional.gelu(self.widen(x))))


class Encoder(nn.Module):
    """Text ids to one vector of length 1.

    The blocks' output projections start at nearly zero, so an encoder starts as the mean of its
    normalised word vectors and keeps what those learned before the blocks were trained.
    """

    def __init__(self, shape: EncoderShape):
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Embedding(shape.positions, shape.hidden)
        self.types = nn.Embedding(2, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=1e-12)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.05)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.positions.weight, std=0.005)
        nn.init.normal_(self.types.weight, std=0.005)
        for block in self.blocks:
            nn.init.normal_(block.attention.output.weight, std=0.005)
            nn.init.normal_(block.narrow.weight, std=0.005)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor,
                token_type_ids: torch.Tensor) -> torch.Tensor:
        """Three [B, S] int64 tensors -> [B, H] f32, each row of length 1."""
        positions = torch.arange(input_ids.size(1), device=input_ids.device)
        x = self.words(input_ids) + self.positions(positions) + self.types(token_type_ids)
        x = self.norm(x)
        mask = attention_mask.to(torch.float32)
        bias = (1.0 - mask)[:, None, None, :] * -10000.0
        for block in self.blocks:
            x = block(x, bias)
        return pool(x.float(), mask)

    def mean_of_words(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The vector without positions and blocks, for training the word vectors first."""
        x = functional.layer_norm(self.words(input_ids), (self.shape.hidden,), eps=1e-12)
        return pool(x, attention_mask.to(torch.float32))


def pool(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of `x` [B, S, H] where `mask` [B, S] is 1, scaled to length 1."""
    weights = mask[:, :, None]
    mean = (x * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
    return functional.normalize(mean, dim=-1, eps=1e-12)
