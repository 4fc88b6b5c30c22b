"""Readiness, bad models, signals and the verbs, as an operator meets them."""

import html.parser
import json
import re
import subprocess
import urllib.request

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as http_client
from conftest import BINARY, DEMO, GRAPHS, repository
from graph_inputs import inputs

TOWER = GRAPHS / "batch_norm_tower_ts13.onnx"


def sluice(*arguments, check=True):
    done = subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def test_sigterm_finishes_and_exits_with_zero(start, tmp_path):
    server = start(repository(tmp_path, {"tower": TOWER}))
    assert server.stop() == 0


def test_a_bad_model_is_reported_and_the_others_serve(start, tmp_path):
    folder = repository(tmp_path, {"tower": TOWER})
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    server = start(folder, "--no-strict")
    with http_client.InferenceServerClient(server.http) as client:
        index = {row["name"]: row for row in client.get_model_repository_index()}
        assert index["tower"]["state"] == "READY"
        assert index["broken"]["state"] == "UNAVAILABLE" and index["broken"]["reason"]
        assert "broken/1" in index["broken"]["reason"] and str(tmp_path) not in index["broken"]["reason"]


def reserved(server):
    """The ledger on the metrics page: {owner: bytes}."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    rows = re.findall(r'sluice_memory_reserved_bytes{pool="host",owner="([^"]*)"} (\d+)', "\n".join(lines))
    return {owner: int(count) for owner, count in rows}, lines


def test_the_ledger_names_what_holds_memory(start, tmp_path):
    server = start(repository(tmp_path, {"tower": TOWER}), "--prep-bytes-max", "10000000", "--memory-bytes-max", "2000000000")
    with http_client.InferenceServerClient(server.http) as client:
        tensor = http_client.InferInput("dense", [3, 13], "FP32")
        tensor.set_data_from_numpy(np.zeros([3, 13], np.float32))
        client.infer("tower", [tensor])
    held, lines = reserved(server)
    for what in ("weights", "plans", "answers"):
        assert held[f"model tower/1 {what}"] > 0, held
    assert held["loop cpu0 activations"] > 0 and held["loop cpu0 request payloads"] > 0
    assert held["requests waiting to be prepared"] == 10000000
    assert "model tower/1 loading" not in held
    assert 'sluice_memory_limit_bytes{pool="host"} 2000000000' in lines
    assert 'sluice_loop_payload_bytes{loop="cpu0"} 0' in lines


def test_packed_weights_are_kept_for_the_next_start(start, tmp_path):
    folder = repository(tmp_path / "models", {"tower": TOWER})
    cache = tmp_path / "cache"
    answers = []
    for _ in range(2):
        server = start(folder, "--weight-cache", str(cache))
        with http_client.InferenceServerClient(server.http) as client:
            tensor = http_client.InferInput("dense", [5, 13], "FP32")
            tensor.set_data_from_numpy(np.linspace(-1, 1, 65, dtype=np.float32).reshape(5, 13))
            answer = client.infer("tower", [tensor])
            answers.append(answer.as_numpy(answer.get_response()["outputs"][0]["name"]))
        assert server.stop() == 0
        kept = {path.name: path.stat().st_ino for path in cache.glob("*.packed")}
        assert kept
    assert {path.name: path.stat().st_ino for path in cache.glob("*.packed")} == kept, "written once"
    np.testing.assert_array_equal(*answers)


def test_strict_readiness_wants_every_model(start, tmp_path):
    folder = repository(tmp_path, {"tower": TOWER})
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    server = start(folder, ready=False)
    with pytest.raises(RuntimeError):
        server_ready_within(server, 5)
    assert server.status("/v2/health/live") == 200


def server_ready_within(server, seconds):
    import time
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.status("/v2/health/ready") == 200:
            return
        time.sleep(0.1)
    raise RuntimeError("never ready")


@pytest.mark.parametrize("verb", ["serve", "check", "explain", "profile", "infer", "bench", "version"])
def test_every_verb_has_help_with_an_example(verb):
    text = sluice(verb, "--help").stdout
    assert "example:" in text and f"sluice {verb}" in text


def test_version_as_json():
    assert json.loads(sluice("version", "--json").stdout)["version"]


def test_check_names_the_bad_model(tmp_path):
    folder = repository(tmp_path, {"tower": TOWER})
    assert sluice("check", folder).returncode == 0
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    done = sluice("check", folder, "--json", check=False)
    assert done.returncode != 0
    assert {row["name"] for row in json.loads(done.stdout)["models"] if not row["ok"]} == {"broken"}


@pytest.mark.parametrize("name", ["bert_encoder_ts15", "bert_encoder_dynamo19"])
def test_explain_tells_what_was_fused(name):
    plan = json.loads(sluice("explain", GRAPHS / f"{name}.onnx", "--length", 12, "--json").stdout)
    kinds = json.dumps(plan).lower()
    assert "attention" in kinds and "layernorm" in kinds.replace("_", "").replace(" ", "")


def test_profile_writes_a_chrome_trace(tmp_path):
    trace = tmp_path / "trace.json"
    sluice("profile", TOWER, "--trace", trace)
    assert json.loads(trace.read_text())["traceEvents"]


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced and collects ids and links."""

    VOID = {"meta", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], set(), set(), set()
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        values = dict(attributes)
        self.ids.add(values.get("id"))
        self.links.add(values.get("href"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_profile_writes_a_page_that_stands_alone(tmp_path):
    page, before = tmp_path / "report.html", tmp_path / "before.json"
    before.write_text(sluice("profile", TOWER, "--json").stdout)
    done = sluice("profile", TOWER, "--against", before, "--html", page, "--batch", 4)
    assert "against" in done.stdout and "\x1b" not in done.stdout
    parsed = Page(page.read_text())
    assert {"table", "svg", "caption", "main", "h1"} <= parsed.tags
    assert all(link.startswith("#") and link[1:] in parsed.ids for link in parsed.links if link)


def test_a_report_of_another_schema_is_refused(tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"schema": "other/1"}')
    done = sluice("profile", TOWER, "--against", other, check=False)
    assert done.returncode == 1 and "sluice.report/1" in done.stderr


@pytest.mark.skipif(not DEMO.exists(), reason="demo/models is absent")
@pytest.mark.parametrize("name", ["click", "package_encoder"])
def test_the_demo_models_agree_with_onnx_runtime(start, tmp_path, name):
    path = DEMO / name / "1" / "model.onnx"
    folder = tmp_path / "plain"
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "1" / "model.onnx").write_bytes(path.read_bytes())  # without its tokenizer: ids in
    server = start(folder)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with http_client.InferenceServerClient(server.http) as client:
        kinds = {i["name"]: i["datatype"] for i in client.get_model_metadata(name)["inputs"]}
        for seed, size in enumerate((1, 2, 7, 24)):
            feed = inputs(path, {"*": size}, seed)
            tensors = []
            for key, value in feed.items():
                tensor = http_client.InferInput(key, list(value.shape), kinds[key])
                tensor.set_data_from_numpy(value)
                tensors.append(tensor)
            answer = client.infer(name, tensors)
            for output, want in zip(session.get_outputs(), session.run(None, feed)):
                np.testing.assert_allclose(answer.as_numpy(output.name), want, rtol=1e-4, atol=1e-5)
