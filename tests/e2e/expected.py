"""What the reference gave for the checkpoints of tests/conformance, beside each of them."""

import json

import numpy as np

from conftest import ROOT

DECODERS = ROOT / "tests" / "conformance" / "decoders"
HEADS = ROOT / "tests" / "conformance" / "decoder_heads"
ENCODERS = ROOT / "tests" / "conformance" / "sentence_encoders"


def tensor(folder, name):
    """One of expected.safetensors."""
    data = (folder / "expected.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + length])[name]
    begin, end = entry["data_offsets"]
    dtype = {"I32": np.int32, "F32": np.float32}[entry["dtype"]]
    return np.frombuffer(data[8 + length + begin:8 + length + end], dtype).reshape(entry["shape"])


def of_encoder(model, name):
    return tensor(ENCODERS / model, name)


def texts_of(model):
    """The texts that an encoder was asked."""
    return json.loads((ENCODERS / model / "expected.json").read_text())
