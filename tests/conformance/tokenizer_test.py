"""Compares the tokenizer with PyPI `tokenizers`: the same ids, type ids and masks for seeded random and adversarial texts.

usage: tokenizer_test.py --binary build/release/tests/conformance/tokenizer_ids [--count 120000] [--seed 1]

Two vocabularies: our own small one beside this file, in several configurations, and, where it is at hand, that of
all-MiniLM-L6-v2 under ../shared/data. Exits 77 (skipped) when the package is absent.
"""

import argparse
import copy
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIXTURE = HERE / "tokenizer" / "small.json"
MINILM = ROOT.parent / "shared" / "data" / "tokenizer" / "minilm" / "tokenizer.json"
SKIPPED = 77

WORDS = (
    "the The THE of request requests license LICENSE unaffable embeddings naïve café CAFÉ Ångström straße İstanbul "
    "ǅungla ﬁle ½ Ⅷ ㎏ ｆｕｌｌ don't e-mail foo_bar x86_64 3.14 1,000 http://a.b/c?d=e#f me@x.org 日本語 東京都 한국어 "
    "नमस्ते สวัสดี مرحبا שלום Привет ёлка Ελλάδα ΣΊΣΥΦΟΣ 👩‍👩‍👧 🇩🇪 👍🏽 ☕️ #️⃣ e\u0301 a\u0328\u0301 \u1100\u1161\u11a8 ##ing ## "
    "[MASK] [SEP] [mask] [CLS]x x[UNK] [PAD][PAD] <tag> <TAG> word Word"
).split()
SPECIAL_RANGES = [
    (0x00, 0x20), (0x7F, 0xA1), (0x300, 0x370), (0x483, 0x488), (0x591, 0x5C8), (0x600, 0x606), (0x64B, 0x660),
    (0x900, 0x980), (0xE00, 0xE80), (0x1100, 0x1200), (0x1680, 0x1681), (0x1885, 0x1887), (0x1AB0, 0x1AD0),
    (0x1CD0, 0x1D00), (0x1DC0, 0x1E00), (0x1E00, 0x2000), (0x2000, 0x2070), (0x20A0, 0x2150), (0x2E40, 0x2E60),
    (0x3000, 0x3100), (0x3400, 0x3410), (0x4E00, 0x4E20), (0x9FF0, 0xA010), (0xA7C0, 0xA7E0), (0xAC00, 0xAD00),
    (0xF900, 0xFB10), (0xFB1D, 0xFB50), (0xFDF0, 0xFE30), (0xFEFF, 0xFF70), (0xFFF0, 0x10000), (0x10D40, 0x10D90),
    (0x11930, 0x11940), (0x1D160, 0x1D180), (0x1D400, 0x1D480), (0x1F300, 0x1F700), (0x20000, 0x20010),
    (0x2B730, 0x2B930), (0x2F800, 0x2FA20), (0xE0000, 0xE0080), (0xF0000, 0xF0010),
]


def random_char(rng):
    kind = rng.random()
    if kind < 0.35:
        return chr(rng.randrange(0x20, 0x7F))
    if kind < 0.5:
        return chr(rng.randrange(0xA0, 0x600))
    if kind < 0.85:
        low, high = rng.choice(SPECIAL_RANGES)
        return chr(rng.randrange(low, high))
    while True:
        code = rng.randrange(0x110000)
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def adversarial():
    """Texts that have broken tokenisers: limits, long words, combining runs, nothing but blanks."""
    yield from ["", " ", "\0", "\ufffd", "\n\t\r", "\u200b\u200d\ufeff", "[SEP]", " [MASK] ", "##", "#", "\u0301", "a\u0301" * 50]
    yield from [" " * 5000, "a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "a" * 100 + "\u0301", "ab " * 3000]
    yield from ["\u0301" * 3000, "\u0327\u0301" * 1500, "\u0301\u0327" * 1500, "\u302e\u0301" * 500, "\U0001d165\u0301" * 300]
    yield from ["[" * 2000, "[MASK" * 500, "[MASK]" * 500, "日" * 3000, "\u1100\u1161\u11a8" * 300, "ﷺ" * 200, "." * 3000]
    yield "".join(chr(c) for c in range(0x3000) if not 0xD800 <= c < 0xE000)
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) != "Co" and (code < 0x3400 or code % 7 == 0):
            if unicodedata.combining(chr(code)) or code < 0x3000 and code % 3 == 0:
                yield "a" + chr(code) + "\u0301b\u0327" + chr(code) + "\u0323 C"


def random_text(rng):
    kind = rng.random()
    if kind < 0.4:
        separators = [" ", " ", " ", "", ", ", "\n", "\u00a0", "-"]
        return "".join(rng.choice(WORDS) + rng.choice(separators) for _ in range(rng.randrange(1, 25)))
    if kind < 0.9:
        return "".join(random_char(rng) for _ in range(rng.randrange(0, 60)))
    mixed = (rng.choice(WORDS) if rng.random() < 0.5 else random_char(rng) for _ in range(rng.randrange(1, 40)))
    return "".join(mixed)


