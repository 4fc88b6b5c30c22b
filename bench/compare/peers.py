"""The two sides of a model comparison as callables that return the seconds of one run: ONNX Runtime, OpenVINO, Sluice.

Every side runs on one thread, in this process, in its best documented mode: ONNX Runtime with its offline transformer
optimiser (encoders), IO binding and no spinning; OpenVINO with an f32 precision hint and a reused request. Sluice is
driven through build/release/bench/model_bench, a process that times inside C++ and waits while peers run.
"""

import itertools
import pathlib
import subprocess
import tempfile
import time

import harness
import numpy as np

BATCH_SECONDS = 0.05  # repeat short work until a round takes about this long


def _repeats(run):
    start = time.perf_counter()
    run()
    once = time.perf_counter() - start
    return max(1, min(2000, int(BATCH_SECONDS / max(once, 1e-7))))


def _mean_of_round(run, repeats):
    """Processor time: each side runs one thread, and what others take of a shared machine is nobody's."""
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


class PythonPeer:
    """A peer behind a Python binding. `binding_seconds` is what the binding takes on an identity graph."""

    def __init__(self, run, binding_seconds=0.0):
        self.run_once, self.binding_seconds = run, binding_seconds
        run()
        self.repeats = _repeats(run)

    def __call__(self):
        seconds = _mean_of_round(self.run_once, self.repeats)
        if seconds < 100e-6:
            seconds -= self.binding_seconds
        return max(seconds, 1e-9)


def ort_run(path, feed):
    return ort_runs(path)(feed)


def ort_turns(path, feeds):
    """A callable that runs the next feed each time."""
    bind = ort_runs(path)
    runs = itertools.cycle([bind(feed)[0] for feed in feeds])
    return lambda: next(runs)()


def ort_runs(path):
    """One session; a callable that binds a feed to it."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = {i.name: i.type for i in session.get_inputs()}

    def bind(feed):
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

    return bind


def ort_transformer_file(path, heads, hidden):
    """ONNX Runtime's own offline optimiser for BERT-shaped models; cached beside the model."""
    fused = path.with_name(f"{path.stem}_ort.onnx")
    if not fused.exists():
        from onnxruntime.transformers import optimizer
        optimizer.optimize_model(str(path), model_type="bert", num_heads=heads, hidden_size=hidden,
                                 opt_level=0).save_model_to_file(str(fused))
    return fused


def ort_int8_file(path):
    """ONNX Runtime's dynamic quantisation, s8 weights with a scale for each column; cached beside the model."""
    quantised = path.with_name(f"{path.stem}_int8.onnx")
    if not quantised.exists():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(str(path), str(quantised), weight_type=QuantType.QInt8, per_channel=True,
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return quantised


def openvino_run(path, feed, precision="f32"):
    return openvino_runs(path, precision)(feed)


def openvino_runs(path, precision="f32"):
    """One compiled model; a callable that makes a request of its own for a feed."""
    import openvino as ov
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1,
                                                          "INFERENCE_PRECISION_HINT": precision})

    def bind(feed):
        request = compiled.create_infer_request()
        for name, value in feed.items():
            request.set_tensor(name, ov.Tensor(value, shared_memory=True))
        # The tensors share the feed's memory and do not keep it.
        return lambda feed=feed: request.infer(), lambda: request.get_output_tensor(0).data

    return bind


class Sluice:
    """One model in a process of its own, build/release/bench/model_bench, which times inside C++.

    As `requests`, build/release/bench/request_bench: whole requests, prepared and answered as the server does.
    `turns`: more feeds of the same shapes, which runs take in turn.
    """

    def __init__(self, path, feed, requests=False, weights="f32", turns=()):
        folder = harness.ROOT / "build/release/bench"
        command = [str(folder / "request_bench"), str(path.parent), path.name] if requests else [
            str(folder / "model_bench"), str(path), weights]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folder = tempfile.TemporaryDirectory()
        self._answer("ok")
        for name, value in feed.items():
            file = pathlib.Path(self.folder.name) / name
            values = [value, *(other[name] for other in turns)]
            file.write_bytes(b"".join(np.ascontiguousarray(v).tobytes() for v in values))
            self._ask(f"bind {name} {file} {' '.join(map(str, value.shape))}", "ok")
        self.run_rounds(1)
        once = self.run_rounds(1)
        self.repeats = max(1, min(2000, int(BATCH_SECONDS / max(once, 1e-7))))

    def _answer(self, head):
        line = self.process.stdout.readline().strip()
        if not line.startswith(head):
            raise RuntimeError(f"model_bench: {line}")
        return line[len(head):]

    def _ask(self, line, head):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer(head)

    def run_rounds(self, repeats):
        return float(self._ask(f"run {repeats}", "seconds"))

    def __call__(self):
        return self.run_rounds(self.repeats)

    def output(self):
        file = pathlib.Path(self.folder.name) / "output"
        self._ask(f"output {file}", "ok")
        return np.frombuffer(file.read_bytes(), np.float32)

    def f32_roof(self):
        """GFLOP/s of fused multiply-adds on this core, now."""
        return float(self._ask("roof", "gflops"))

    def dot_roof(self):
        """GFLOP/s (or GOP/s) of the dot products that its weights run on, now."""
        return float(self._ask("dots", "gflops"))

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.folder.cleanup()


def cosine(ours, theirs):
    ours, theirs = ours.ravel().astype(np.float64), np.asarray(theirs, np.float64).ravel()
    return float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)))


def check_equal(ours, theirs, case):
    ours, theirs = ours.ravel(), np.asarray(theirs, np.float32).ravel()
    scale = np.abs(theirs).max() + 1e-9
    worst = float(np.abs(ours - theirs).max() / scale)
    if not worst < 1e-3:
        raise RuntimeError(f"{case}: the answers differ by {worst:.2e} of the largest value: nothing is compared")
