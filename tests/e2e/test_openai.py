"""OpenAI's API, asked with its own client."""

import http.client
import json
import shutil

import openai
import pytest

from conftest import ROOT
from test_language_models import PROMPT, expected, words

DECODERS = ROOT / "tests" / "conformance" / "decoders"


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    version = models / "words" / "1"
    version.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(DECODERS / "llama" / name, version / name)
    words().save(str(version / "tokenizer.json"))
    (version / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ message.content }}{% if not loop.last %} {% endif %}{% endfor %}")
    return start(models)


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)


def ask(server, method, path, body=None):
    """Status and parsed body of a plain request."""
    connection = http.client.HTTPConnection(server.http, timeout=30)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def prompt_text():
    return words().decode(expected("llama", "tokens")[:PROMPT])


GREEDY = {"temperature": 0, "extra_body": {"ignore_eos": True}}


def test_lists_its_models(client):
    assert [model.id for model in client.models.list()] == ["words"]
    assert client.models.retrieve("words").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_completes_text_and_token_ids(client):
    want = expected("llama", "greedy")
    for prompt in (prompt_text(), expected("llama", "tokens")[:PROMPT].tolist()):
        answer = client.completions.create(model="words", prompt=prompt, max_tokens=len(want), **GREEDY)
        assert answer.choices[0].text == words().decode(want)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.prompt_tokens == PROMPT
        assert answer.usage.completion_tokens == len(want)
        assert answer.usage.total_tokens == PROMPT + len(want)


def test_answers_in_a_chat(client):
    want = expected("llama", "greedy")
    said = prompt_text().split()
    answer = client.chat.completions.create(
        model="words", max_completion_tokens=len(want),
        messages=[{"role": "user", "content": " ".join(said[:4])},
                  {"role": "assistant", "content": " ".join(said[4:])}], **GREEDY)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == words().decode(want)


def test_an_answer_in_a_chat_may_fill_the_context(client):
    answer = client.chat.completions.create(
        model="words", messages=[{"role": "user", "content": prompt_text()}], **GREEDY)
    assert answer.usage.total_tokens == 128
    assert answer.choices[0].finish_reason == "length"


def test_ends_before_a_stop(client):
    want = words().decode(expected("llama", "greedy"))
    stop = " ".join(want.split()[5:7])
    answer = client.completions.create(model="words", prompt=prompt_text(), max_tokens=20,
                                       stop=[stop, "never"], **GREEDY)
    assert answer.choices[0].text == want[:want.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_errors_have_openais_shape(client, server):
    with pytest.raises(openai.NotFoundError, match="'other' does not exist"):
        client.completions.create(model="other", prompt="w1")
    with pytest.raises(openai.BadRequestError, match="temperature") as error:
        client.completions.create(model="words", prompt="w1", temperature=-1)
    assert error.value.body["type"] == "invalid_request_error"
    for field in ({"n": 2}, {"logprobs": 3}, {"echo": True}, {"stream": True}):
        with pytest.raises(openai.BadRequestError, match=f"'{next(iter(field))}' is not supported"):
            client.completions.create(model="words", prompt="w1", **field)
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.chat.completions.create(model="words", messages=[{"role": "user", "content": "w1"}],
                                       response_format={"type": "json_object"})
    for body, text in (("{", "JSON"), ("[]", "a JSON object"), ('{"model": "words"}', "prompt")):
        status, answer = ask(server, "POST", "/v1/completions", body)
        assert status == 400
        assert text in answer["error"]["message"]
    assert ask(server, "GET", "/v1/completions")[0] == 405
    assert ask(server, "GET", "/v1/other")[1]["error"]["message"].startswith("there is no")


def test_unknown_fields_are_accepted(client):
    answer = client.completions.create(model="words", prompt="w1 w2", max_tokens=1, user="someone",
                                       extra_body={"something_new": {"a": [1, 2]}})
    assert answer.usage.completion_tokens <= 1


def test_a_deadline_that_cannot_be_met_is_an_error(client):
    with pytest.raises(openai.InternalServerError):
        client.completions.create(model="words", prompt="w1", max_tokens=100,
                                  extra_body={"deadline_ms": 0.0001, "ignore_eos": True})
