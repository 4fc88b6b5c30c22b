"""Seeded weights for a model whose larger tensors were left out (tests/conformance/wide_encoders)."""

import numpy as np
import onnx
from onnx import numpy_helper


def filled(path, seed):
    """The model with matrices of rows of about unit length and vectors around a half, as ModelProto."""
    model = onnx.load(path)
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        count = int(np.prod(tensor.dims))
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.raw_data or len(tensor.float_data) == count:
            continue
        values = rng.standard_normal(tuple(tensor.dims))
        if len(tensor.dims) > 1:
            values *= tensor.dims[-2] ** -0.5
        else:
            values = 0.5 + 0.1 * values
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return model
