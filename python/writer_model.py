"""The writer: a small Llama as a PyTorch module whose weights carry transformers' names.

The arithmetic is that of LlamaForCausalLM (RMSNorm, rotary embeddings over the two halves of a
head, grouped key heads, SwiGLU, the output layer tied to the embeddings); `evaluate_writer.py`
runs the exported checkpoint through transformers itself.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class WriterShape:
    """The sizes of a writer; `positions` is the longest text in tokens, answer included."""

    vocabulary: int
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    key_heads: int = 2
    feed_forward: int = 768
    positions: int = 256
    theta: float = 10000.0
    epsilon: float = 1e-5

    def config(self) -> dict:
        """config.json of transformers, without the ids of special tokens."""
        return {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
                "vocab_size": self.vocabulary, "hidden_size": self.hidden,
                "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                "num_key_value_heads": self.key_heads, "head_dim": self.hidden // self.heads,
                "intermediate_size": self.feed_forward, "hidden_act": "silu",
                "max_position_embeddings": self.positions, "rope_theta": self.theta,
                "rms_norm_eps": self.epsilon, "attention_bias": False, "mlp_bias": False,
                "attention_dropout": 0.0, "initializer_range": 0.02, "use_cache": True,
                "tie_word_embeddings": True, "torch_dtype": "bfloat16"}


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of `x` [B, heads, S, D] by the tables' [S, D]."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class Attention(nn.Module):
    """Causal attention with fewer key heads than query heads."""

    def __init__(self, shape: WriterShape):
        super().__init__()
        self.head_size = shape.hidden // shape.heads
        narrow = shape.key_heads * self.head_size
        self.q_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.k_proj = nn.Linear(shape.hidden, narrow, bias=False)
        self.v_proj = nn.Linear(shape.hidden, narrow, bias=False)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor,
                mask: torch.Tensor) -> torch.Tensor:
        """[B, S, H] -> [B, S, H]."""
        batch, length, hidden = x.shape

        def split(projected: torch.Tensor) -> torch.Tensor:
            return projected.view(batch, length, -1, self.head_size).transpose(1, 2)

        query = rotate(split(self.q_proj(x)), cosine, sine)
        key = rotate(split(self.k_proj(x)), cosine, sine)
        value = split(self.v_proj(x))
        # Written out: of short texts on a CPU it is several times as fast as the fused attention.
        groups = query.size(1) // key.size(1)
        query = query.reshape(batch, key.size(1), groups * length, self.head_size)
        scores = torch.matmul(query, key.transpose(-1, -2)).view(batch, -1, groups, length, length)
        share = functional.softmax(scores * self.head_size ** -0.5 + mask, dim=-1).to(value.dtype)
        mixed = torch.matmul(share.view(batch, -1, groups * length, length), value)
        mixed = mixed.view(batch, -1, length, self.head_size)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, hidden))


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: WriterShape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, S, H] -> [B, S, H]."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One pre-norm block."""

    def __init__(self, shape: WriterShape):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.epsilon)
        self.mlp = FeedForward(shape)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor,
                mask: torch.Tensor) -> torch.Tensor:
        """[B, S, H] -> [B, S, H]."""
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Everything but the output layer; the attribute names are those of transformers' weights."""

    def __init__(self, shape: WriterShape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.epsilon)


class Writer(nn.Module):
    """Token ids to the logits of the token behind each; the residual branches start at zero."""

    def __init__(self, shape: WriterShape):
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.5 * module.in_features ** -0.5)
        nn.init.normal_(self.model.embed_tokens.weight, std=0.02)
        for layer in self.model.layers:
            nn.init.zeros_(layer.self_attn.o_proj.weight)
            nn.init.zeros_(layer.mlp.down_proj.weight)
        head = shape.hidden // shape.heads
        rates = shape.theta ** (-torch.arange(0, head, 2, dtype=torch.float32) / head)
        angles = torch.outer(torch.arange(shape.positions, dtype=torch.float32), rates)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def hidden(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[B, S] int64 -> the normalised states [B, S, H]."""
        x = self.model.embed_tokens(input_ids)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.bfloat16)
        length = input_ids.size(1)
        cosine, sine = self.cosine[:length].to(x.dtype), self.sine[:length].to(x.dtype)
        mask = torch.full((length, length), float("-inf"), dtype=x.dtype).triu(1)
        for layer in self.model.layers:
            x = layer(x, cosine, sine, mask)
        return self.model.norm(x)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[B, S] int64 -> logits [B, S, V]."""
        return functional.linear(self.hidden(input_ids), self.model.embed_tokens.weight)