def configurations():
    """Names and tokenizer.json objects: the fixture as it is, and with each part exchanged."""
    base = json.loads(FIXTURE.read_text())
    size = len(base["model"]["vocab"])

    def changed(**parts):
        config = copy.deepcopy(base)
        config.update(parts)
        return config

    bert = base["normalizer"]

    def added(content, offset, **flags):
        default = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
        return dict(default, id=size + offset, content=content, **flags)

    yield "own vocabulary", base
    yield "cased", changed(normalizer=dict(bert, lowercase=False, strip_accents=None))
    yield "lower case with accents", changed(normalizer=dict(bert, strip_accents=False))
    yield "accents stripped, case kept", changed(normalizer=dict(bert, lowercase=False, strip_accents=True))
    yield "unclean", changed(normalizer=dict(bert, clean_text=False, handle_chinese_chars=False))
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        steps = [{"type": form}, {"type": "Lowercase"}]
        words = [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}]
        yield form, changed(
            normalizer={"type": "Sequence", "normalizers": steps},
            pre_tokenizer={"type": "Sequence", "pretokenizers": words},
        )
    steps = [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]
    yield "stripped", changed(
        normalizer={"type": "Sequence", "normalizers": steps}, pre_tokenizer={"type": "Whitespace"}
    )
    yield "no normaliser, punctuation removed", changed(
        normalizer=None, pre_tokenizer={"type": "Punctuation", "behavior": "Removed"}
    )
    yield "no pre-tokeniser", changed(pre_tokenizer=None)
    bert_processing = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    yield "BertProcessing", changed(post_processor=bert_processing)
    yield "no post-processor", changed(post_processor=None)
    extra = [
        added("<tag>", 0, lstrip=True, rstrip=True),
        added("Word", 1, single_word=True),
        added("café", 2, normalized=True),
        added("[MASK][MASK]", 3),
        added("日本", 4, rstrip=True, normalized=True),
    ]
    yield "added tokens", changed(added_tokens=base["added_tokens"] + extra)
    for strategy in ["LongestFirst", "OnlyFirst", "OnlySecond"]:
        for direction in ["Left", "Right"]:
            truncation = {"direction": direction, "max_length": 16, "strategy": strategy, "stride": 0}
            yield f"{strategy}, {direction}", changed(truncation=truncation)
    padding = dict(
        strategy={"Fixed": 40}, direction="Left", pad_to_multiple_of=None, pad_id=0, pad_type_id=1, pad_token="[PAD]"
    )
    yield "padding", changed(padding=padding)


def expected(reference, case, truncation, padding):
    if case["max"]:
        settings = dict(strategy="longest_first", direction="right")
        if truncation:
            names = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
            settings = dict(strategy=names[truncation["strategy"]], direction=truncation["direction"].lower())
        reference.enable_truncation(case["max"], **settings)
    else:
        reference.no_truncation()
    if "pad" in case:
        reference.enable_padding(
            direction=padding["direction"].lower(), length=case["pad"], pad_id=padding["pad_id"],
            pad_type_id=padding["pad_type_id"], pad_token=padding["pad_token"],
        )
    else:
        reference.no_padding()
    try:
        encoding = reference.encode(case["text"], case.get("pair"), add_special_tokens=case["fixed"])
    except Exception as error:  # the library refuses what its strategy cannot meet
        return {"error": str(error)}
    return {
        "ids": encoding.ids,
        "type_ids": encoding.type_ids,
        "mask": encoding.attention_mask,
        "truncated": bool(encoding.overflowing),
    }


def make_cases(rng, count, config):
    cases = [{"text": text, "max": 0, "fixed": True} for text in adversarial()] if count >= 20000 else []
    while len(cases) < count:
        case = {"text": random_text(rng), "max": 0, "fixed": rng.random() < 0.9}
        if rng.random() < 0.2:
            case["pair"] = random_text(rng)
        if rng.random() < 0.3 or config.get("truncation"):
            case["max"] = rng.randrange(4, 40)
        if config.get("padding") and rng.random() < 0.5:
            case["pad"] = rng.randrange(1, 60)
        cases.append(case)
    return cases


def compare(binary, name, config, count, seed):
    from tokenizers import Tokenizer

    rng = random.Random(f"{seed} {name}")
    cases = make_cases(rng, count, config)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        reference = Tokenizer.from_file(file.name)
        lines = "\n".join(json.dumps(case) for case in cases) + "\n"
        run = subprocess.run([binary, file.name], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(cases), f"{len(answers)} answers to {len(cases)} cases"
    wrong = 0
    for case, answer in zip(cases, answers):
        want = expected(reference, case, config.get("truncation"), config.get("padding"))
        same = "error" in answer if "error" in want else answer == want
        if not same:
            wrong += 1
            if wrong <= 3:
                print(f"{name}: {json.dumps(case)[:600]}\n  want {str(want)[:600]}\n  got  {str(answer)[:600]}")
    print(f"{name}: {len(cases)} cases, {wrong} wrong", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=120000, help="texts for the large vocabulary; a twentieth for each other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", type=pathlib.Path, default=MINILM, help="the tokenizer.json of all-MiniLM-L6-v2")
    arguments = parser.parse_args()
    try:
        import tokenizers
    except ImportError:
        print("skipped: the Python package 'tokenizers' is not installed")
        return SKIPPED
    print(f"seed {arguments.seed}, tokenizers {tokenizers.__version__}")
    wrong = 0
    for name, config in configurations():
        wrong += compare(arguments.binary, name, config, arguments.count // 20, arguments.seed)
    if arguments.large.exists():
        config = json.loads(arguments.large.read_text())
        config["truncation"] = config["padding"] = None
        wrong += compare(arguments.binary, "all-MiniLM-L6-v2", config, arguments.count, arguments.seed)
    else:
        print(f"skipped: all-MiniLM-L6-v2: {arguments.large} is not there")
        wrong += compare(arguments.binary, "own vocabulary, long", next(configurations())[1], arguments.count, arguments.seed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
