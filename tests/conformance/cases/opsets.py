"""Operators at every version from opset 7 on, each in the form that its version has, against ONNX Runtime."""

import numpy as np
import onnx
from case import session, write
from onnx import TensorProto, defs, helper, numpy_helper

OLDEST, NEWEST = 7, 25
RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


X = normal(2, 3, 4, 5)
INTS = np.array([0, 2, 1], np.int64)
IMAGE = normal(1, 2, 6, 6)


def axes(v, since, values, keep=1):
    """Inputs and attributes of a reduction or the like, whose axes became an input at `since`."""
    if v >= since:
        return [np.array(values, np.int64)], {"keepdims": keep}
    return [], {"axes": values, "keepdims": keep}


def reduction(since):
    def form(v):
        inputs, attributes = axes(v, since, [1, 3])
        return [np.abs(X) + 0.1] + inputs, attributes
    return form


def squeezed(v):
    x = normal(1, 3, 1, 2)
    return ([x, np.array([0, 2], np.int64)], {}) if v >= 13 else ([x], {"axes": [0, 2]})


def unsqueezed(v):
    return ([X[0], np.array([0, 4], np.int64)], {}) if v >= 13 else ([X[0]], {"axes": [0, 4]})


def sliced(v):
    if v >= 10:
        return [X, *(np.array(a, np.int64) for a in ([0, 1], [2, 9], [0, 3], [1, 2]))], {}
    return [X], {"starts": [0, 1], "ends": [2, -1], "axes": [0, 3]}


def split(v):
    if v >= 13:
        return [X, np.array([1, 3], np.int64)], {"axis": 2}, 2
    return [X], {"axis": 2, "split": [1, 3]}, 2


def padded(v):
    pads = [0, 1, 0, 0, 1, 0, 0, 2]
    if v >= 11:
        return [X, np.array(pads, np.int64), np.array(0.5, np.float32)], {"mode": "constant"}
    return [X], {"mode": "constant", "pads": pads, "value": 0.5}


def clipped(v):
    low, high = np.array(-0.5, np.float32), np.array(0.7, np.float32)
    return ([X, low, high], {}) if v >= 11 else ([X], {"min": -0.5, "max": 0.7})


def top(v):
    if v >= 10:
        return [X, np.array([2], np.int64)], {"axis": 3}, 2
    return [X], {"axis": 3, "k": 2}, 2


def dropped(v):
    return ([X], {}) if v >= 12 else ([X], {"ratio": 0.3})


def upsampled(v):
    scales = [1.0, 1.0, 2.0, 3.0]
    if v >= 9:
        return [IMAGE, np.array(scales, np.float32)], {"mode": "nearest"}
    return [IMAGE], {"mode": "nearest", "scales": scales}


def resized(v):
    scales = np.array([1, 1, 2, 2], np.float32)
    if v >= 11:
        return [IMAGE, np.zeros(0, np.float32), scales], {"mode": "linear"}
    return [IMAGE, scales], {"mode": "linear"}


def batch_norm(v):
    return [X, normal(3), normal(3), normal(3), np.abs(normal(3))], {"epsilon": 1e-3}


def recurrent(gates, outputs):
    def form(v):
        return [normal(4, 2, 3), normal(1, gates * 5, 3), normal(1, gates * 5, 5)], {"hidden_size": 5}, outputs
    return form


def fixed(inputs, outputs=1, **attributes):
    return lambda v: (inputs, attributes, outputs)


def last_axis(v):
    return [X], {"axis": 2}


