"""The convolutional networks of onnx/backend/test/data/light, their constant weights replaced by random ones."""

import pathlib

import numpy as np
import onnx
from case import write_with_runtime
from onnx import helper, numpy_helper

MODES = ("compiled",)  # plain loops take minutes
WHOLE_MAX = 1 << 21  # weights of more elements are the product of a column and a row


def with_weights(path):
    model = onnx.load(path)
    graph = model.graph
    rng = np.random.default_rng(5)
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    uses = {}
    for node in graph.node:
        for at, name in enumerate(node.input):
            uses.setdefault(name, (node.op_type, at))
    nodes, weights = [], []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            nodes.append(node)
            continue
        shape = [int(d) for d in shapes[node.input[0]]]
        name = node.output[0]
        kind, at = uses.get(name, ("", 0))
        small = kind == "BatchNormalization" and at in (1, 4) or kind in ("Mul", "Unsqueeze")
        if small:  # factors and variances
            value = 1 + 0.1 * rng.random(shape)
        else:
            fan = int(np.prod(shape[1:])) if len(shape) > 1 else 100
            if np.prod(shape) > WHOLE_MAX:
                parts = []
                for part, dims in (("column", [shape[0]] + [1] * (len(shape) - 1)), ("row", [1] + shape[1:])):
                    parts.append(f"{name}_{part}")
                    values = rng.standard_normal(dims) * (fan ** -0.25)
                    weights.append(numpy_helper.from_array(values.astype(np.float32), parts[-1]))
                nodes.append(helper.make_node("Mul", parts, [name], name=f"{name}_product"))
                continue
            value = rng.standard_normal(shape) * (2 / fan) ** 0.5
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    return model


def make(folder, report):
    light = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    paths = sorted(light.glob("*.onnx"))
    rng = np.random.default_rng(6)
    for path in paths:
        model = with_weights(path)
        constants = {i.name for i in model.graph.initializer}
        (data,) = [i for i in model.graph.input if i.name not in constants]
        shape = [d.dim_value for d in data.type.tensor_type.shape.dim]
        write_with_runtime(folder, path.stem, model, [{data.name: rng.random(shape, np.float32)}])
    report(f"{len(paths)} networks")
