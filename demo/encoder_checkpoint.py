"""Writes the sentence encoder's ONNX weights as a checkpoint that sentence-transformers would read.

The same numbers, run by the language-model engine instead of the graph engine: a cross-check.

    python demo/encoder_checkpoint.py demo/models/package_encoder/1 FOLDER
"""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

PARTS = {"attention.query": "attention.self.query", "attention.key": "attention.self.key",
         "attention.value": "attention.self.value", "attention.output": "attention.output.dense",
         "attention_norm": "attention.output.LayerNorm", "widen": "intermediate.dense",
         "narrow": "output.dense", "norm": "output.LayerNorm"}
WHOLE = {"words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings",
         "types": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm"}


def hub_name(name: str) -> str:
    """The name that transformers' BertModel has for a weight of python/encoder_model.py."""
    part, kind = name.rsplit(".", 1)
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", part)
    if found is None:
        return f"{WHOLE[part]}.{kind}"
    return f"encoder.layer.{found.group(1)}.{PARTS[found.group(2)]}.{kind}"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Weights by their names in transformers; matrices stay f16, output by input."""
    graph = onnx.load(str(path)).graph
    values = {entry.name.removesuffix("_f16"): numpy_helper.to_array(entry)
              for entry in graph.initializer}
    # Matrices have lost their names; the product's node still has the layer's.
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values:
            layer = node.name.strip("/").removesuffix("/MatMul").replace("/", ".")
            values[f"{layer}.weight"] = values.pop(node.input[1]).T
    return {hub_name(name): np.ascontiguousarray(value) for name, value in values.items()}


def write_safetensors(weights: dict[str, np.ndarray], path: Path) -> None:
    """A safetensors file of f16 and f32."""
    header, at = {}, 0
    for name, value in weights.items():
        header[name] = {"dtype": {"float16": "F16", "float32": "F32"}[value.dtype.name],
                        "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(len(head).to_bytes(8, "little") + head
                     + b"".join(value.tobytes() for value in weights.values()))


def write_checkpoint(source: Path, folder: Path) -> None:
    """`source` is the ONNX model's version folder, `folder` becomes one of a checkpoint."""
    weights = read_weights(source / "model.onnx")
    words = weights["embeddings.word_embeddings.weight"].shape
    layers = sum(name.endswith("intermediate.dense.bias") for name in weights)
    positions = len(weights["embeddings.position_embeddings.weight"])
    config = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": words[0],
              "hidden_size": words[1], "num_attention_heads": words[1] // 64,
              "num_hidden_layers": layers,
              "intermediate_size": len(weights["encoder.layer.0.intermediate.dense.bias"]),
              "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2,
              "max_position_embeddings": positions, "pad_token_id": 0,
              "position_embedding_type": "absolute"}
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    files = {
        "config.json": config,
        "modules.json": [{"idx": at, "name": str(at), "path": path,
                          "type": f"sentence_transformers.models.{kind}"}
                         for at, (path, kind) in enumerate(modules)],
        "sentence_bert_config.json": {"max_seq_length": positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": words[1],
                                  "pooling_mode_mean_tokens": True}}
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    write_safetensors(weights, folder / "model.safetensors")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]))