QUANTISED = RNG.integers(0, 255, (3, 4)).astype(np.uint8)
SCALE, ZERO = np.array(0.1, np.float32), np.array(7, np.uint8)
FORMS = {
    **{f"Reduce{n}": reduction(13 if n == "Sum" else 18) for n in (
        "Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")},
    **{op: fixed([X]) for op in (
        "Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Floor", "Ceil", "LeakyRelu", "Elu", "Selu", "Softplus",
        "Softsign", "HardSigmoid", "Identity", "Flatten", "Shape", "Size", "GlobalAveragePool", "GlobalMaxPool",
        "ThresholdedRelu", "Sin", "Erf", "Sign", "IsNaN", "Round", "Celu", "HardSwish", "Mish", "Gelu", "Swish",
        "MeanVarianceNormalization", "LpNormalization", "Transpose", "Sinh", "Asinh")},
    **{op: fixed([X, normal(4, 5)]) for op in ("Add", "Sub", "Mul", "Div", "PRelu", "Greater", "Less", "Max", "Min",
                                               "Sum", "Mean", "GreaterOrEqual", "LessOrEqual")},
    **{op: last_axis for op in ("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin")},
    "Pow": fixed([np.abs(X), np.array(2, np.float32)]),
    "Equal": fixed([INTS, np.array([0, 1, 1], np.int64)]),
    "And": fixed([X > 0, X > 1]), "Not": fixed([X > 0]), "Where": fixed([X > 0, X, -X]),
    "Cast": fixed([X], to=TensorProto.INT32),
    "Concat": fixed([X, X], axis=1), "Gather": fixed([X, INTS % 3], axis=2),
    "GatherElements": fixed([X[0, 0], np.zeros((4, 2), np.int64)], axis=1),
    "GatherND": fixed([X, np.array([[0, 1], [1, 2]], np.int64)]),
    "ScatterElements": fixed([X[0, 0], np.array([[1, 0, 2, 3, 1]], np.int64), normal(1, 5)], axis=0),
    "ScatterND": fixed([X, np.array([[0, 1]], np.int64), normal(1, 4, 5)]),
    "Reshape": fixed([X, np.array([2, -1], np.int64)]), "Expand": fixed([normal(3, 1), np.array([2, 3, 4], np.int64)]),
    "Tile": fixed([normal(2, 3), np.array([2, 1], np.int64)]), "OneHot": fixed(
        [INTS, np.array(4, np.int64), np.array([0, 1], np.float32)]),
    "ConstantOfShape": fixed([np.array([2, 3], np.int64)]), "NonZero": fixed([(X[0, 0] > 0).astype(np.float32)]),
    "CumSum": fixed([X, np.array(1, np.int64)]), "Range": fixed([np.array(v, np.int64) for v in (1, 9, 2)]),
    "Trilu": fixed([X]), "Compress": fixed([X[0, 0], np.array([True, False, True, True])], axis=0),
    "DepthToSpace": fixed([normal(1, 8, 2, 3)], blocksize=2), "SpaceToDepth": fixed([IMAGE], blocksize=2),
    "Squeeze": squeezed, "Unsqueeze": unsqueezed, "Slice": sliced, "Split": split, "Pad": padded, "Clip": clipped,
    "TopK": top, "Dropout": dropped, "Upsample": upsampled, "Resize": resized, "BatchNormalization": batch_norm,
    "InstanceNormalization": fixed([X, normal(3), normal(3)]),
    "LayerNormalization": fixed([X, normal(5), normal(5)]), "RMSNormalization": fixed([X, normal(5)]),
    "GroupNormalization": lambda v: ([normal(2, 4, 3), *(normal(4 if v >= 21 else 2) for _ in range(2))],
                                     {"num_groups": 2}),
    "LRN": fixed([X], size=3), "MatMul": fixed([normal(2, 3, 4), normal(4, 5)]),
    "Gemm": fixed([normal(3, 4), normal(5, 4), normal(5)], transB=1, alpha=0.5),
    "Einsum": fixed([normal(2, 3, 4), normal(4, 5)], equation="bij,jk->bik"),
    "Conv": fixed([IMAGE, normal(4, 2, 3, 3), normal(4)], pads=[1, 1, 1, 1]),
    "ConvTranspose": fixed([IMAGE, normal(2, 3, 3, 3)], strides=[2, 2]),
    "MaxPool": fixed([IMAGE], kernel_shape=[2, 2], strides=[2, 2]),
    "AveragePool": fixed([IMAGE], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "LpPool": fixed([IMAGE], kernel_shape=[2, 2], p=2),
    "RNN": recurrent(1, 2), "GRU": recurrent(3, 2), "LSTM": recurrent(4, 3),
    "QuantizeLinear": fixed([X[0, 0], SCALE, ZERO]), "DequantizeLinear": fixed([QUANTISED, SCALE, ZERO]),
    "DynamicQuantizeLinear": fixed([X[0, 0]], 3),
    "MatMulInteger": fixed([QUANTISED, RNG.integers(0, 255, (4, 2)).astype(np.uint8), ZERO, ZERO]),
    "QLinearMatMul": fixed([QUANTISED, SCALE, ZERO, QUANTISED.T.copy(), SCALE, ZERO, np.array(9, np.float32), ZERO]),
    "QLinearConv": fixed([RNG.integers(0, 255, (1, 2, 5, 5)).astype(np.uint8), SCALE, ZERO,
                          RNG.integers(-99, 99, (3, 2, 3, 3)).astype(np.int8), SCALE, np.array(0, np.int8),
                          np.array(30, np.float32), ZERO]),
    "Attention": fixed([normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4), normal(3, 5)]),
    "RotaryEmbedding": fixed([normal(2, 2, 3, 4), normal(8, 2), normal(8, 2), RNG.integers(0, 8, (2, 3))]),
    "TensorScatter": fixed([normal(2, 3, 6, 4), normal(2, 3, 2, 4), np.array([1, 3], np.int64)]),
}


