"""Every field that the `openai` SDK can send: taken, refused by its name, or known to change nothing. A version of the SDK
with a new field fails here until somebody has decided."""

import http.client
import json
import re
import typing
import urllib.request

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from test_language_models import write_words_model

TEXT, CHAT, EMBEDDING = "/v1/completions", "/v1/chat/completions", "/v1/embeddings"
PARAMS = {TEXT: completion_create_params.CompletionCreateParamsStreaming,
          CHAT: chat_create_params.CompletionCreateParamsStreaming,
          EMBEDDING: embedding_create_params.EmbeddingCreateParams}
LEAST = {TEXT: {"model": "words", "prompt": "w1", "max_tokens": 1},
         CHAT: {"model": "words", "messages": [{"role": "user", "content": "w1"}], "max_tokens": 1},
         EMBEDDING: {"model": "words", "input": "w1"}}

SAMPLING = {"frequency_penalty": "x", "presence_penalty": "x", "temperature": "x", "top_p": "x", "seed": "x", "n": "x",
            "max_tokens": "x", "logit_bias": 5, "stop": 5, "stream": "x", "stream_options": 5, "model": 5}
# What is taken, with a value that it cannot have: whoever reads a field says so by its name.
TAKEN = {TEXT: {**SAMPLING, "prompt": 5, "echo": "x", "logprobs": "x", "best_of": "x"},
         CHAT: {**SAMPLING, "messages": 5, "logprobs": "x", "top_logprobs": "x", "max_completion_tokens": "x", "tools": 5},
         EMBEDDING: {"input": 5, "model": 5, "dimensions": "x", "encoding_format": 5}}
# What would change the answer and is not built, with such a value.
REFUSED = {TEXT: {"suffix": "w2"},
           CHAT: {"audio": {"voice": "alloy", "format": "wav"}, "function_call": "auto", "functions": [{"name": "f"}],
                  "modalities": ["text", "audio"], "moderation": {"model": "omni"},
                  "prediction": {"type": "content", "content": "w2"}, "reasoning_effort": "high",
                  "response_format": {"type": "json_object"}, "tool_choice": "required", "verbosity": "low",
                  "web_search_options": {}},
           EMBEDDING: {}}
# What changes nothing about an answer here: who asks, what is kept, where it is billed.
IGNORED = {TEXT: {"user": "u"},
           CHAT: {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "flex", "safety_identifier": "s",
                  "prompt_cache_key": "k", "prompt_cache_options": {}, "prompt_cache_retention": "24h",
                  "parallel_tool_calls": False},
           EMBEDDING: {"user": "u"}}
FIELDS = [(path, field) for path in PARAMS for field in sorted(typing.get_type_hints(PARAMS[path]))]


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    version = tmp_path_factory.mktemp("models") / "words" / "1"
    write_words_model(version, "{{ messages[0].content }}")
    return start(version.parent.parent)


def ask(server, path, **fields):
    connection = http.client.HTTPConnection(server.http, timeout=30)
    connection.request("POST", path, json.dumps({**LEAST[path], **fields}))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def unknown_fields(server):
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as page:
        return float(re.search(r"^sluice_unknown_fields_total (\S+)$", page.read().decode(), re.MULTILINE)[1])


@pytest.mark.parametrize("path, field", FIELDS)
def test_no_field_of_the_sdk_is_passed_over(server, path, field):
    before = unknown_fields(server)
    assert ask(server, path)[0] == 200
    if field in TAKEN[path]:
        status, answer = ask(server, path, **{field: TAKEN[path][field]})
        assert status == 400 and f"'{field}'" in answer["error"]["message"], answer
    elif field in REFUSED[path]:
        status, answer = ask(server, path, **{field: REFUSED[path][field]})
        assert status == 400 and f"'{field}' is not supported" in answer["error"]["message"], answer
    else:
        assert ask(server, path, **{field: IGNORED[path][field]})[0] == 200
    assert unknown_fields(server) == before


def test_each_field_is_in_one_list():
    for path, params in PARAMS.items():
        lists = [set(each[path]) for each in (TAKEN, REFUSED, IGNORED)]
        assert set.union(*lists) == set(typing.get_type_hints(params))
        assert sum(map(len, lists)) == len(set.union(*lists))
