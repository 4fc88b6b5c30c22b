"""Graphs that quantisers write run on the int8 kernels and answer as ONNX Runtime does."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.http
from conftest import BINARY, repository
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

WIDTHS = (48, 96, 64, 33)


def mlp(path, gemm):
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for i, (k, n) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        w = (rng.standard_normal((k, n)) * k**-0.5).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{i}"),
                    numpy_helper.from_array(rng.standard_normal(n).astype(np.float32) * 0.1, f"b{i}")]
        if gemm:
            nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"s{i}"], f"gemm{i}"))
        else:
            nodes += [helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"], f"matmul{i}"),
                      helper.make_node("Add", [f"m{i}", f"b{i}"], [f"s{i}"], f"add{i}")]
        x = f"s{i}"
        if i + 2 < len(WIDTHS):
            nodes.append(helper.make_node("Relu", [x], [f"r{i}"], f"relu{i}"))
            x = f"r{i}"
    nodes.append(helper.make_node("Identity", [x], ["y"], "end"))
    graph = helper.make_graph(nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTHS[0]])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", WIDTHS[-1]])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def rows(count, seed=1):
    return np.random.default_rng(seed).standard_normal((count, WIDTHS[0])).astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": rows(16, seed)} for seed in range(4)]

    def get_next(self):
        return self.left.pop() if self.left else None


def integer_product(path, signed):
    """QLinearMatMul between a quantisation and a dequantisation, written by hand."""
    rng = np.random.default_rng(2)
    kind, low = (np.int8, -127) if signed else (np.uint8, 0)
    weight = rng.integers(-127, 128, (WIDTHS[0], 64)).astype(np.int8)
    constants = {"xs": np.float32(0.03), "xz": kind(0 if signed else 131), "w": weight, "ws": np.float32(0.004),
                 "wz": np.int8(0), "ys": np.float32(0.05), "yz": kind(3 if signed else 120)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"], "quantize"),
             helper.make_node("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["p"], "product"),
             helper.make_node("DequantizeLinear", ["p", "ys", "yz"], ["y"], "dequantize")]
    graph = helper.make_graph(nodes, "product",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTHS[0]])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised")
    plain = {"gemm": mlp(folder / "gemm.onnx", True), "matmul": mlp(folder / "matmul.onnx", False)}
    made = {}
    for name, path in plain.items():
        for activations in (QuantType.QUInt8, QuantType.QInt8):
            key = f"qdq_{name}_{activations.name.lower()}"
            made[key] = folder / f"{key}.onnx"
            quantize_static(str(path), str(made[key]), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=activations, weight_type=QuantType.QInt8)
    made["dynamic_matmul"] = folder / "dynamic_matmul.onnx"
    quantize_dynamic(str(plain["matmul"]), str(made["dynamic_matmul"]), weight_type=QuantType.QInt8, per_channel=True)
    # ONNX Runtime's own fusion of the same, which writes operators of com.microsoft.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    made["dynamic_fused"] = options.optimized_model_filepath = str(folder / "dynamic_fused.onnx")
    onnxruntime.InferenceSession(str(made["dynamic_matmul"]), options, providers=["CPUExecutionProvider"])
    made["qlinear_u8"] = integer_product(folder / "qlinear_u8.onnx", False)
    made["qlinear_s8"] = integer_product(folder / "qlinear_s8.onnx", True)
    return made, plain


NAMES = ["qdq_gemm_quint8", "qdq_gemm_qint8", "qdq_matmul_quint8", "qdq_matmul_qint8", "dynamic_matmul",
         "dynamic_fused", "qlinear_u8", "qlinear_s8"]


@pytest.fixture(scope="module")
def server(start, models, tmp_path_factory):
    made, _ = models
    return start(repository(tmp_path_factory.mktemp("repository"), made))


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
def test_answers_as_onnx_runtime(server, models, name):
    made, plain = models
    client = tritonclient.http.InferenceServerClient(server.http)
    for count in (1, 7, 40):
        x = rows(count, seed=count)
        tensor = tritonclient.http.InferInput("x", list(x.shape), "FP32")
        tensor.set_data_from_numpy(x)
        got = client.infer(name, [tensor]).as_numpy("y")
        want = session(made[name]).run(None, {"x": x})[0]
        scale = np.abs(want).max()
        if name.startswith("dynamic"):
            # A scale for each row in place of one for the batch: at least as near to the model in f32.
            exact = session(plain["matmul"]).run(None, {"x": x})[0]
            assert np.linalg.norm(got - exact) <= 1.1 * np.linalg.norm(want - exact)
            assert np.abs(got - want).max() <= 0.05 * scale
        else:
            # A sum that falls between two codes may be rounded to either.
            step = 0.05 if name.startswith("qlinear") else 0.02 * scale
            assert np.abs(got - want).max() <= 1.01 * step
            assert np.mean(np.abs(got - want) > 1e-3 * scale) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_int8_kernels(models, name):
    made, _ = models
    done = subprocess.run([str(BINARY), "explain", str(made[name]), "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    steps = json.dumps(json.loads(done.stdout))
    assert steps.count('"linear int8"') >= (1 if name.startswith("qlinear") else len(WIDTHS) - 1)
    assert "reference MatMulInteger" not in steps
    assert "reference QLinearMatMul" not in steps
