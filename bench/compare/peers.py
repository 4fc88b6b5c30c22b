"""The two sides of a model comparison as callables that return the seconds of one run: ONNX Runtime, OpenVINO, Sluice.

Every side runs on one thread, in this process, in its best documented mode: ONNX Runtime with its offline transformer
optimiser (encoders), IO binding and no spinning; OpenVINO with an f32 precision hint and a reused request. Sluice is
driven through build/release/bench/libsluice_bench.so, which times inside C++.
"""

import ctypes
import time

import harness
import numpy as np

BATCH_SECONDS = 0.05  # repeat short work until a round takes about this long


def _repeats(run):
    start = time.perf_counter()
    run()
    once = time.perf_counter() - start
    return max(1, min(2000, int(BATCH_SECONDS / max(once, 1e-7))))


def _median_of_round(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return harness.median(times)


class PythonPeer:
    """A peer behind a Python binding. `binding_seconds` is what the binding takes on an identity graph."""

    def __init__(self, run, binding_seconds=0.0):
        self.run_once, self.binding_seconds = run, binding_seconds
        run()
        self.repeats = _repeats(run)

    def __call__(self):
        seconds = _median_of_round(self.run_once, self.repeats)
        if seconds < 100e-6:
            seconds -= self.binding_seconds
        return max(seconds, 1e-9)


def ort_run(path, feed):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = {i.name: i.type for i in session.get_inputs()}
    binding = session.io_binding()
    for name, value in feed.items():
        if name in kinds:
            value = value.astype(np.int32) if "int32" in kinds[name] else value
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
    for output in session.get_outputs():
        binding.bind_output(output.name)

    def run():
        session.run_with_iobinding(binding)

    return run, lambda: binding.copy_outputs_to_cpu()[0]


def ort_transformer_file(path, heads, hidden):
    """ONNX Runtime's own offline optimiser for BERT-shaped models; cached beside the model."""
    fused = path.with_name(f"{path.stem}_ort.onnx")
    if not fused.exists():
        from onnxruntime.transformers import optimizer
        optimizer.optimize_model(str(path), model_type="bert", num_heads=heads, hidden_size=hidden,
                                 opt_level=0).save_model_to_file(str(fused))
    return fused


def openvino_run(path, feed):
    import openvino as ov
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1,
                                                          "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    for name, value in feed.items():
        request.set_tensor(name, ov.Tensor(value, shared_memory=True))
    return request.infer, lambda: request.get_output_tensor(0).data


class Sluice:
    """One model through the C functions of bench/model_bench.cc."""

    library = None

    def __init__(self, path, feed):
        if Sluice.library is None:
            lib = ctypes.CDLL(str(harness.ROOT / "build/release/bench/libsluice_bench.so"))
            lib.sluice_bench_load.restype = ctypes.c_void_p
            lib.sluice_bench_load.argtypes = [ctypes.c_char_p]
            lib.sluice_bench_bind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p,
                                              ctypes.POINTER(ctypes.c_int64), ctypes.c_int]
            lib.sluice_bench_run.restype = ctypes.c_double
            lib.sluice_bench_run.argtypes = [ctypes.c_void_p, ctypes.c_int]
            lib.sluice_bench_output.restype = ctypes.POINTER(ctypes.c_float)
            lib.sluice_bench_output.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64)]
            lib.sluice_bench_free.argtypes = [ctypes.c_void_p]
            lib.sluice_bench_error.restype = ctypes.c_char_p
            lib.sluice_bench_f32_roof.restype = ctypes.c_double
            Sluice.library = lib
        self.model = self.library.sluice_bench_load(str(path).encode())
        if not self.model:
            raise RuntimeError(self.library.sluice_bench_error().decode())
        self.feed = feed  # the bound memory
        for name, value in feed.items():
            dims = (ctypes.c_int64 * value.ndim)(*value.shape)
            pointer = value.ctypes.data_as(ctypes.c_void_p)
            if self.library.sluice_bench_bind(self.model, name.encode(), pointer, dims, value.ndim) != 0:
                raise RuntimeError(self.library.sluice_bench_error().decode())
        self.run_rounds(1)
        once = self.run_rounds(1)
        self.repeats = max(1, min(2000, int(BATCH_SECONDS / max(once, 1e-7))))

    def run_rounds(self, repeats):
        seconds = self.library.sluice_bench_run(self.model, repeats)
        if seconds < 0:
            raise RuntimeError(self.library.sluice_bench_error().decode())
        return seconds

    def __call__(self):
        return self.run_rounds(self.repeats)

    def output(self):
        count = ctypes.c_int64()
        values = self.library.sluice_bench_output(self.model, ctypes.byref(count))
        return np.ctypeslib.as_array(values, (count.value,)).copy()

    @classmethod
    def f32_roof(cls):
        """GFLOP/s of fused multiply-adds on one core, now."""
        return cls.library.sluice_bench_f32_roof()

    def close(self):
        self.library.sluice_bench_free(self.model)


def check_equal(ours, theirs, case):
    ours, theirs = ours.ravel(), np.asarray(theirs, np.float32).ravel()
    scale = np.abs(theirs).max() + 1e-9
    worst = float(np.abs(ours - theirs).max() / scale)
    if not worst < 1e-3:
        raise RuntimeError(f"{case}: the answers differ by {worst:.2e} of the largest value: nothing is compared")
