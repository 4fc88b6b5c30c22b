"""Test cases in the layout of ONNX's node tests, with the answers of ONNX Runtime (or of whoever is given)."""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[3]
GRAPHS = ROOT / "tests" / "conformance" / "graphs"


def session(model, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL):
    """ONNX Runtime over a path or bytes; unoptimised unless told otherwise: nearest to what the operators say."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def write(folder, name, model, feeds, answers):
    """One case: `model` (a ModelProto or bytes), one data set for each feed."""
    case = folder / name
    case.mkdir(parents=True)
    (case / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    for at, (feed, answer) in enumerate(zip(feeds, answers)):
        data = case / f"test_data_set_{at}"
        data.mkdir()
        for kind, arrays in (("input", feed), ("output", answer)):
            for i, array in enumerate(arrays):
                proto = numpy_helper.from_array(np.asarray(array))
                (data / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def input_names(model):
    constants = {i.name for i in model.graph.initializer}
    return [i.name for i in model.graph.input if i.name not in constants]


def write_with_runtime(folder, name, model, feeds):
    """The same with ONNX Runtime's answers; `feeds` are dictionaries."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    model = onnx.load_from_string(data)
    runtime = session(data)
    answers = [runtime.run(None, feed) for feed in feeds]
    names = input_names(model)
    write(folder, name, data, [[feed[n] for n in names] for feed in feeds], answers)
