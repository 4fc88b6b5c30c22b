"""Language models served from their folders, asked through the Open Inference Protocol."""

import json
import queue
import shutil

import numpy as np
import pytest
import tokenizers
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from conftest import ROOT

DECODERS = ROOT / "tests" / "conformance" / "decoders"
FAMILIES = ["llama", "llama3", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi3"]
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
    shutil.copytree(models / "llama", models / "words")
    words().save(str(models / "words" / "1" / "tokenizer.json"))
    (models / "words" / "1" / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ message.content }}{% if not loop.last %} {% endif %}"
        "{% endfor %}{% if tools %} w7{% endif %}")
    return start(models)


def words():
    """A tokenizer whose token i is the word wi."""
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({f"w{i}": i for i in range(96)}, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return tokenizer


def texts(client, **named):
    inputs = []
    for name, value in named.items():
        tensor = client.InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([value], dtype=object))
        inputs.append(tensor)
    return inputs


def greedy(count):
    return {"max_tokens": count, "temperature": 0, "ignore_eos": True}


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


def test_takes_and_gives_text(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    want = expected("llama", "greedy")
    prompt_text = words().decode(expected("llama", "tokens")[:PROMPT])
    answer = client.infer("words", texts(tritonclient.http, text=prompt_text),
                          parameters=greedy(len(want)))
    np.testing.assert_array_equal(answer.as_numpy("output_ids"), want)
    assert answer.as_numpy("text")[0].decode() == words().decode(want)


def test_writes_messages_with_the_models_chat_template(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    said = words().decode(expected("llama", "tokens")[:PROMPT]).split()
    messages = [{"role": "user", "content": " ".join(said[:3])},
                {"role": "user", "content": " ".join(said[3:])}]
    want = expected("llama", "greedy")
    answer = client.infer("words", texts(tritonclient.http, messages=json.dumps(messages)),
                          parameters=greedy(len(want)))
    np.testing.assert_array_equal(answer.as_numpy("output_ids"), want)
    assert answer.get_response()["parameters"]["prompt_tokens"] == PROMPT
    tools = json.dumps([{"type": "function", "function": {"name": "f"}}])
    answer = client.infer("words", texts(tritonclient.http, messages=json.dumps(messages),
                                         tools=tools), parameters=greedy(1))
    assert answer.get_response()["parameters"]["prompt_tokens"] == PROMPT + 1


def test_streams_text_over_grpc(server):
    client = tritonclient.grpc.InferenceServerClient(server.grpc)
    want = expected("llama", "greedy")
    parts = queue.Queue()
    client.start_stream(lambda result, error: parts.put((result, error)))
    client.async_stream_infer(
        "words", texts(tritonclient.grpc, text=words().decode(expected("llama", "tokens")[:PROMPT])),
        parameters={**greedy(len(want)), "stream": True})
    said, last = "", False
    while not last:
        result, error = parts.get(timeout=30)
        assert error is None
        said += result.as_numpy("text")[0].decode()
        last = result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()
    assert said == words().decode(want)


def test_prompts_in_text_that_cannot_be_are_refused(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    cases = [(texts(tritonclient.http, text="w1", messages="[]"), "one of the inputs"),
             (texts(tritonclient.http, text=" ".join(["w1"] * 200)), "at most 127 tokens"),
             (texts(tritonclient.http, messages="{"), "JSON"),
             (texts(tritonclient.http, text=""), "at least one token")]
    for inputs, text in cases:
        with pytest.raises(InferenceServerException, match=text):
            client.infer("words", inputs)
