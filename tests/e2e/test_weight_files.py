"""Language models from other files than safetensors, and in the forms that their weights may take."""

import shutil

import openai
import pytest
import tritonclient.http

from conftest import ROOT
from test_language_models import DECODERS, expected, greedy, prompt

GGUF = ROOT / "tests" / "conformance" / "gguf"
FAMILIES = ["llama", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi3"]


def settings(folder, **parameters):
    """config.pbtxt with these parameters."""
    parameters.setdefault("kv_cache_bytes", 4194304)
    folder.joinpath("config.pbtxt").write_text("".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in parameters.items()))


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        version = models / f"gguf-{family}" / "1"
        version.mkdir(parents=True)
        shutil.copy(GGUF / f"{family}.gguf", version / "any name.gguf")
        settings(version.parent)
    shutil.copytree(GGUF / "split", models / "parts" / "1")
    settings(models / "parts")
    for form in ("bf16", "stored", "int4", "int4m_g64"):
        version = models / form / "1"
        version.mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(DECODERS / "llama" / name, version / name)
        settings(version.parent, weights=form)
    return start(models)


def answer(server, model, family, count):
    client = tritonclient.http.InferenceServerClient(server.http)
    result = client.infer(model, [prompt(tritonclient.http, family)], parameters=greedy(count))
    return result.as_numpy("output_ids").tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gguf_file_answers_as_transformers(server, family):
    want = expected(family, "greedy")
    assert answer(server, f"gguf-{family}", family, len(want)) == want.tolist()


def test_a_gguf_file_in_parts_is_one_model(server):
    want = expected("llama", "greedy")
    assert answer(server, "parts", "llama", len(want)) == want.tolist()


def test_a_gguf_file_brings_its_tokenizer_and_chat_template(server):
    client = openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)
    chat = client.chat.completions.create(
        model="gguf-llama", messages=[{"role": "user", "content": "AB"}], max_tokens=4, temperature=0)
    assert chat.usage.prompt_tokens == 3  # <s> of the template, and two bytes


@pytest.mark.parametrize("form", ["bf16", "stored", "int4", "int4m_g64"])
def test_weights_take_the_form_that_a_deployment_names(server, form):
    first = answer(server, form, "llama", 6)
    assert len(first) == 6
    if form == "stored":
        assert first == expected("llama", "greedy")[:6].tolist()
    assert answer(server, form, "llama", 6) == first
