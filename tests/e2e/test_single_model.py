"""A model served from its own folder or by its name on the hub, without a repository around it."""

import json
import shutil
import subprocess

import openai
import pytest
import tritonclient.http

from conftest import BINARY, GRAPHS, ROOT, Server, free_ports
from hub_server import Hub
from test_language_models import PROMPT, expected, greedy, prompt, words, write_words_model
from test_pull import environment

REPO = "someone/Words-1"
GGUF = ROOT / "tests" / "conformance" / "gguf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single") / "words-1"
    write_words_model(folder)
    return folder


class SingleServer(Server):
    def __init__(self, model, *flags, log=None, env=None):
        ports = free_ports(3)
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in ports)
        self.log_path, self.log = log, open(log, "ab")
        command = [str(BINARY), "serve", str(model), "--http-port", str(ports[0]), "--grpc-port", str(ports[1]),
                   "--metrics-port", str(ports[2]), *flags]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=env)


@pytest.fixture
def serve(tmp_path):
    servers = []

    def run(model, *flags, env=None):
        servers.append(SingleServer(model, *flags, log=str(tmp_path / f"log{len(servers)}"), env=env))
        return servers[-1].wait_ready()

    yield run
    assert all(server.stop() == 0 for server in servers)


def complete(server, model, asked=None):
    client = openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)
    assert [found.id for found in client.models.list()] == [model]
    want = expected("llama", "greedy")
    answer = client.completions.create(model=asked or model, prompt=words().decode(expected("llama", "tokens")[:PROMPT]),
                                       max_tokens=len(want), temperature=0, extra_body={"ignore_eos": True})
    return answer.choices[0].text == words().decode(want)


def test_a_folder_is_served_by_its_name(folder, serve):
    assert complete(serve(folder), "words-1")
    assert complete(serve(f"{folder}/", "--name", "other", "--weights", "f32", "--set", "kv_cache_bytes=4194304"), "other")


def test_a_name_is_brought_from_the_hub_and_then_found(folder, serve, tmp_path):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub = Hub(REPO, files, ["model.safetensors"])
    try:
        env = environment(hub, tmp_path)
        assert complete(serve(REPO, env=env), "Words-1")
        assert hub.requests("content")
        hub.seen.clear()
        server = serve(REPO, env=env)
        assert complete(server, "Words-1") and complete(server, "Words-1", asked=REPO)
        assert not hub.seen
    finally:
        hub.stop()


def test_one_of_several_gguf_models_is_served(serve, tmp_path):
    files = {path.name: path.read_bytes() for path in (GGUF / "split").iterdir()}
    files["other.gguf"] = (GGUF / "qwen3.gguf").read_bytes()
    hub = Hub(REPO, files, files)
    try:
        env = environment(hub, tmp_path)
        server = serve(REPO, "--file", "llama-00001-of-00003.gguf", env=env)
        assert greedy_ids(server, "Words-1") == expected("llama", "greedy").tolist()
        folder = next(tmp_path.rglob("snapshots/*"))
        assert sorted(path.name for path in folder.iterdir()) == sorted(set(files) - {"other.gguf"})
        assert greedy_ids(serve(GGUF / "llama.gguf"), "llama") == expected("llama", "greedy").tolist()
    finally:
        hub.stop()


def greedy_ids(server, model):
    client = tritonclient.http.InferenceServerClient(server.http)
    count = len(expected("llama", "greedy"))
    answer = client.infer(model, [prompt(tritonclient.http, "llama")], parameters=greedy(count))
    return answer.as_numpy("output_ids").tolist()


def test_an_imported_graph_is_served_from_its_folder(serve, tmp_path):
    folder = tmp_path / "graph"
    folder.mkdir()
    shutil.copy(next(GRAPHS.rglob("*.onnx")), folder / "model.onnx")
    assert serve(folder).status("/v2/models/graph/versions/1/ready") == 200


def test_a_folder_of_models_is_a_repository(folder, serve, tmp_path):
    shutil.copytree(folder, tmp_path / "models" / "words" / "1")
    assert complete(serve(tmp_path / "models"), "words")


def refused(*arguments):
    done = subprocess.run([str(BINARY), "serve", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_what_is_served_must_be_said_once_and_well(folder, tmp_path):
    assert "got both" in refused(folder, "--models", tmp_path)
    assert "expected DIR, ORG/NAME or --models" in refused()
    assert "--name" in refused(folder, "--name", "a/b")
    assert "KEY=VALUE" in refused(folder, "--set", "x")
    assert "no folder './missing'" in refused("./missing")
    assert "kv_cache_bytes" in check_log(folder)


def check_log(folder):
    """A parameter that the model does not take stops its load with a line in the log."""
    done = subprocess.Popen([str(BINARY), "serve", str(folder), "--http-port", "-1", "--grpc-port", "-1", "--metrics-port",
                             "-1", "--set", "kv_cache_bytes=none", "--log-format", "json"], stderr=subprocess.PIPE,
                            text=True)
    for line in done.stderr:
        event = json.loads(line)
        if event.get("event", event.get("message")) == "model_version_load_failed" or "load_failed" in line:
            done.terminate()
            done.communicate(timeout=30)
            return line
    return ""
