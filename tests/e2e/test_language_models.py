"""Language models served from their folders, asked through the Open Inference Protocol."""

import http.client
import json
import queue
import shutil

import numpy as np
import pytest
import tokenizers
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from expected import DECODERS, HEADS, tensor

FAMILIES = ["llama", "llama3", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi3"]
PROMPT = 8


def expected(family, name, root=DECODERS):
    return tensor(root / family, name)


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
    for name in ("qwen3_classes", "qwen3_embedding"):
        shutil.copytree(HEADS / name, models / name / "1")
        (models / name / "1" / "expected.safetensors").unlink()
        shutil.copy(models / "qwen3" / "config.pbtxt", models / name / "config.pbtxt")
    shutil.copytree(models / "qwen3_embedding", models / "qwen3_mean")
    with open(models / "qwen3_mean" / "config.pbtxt", "a") as config:
        config.write('parameters { key: "pooling" value { string_value: "mean" } }\n')
    shutil.copytree(models / "qwen3_embedding", models / "embedder")
    words().save(str(models / "embedder" / "1" / "tokenizer.json"))
    (models / "embedder" / "1" / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "w1 w2 "}}))
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


def write_words_model(folder, template=None):
    """Makes `folder` a model: the llama fixture, which reads and says words(). Returns it."""
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(DECODERS / "llama" / name, folder / name)
    words().save(str(folder / "tokenizer.json"))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


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


def ids_input(client, name, values):
    values = np.asarray(values, dtype=np.int64)
    tensor = client.InferInput(name, values.shape, "INT64")
    tensor.set_data_from_numpy(values)
    return tensor


def scores_of(client, model, prefix, items, parameters, **named):
    inputs = [ids_input(tritonclient.http, "item_ids", np.concatenate(items)),
              ids_input(tritonclient.http, "item_lengths", [len(item) for item in items])]
    if len(prefix) > 0:
        inputs.append(ids_input(tritonclient.http, "input_ids", prefix))
    inputs += [ids_input(tritonclient.http, name, values) for name, values in named.items()]
    return client.infer(model, inputs, parameters={"task": "score", **parameters})


def log_softmax(rows):
    rows = rows.astype(np.float64)
    return rows - np.log(np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True)) \
        - rows.max(-1, keepdims=True)


def test_several_answers_begin_with_the_one_of_a_request_for_one(server):
    client = tritonclient.http.InferenceServerClient(server.http)

    def ask(**parameters):
        return client.infer("llama", [prompt(tritonclient.http, "llama")],
                            parameters={"max_tokens": 12, "ignore_eos": True, "seed": 5, **parameters})

    one, several = ask(), ask(n=4)
    lengths = several.as_numpy("output_lengths")
    np.testing.assert_array_equal(lengths, [12] * 4)
    answers = several.as_numpy("output_ids").reshape(4, 12)
    np.testing.assert_array_equal(answers[0], one.as_numpy("output_ids"))
    assert len({tuple(answer) for answer in answers}) > 1
    assert [reason.decode() for reason in several.as_numpy("finish_reasons")] == ["length"] * 4
    assert several.get_response()["parameters"]["completion_tokens"] == 48


def test_streams_several_answers_by_their_choice(server):
    client = tritonclient.grpc.InferenceServerClient(server.grpc)
    parameters = {"max_tokens": 10, "ignore_eos": True, "seed": 5, "n": 3}
    whole = client.infer("qwen3", [prompt(tritonclient.grpc, "qwen3")], parameters=parameters)
    parts = queue.Queue()
    client.start_stream(lambda result, error: parts.put((result, error)))
    client.async_stream_infer("qwen3", [prompt(tritonclient.grpc, "qwen3")],
                              parameters={**parameters, "stream": True})
    said, last = [[], [], []], False
    while not last:
        result, error = parts.get(timeout=30)
        assert error is None
        response = result.get_response()
        last = response.parameters["triton_final_response"].bool_param
        ids = list(result.as_numpy("output_ids"))
        if last:
            for choice, length in enumerate(result.as_numpy("output_lengths")):
                said[choice] += ids[:length]
                ids = ids[length:]
        else:
            said[response.parameters["choice"].int64_param] += ids
    client.stop_stream()
    np.testing.assert_array_equal(np.array(said),
                                  whole.as_numpy("output_ids").reshape(3, 10))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "qwen3_moe"])
