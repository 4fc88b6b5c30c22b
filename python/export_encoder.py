"""Exports a trained encoder to ONNX: opset 17, dynamic batch and sequence, weights as f16.

Matrices are stored as f16 with a Cast to f32 before their use, so the arithmetic is f32.

    python export_encoder.py --work DIR --out ../demo/models/package_encoder/1
"""

import argparse
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from encoder_model import Encoder, EncoderShape
from encoder_tokenizer import load_tokenizer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def load_encoder(path: Path) -> Encoder:
    """The encoder of a checkpoint; its shape is read from the weights."""
    weights = torch.load(path, map_location="cpu")["model"]
    vocabulary, hidden = weights["words.weight"].shape
    layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    shape = EncoderShape(vocabulary, hidden, layers, hidden // 64,
                         weights["blocks.0.widen.weight"].shape[0],
                         weights["positions.weight"].shape[0])
    encoder = Encoder(shape)
    encoder.load_state_dict(weights)
    return encoder.eval()


def export(encoder: Encoder, path: Path) -> None:
    """Traces the encoder and writes f32 ONNX."""
    ids = torch.randint(5, encoder.shape.vocabulary, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS} | {"embedding": {0: "batch"}}
    warnings.simplefilter("ignore")
    torch.onnx.export(encoder, (ids, mask, torch.zeros_like(ids)), str(path), opset_version=17,
                      input_names=list(INPUTS), output_names=["embedding"], dynamic_axes=axes,
                      dynamo=False)


def halve_weights(model: onnx.ModelProto) -> None:
    """Stores each matrix of weights as f16 and puts a Cast to f32 in front of its uses."""
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2:
            continue
        name = weight.name
        half = numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_f16"))
        casts.append(helper.make_node("Cast", [f"{name}_f16"], [name], name=f"{name}_to_f32",
                                      to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)


def check(encoder: Encoder, path: Path) -> float:
    """The greatest difference between ONNX Runtime on the file and PyTorch in f32."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, length in ((1, 3), (4, 40), (2, encoder.shape.positions)):
        ids = torch.randint(5, encoder.shape.vocabulary, (batch, length))
        mask = (torch.arange(length)[None] < torch.randint(2, length + 1, (batch, 1))).long()
        values = (ids, mask, torch.zeros_like(ids))
        served = session.run(None, {k: v.numpy() for k, v in zip(INPUTS, values)})[0]
        with torch.no_grad():
            worst = max(worst, float(np.abs(served - encoder(*values).numpy()).max()))
    return worst


def main() -> None:
    """Exports, halves, checks and puts the tokenizer beside the model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of train_encoder.py")
    parser.add_argument("--checkpoint", default="encoder.pt")
    parser.add_argument("--out", type=Path, required=True, help="the model's version folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    encoder = load_encoder(options.work / options.checkpoint)
    path = options.out / "model.onnx"
    export(encoder, path)
    model = onnx.load(str(path))
    halve_weights(model)
    # A test that feeds random integers draws them below these.
    helper.set_model_props(model, {"high.input_ids": str(encoder.shape.vocabulary),
                                   "high.attention_mask": "2", "high.token_type_ids": "2"})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    shutil.copyfile(options.work / "tokenizer.json", options.out / "tokenizer.json")
    tokenizer = load_tokenizer(options.out / "tokenizer.json")
    assert tokenizer.get_vocab_size() == encoder.shape.vocabulary
    print(f"{path}: {path.stat().st_size} bytes, differs from PyTorch by at most "
          f"{check(encoder, path):.1e}")


if __name__ == "__main__":
    main()
