"""DeBERTa of the widths that people serve, without its padding, answers as ONNX Runtime does with it."""

import json
import subprocess

import numpy as np
import onnx
import pytest
import tritonclient.http
from conftest import BINARY, GRAPHS, repository
from drawn_weights import filled

onnxruntime = pytest.importorskip("onnxruntime", reason="what the answers are compared with is not installed")
PATHS = sorted((GRAPHS.parent / "wide_encoders").glob("*.onnx"))
LENGTHS = (300, 137, 40, 5)


def requests():
    """Padded ids and mask of sequences of LENGTHS."""
    rng = np.random.default_rng(3)
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    return {"input_ids": rng.integers(3, 128, mask.shape) * mask, "attention_mask": mask}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_a_wide_deberta_answers_packed_as_onnx_runtime_does_padded(start, tmp_path, path):
    model = tmp_path / "model.onnx"
    onnx.save(filled(path, 1), model)
    told = json.loads(subprocess.run([BINARY, "explain", "--json", "--batch", "4", "--length", "300", model], check=True,
                                     capture_output=True, text=True).stdout)
    assert told["packed_rows"]["used"], told["packed_rows"]["reason"]
    feed = requests()
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    hidden, sentence = session.run(None, feed)
    server = start(repository(tmp_path / "models", {"encoder": model}))
    client = tritonclient.http.InferenceServerClient(server.http, network_timeout=120, connection_timeout=120)
    inputs = []
    for name, value in feed.items():
        inputs.append(tritonclient.http.InferInput(name, value.shape, "INT64"))
        inputs[-1].set_data_from_numpy(value)
    answer = client.infer("encoder", inputs)
    server.stop()
    real = feed["attention_mask"][..., None] != 0
    np.testing.assert_allclose(np.where(real, answer.as_numpy("hidden"), 0), np.where(real, hidden, 0), atol=2e-4)
    np.testing.assert_allclose(answer.as_numpy("sentence_embedding"), sentence, atol=1e-5)