def test_scores_items_and_prompts_as_transformers_logits_say(server, family):
    client = tritonclient.http.InferenceServerClient(server.http)
    tokens, logits = expected(family, "tokens"), expected(family, "logits")
    logprobs = log_softmax(logits)
    own = np.array([logprobs[i, tokens[i + 1]] for i in range(len(tokens) - 1)])
    items = [tokens[40:60], tokens[40:41], tokens[40:47]]
    answer = scores_of(client, family, tokens[:40], items, {"token_logprobs": True})
    np.testing.assert_allclose(answer.as_numpy("scores")[:, 0],
                               [own[39:59].sum(), own[39], own[39:46].sum()], atol=2e-2)
    np.testing.assert_allclose(answer.as_numpy("item_logprobs"),
                               np.concatenate([own[39:59], own[39:40], own[39:46]]), atol=4e-3)
    answer = scores_of(client, family, tokens[:40], items, {}, label_ids=[3, 9, 50])
    np.testing.assert_allclose(answer.as_numpy("scores"),
                               logprobs[[59, 40, 46]][:, [3, 9, 50]], atol=4e-3)
    answer = scores_of(client, family, tokens[:40], items, {"top_k": 1, "over": "labels"},
                       label_ids=[3, 9, 50])
    shares = np.exp(log_softmax(logits[[59, 40, 46]][:, [3, 9, 50]]))
    assert answer.as_numpy("top_items")[0] == shares[:, 0].argmax()
    np.testing.assert_allclose(answer.as_numpy("scores")[0], shares[shares[:, 0].argmax()], atol=4e-3)
    answer = client.infer(family, [ids_input(tritonclient.http, "input_ids", tokens)],
                          parameters={"max_tokens": 0, "prompt_logprobs": 1})
    np.testing.assert_allclose(answer.as_numpy("prompt_logprobs")[1:], own, atol=4e-3)
    np.testing.assert_array_equal(answer.as_numpy("prompt_top_ids")[1:, 0],
                                  logits[:-1].argmax(-1))


def test_a_classifier_scores_as_transformers(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    tokens, classes = (expected("qwen3_classes", name, HEADS) for name in ("tokens", "classes"))
    items = [tokens[40:60], tokens[40:41], tokens[40:72]]
    answer = scores_of(client, "qwen3_classes", tokens[:40], items, {"activation": "none"})
    np.testing.assert_allclose(answer.as_numpy("scores"), classes[[59, 40, 71]], atol=4e-3)
    answer = scores_of(client, "qwen3_classes", [], [tokens[:30]], {})
    np.testing.assert_allclose(answer.as_numpy("scores"), np.exp(log_softmax(classes[[29]])), atol=4e-3)
    with pytest.raises(InferenceServerException, match='does not do "generate"'):
        client.infer("qwen3_classes", [ids_input(tritonclient.http, "item_ids", tokens[:4])],
                     parameters={"task": "generate"})


def test_an_embedding_model_embeds_as_transformers(server):
    client = tritonclient.http.InferenceServerClient(server.http)
    tokens, states = (expected("qwen3_embedding", name, HEADS) for name in ("tokens", "states"))
    lengths = [72, 5, 33]
    inputs = [ids_input(tritonclient.http, "input_ids",
                        np.concatenate([tokens[:length] for length in lengths])),
              ids_input(tritonclient.http, "lengths", lengths)]
    answer = client.infer("qwen3_embedding", inputs)
    want = states[[length - 1 for length in lengths]].astype(np.float64)
    unit = want / np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(answer.as_numpy("embedding"), unit, atol=4e-3)
    answer = client.infer("qwen3_embedding", inputs,
                          parameters={"dimensions": 8, "normalize": False})
    np.testing.assert_allclose(answer.as_numpy("embedding"), want[:, :8], atol=4e-3)
    answer = client.infer("qwen3_mean", inputs, parameters={"normalize": False})
    want = np.stack([states[:length].mean(0) for length in lengths])
    np.testing.assert_allclose(answer.as_numpy("embedding"), want, atol=4e-3)
    answer = scores_of(client, "qwen3_embedding", tokens[:72], [tokens[:5], tokens[:33]], {})
    np.testing.assert_allclose(answer.as_numpy("scores")[:, 0], unit[1:] @ unit[0], atol=4e-3)


def test_prompts_of_a_decoder_come_by_their_names(server):
    def ask(path, **fields):
        connection = http.client.HTTPConnection(server.http, timeout=30)
        connection.request("POST", path, json.dumps({"model": "embedder", **fields}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def embed(text, **how):
        return ask("/v1/embeddings", input=text, **how)

    query = embed("w5 w6", prompt_name="query")[1]["data"][0]["embedding"]
    assert query == embed("w1 w2 w5 w6")[1]["data"][0]["embedding"]
    assert query != embed("w5 w6")[1]["data"][0]["embedding"]
    status, error = embed("w5 w6", prompt_name="other")
    assert status == 400 and "(query)" in error["error"]["message"]
    cosine = ask("/v1/score", text_1="w5 w6", text_2=["w7"], prompt_name="query")[1]["data"][0]["score"]
    assert cosine == ask("/v1/score", text_1="w1 w2 w5 w6", text_2=["w7"])[1]["data"][0]["score"]
