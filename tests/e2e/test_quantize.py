"""`sluice quantize` on the demo's models: it measures, refuses beyond its bounds, and what it writes is loaded."""

import json
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest
from conftest import BINARY, DEMO

ROWS = 96


def requests(name, seed=0):
    rng = np.random.default_rng(seed)
    if name == "click":
        return {"ids": rng.integers(0, 8, (ROWS, 10)), "dense": rng.random((ROWS, 3), np.float32)}
    lengths = rng.integers(3, 25, (ROWS, 1))
    mask = (np.arange(24) < lengths).astype(np.int64)
    return {"input_ids": rng.integers(5, 12000, mask.shape) * mask, "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask)}


@pytest.fixture(params=["click", "package_encoder"])
def model(request, tmp_path):
    folder = tmp_path / request.param
    shutil.copytree(DEMO / request.param / "1", folder)
    feed = requests(request.param)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    answers = session.run(None, feed)[0]
    labels = (answers[:, -1] > np.median(answers[:, -1])).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", labels=labels, **feed)
    return folder, tmp_path / "calibration.npz", feed


def sluice(*words):
    return subprocess.run([str(BINARY), *map(str, words)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("form", ["int8", "bf16", "int8-storage", "bf16-storage"])
def test_measures_and_writes_a_choice_that_explain_follows(model, form):
    folder, calibration, _ = model
    done = sluice("quantize", folder, "--to", form, "--calibration", calibration, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    kept = json.loads((folder / "model.onnx.weights.json").read_text())
    assert kept == told
    assert told["weights"] == form
    measured = told["measured"]
    assert measured["rows"] == ROWS
    assert 0.995 <= measured["cosine"] <= 1
    assert measured["auc_f32"] == 1
    assert measured["auc"] > 0.99
    assert measured["weights_bytes"] < measured["weights_bytes_f32"]
    steps = sluice("explain", folder, "--batch", "4", "--json").stdout
    assert f"linear {form}" in steps


def test_refuses_beyond_the_bound_and_writes_nothing(model):
    folder, calibration, _ = model
    done = sluice("quantize", folder, "--to", "int8", "--calibration", calibration, "--min-cosine", "0.9999999999")
    assert done.returncode == 1
    assert "nothing is written: the cosine to f32 is" in done.stderr
    assert not (folder / "model.onnx.weights.json").exists()


def test_layers_may_stay_in_f32_to_keep_the_bound(model):
    folder, calibration, _ = model
    done = sluice("quantize", folder, "--to", "int8", "--calibration", calibration, "--min-cosine", "0.9999999999",
                  "--exceptions", "1000", "--json")
    assert done.returncode == 0, done.stderr
    nodes = json.loads(done.stdout)["nodes"]
    assert nodes and set(nodes.values()) == {"f32"}


def test_reads_requests_as_json(model):
    folder, calibration, feed = model
    kinds = {"float32": "FP32", "int64": "INT64"}
    body = {"inputs": [{"name": name, "shape": list(value[:5].shape), "datatype": kinds[str(value.dtype)],
                        "data": value[:5].tolist()} for name, value in feed.items()]}
    path = calibration.with_suffix(".json")
    path.write_text(json.dumps({"requests": [body, body]}))
    done = sluice("quantize", folder, "--calibration", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measured"]["rows"] == 10


def test_says_what_the_calibration_data_lack(model):
    folder, calibration, feed = model
    np.savez(calibration, wrong=np.zeros(3))
    done = sluice("quantize", folder, "--calibration", calibration)
    assert done.returncode == 1
    assert f"the calibration data have no '{next(iter(feed))}'" in done.stderr
