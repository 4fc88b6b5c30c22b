"""The demo's writer: the lines that transformers writes with it, through OpenAI's API and in tokens."""

import json
import shutil

import numpy as np
import openai
import pytest
import tritonclient.http

from conftest import DEMO

MODEL = DEMO / "package_writer"
GOLDEN = json.loads((MODEL / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(MODEL, models / "package_writer")
    return start(models)


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)


def question(description):
    return {"model": "package_writer", "messages": [{"role": "user", "content": description}], "max_tokens": 32,
            "temperature": 0}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["line"])
def test_writes_the_tokens_of_transformers(server, case):
    http = tritonclient.http.InferenceServerClient(server.http)
    message = json.dumps(question(case["description"])["messages"]).encode()
    tensor = tritonclient.http.InferInput("messages", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([message], dtype=object))
    answer = http.infer("package_writer", [tensor], parameters={"max_tokens": 32, "temperature": 0})
    ids = answer.as_numpy("output_ids").tolist()
    # The end of the text ends an answer; whether it stands in it is not asked here.
    assert [at for at in ids if at != 0] == case["ids"]
    assert answer.as_numpy("text")[0].decode() == case["line"]


def test_streams_the_same_line_in_pieces(client):
    for case in GOLDEN:
        pieces = [chunk.choices[0].delta.content or ""
                  for chunk in client.chat.completions.create(stream=True, **question(case["description"]))
                  if chunk.choices]
        assert "".join(pieces) == case["line"]
        assert len([piece for piece in pieces if piece]) > 1


def test_a_plain_completion_is_what_the_template_writes(client):
    case = GOLDEN[0]
    answer = client.completions.create(model="package_writer", max_tokens=32, temperature=0,
                                       prompt=f"<|user|>{case['description']}<|assistant|>")
    assert answer.choices[0].text == case["line"]
    assert answer.choices[0].finish_reason == "stop"
