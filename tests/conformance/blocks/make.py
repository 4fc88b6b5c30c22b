#!/usr/bin/env python3
"""Writes golden.bin: random blocks of every GGUF format and what PyPI's `gguf` reads them as.

usage: make.py    (with the package `gguf`; the file is committed, kernels/ref/blocks_test.cc reads it)

For each format: uint32 length of its name, the name, uint32 elements, uint32 bytes, the blocks, float32 elements.
"""

import pathlib
import struct

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

FORMATS = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
# Where a block's f16 numbers begin.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}
ELEMENTS = 512


def blocks_of(name, random):
    kind = GGMLQuantizationType[name]
    if name == "F16":
        return random.standard_normal(ELEMENTS).astype(numpy.float16).view(numpy.uint8)
    if name == "BF16":
        bits = random.standard_normal(ELEMENTS).astype(numpy.float32).view(numpy.uint32) >> 16
        return bits.astype(numpy.uint16).view(numpy.uint8)
    elements, size = GGML_QUANT_SIZES[kind]
    raw = random.integers(0, 256, (ELEMENTS // elements, size), dtype=numpy.uint8)
    for at in HALVES[name]:
        halves = (random.standard_normal(len(raw)) * 0.02).astype(numpy.float16)
        raw[:, at:at + 2] = halves.view(numpy.uint8).reshape(-1, 2)
    return raw.reshape(-1)


def main():
    random = numpy.random.default_rng(7)
    out = b""
    for name in FORMATS:
        raw = blocks_of(name, random)
        values = quants.dequantize(raw, GGMLQuantizationType[name]).astype(numpy.float32).reshape(-1)
        assert len(values) == ELEMENTS
        out += struct.pack("<I", len(name)) + name.encode() + struct.pack("<II", ELEMENTS, len(raw))
        out += raw.tobytes() + values.tobytes()
    (pathlib.Path(__file__).parent / "golden.bin").write_bytes(out)


if __name__ == "__main__":
    main()