def model_of(op, version, inputs, attributes, outputs):
    """Inputs of more than one element and of floats are the graph's; the others are constants."""
    names = [f"x{i}" for i in range(len(inputs))]
    constant = [i > 0 and (not np.issubdtype(x.dtype, np.floating) or x.size <= 4) for i, x in enumerate(inputs)]
    kind = helper.np_dtype_to_tensor_dtype
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name=op, **attributes)
    graph = helper.make_graph(
        [node], op,
        [helper.make_tensor_value_info(n, kind(x.dtype), x.shape) for n, x, c in zip(names, inputs, constant) if not c],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
        [numpy_helper.from_array(x, n) for n, x, c in zip(names, inputs, constant) if c])
    model = helper.make_model(graph, ir_version=min(10, 3 if version < 9 else 10),
                              opset_imports=[helper.make_opsetid("", version)])
    if model.ir_version < 4:  # constants were inputs as well
        graph = model.graph
        for name, x, c in zip(names, inputs, constant):
            if c:
                graph.input.append(helper.make_tensor_value_info(name, kind(x.dtype), x.shape))
    return model, [x for x, c in zip(inputs, constant) if not c], [n for n, c in zip(names, constant) if not c]


def versions(op):
    """The opset that brought each form from OLDEST on, and NEWEST."""
    history = [s.since_version for s in defs.get_all_schemas_with_history() if s.name == op and s.domain == ""]
    first = max(OLDEST, min(history))
    found = {first} | {v for v in history if OLDEST < v <= NEWEST}
    removed = {s.since_version for s in defs.get_all_schemas_with_history()
               if s.name == op and s.domain == "" and s.deprecated}
    if not removed:
        found.add(NEWEST)
    return sorted(v for v in found if not removed or v < min(removed))


def make(folder, report):
    count, absent = 0, []
    for op, form in sorted(FORMS.items()):
        for version in versions(op):
            inputs, attributes, *rest = form(version)
            model, fed, names = model_of(op, version, inputs, attributes, rest[0] if rest else 1)
            try:
                runtime = session(model.SerializeToString())
                answers = runtime.run(None, dict(zip(names, fed)))
            except Exception:  # a version that ONNX Runtime lacks
                absent.append(f"{op}-{version}")
                continue
            write(folder, f"{op}_{version}", model, [fed], [answers])
            count += 1
    report(f"{count} forms of {len(FORMS)} operators; ONNX Runtime lacks {' '.join(absent)}")
