"""Writes GGUF files of the tiny decoders of export_decoders.py, and one in every block format.

Each family's checkpoint becomes a file with the names, keys and orders that llama.cpp's converters give it, and
transformers' own reader of GGUF must find the logits of the checkpoint in it again. The file of blocks holds random
blocks of all formats; its expected logits are transformers' of what PyPI's `gguf` reads the blocks as.

    python export_gguf.py ../tests/conformance/decoders ../tests/conformance/gguf
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import load_file, save_file

SEED = 20261121
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3",
                 "qwen3_moe": "qwen3moe", "gemma2": "gemma2", "gemma3_text": "gemma3", "phi3": "phi3"}
# Those that are written, by their folders. transformers reads no window of a GGUF Mistral.
FAMILIES = ["llama", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi3"]
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm"}
MODEL_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
BLOCK_SIZES = dict(vocab_size=96, hidden_size=256, num_hidden_layers=2, num_attention_heads=4,
                   num_key_value_heads=2, intermediate_size=256, max_position_embeddings=128,
                   bos_token_id=1, eos_token_id=2, pad_token_id=0)
BLOCK_FORMATS = {
    "token_embd": "Q6_K", "output": "Q8_0",
    "blk.0.attn_q": "Q4_K", "blk.0.attn_k": "Q5_K", "blk.0.attn_v": "Q6_K", "blk.0.attn_output": "Q4_0",
    "blk.0.ffn_gate": "Q8_0", "blk.0.ffn_up": "F16", "blk.0.ffn_down": "Q5_0",
    "blk.1.attn_q": "BF16", "blk.1.attn_k": "Q4_1", "blk.1.attn_v": "Q5_1", "blk.1.attn_output": "Q5_K",
    "blk.1.ffn_gate": "Q4_K", "blk.1.ffn_up": "Q4_K", "blk.1.ffn_down": "Q6_K"}


def turned(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Rows of Q or K with the pairs of rotary embeddings side by side."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return numpy.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def convert(config: dict, tensors: dict) -> dict:
    """Tensors by GGUF's names, as f32."""
    architecture = ARCHITECTURES[config["model_type"]]
    gemma = architecture.startswith("gemma")
    out, experts = {}, {}
    for name, value in tensors.items():
        module, kind = name.rsplit(".", 1)
        if gemma and module.endswith("norm"):
            value = value + 1
        if module in MODEL_NAMES:
            out[f"{MODEL_NAMES[module]}.{kind}"] = value
            continue
        layer, part = module.removeprefix("model.layers.").split(".", 1)
        if part.startswith("mlp.experts."):
            _, _, expert, matrix = part.split(".")
            place = f"blk.{layer}.ffn_{matrix.removesuffix('_proj')}_exps.{kind}"
            experts.setdefault(place, {})[int(expert)] = value
            continue
        if architecture == "llama" and part == "self_attn.q_proj":
            value = turned(value, config["num_attention_heads"])
        if architecture == "llama" and part == "self_attn.k_proj":
            value = turned(value, config["num_key_value_heads"])
        short = LAYER_NAMES.get(part)
        if part == "post_attention_layernorm":
            short = "post_attention_norm" if gemma else "ffn_norm"
        out[f"blk.{layer}.{short}.{kind}"] = value
    for place, parts in experts.items():
        out[place] = numpy.stack([parts[i] for i in range(len(parts))])
    return {name: numpy.ascontiguousarray(value, dtype=numpy.float32) for name, value in out.items()}


def add_metadata(writer: GGUFWriter, config: dict) -> None:
    """Keys as the converters write them, and a vocabulary of bytes and three control tokens."""
    architecture = ARCHITECTURES[config["model_type"]]
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    rope = config.get("rope_parameters") or {}
    writer.add_rope_freq_base(rope.get("full_attention", rope).get("rope_theta", 10000.0))
    if architecture in ("llama", "phi3"):
        writer.add_rope_dimension_count(head_dim)
    if config.get("sliding_window") and architecture in ("gemma2", "gemma3", "phi3"):
        writer.add_sliding_window(config["sliding_window"])
    if architecture == "gemma3":
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])
    if config.get("num_experts") or config.get("num_local_experts"):
        writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if architecture.startswith("gemma"):
        writer.add_float32(f"{architecture}.attention.scale", config["query_pre_attn_scalar"] ** -0.5)
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(32, 32 + config["vocab_size"] - 3)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3] + [6] * (len(tokens) - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}")


