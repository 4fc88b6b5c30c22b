"""`sluice eval` against figures that numpy computes from transformers' logits."""

import json
import subprocess

import numpy as np
import pytest

from conftest import BINARY
from test_language_models import expected, words, write_words_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval") / "llama"
    write_words_model(folder)
    (folder / "text.txt").write_text(words().decode(expected("llama", "tokens")))
    return folder


def run(folder, *flags):
    return subprocess.run([str(BINARY), "eval", str(folder), *flags], capture_output=True, text=True, timeout=120)


def evaluate(folder, *flags):
    done = run(folder, "--json", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def reference_perplexity():
    tokens, logits = expected("llama", "tokens"), expected("llama", "logits").astype(np.float64)
    logprobs = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(
        1, keepdims=True)
    return np.exp(-np.mean([logprobs[i, tokens[i + 1]] for i in range(len(tokens) - 1)]))


def test_perplexity_is_that_of_transformers(folder):
    found = evaluate(folder, "--text", str(folder / "text.txt"), "--weights", "bf16,int8")
    assert found["tokens"] == len(expected("llama", "tokens"))
    assert [form["weights"] for form in found["forms"]] == ["f32", "bf16", "int8"]
    reference, bf16, int8 = found["forms"]
    assert reference["positions"] == found["tokens"] - 1
    assert reference["perplexity"] == pytest.approx(reference_perplexity(), rel=1e-3)
    assert (reference["kl_mean"], reference["kl_max"], reference["top1"]) == (0, 0, 1)
    for form in (bf16, int8):
        assert 0 < form["kl_mean"] <= form["kl_99"] <= form["kl_max"]
        assert form["weight_bytes"] < reference["weight_bytes"]
        assert form["perplexity"] == pytest.approx(reference["perplexity"], rel=0.1)


def test_windows_that_overlap_score_every_token_once(folder):
    text = str(folder / "text.txt")
    whole = evaluate(folder, "--text", text, "--weights", "")
    for flags in (["--context", "8"], ["--context", "8", "--stride", "3"], ["--context", "2", "--stride", "1"]):
        found = evaluate(folder, "--text", text, "--weights", "", *flags)
        assert found["forms"][0]["positions"] == found["tokens"] - 1
        assert found["forms"][0]["perplexity"] != whole["forms"][0]["perplexity"]
    assert evaluate(folder, "--text", text, "--weights", "", "--tokens-max", "9")["forms"][0]["positions"] == 8


def test_a_table_is_printed(folder):
    done = run(folder, "--text", str(folder / "text.txt"), "--weights", "int8")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].split()[:3] == ["weights", "size", "perplexity"]
    assert lines[3].startswith("f32") and lines[4].startswith("int8") and "%" in lines[4]


@pytest.mark.parametrize("flags, said", [
    ([], "--text is missing"),
    (["--text", "TEXT", "--weights", "int9"], "int9"),
    (["--text", "TEXT", "--context", "1"], "--context"),
    (["--text", "TEXT", "--context", "8", "--stride", "8"], "--stride"),
    (["--text", "missing.txt"], "missing.txt"),
])
def test_what_is_wrong_is_told(folder, flags, said):
    done = run(folder, *[flag.replace("TEXT", str(folder / "text.txt")) for flag in flags])
    assert done.returncode == 1 and said in done.stderr
