"""The demo against a server: text in, ranked packages and click probabilities out."""

import re
import subprocess
import sys

import pytest

from conftest import DEMO, ROOT


@pytest.mark.skipif(not (DEMO / "package_encoder" / "1" / "model.onnx").exists(), reason="no demo models")
def test_the_demo_finds_packages_and_ranks_clicks(start, tmp_path):
    server = start(DEMO)
    done = subprocess.run(
        [sys.executable, ROOT / "demo" / "demo.py", "--url", server.http, "--installed", "--packages", "200",
         "--requests", "5", "--work", tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = re.findall(r"^   (\d\.\d{3})  \S", done.stdout, re.MULTILINE)
    assert len(answers) == 24 and all(-1 <= float(score) <= 1 for score in answers)
    clicked, missed = re.search(r"clicked ([\d.]+)%, where it was not ([\d.]+)%", done.stdout).groups()
    assert float(clicked) > float(missed)
    assert f"http://{server.http} keeps running" in done.stdout
