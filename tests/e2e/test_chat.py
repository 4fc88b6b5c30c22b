"""`sluice chat` over pipes: what a person types comes on standard input, answers leave on standard output."""

import json
import re
import signal
import subprocess

import numpy as np
import pytest

from conftest import BINARY
from test_language_models import PROMPT, expected, words, write_words_model
from test_pull import LLAMA

TEMPLATE = "{% for message in messages %}{{ message.content }}{% if not loop.last %} {% endif %}{% endfor %}"
FIGURES = re.compile(r"(\d+) tokens of prompt \((\d+) cached\), (\d+) of answer, \d+ ms to the first")


def write_model(folder, template=TEMPLATE):
    return write_words_model(folder, template)


def chat(folder, lines, *flags):
    done = subprocess.run([str(BINARY), "chat", str(folder), "--temperature", "0", *flags], input="\n".join(lines) + "\n",
                          text=True, capture_output=True, timeout=60)
    figures = [tuple(map(int, found.groups())) for found in FIGURES.finditer(done.stderr)]
    return done, figures


def prompt():
    return words().decode(expected("llama", "tokens")[:PROMPT])


def answer(count):
    """What transformers says, up to the token that ends an answer."""
    end = json.loads((LLAMA / "config.json").read_text()).get("eos_token_id")
    ids = list(expected("llama", "greedy")[:count])
    return words().decode(ids[:ids.index(end)] if end in ids else ids)


def test_answers_as_the_model_does(tmp_path):
    done, figures = chat(write_model(tmp_path / "words"), [prompt()], "--max-tokens", "6")
    assert done.returncode == 0, done.stderr
    assert done.stdout == answer(6) + "\n"
    assert figures[0][0] == PROMPT


def test_what_was_said_is_part_of_the_talk_until_it_is_forgotten(tmp_path):
    folder = write_model(tmp_path / "words")
    done, figures = chat(folder, [prompt(), "w5 w6", "/reset", prompt()], "--max-tokens", "6")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == third == answer(6)
    said = PROMPT + len(first.split()) + 2
    assert [prompt_tokens for prompt_tokens, _, _ in figures] == [PROMPT, said, PROMPT]
    assert figures[1][1] > 0, "the talk's beginning was computed twice"
    alone, _ = chat(folder, [f"{prompt()} {first} w5 w6"], "--max-tokens", "6")
    assert alone.stdout.strip() == second


def test_a_system_text_comes_first(tmp_path):
    folder = write_model(tmp_path / "words")
    done, figures = chat(folder, ["w5"], "--system", "w7 w8", "--max-tokens", "4")
    alone, _ = chat(folder, ["w7 w8 w5"], "--max-tokens", "4")
    assert figures[0][0] == 3 and done.stdout == alone.stdout


def test_what_no_longer_fits_is_forgotten_from_its_beginning(tmp_path):
    lines = [" ".join(f"w{i}" for i in range(2, 52))] * 4
    done, figures = chat(write_model(tmp_path / "words"), lines, "--max-tokens", "20")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert "no longer fit" in done.stderr
    assert all(tokens < 128 for tokens, _, _ in figures)


def test_without_a_template_texts_are_continued(tmp_path):
    done, _ = chat(write_model(tmp_path / "words", template=None), [prompt(), prompt()], "--max-tokens", "6")
    assert done.stdout == f"{answer(6)}\n{answer(6)}\n"
    assert "no chat template" in done.stderr


def test_weights_and_seeds_are_taken(tmp_path):
    folder = write_model(tmp_path / "words")
    drawn = [chat(folder, [prompt()], "--temperature", "1", "--seed", seed, "--weights", "bf16")[0].stdout
             for seed in ("1", "1", "2", "3")]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


@pytest.mark.parametrize("arguments, said", [
    (["./missing"], "no folder './missing'"),
    (["FOLDER", "--temperature", "-1"], "temperature"),
    (["FOLDER", "--weights", "int9"], "int9"),
])
def test_what_is_wrong_is_told(tmp_path, arguments, said):
    folder = write_model(tmp_path / "words")
    done, _ = chat(arguments[0].replace("FOLDER", str(folder)), ["w1"], *arguments[1:])
    assert done.returncode in (1, 2) and said in done.stderr


def write_slow_model(folder):
    """Random weights that take a second or two for a thousand tokens."""
    write_model(folder)
    config = json.loads((LLAMA / "config.json").read_text())
    hidden, layers, wide, heads = 512, 8, 2048, 8
    config.update(hidden_size=hidden, num_hidden_layers=layers, intermediate_size=wide, num_attention_heads=heads,
                  num_key_value_heads=heads, head_dim=hidden // heads, max_position_embeddings=16384, eos_token_id=None)
    vocabulary = config["vocab_size"]
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.weight": (vocabulary, hidden),
              "model.norm.weight": (hidden,)}
    for layer in range(layers):
        name = f"model.layers.{layer}."
        shapes.update({name + f"self_attn.{part}_proj.weight": (hidden, hidden) for part in "qkvo"})
        shapes.update({name + f"mlp.{part}_proj.weight": (wide, hidden) for part in ("gate", "up")})
        shapes.update({name + "mlp.down_proj.weight": (hidden, wide), name + "input_layernorm.weight": (hidden,),
                       name + "post_attention_layernorm.weight": (hidden,)})
    rng, header, data, begin = np.random.default_rng(1), {}, [], 0
    for name, shape in shapes.items():
        values = (rng.standard_normal(shape) * 0.05).astype(np.float32)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + values.nbytes]}
        begin += values.nbytes
        data.append(values.tobytes())
    text = json.dumps(header).encode()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    return folder


def test_an_interrupt_ends_the_answer_and_not_the_talk(tmp_path):
    process = subprocess.Popen([str(BINARY), "chat", str(write_slow_model(tmp_path / "slow")), "--temperature", "0"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"w1 w2\n")
    process.stdin.flush()
    assert process.stdout.read(2)
    process.send_signal(signal.SIGINT)
    process.stdout.readline()
    out, err = process.communicate(b"/help\n", timeout=60)
    assert process.returncode == 0 and not out, err
    assert b"(stopped)" in err and b"/reset forgets" in err
