"""OpenAI's API, asked with its own client."""

import asyncio
import http.client
import json
import re
import socket
import time
import urllib.request

import numpy as np
import openai
import pytest

from test_language_models import PROMPT, expected, words, write_words_model



@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    version = models / "words" / "1"
    write_words_model(version)
    (version / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ message.content }}{% if not loop.last %} {% endif %}{% endfor %}"
        "{% if more %} {{ more }}{% endif %}")
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


def metric(server, name):
    """The sum of a family over its labels."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as page:
        lines = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page.read().decode(), re.MULTILINE)
    return sum(float(value) for value in lines)


def until(condition, seconds=30):
    """Looks every now and then whether it has come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


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


def test_continues_the_last_message_of_a_chat(client):
    said = client.completions.create(model="words", prompt="w1 w2 w3", max_tokens=6, **GREEDY)
    messages = [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2 w3"}]
    extra = {**GREEDY["extra_body"], "chat_template_kwargs": {"more": "w9"}}
    rest = {key: value for key, value in GREEDY.items() if key != "extra_body"}

    def chat(**fields):
        return client.chat.completions.create(model="words", messages=messages, max_tokens=6, **rest,
                                              extra_body={**extra, **fields})

    assert chat().usage.prompt_tokens == 4  # the template ends with "w9"
    continued = chat(continue_final_message=True)
    assert continued.usage.prompt_tokens == 3
    assert continued.choices[0].message.content == said.choices[0].text
    with pytest.raises(openai.BadRequestError, match="add_generation_prompt"):
        chat(continue_final_message=True, add_generation_prompt=True)


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
    for field in ({"best_of": 2}, {"suffix": "w1"}, {"extra_body": {"min_tokens": 3}}):
        field_name = next(iter(field.get("extra_body", field)))
        with pytest.raises(openai.BadRequestError, match=f"'{field_name}' is not supported"):
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


def test_streams_a_completion(client):
    want = expected("llama", "greedy")
    chunks = list(client.completions.create(model="words", prompt=prompt_text(), max_tokens=len(want), stream=True,
                                            stream_options={"include_usage": True}, **GREEDY))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == words().decode(want)
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == PROMPT
    assert chunks[-1].usage.completion_tokens == len(want)


def test_streams_a_chat_to_sync_and_async_clients(client, server):
    want = words().decode(expected("llama", "greedy"))
    ask_for = {"model": "words", "max_tokens": len(want.split()), "stream": True,
               "messages": [{"role": "user", "content": [{"type": "text", "text": prompt_text()}]}], **GREEDY}
    chunks = list(client.chat.completions.create(**ask_for))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == want
    assert chunks[-1].choices[0].finish_reason == "length"

    async def many():
        async with openai.AsyncOpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0) as other:
            async def one():
                stream = await other.chat.completions.create(**ask_for)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return await asyncio.gather(*(one() for _ in range(64)))

    assert asyncio.run(many()) == [want] * 64


