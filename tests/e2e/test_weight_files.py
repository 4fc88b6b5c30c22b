"""Language models from other files than safetensors, and in the forms that their weights may take."""

import base64
import http.client
import json
import shutil
import struct

import numpy as np
import openai
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

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
    for name, extra in (("defaults", {}), ("bare", {"generation_defaults": "false"})):
        shutil.copytree(models / "stored" / "1", models / name / "1")
        (models / name / "1" / "generation_config.json").write_text('{"top_k": 1, "temperature": 0.7}')
        settings(models / name, **extra)
    for name, extra in (("short", {}), ("cut", {"overflow": "truncate_left"})):
        shutil.copytree(models / "stored" / "1", models / name / "1")
        settings(models / name, max_model_len=24, **extra)
    write_llama2c(models / "llama2c" / "1")
    settings(models / "llama2c")
    for name, write in (("ranks", write_ranks), ("pair", write_encoder_and_merges)):
        shutil.copytree(models / "stored" / "1", models / name / "1")
        write(models / name / "1")
        settings(models / name)
    return start(models)


def write_ranks(folder):
    """Llama 3's kind of tokenizer.model: bytes from the blank on, "AB" as 89, and tokens around."""
    tokens = [bytes([32 + i]) for i in range(89)] + [b"AB"]
    folder.joinpath("tokenizer.model").write_bytes(b"".join(
        base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)))
    around = {"90": {"content": "<|begin_of_text|>", "special": True}, "91": {"content": "<|eot_id|>", "special": True}}
    folder.joinpath("tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": around}))


def write_encoder_and_merges(folder):
    """GPT-2's two files: the same bytes and one merge."""
    tokens = ["\u0120"] + [chr(33 + i) for i in range(88)] + ["AB", "<|endoftext|>"]
    folder.joinpath("encoder.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    folder.joinpath("vocab.bpe").write_text("#version: 0.2\nA B\n")


def tensors(path):
    """Those of a safetensors file in f32."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    return {name: np.frombuffer(data[8 + length:], np.float32, int(np.prod(entry["shape"])),
                                entry["data_offsets"][0]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def side_by_side(rows, heads):
    """Rows of Q or K with the pairs of rotary embeddings beside each other."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(rows.shape)


def piece(text, score, kind):
    """A piece of a SentencePiece model's protobuf."""
    body = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(body)]) + body


def write_llama2c(folder):
    """The llama of transformers as llama2.c keeps it (version 1), and a tokenizer.model of bytes."""
    folder.mkdir(parents=True)
    config = json.loads((DECODERS / "llama" / "config.json").read_text())
    weights = tensors(DECODERS / "llama" / "model.safetensors")
    heads, keys, layers = (config[key] for key in ("num_attention_heads", "num_key_value_heads",
                                                   "num_hidden_layers"))

    def each(name):
        return [weights[f"model.layers.{i}.{name}.weight"] for i in range(layers)]

    order = each("input_layernorm") + each("post_attention_layernorm")
    order += [weights["model.norm.weight"], weights["model.embed_tokens.weight"]]
    order += [side_by_side(rows, heads) for rows in each("self_attn.q_proj")]
    order += [side_by_side(rows, keys) for rows in each("self_attn.k_proj")]
    for name in ("self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"):
        order += each(name)
    order.append(weights["lm_head.weight"])
    header = struct.pack("<Ii7iB", 0x616B3432, 1, config["hidden_size"], config["intermediate_size"], layers, heads,
                         keys, config["vocab_size"], config["max_position_embeddings"], 0)
    (folder / "model.bin").write_bytes(header.ljust(256, b"\0") +
                                       b"".join(np.ascontiguousarray(x, np.float32).tobytes() for x in order))
    pieces = piece(b"<unk>", 0, 2) + piece(b"<s>", 0, 3) + piece(b"</s>", 0, 3)
    for i in range(config["vocab_size"] - 3):
        pieces += piece(b"<0x%02X>" % (32 + i), 0, 6)
    trainer = b"\x18\x02\x98\x02\x01"  # model_type BPE, byte_fallback
    normalizer = b"\x18\x00"  # no blank before a text
    (folder / "tokenizer.model").write_bytes(pieces + b"\x12" + bytes([len(trainer)]) + trainer +
                                             b"\x1a" + bytes([len(normalizer)]) + normalizer)


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


def infer(server, model, ids, **parameters):
    client = tritonclient.http.InferenceServerClient(server.http)
    tensor = tritonclient.http.InferInput("input_ids", [len(ids)], "INT64")
    tensor.set_data_from_numpy(np.array(ids, dtype=np.int64))
    result = client.infer(model, [tensor], parameters={"ignore_eos": True, **parameters})
    return result.as_numpy("output_ids").tolist(), result.get_response()["parameters"]


def test_a_llama2c_checkpoint_answers_as_transformers(server):
    want = expected("llama", "greedy")
    assert answer(server, "llama2c", "llama", len(want)) == want.tolist()


def test_a_tokenizer_model_serves_where_there_is_no_tokenizer_json(server):
    client = openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)
    done = client.completions.create(model="llama2c", prompt="AB", max_tokens=3, temperature=0)
    assert done.usage.prompt_tokens == 3  # <s> and two bytes


@pytest.mark.parametrize("model, begin", [("ranks", [90]), ("pair", [])])
def test_ranks_and_gpt2s_two_files_serve_where_there_is_no_tokenizer_json(server, model, begin):
    connection = http.client.HTTPConnection(server.http, timeout=30)
    for text, ids in (("AB BA", [89, 0, 34, 33]), ("AB<|eot_id|>" if begin else "AB<|endoftext|>", [89, 91 if begin else 90])):
        connection.request("POST", "/tokenize", json.dumps({"model": model, "prompt": text}))
        assert json.loads(connection.getresponse().read())["tokens"] == begin + ids
        connection.request("POST", "/detokenize", json.dumps({"model": model, "tokens": ids}))
        assert json.loads(connection.getresponse().read())["prompt"] == text


def test_sampling_begins_from_the_generation_config_unless_switched_off(server):
    ids = expected("llama", "tokens")[:8]
    want = expected("llama", "greedy")[:12].tolist()
    assert infer(server, "defaults", ids, max_tokens=12)[0] == want  # its top_k is 1
    assert infer(server, "bare", ids, max_tokens=12, seed=1)[0] != want
    assert infer(server, "defaults", ids, max_tokens=12, top_k=0, temperature=2.0, seed=1)[0] != want


def test_a_prompt_that_is_too_long_is_refused_or_loses_its_beginning(server):
    ids = expected("llama", "tokens")[:40].tolist()
    with pytest.raises(InferenceServerException, match="40 tokens"):
        infer(server, "short", ids, max_tokens=4)
    want = infer(server, "short", ids[-20:], max_tokens=4, temperature=0)[0]
    for model, parameters in (("cut", {}), ("short", {"overflow": "truncate_left"})):
        said, told = infer(server, model, ids, max_tokens=4, temperature=0, **parameters)
        assert said == want
        assert told["truncated_tokens"] == 20 and told["prompt_tokens"] == 20
    assert "truncated_tokens" not in infer(server, "cut", ids[:4], max_tokens=4)[1]
