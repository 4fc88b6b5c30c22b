#!/usr/bin/env python3
"""A llama2.c checkpoint (export.py, version 1) with its tokenizer.bin as a folder of Hugging Face's layout.

usage: python/export_llama2c.py CHECKPOINT TOKENIZER OUT
"""

import json
import pathlib
import struct
import sys

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, processors

MAGIC = 0x616B3432
HEADER_BYTES = 256


def read_checkpoint(path):
    """The configuration and {name: array} by transformers' names."""
    data = path.read_bytes()
    magic, version, dim, hidden, layers, heads, key_heads, vocabulary, context = struct.unpack_from("<Ii7i", data)
    assert (magic, version) == (MAGIC, 1), "expected a llama2.c checkpoint of version 1"
    shared = data[36]
    weights = np.frombuffer(data, np.float32, offset=HEADER_BYTES)
    at = 0

    def take(*shape):
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return weights[at - count:at].reshape(shape)

    size = dim // heads
    keys = key_heads * size
    tensors = {}

    def of_layers(name, *shape, turn=lambda x: x):
        for layer, array in enumerate(take(layers, *shape)):
            tensors[f"model.layers.{layer}.{name}.weight"] = turn(array)

    def halves(array):
        """Rows of a head from neighbouring pairs to two halves, as transformers' rotary embeddings want them."""
        return array.reshape(-1, size // 2, 2, dim).transpose(0, 2, 1, 3).reshape(array.shape)

    of_layers("input_layernorm", dim)
    of_layers("post_attention_layernorm", dim)
    tensors["model.norm.weight"] = take(dim)
    tensors["model.embed_tokens.weight"] = take(vocabulary, dim)
    of_layers("self_attn.q_proj", dim, dim, turn=halves)
    of_layers("self_attn.k_proj", keys, dim, turn=halves)
    of_layers("self_attn.v_proj", keys, dim)
    of_layers("self_attn.o_proj", dim, dim)
    of_layers("mlp.gate_proj", hidden, dim)
    of_layers("mlp.down_proj", dim, hidden)
    of_layers("mlp.up_proj", hidden, dim)
    if not shared:
        tensors["lm_head.weight"] = take(vocabulary, dim)
    assert at == len(weights), "the file is longer than its header says"
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": dim,
              "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": key_heads, "head_dim": size, "vocab_size": vocabulary,
              "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
              "tie_word_embeddings": bool(shared), "bos_token_id": 1, "eos_token_id": 2}
    return config, tensors


def read_tokenizer(path, count):
    """SentencePiece's pairs, as merges in the order of their scores."""
    data, at, pieces = path.read_bytes(), 4, []
    for _ in range(count):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append((data[at + 8:at + 8 + length].decode("utf-8", "replace"), score))
        at += 8 + length
    names = ["<unk>", "<s>", "</s>"] + [piece.replace(" ", "\u2581") for piece, _ in pieces[3:]]
    vocabulary = {name: i for i, name in enumerate(names)}
    merges = []
    for i, name in enumerate(names):
        if i < 259 or len(name) < 2:
            continue
        for cut in range(1, len(name)):
            if name[:cut] in vocabulary and name[cut:] in vocabulary:
                merges.append((-pieces[i][1], i, name[:cut], name[cut:]))
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, [pair[2:] for pair in sorted(merges)], unk_token="<unk>",
                                                byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([tokenizers.AddedToken(name, special=True) for name in names[:3]])
    return tokenizer


def write_safetensors(path, tensors):
    header, begin = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]}
        begin += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def main():
    checkpoint, vocabulary, out = map(pathlib.Path, sys.argv[1:])
    config, tensors = read_checkpoint(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_safetensors(out / "model.safetensors", tensors)
    read_tokenizer(vocabulary, config["vocab_size"]).save(str(out / "tokenizer.json"))


if __name__ == "__main__":
    main()
