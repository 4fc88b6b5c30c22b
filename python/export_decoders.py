"""Writes tiny decoders of the families that people serve, with logits that transformers computed.

Every family is a folder as Hugging Face's hub has it, config.json and model.safetensors of seeded
random weights, and expected.safetensors: `tokens` [T], `logits` [T, vocabulary] of teacher forcing
in f32, and `greedy`, what greedy decoding appends to the first PROMPT tokens.

    python export_decoders.py ../tests/conformance/decoders

With --heads the folders are a classifier and an embedding model instead: `tokens` [T], and of each
of the first T tokens' beginnings `classes` [T, labels] or `states` [T, hidden].

    python export_decoders.py --heads ../tests/conformance/decoder_heads
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

SEED = 20261121
VOCABULARY = 96
TOKENS = 72  # more than two blocks of a cache, and than the windows below
PROMPT = 8
GREEDY = 24
SIZE_MAX = 300_000  # bytes of a folder
COMMON = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, intermediate_size=48, max_position_embeddings=128,
              bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}

SHORT = 32  # a context of training that greedy decoding stays within and teacher forcing leaves
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0,
        "original_max_position_embeddings": 32, "beta_fast": 8.0, "beta_slow": 1.0}


def families():
    """Configurations by the folder's name."""
    return {
        "llama": transformers.LlamaConfig(**COMMON),
        "llama3": transformers.LlamaConfig(**COMMON, head_dim=16, rope_parameters=LLAMA3,
                                           tie_word_embeddings=True),
        "mistral": transformers.MistralConfig(**COMMON, sliding_window=20),
        "qwen2": transformers.Qwen2Config(**COMMON, tie_word_embeddings=True),
        "qwen3": transformers.Qwen3Config(**COMMON, head_dim=16),
        "qwen3_moe": transformers.Qwen3MoeConfig(**COMMON, head_dim=16, num_experts=6,
                                                 num_experts_per_tok=2, moe_intermediate_size=24,
                                                 decoder_sparse_step=1, norm_topk_prob=True),
        "gemma2": transformers.Gemma2Config(**COMMON, head_dim=16, sliding_window=20,
                                            query_pre_attn_scalar=24),
        "gemma3": transformers.Gemma3TextConfig(**COMMON, head_dim=16, sliding_window=20,
                                                query_pre_attn_scalar=24,
                                                layer_types=["sliding_attention",
                                                             "full_attention"]),
        "phi3": transformers.Phi3Config(**COMMON),
        # What single checkpoints of these families have besides.
        "llama_biases": transformers.LlamaConfig(**COMMON, attention_bias=True, mlp_bias=True),
        "llama_yarn": transformers.LlamaConfig(**COMMON, head_dim=16, rope_parameters=YARN),
        "llama_dynamic": transformers.LlamaConfig(
            **{**COMMON, "max_position_embeddings": SHORT},
            rope_parameters={"rope_type": "dynamic", "rope_theta": 500.0, "factor": 4.0}),
        "mistral_wide": transformers.MistralConfig(**COMMON, head_dim=16, sliding_window=None),
        "qwen2_window": transformers.Qwen2Config(**COMMON, use_sliding_window=True,
                                                 sliding_window=20, max_window_layers=1),
        "gemma3_scaled": transformers.Gemma3TextConfig(
            **COMMON, head_dim=16, sliding_window=20, layer_types=["sliding_attention",
                                                                   "full_attention"],
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 500.0, "factor": 8.0}}),
        "phi3_long": transformers.Phi3Config(
            **COMMON, original_max_position_embeddings=SHORT,
            rope_parameters={"rope_type": "longrope", "rope_theta": 500.0,
                             "original_max_position_embeddings": SHORT,
                             "short_factor": [1.0, 1.1, 1.3, 1.7],
                             "long_factor": [1.2, 1.9, 2.7, 5.1]}),
    }


def randomize(model: torch.nn.Module) -> None:
    """Weights that make attention and gates uneven, and norms and biases that are not the default."""
    generator = torch.Generator().manual_seed(SEED)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            else:
                spread = 1.5 / parameter.shape[-1] ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def export(name: str, config, folder: Path) -> None:
    """One family's folder."""
    torch.manual_seed(SEED)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.float().eval()
    randomize(model)
    tokens = torch.randint(3, VOCABULARY, (TOKENS,))
    with torch.no_grad():
        logits = model(tokens[None]).logits[0].float()
        greedy = tokens[:PROMPT].tolist()
        for _ in range(GREEDY):
            following = model(torch.tensor([greedy])).logits[0, -1]
            # A near tie would test rounding, not the model.
            top = following.topk(2).values
            assert top[0] - top[1] > 1e-3, name
            greedy.append(int(following.argmax()))
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_file({"tokens": tokens.to(torch.int32), "logits": logits.contiguous(),
               "greedy": torch.tensor(greedy[PROMPT:], dtype=torch.int32)},
              folder / "expected.safetensors",
              metadata={"transformers": transformers.__version__, "torch": torch.__version__})
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size <= SIZE_MAX, f"{name}: {size} bytes"
    print(f"{name}: {size} bytes, {sum(p.numel() for p in model.parameters())} parameters, "
          f"{json.loads((folder / 'config.json').read_text())['model_type']}")


def export_heads(folder: Path) -> None:
    """A classifier, and a model without a head whose tensors lack its place within others."""
    config = transformers.Qwen3Config(**COMMON, head_dim=16, num_labels=3)
    tokens = torch.randint(3, VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(SEED))
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    for name, kind in (("qwen3_classes", transformers.Qwen3ForSequenceClassification),
                       ("qwen3_embedding", transformers.Qwen3Model)):
        model = kind._from_config(config, attn_implementation="eager").float().eval()
        randomize(model)
        with torch.no_grad():
            if name == "qwen3_classes":
                rows = [model(tokens[None, :count]).logits[0] for count in range(1, TOKENS + 1)]
                expected = {"classes": torch.stack(rows)}
            else:
                expected = {"states": model(tokens[None]).last_hidden_state[0].contiguous()}
        model.save_pretrained(folder / name, safe_serialization=True)
        save_file({"tokens": tokens.to(torch.int32), **expected},
                  folder / name / "expected.safetensors", metadata=versions)
    pooling = folder / "qwen3_embedding" / "1_Pooling"
    pooling.mkdir(exist_ok=True)
    (pooling / "config.json").write_text(json.dumps(
        {"word_embedding_dimension": COMMON["hidden_size"], "pooling_mode_lasttoken": True,
         "pooling_mode_mean_tokens": False}, indent=2) + "\n")
    (folder / "qwen3_embedding" / "modules.json").write_text(json.dumps(
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
         {"idx": 1, "name": "1", "path": "1_Pooling",
          "type": "sentence_transformers.models.Pooling"},
         {"idx": 2, "name": "2", "path": "2_Normalize",
          "type": "sentence_transformers.models.Normalize"}], indent=2) + "\n")


def main() -> None:
    """All families, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--heads", action="store_true")
    arguments = parser.parse_args()
    if arguments.heads:
        export_heads(arguments.folder)
        return
    for name, config in families().items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        folder = arguments.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        export(name, config, folder)


if __name__ == "__main__":
    main()
