"""Language models of real shapes with seeded random weights, as folders in the layout of Hugging Face's hub."""

import json
import pathlib

import numpy as np

QWEN = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
    "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936,
    "max_position_embeddings": 32_768, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "hidden_act": "silu",
    "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_sliding_window": False, "eos_token_id": 151_645,
}


def tensors(config):
    """Names and shapes of a Qwen 2 checkpoint."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    head = hidden // config["num_attention_heads"]
    keys = head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
        for name, size in (("q", hidden), ("k", keys), ("v", keys)):
            yield at + f"self_attn.{name}_proj.weight", (size, hidden)
            yield at + f"self_attn.{name}_proj.bias", (size,)
        yield at + "self_attn.o_proj.weight", (hidden, hidden)
        yield at + "mlp.gate_proj.weight", (wide, hidden)
        yield at + "mlp.up_proj.weight", (wide, hidden)
        yield at + "mlp.down_proj.weight", (hidden, wide)
    yield "model.norm.weight", (hidden,)


def bfloat16(values):
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def write(folder, config=None):
    """Writes config.json, model.safetensors and a tokenizer of whole words into `folder` unless they are there."""
    config = config or QWEN
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "config.json").exists():
        return folder
    rng = np.random.default_rng(1)
    pool = bfloat16(rng.standard_normal(1 << 22) * 0.02)
    head, at = {}, 0
    for name, shape in tensors(config):
        size = 2 * int(np.prod(shape))
        head[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors(config):
            count = int(np.prod(shape))
            if name.endswith("norm.weight"):
                file.write(bfloat16(np.ones(count)).tobytes())
                continue
            # Another stretch of the pool each time: what is measured does not depend on the values.
            start = int(rng.integers(0, len(pool)))
            file.write(np.resize(np.roll(pool, -start), count).tobytes())
    words = {f"w{i}": i for i in range(config["vocab_size"])}
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"},
                 "post_processor": None, "decoder": None, "truncation": None, "padding": None,
                 "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return folder
