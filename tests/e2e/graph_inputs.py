"""Seeded inputs for a graph of tests/conformance/graphs, from what its ONNX file declares (see the README there)."""

import numpy as np
import onnx

DTYPES = {
    onnx.TensorProto.FLOAT: (np.float32, "FP32"), onnx.TensorProto.DOUBLE: (np.float64, "FP64"),
    onnx.TensorProto.INT64: (np.int64, "INT64"), onnx.TensorProto.INT32: (np.int32, "INT32"),
    onnx.TensorProto.BOOL: (np.bool_, "BOOL"), onnx.TensorProto.UINT8: (np.uint8, "UINT8"),
    onnx.TensorProto.INT8: (np.int8, "INT8"), onnx.TensorProto.FLOAT16: (np.float16, "FP16"),
}


def declared(path):
    """[(name, numpy dtype, protocol dtype, dims, high)] of a model's inputs; a symbolic dim is its name, and integer
    values are drawn from [0, high)."""
    model = onnx.load(path, load_external_data=False)
    constants = {i.name for i in model.graph.initializer}
    notes = {p.key: p.value for p in model.metadata_props}
    rows = []
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
        rows.append((value.name, *DTYPES[tensor.elem_type], dims, int(notes.get(f"high.{value.name}", 2))))
    return rows


def inputs(path, sizes, seed):
    """Random tensors; each symbolic dim takes sizes[name] or, when absent there, sizes["*"]."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, dtype, _, dims, high in declared(path):
        shape = [sizes.get(d, sizes["*"]) if isinstance(d, str) else d for d in dims]
        if np.issubdtype(dtype, np.floating):
            made[name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in name:  # a prefix of ones, never empty
            keep = rng.integers(1, shape[-1] + 1, shape[:-1])
            made[name] = (np.arange(shape[-1]) < keep[..., None]).astype(dtype)
        else:
            made[name] = rng.integers(0, high, shape).astype(dtype)
    return made
