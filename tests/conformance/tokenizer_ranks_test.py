"""Compares ranks of tiktoken, family by family, with PyPI `tiktoken`: ids of seeded random and adversarial texts.

usage: tokenizer_ranks_test.py --binary build/release/tests/conformance/tokenizer_ids [--count 1500] [--seed 1]

The ranks are of a small vocabulary that is trained here; words and special tokens are tiktoken's own definitions, which
are given these ranks in place of the ones that they would download. With ../shared/data/tokenizer/qwen.tiktoken Qwen's
own vocabulary is compared too. Exits 77 (skipped) when the package is absent.
"""

import argparse
import base64
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from tokenizer_models_test import DATA, LLAMA3, QWEN2, scripts_text  # noqa: E402
from tokenizer_test import SKIPPED, adversarial, random_text  # noqa: E402

OPENAI = ["gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony"]
SPACES = [" ", "  ", "\n", "\r\n", "\t", "\n\n  ", "   \n", "\u3000", "\xa0"]
LLAMA3_NAMES = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
LLAMA3_PLACES = [0, 1, 6, 7, 9]


def trained_ranks():
    """Bytes, then what is merged often: {bytes: rank}."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = scripts_text() + [space.join(scripts_text()[0].split(" ")[:40]) + space for space in SPACES]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=1200, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in printable}
    letters.update((chr(256 + i), byte) for i, byte in enumerate(b for b in range(256) if b not in printable))
    ranks = {bytes([byte]): byte for byte in range(256)}
    for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda each: each[1]):
        ranks.setdefault(bytes(letters[c] for c in token), len(ranks))
    return ranks


def definitions(ranks):
    """{family: arguments of tiktoken.Encoding}."""
    import tiktoken_ext.openai_public as public

    public.load_tiktoken_bpe = public.data_gym_to_mergeable_bpe_ranks = lambda *_, **__: ranks
    for family in OPENAI:
        made = public.ENCODING_CONSTRUCTORS[family]()
        made.pop("explicit_n_vocab", None)
        # A reserved name for the id of another token: decoding may give either.
        special = {name: id for name, id in made["special_tokens"].items() if name != "<|reserved_200018|>"}
        yield family, {**made, "special_tokens": special}
    special = {name: len(ranks) + place for name, place in zip(LLAMA3_NAMES, LLAMA3_PLACES)}
    yield "llama3", dict(name="llama3", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens=special)
    special = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|extra_204|>": 151850}
    yield "qwen", dict(name="qwen", pat_str=QWEN2, mergeable_ranks=ranks, special_tokens=special)


def texts_of(rng, special, count):
    texts = list(adversarial())
    texts = texts if len(texts) <= count // 2 else rng.sample(texts, count // 2)
    while len(texts) < count:
        text = random_text(rng)
        if rng.random() < 0.3:
            text += "".join(rng.choices(SPACES, k=rng.randrange(1, 5)))
        if rng.random() < 0.3:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(sorted(special)) + text[at:]
        texts.append(text)
    return texts


def compare(binary, family, definition, count, seed):
    import tiktoken
    from tokenizers import normalizers

    rng = random.Random(f"{seed} {family}")
    encoding = tiktoken.Encoding(**definition)
    # A lone surrogate is no text for tiktoken.
    texts = [text.encode("utf-8", "replace").decode() for text in texts_of(rng, definition["special_tokens"], count)]
    # The packages' regular expressions and this interpreter may be of different versions of Unicode.
    compose = normalizers.NFC().normalize_str if family == "qwen" else str
    texts = ["".join(c for c in text if unicodedata.category(c) != "Cn") for text in texts]
    want = [encoding.encode(compose(text), allowed_special="all") for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"{family}.tiktoken"
        path.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n"
                                for token, rank in definition["mergeable_ranks"].items()))
        cases = [{"text": text, "max": 0, "fixed": False} for text in texts]
        cases += [{"decode": ids, "skip": False} for ids in want]
        lines = "\n".join(json.dumps(case) for case in cases) + "\n"
        run = subprocess.run([binary, str(path)], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(cases), f"{len(answers)} answers to {len(cases)} cases"
    wrong = 0
    for case, answer, ids in zip(cases, answers, want + want):
        got, wanted = (answer.get("ids"), ids) if "text" in case else (answer.get("text"), encoding.decode(ids))
        if got != wanted:
            wrong += 1
            if wrong <= 3:
                print(f"{family}: {json.dumps(case)[:600]}\n  want {str(wanted)[:600]}\n  got  {str(answer)[:600]}")
    print(f"{family}: {len(cases)} cases, {wrong} wrong", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=800, help="texts for each family")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        import tiktoken
        import tokenizers  # noqa: F401
    except ImportError:
        print("skipped: the Python packages 'tiktoken' and 'tokenizers' are not installed")
        return SKIPPED
    print(f"seed {arguments.seed}, tiktoken {tiktoken.__version__}")
    made = dict(definitions(trained_ranks()))
    wrong = sum(compare(arguments.binary, family, made[family], arguments.count, arguments.seed) for family in made)
    path = DATA / "qwen.tiktoken"
    if path.exists():
        ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in path.read_bytes().splitlines()}
        wrong += compare(arguments.binary, "qwen", {**made["qwen"], "mergeable_ranks": ranks}, arguments.count, arguments.seed)
    else:
        print(f"skipped: Qwen's own ranks: {path} is not there")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
