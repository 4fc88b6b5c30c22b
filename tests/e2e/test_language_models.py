"""Language models served from their folders, asked through the Open Inference Protocol."""

import json
import queue
import shutil

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from conftest import ROOT

DECODERS = ROOT / "tests" / "conformance" / "decoders"
FAMILIES = ["llama", "llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"]
PROMPT = 8


def expected(family, name):
    """A tensor of expected.safetensors."""
    data = (DECODERS / family / "expected.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + length])[name]
    begin, end = entry["data_offsets"]
    dtype = {"I32": np.int32, "F32": np.float32}[entry["dtype"]]
    return np.frombuffer(data[8 + length + begin:8 + length + end], dtype).reshape(entry["shape"])


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        version = models / family / "1"
        version.mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(DECODERS / family / name, version / name)
        (models / family / "config.pbtxt").write_text(
            'parameters { key: "kv_cache_bytes" value { string_value: "4194304" } }\n')
    return start(models)


def prompt(client, family):
    ids = expected(family, "tokens")[:PROMPT].astype(np.int64)
    tensor = client.InferInput("input_ids", ids.shape, "INT64")
    tensor.set_data_from_numpy(ids)
    return tensor


@pytest.mark.parametrize("family", FAMILIES)
def test_decodes_greedily_as_transformers(server, family):
    client = tritonclient.http.InferenceServerClient(server.http)
    want = expected(family, "greedy")
    answer = client.infer(family, [prompt(tritonclient.http, family)],
                          parameters={"max_tokens": len(want), "temperature": 0, "ignore_eos": True})
    np.testing.assert_array_equal(answer.as_numpy("output_ids"), want)
    parameters = answer.get_response()["parameters"]
    assert parameters["finish_reason"] == "length"
    assert parameters["prompt_tokens"] == PROMPT
    assert parameters["completion_tokens"] == len(want)


def test_streams_tokens_over_grpc(server):
    client = tritonclient.grpc.InferenceServerClient(server.grpc)
    want = expected("qwen3", "greedy")
    parts = queue.Queue()
    client.start_stream(lambda result, error: parts.put((result, error)))
    client.async_stream_infer("qwen3", [prompt(tritonclient.grpc, "qwen3")],
                              parameters={"max_tokens": len(want), "temperature": 0,
                                          "ignore_eos": True, "stream": True})
    said, last = [], False
    while not last:
        result, error = parts.get(timeout=30)
        assert error is None
        said.extend(result.as_numpy("output_ids"))
        last = result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()
    np.testing.assert_array_equal(said, want)


def test_a_client_that_takes_one_answer_gets_all_of_it(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    want = expected("llama", "greedy")
    answer = client.infer("llama", [prompt(tritonclient.http, "llama")],
                          parameters={"max_tokens": len(want), "temperature": 0,
                                      "ignore_eos": True, "stream": True})
    np.testing.assert_array_equal(answer.as_numpy("output_ids"), want)


def test_the_second_request_finds_its_prompt_cached(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    cached = []
    for _ in range(2):
        answer = client.infer("llama3", [prompt(tritonclient.http, "llama3")],
                              parameters={"max_tokens": 2, "cache_salt": "cached-test"})
        cached.append(answer.get_response()["parameters"]["cached_tokens"])
    assert cached == [0, PROMPT - 1]


def test_wrong_requests_are_refused_by_name(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    for parameters, text in (({"temperature": -1}, "temperature"), ({"max_tokens": 0}, "max_tokens"),
                             ({"max_tokens": 4000}, "[1, 120]"), ({"top_p": "x"}, "top_p")):
        with pytest.raises(InferenceServerException, match=text.replace("[", r"\[")):
            client.infer("llama", [prompt(tritonclient.http, "llama")], parameters=parameters)