def logits_of(folder: Path, file: str, config, tokens: numpy.ndarray) -> numpy.ndarray:
    """What transformers computes with its own reader of the file."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, config=config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long)[None]).logits[0].float().numpy()


def write(path: Path, source: Path, tensors_max: int = 0) -> dict:
    """A checkpoint as a file, or as parts of so many tensors. Returns its configuration."""
    config = json.loads((source / "config.json").read_text())
    writer = GGUFWriter(path, ARCHITECTURES[config["model_type"]], split_max_tensors=tensors_max)
    add_metadata(writer, config)
    for tensor, value in convert(config, load_file(source / "model.safetensors")).items():
        writer.add_tensor(tensor, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return config


def export(name: str, source: Path, target: Path) -> None:
    """One family's file."""
    expected = load_file(source / "expected.safetensors")
    path = target / f"{name}.gguf"
    write(path, source)
    reference = transformers.AutoConfig.from_pretrained(source)
    worst = numpy.abs(logits_of(target, path.name, reference, expected["tokens"]) - expected["logits"]).max()
    print(f"{name}: {path.stat().st_size} bytes, transformers' reader is off by {worst:.2g}")
    assert worst < 1e-4, name


def random_blocks(name: str, shape: tuple, random) -> numpy.ndarray:
    """Rows of bytes: random codes with scales that give weights of about 1.5 / sqrt(columns)."""
    spread = 1.5 / shape[1] ** 0.5
    kind = GGMLQuantizationType[name]
    if name in ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        values = (random.standard_normal(shape) * spread).astype(numpy.float32)
        return gguf.quants.quantize(values, kind)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    raw = random.integers(0, 256, (shape[0] * shape[1] // elements, size), dtype=numpy.uint8)

    def put(at: int, value: float) -> None:
        halves = (value * random.uniform(0.8, 1.2, len(raw))).astype(numpy.float16)
        raw[:, at:at + 2] = halves.view(numpy.uint8).reshape(-1, 2)

    if name == "Q6_K":
        put(208, spread / 1350)
    else:
        code = 7.5 if name == "Q4_K" else 15.5
        put(0, spread / 18 / code)
        put(2, spread / 18)
    return raw.reshape(shape[0], -1)


def export_blocks(target: Path) -> None:
    """A llama in all formats."""
    config = transformers.LlamaConfig(**BLOCK_SIZES)
    random = numpy.random.default_rng(SEED)
    path = target / "blocks.gguf"
    writer = GGUFWriter(path, "llama")
    add_metadata(writer, config.to_dict())
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    numbers = {name: value.numpy() for name, value in model.state_dict().items()}
    for tensor, value in convert(config.to_dict(), numbers).items():
        kind = BLOCK_FORMATS.get(tensor.removesuffix(".weight"))
        if kind is None:
            value = (1 + 0.2 * random.standard_normal(value.shape)).astype(numpy.float32)
            writer.add_tensor(tensor, value)
            continue
        raw = random_blocks(kind, value.shape, random)
        writer.add_tensor(tensor, raw, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tokens = random.integers(3, BLOCK_SIZES["vocab_size"], 72).astype(numpy.int32)
    logits = logits_of(target, path.name, config, tokens)
    save_file({"tokens": tokens, "logits": numpy.ascontiguousarray(logits)}, target / "blocks.safetensors")
    print(f"blocks: {path.stat().st_size} bytes, logits of spread {logits.std():.2f}")


def main() -> None:
    """All files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("decoders", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in FAMILIES:
        export(name, arguments.decoders / name, arguments.folder)
    export_blocks(arguments.folder)
    parts = arguments.folder / "split"
    parts.mkdir(exist_ok=True)
    write(parts / "llama.gguf", arguments.decoders / "llama", tensors_max=8)


if __name__ == "__main__":
    main()
