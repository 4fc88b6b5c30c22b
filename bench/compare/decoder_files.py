"""Random weights of a real decoder's shape, the same numbers in each form: a Hugging Face folder in f16 and GGUF files.

Needs numpy and gguf. Weights are drawn by name and seed, so every form can be written apart from the others.
"""

import json
import zlib

import numpy as np

QWEN = {"layers": 24, "hidden": 896, "heads": 14, "key_heads": 2, "inner": 4864, "vocabulary": 151936, "head_dim": 64,
        "context": 32768, "theta": 1e6, "epsilon": 1e-6, "family": "qwen2", "class": "Qwen2ForCausalLM", "biases": True}
# Llama 3.2 1B, its angles not scaled: within 8,192 tokens that costs the same.
LLAMA = {"layers": 16, "hidden": 2048, "heads": 32, "key_heads": 8, "inner": 8192, "vocabulary": 128256, "head_dim": 64,
         "context": 8192, "theta": 5e5, "epsilon": 1e-5, "family": "llama", "class": "LlamaForCausalLM", "biases": False}
# Of a smaller model that tries the scripts out.
TINY = {**QWEN, "layers": 2, "vocabulary": 4096}
SHAPES = {"qwen0.5b": QWEN, "llama1b": LLAMA, "tiny": TINY}


def tensors(shape):
    """(name in Hugging Face's folders, name in GGUF, shape, what to draw) of every tensor."""
    hidden, inner, head = shape["hidden"], shape["inner"], shape["head_dim"]
    queries, keys = shape["heads"] * head, shape["key_heads"] * head
    yield "model.embed_tokens.weight", "token_embd.weight", (shape["vocabulary"], hidden), "matrix"
    yield "model.norm.weight", "output_norm.weight", (hidden,), "one"
    for layer in range(shape["layers"]):
        ours, theirs = f"model.layers.{layer}.", f"blk.{layer}."
        yield ours + "input_layernorm.weight", theirs + "attn_norm.weight", (hidden,), "one"
        yield ours + "post_attention_layernorm.weight", theirs + "ffn_norm.weight", (hidden,), "one"
        for name, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield ours + f"self_attn.{name}_proj.weight", theirs + f"attn_{name}.weight", (rows, hidden), "matrix"
            if shape["biases"]:
                yield ours + f"self_attn.{name}_proj.bias", theirs + f"attn_{name}.bias", (rows,), "zero"
        yield ours + "self_attn.o_proj.weight", theirs + "attn_output.weight", (hidden, queries), "matrix"
        yield ours + "mlp.gate_proj.weight", theirs + "ffn_gate.weight", (inner, hidden), "matrix"
        yield ours + "mlp.up_proj.weight", theirs + "ffn_up.weight", (inner, hidden), "matrix"
        yield ours + "mlp.down_proj.weight", theirs + "ffn_down.weight", (hidden, inner), "matrix"


def draw(name, shape, kind):
    """f16 for matrices, else f32."""
    if kind != "matrix":
        return np.full(shape, 1.0 if kind == "one" else 0.0, np.float32)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return (generator.standard_normal(shape, dtype=np.float32) * np.float32(0.02)).astype(np.float16)


def matrix_weights(shape):
    """Weights of the layers' matrices, and of the head, which a prompt needs for its last token alone."""
    sizes = [np.prod(size) for name, _, size, kind in tensors(shape) if kind == "matrix" and "embed" not in name]
    return int(sum(sizes)), shape["vocabulary"] * shape["hidden"]


def write_folder(shape, folder):
    """config.json and model.safetensors; nothing when they are there."""
    if (folder / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    header, at = {}, 0
    for name, _, size, kind in tensors(shape):
        bytes_ = int(np.prod(size)) * (2 if kind == "matrix" else 4)
        header[name] = {"dtype": "F16" if kind == "matrix" else "F32", "shape": list(size), "data_offsets": [at, at + bytes_]}
        at += bytes_
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 64)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name, _, size, kind in tensors(shape):
            file.write(draw(name, size, kind).tobytes())
    write_tokenizer(shape, folder)
    (folder / "config.json").write_text(json.dumps({
        "architectures": [shape["class"]], "model_type": shape["family"], "vocab_size": shape["vocabulary"],
        "hidden_size": shape["hidden"], "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["key_heads"], "intermediate_size": shape["inner"], "hidden_act": "silu",
        "max_position_embeddings": shape["context"], "rope_theta": shape["theta"], "rms_norm_eps": shape["epsilon"],
        "tie_word_embeddings": True, "use_sliding_window": False, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "float16"}))


def write_tokenizer(shape, folder):
    """Token i is the word "wi": clients send ids, and answers need some text."""
    words = {f"w{at}": at for at in range(shape["vocabulary"])}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "w0", "bos_token": "w1", "eos_token": "w2",
        "pad_token": "w0"}))


def write_gguf(shape, path, kind):
    """A GGUF file whose matrices are of `kind` (Q8_0, Q4_0), embeddings and head too; nothing when it is there."""
    if path.exists():
        return
    import gguf
    path.parent.mkdir(parents=True, exist_ok=True)
    form = gguf.GGMLQuantizationType[kind]
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, shape["family"])
    writer.add_name("random weights")
    writer.add_block_count(shape["layers"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["hidden"])
    writer.add_feed_forward_length(shape["inner"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["key_heads"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])
    writer.add_rope_freq_base(shape["theta"])
    writer.add_file_type(int(gguf.LlamaFileType[f"MOSTLY_{kind}"]))
    count = shape["vocabulary"]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<0x{i:02X}>" if i < 256 else f"<t{i}>" for i in range(count)])
    writer.add_token_scores([0.0] * count)
    writer.add_token_types([6 if i < 256 else 1 for i in range(count)])
    writer.add_bos_token_id(300)
    writer.add_eos_token_id(301)
    writer.add_unk_token_id(302)
    for ours, name, size, what in tensors(shape):
        values = draw(ours, size, what)
        if what == "matrix":
            writer.add_tensor(name, gguf.quants.quantize(values.astype(np.float32), form), raw_dtype=form)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)