def test_a_stream_ends_before_a_stop(client):
    want = words().decode(expected("llama", "greedy"))
    stop = " ".join(want.split()[5:7])
    chunks = list(client.completions.create(model="words", prompt=prompt_text(), max_tokens=20, stop=[stop],
                                            stream=True, **GREEDY))
    assert "".join(chunk.choices[0].text for chunk in chunks) == want[:want.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_answers_several_prompts(client):
    want = expected("llama", "greedy")
    ids = expected("llama", "tokens")[:PROMPT].tolist()
    answer = client.completions.create(model="words", prompt=[ids, ids[:3], ids], max_tokens=len(want), **GREEDY)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.choices[0].text == answer.choices[2].text == words().decode(want)
    assert answer.choices[1].text != words().decode(want)
    assert answer.usage.prompt_tokens == 2 * PROMPT + 3


def test_a_client_that_leaves_frees_its_sequence(client, server):
    def pending():
        return metric(server, "nv_inference_pending_request_count")

    for _ in range(20):
        stream = client.completions.create(model="words", prompt="w1 w2", max_tokens=120, stream=True, **GREEDY)
        next(iter(stream))
        stream.close()
    until(lambda: pending() == 0)
    assert metric(server, "sluice_http_streams") == 0


def test_a_slow_reader_gets_everything(server):
    body = json.dumps({"model": "words", "prompt": "w1 w2", "max_tokens": 100, "stream": True, "temperature": 0,
                       "ignore_eos": True})
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(tuple([server.http.split(":")[0], int(server.http.split(":")[1])]))
        slow.sendall(f"POST /v1/completions HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        got = b""
        while piece := slow.recv(512):
            got += piece
            time.sleep(0.001)
    head, _, events = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    events = [json.loads(event[6:]) for event in events.decode().split("\n\n") if event[:7] == "data: {"]
    assert len("".join(event["choices"][0]["text"] for event in events).split()) == 100
    assert got.endswith(b"data: [DONE]\n\n")


def test_errors_of_streams_are_exceptions(client):
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model="words", prompt="w1", temperature=-1, stream=True)
    with pytest.raises(openai.InternalServerError):
        client.completions.create(model="words", prompt="w1", max_tokens=100, stream=True,
                                  extra_body={"deadline_ms": 0.0001, "ignore_eos": True})
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        client.completions.create(model="words", prompt="w1", stream_options={"include_usage": True})


def test_the_name_of_a_request_comes_back(client):
    answer = client.completions.with_raw_response.create(model="words", prompt="w1", max_tokens=1,
                                                         extra_headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"


DRAWN = {"temperature": 1.0, "seed": 7, "extra_body": {"ignore_eos": True}}


def test_gives_several_answers_of_which_the_first_is_the_one_alone(client):
    alone = client.completions.create(model="words", prompt=prompt_text(), max_tokens=12, **DRAWN)
    several = client.completions.create(model="words", prompt=[prompt_text(), "w5"], max_tokens=12, n=4, **DRAWN)
    texts = [choice.text for choice in several.choices]
    assert [choice.index for choice in several.choices] == list(range(8))
    assert texts[0] == alone.choices[0].text
    assert len(set(texts)) == 8
    assert several.usage.completion_tokens == 8 * 12
    assert several.usage.prompt_tokens == PROMPT + 1


def test_streams_several_answers(client):
    whole = client.chat.completions.create(model="words", max_tokens=12, n=5,
                                           messages=[{"role": "developer", "content": prompt_text()}], **DRAWN)
    texts, reasons = [""] * 5, [None] * 5
    for chunk in client.chat.completions.create(model="words", max_tokens=12, n=5, stream=True,
                                                messages=[{"role": "developer", "content": prompt_text()}], **DRAWN):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == ["length"] * 5


def test_tells_logprobs_in_both_shapes(client):
    want = words().decode(expected("llama", "greedy"))
    text = client.completions.create(model="words", prompt=prompt_text(), max_tokens=8, logprobs=3, **GREEDY).choices[0]
    assert len(text.logprobs.tokens) == len(text.logprobs.token_logprobs) == len(text.logprobs.text_offset) == 8
    for token, logprob, top in zip(text.logprobs.tokens, text.logprobs.token_logprobs, text.logprobs.top_logprobs):
        assert logprob <= 0
        assert max(top, key=top.get) == token and top[token] == logprob
        assert len(top) == 3
    assert "".join(text.logprobs.tokens).split() == want.split()[:8]
    chat = client.chat.completions.create(model="words", max_tokens=8, logprobs=True, top_logprobs=3,
                                          messages=[{"role": "user", "content": prompt_text()}], **GREEDY).choices[0]
    assert [entry.logprob for entry in chat.logprobs.content] == text.logprobs.token_logprobs
    for entry in chat.logprobs.content:
        assert bytes(entry.bytes).decode() == entry.token == entry.top_logprobs[0].token
        assert [other.logprob for other in entry.top_logprobs] == sorted(
            (other.logprob for other in entry.top_logprobs), reverse=True)
    streamed = client.completions.create(model="words", prompt=prompt_text(), max_tokens=8, logprobs=3, stream=True,
                                         **GREEDY)
    pieces = [chunk.choices[0].logprobs for chunk in streamed if chunk.choices[0].logprobs]
    assert sum((piece.token_logprobs for piece in pieces), []) == text.logprobs.token_logprobs
    assert sum((piece.text_offset for piece in pieces), []) == text.logprobs.text_offset


def test_biases_decide_what_is_said(client):
    answer = client.completions.create(model="words", prompt=prompt_text(), max_tokens=5, logit_bias={"17": 100},
                                       **GREEDY)
    assert answer.choices[0].text.split() == ["w17"] * 5
    first = int(expected("llama", "greedy")[0])
    answer = client.completions.create(model="words", prompt=prompt_text(), max_tokens=1,
                                       logit_bias={str(first): -100}, **GREEDY)
    assert answer.choices[0].text != f"w{first}"
    with pytest.raises(openai.BadRequestError, match="outside") as error:
        client.completions.create(model="words", prompt="w1", logit_bias={"5000": 1})
    assert error.value.body["param"] == "logit_bias"


def test_an_echo_begins_with_its_prompt(client):
    want = words().decode(expected("llama", "greedy"))
    answer = client.completions.create(model="words", prompt=prompt_text() + " ", max_tokens=len(want.split()), echo=True, **GREEDY)
    assert answer.choices[0].text == prompt_text() + " " + want


def test_an_echo_with_logprobs_scores_its_prompt(client):
    ids = expected("llama", "tokens")[:PROMPT].tolist()
    scored = client.completions.create(model="words", prompt=ids, max_tokens=0, echo=True, logprobs=2,
                                       temperature=0).choices[0]
    assert [token.strip() for token in scored.logprobs.tokens] == [f"w{token}" for token in ids]
    assert scored.logprobs.token_logprobs[0] is None
    assert all(logprob < 0 for logprob in scored.logprobs.token_logprobs[1:])
    assert len(scored.logprobs.tokens) == PROMPT
    # The reference's own numbers; keys and values are kept in f16.
    logits = expected("llama", "logits")[:PROMPT].astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(scored.logprobs.token_logprobs[1:],
                               [logprobs[i, ids[i + 1]] for i in range(PROMPT - 1)], atol=5e-3)
    streamed = list(client.completions.create(model="words", prompt=ids, max_tokens=3, echo=True, logprobs=2,
                                              stream=True, **GREEDY))
    assert streamed[0].choices[0].logprobs.token_logprobs[:PROMPT] == scored.logprobs.token_logprobs


def test_tells_the_usage_in_every_event_when_asked_to(client):
    chunks = list(client.completions.create(model="words", prompt=prompt_text(), max_tokens=6, stream=True,
                                            stream_options={"continuous_usage_stats": True}, **GREEDY))
    assert all(chunk.usage.prompt_tokens == PROMPT for chunk in chunks)
    assert chunks[-1].usage.completion_tokens == 6


def test_variables_of_a_chat_template_come_with_the_request(client):
    def prompt_tokens(**extra):
        answer = client.chat.completions.create(model="words", messages=[{"role": "user", "content": "w1 w2"}],
                                                max_tokens=1, extra_body=extra)
        return answer.usage.prompt_tokens

    assert prompt_tokens() == 2
    assert prompt_tokens(chat_template_kwargs={"more": "w3 w4 w5"}) == 5
    with pytest.raises(openai.BadRequestError, match="chat_template_kwargs"):
        prompt_tokens(chat_template_kwargs=[1])
