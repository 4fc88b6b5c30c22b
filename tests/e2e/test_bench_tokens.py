"""`sluice bench-tokens` against a server of ours."""

import json
import subprocess

import pytest

from conftest import BINARY
from test_chat import write_model


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models") / "models"
    (models / "words").mkdir(parents=True)
    write_model(models / "words" / "1")
    return start(models)


def bench(server, *flags):
    return subprocess.run([str(BINARY), "bench-tokens", "words", "--url", server.http, "--id-max", "90", *flags],
                          capture_output=True, text=True, timeout=120)


def test_counts_tokens_and_waits(server):
    done = bench(server, "--clients", "3", "--requests", "7", "--prompt-tokens", "60", "--shared-tokens", "50",
                 "--answer-tokens", "20", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["answered"], found["failed"]) == (7, 0), found
    assert (found["prompt_tokens"], found["answer_tokens"]) == (420, 140)
    assert found["answer_tokens_a_second"] == pytest.approx(140 / found["seconds"])
    assert 0 < found["ttft_ms"]["p50"] <= found["ttft_ms"]["p99"] <= found["latency_ms"]["max"] * 1.04
    assert found["itl_ms"]["p50"] >= 0 and found["tpot_ms"]["mean"] > 0
    assert "first token" in bench(server, "--requests", "1", "--prompt-tokens", "5", "--answer-tokens", "4").stdout


def test_failures_are_counted_and_told(server):
    done = bench(server, "--requests", "2", "--prompt-tokens", "500", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["answered"], found["failed"]) == (0, 2) and "status 400" in found["first_failure"]
    assert "--clients" in bench(server, "--clients", "0").stderr
