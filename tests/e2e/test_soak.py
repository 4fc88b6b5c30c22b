"""The soak of language models in its short form: a few seconds, every kind of request, several quiet points."""

import subprocess
import sys

from conftest import BINARY, ROOT


def test_language_models_keep_nothing_of_mixed_requests():
    # Memory is still settling in so short a time: its bound only finds what leaks with every request.
    run = subprocess.run([sys.executable, str(ROOT / "tests" / "e2e" / "soak_language.py"), "--binary", str(BINARY),
                          "--seconds", "6", "--growth-mib-max", "32"], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert run.stdout.count(" 256 ") >= 2  # quiet points with the whole cache filled
