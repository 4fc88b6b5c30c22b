"""The demo against a server: text in; ranked packages, click probabilities and lines out."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tritonclient.http

from conftest import DEMO, ROOT


@pytest.mark.skipif(not (DEMO / "package_encoder" / "1" / "model.onnx").exists(), reason="no demo models")
def test_the_demo_finds_packages_ranks_clicks_and_writes_lines(start, tmp_path):
    server = start(DEMO)
    done = subprocess.run(
        [sys.executable, ROOT / "demo" / "demo.py", "--url", server.http, "--installed", "--packages", "200",
         "--requests", "5", "--work", tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = re.findall(r"^   (\d\.\d{3})  \S", done.stdout, re.MULTILINE)
    assert len(answers) == 24 and all(-1 <= float(score) <= 1 for score in answers)
    clicked, missed = re.search(r"clicked ([\d.]+)%, where it was not ([\d.]+)%", done.stdout).groups()
    assert float(clicked) > float(missed)
    assert re.search(r"package_writer +first of a line +p50 +[\d.]+ ms .*\(8 requests", done.stdout)
    assert int(re.search(r"16 at a time +([\d,]+) lines", done.stdout).group(1).replace(",", "")) > 0
    assert f"http://{server.http} keeps running" in done.stdout


def test_the_encoder_gives_the_same_vectors_from_its_checkpoint(start, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(DEMO / "package_encoder", models / "package_encoder")
    native = models / "package_encoder_native" / "1"
    subprocess.run([sys.executable, ROOT / "demo" / "encoder_checkpoint.py", models / "package_encoder" / "1", native],
                   check=True)
    server = start(models)
    client = tritonclient.http.InferenceServerClient(server.http)
    texts = ["play music", "a shell", "Programs that measure the bandwidth of networks, " * 9, "ä"]
    vectors = []
    for name, shape in (("package_encoder", [4, 1]), ("package_encoder_native", [4])):
        shape = shape[:len(client.get_model_metadata(name)["inputs"][0]["shape"])]
        tensor = tritonclient.http.InferInput("text", shape, "BYTES")
        tensor.set_data_from_numpy(np.array(texts, dtype=object).reshape(shape))
        vectors.append(client.infer(name, [tensor]).as_numpy("embedding"))
    assert vectors[0].shape == (4, 256)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=2e-5)
