"""Compares every kind of model, normaliser, pre-tokeniser, post-processor and decoder with PyPI `tokenizers`: ids of seeded
random and adversarial texts, and the text of random ids.

usage: tokenizer_models_test.py --binary build/release/tests/conformance/tokenizer_ids [--count 1500] [--seed 1] [--only NAME]

Small vocabularies are trained here on the test's own words; the large ones under ../shared/data/tokenizer are used where
they are at hand. Exits 77 (skipped) when the package is absent.
"""

import argparse
import base64
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from tokenizer_test import ROOT, SKIPPED, WORDS, adversarial, random_text  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "tokenizer"
MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3, QWEN2 = MODERN % "{1,3}", MODERN % ""
MARKS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
THROUGH_REGEX = ["without scanner", "deepseek", "CLIP", "Split"]
DEEPSEEK = [
    {"type": "Split", "pattern": {"Regex": "[\r\n]"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": r"\s?\p{L}+"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": r"\s?\p{P}+"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "[一-龥ࠀ-一가-퟿]+"}, "behavior": "Isolated", "invert": False},
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
]


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def scripts_text():
    words = " ".join(WORDS) + " I'm I'LL you've DON'T tabs\tand\nlines\r\n\n  wide   spaces 12 345 6789 "
    licences = pathlib.Path("/usr/share/common-licenses/Apache-2.0")
    return [words] * 3 + (licences.read_text().split("\n\n") if licences.exists() else [])


def trained():
    """Small tokenizers of each model, as tokenizer.json objects."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = scripts_text()

    def made(model, pre, trainer):
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre
        tokenizer.train_from_iterator(texts, trainer)
        return json.loads(tokenizer.to_str())

    quiet = dict(show_progress=False)
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield "bytes", made(models.BPE(), byte, trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **quiet))
    metaspace = pre_tokenizers.Metaspace()
    yield "runes", made(models.BPE(unk_token="<unk>"), metaspace, trainers.BpeTrainer(
        vocab_size=700, limit_alphabet=90, special_tokens=["<unk>", "<s>", "</s>"], **quiet))
    bytes_tokens = ["<unk>", "<s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    yield "fallback", made(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True), metaspace, trainers.BpeTrainer(
        vocab_size=900, limit_alphabet=60, special_tokens=bytes_tokens, **quiet))
    yield "unigram", made(models.Unigram(), metaspace, trainers.UnigramTrainer(
        vocab_size=500, unk_token="<unk>", special_tokens=["<unk>", "<s>"], **quiet))
    yield "words", made(models.WordLevel(unk_token="<unk>"), pre_tokenizers.Whitespace(), trainers.WordLevelTrainer(
        vocab_size=300, special_tokens=["<unk>"], **quiet))
    yield "clip", made(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), pre_tokenizers.Whitespace(), trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>"], end_of_word_suffix="</w>", **quiet))


def charsmap():
    """A small precompiled_charsmap: a chain of nodes for each rule in a double array built by hand."""
    rules = {"ﬁ": "fi", "½": "1/2", "\u00a0": " ", "é": "e", "\u0301": "", "Ａ": "A", "\t": " "}
    replacements, values = b"", {}
    for key, value in rules.items():
        values[key.encode()] = len(replacements)
        replacements += value.encode() + b"\0"
    units = {}  # position: (label, offset or value, has_leaf, is_value)
    children = {}
    for key in values:
        for length in range(len(key)):
            children.setdefault(key[:length], set()).add(key[length])
    used, base_of = {0}, {}

    def place(node, position):
        labels = sorted(children.get(node, set()))
        needs = ([0] if node in values else []) + labels
        base = 1
        while any((base ^ label) in used for label in needs) or (position ^ base) >= 1 << 21:
            base += 1
        for label in needs:
            used.add(base ^ label)
        units[position] = (node[-1] if node else 0, position ^ base, node in values, False)
        if node in values:
            units[base] = (0, values[node], False, True)
        for label in labels:
            place(node + bytes([label]), base ^ label)

    place(b"", 0)
    array = [0] * (max(used) + 256)
    for position in range(len(array)):
        if position not in units:
            array[position] = 0x80000000 | 0xFF
            continue
        label, number, leaf, value = units[position]
        array[position] = 0x80000000 | number if value else (number << 10) | (int(leaf) << 8) | label
    blob = struct.pack("<I", 4 * len(array)) + struct.pack(f"<{len(array)}I", *array) + replacements
    return base64.b64encode(blob).decode()


def configurations():
    """Names and tokenizer.json objects."""
    made = dict(trained())

    def changed(name, **parts):
        config = json.loads(json.dumps(made[name]))
        model = parts.pop("model", {})
        config["model"].update(model)
        config.update(parts)
        return config

    def added(config, *tokens):
        known = len(config["model"]["vocab"])
        flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
        vocab = config["model"]["vocab"]
        for content, more in tokens:
            token_id = vocab[content] if isinstance(vocab, dict) and content in vocab else known
            known += token_id == known
            config["added_tokens"].append(dict(flags, content=content, id=token_id, **more))
        return config

    decoder = byte_level()
    yield "GPT-2", changed("bytes", decoder=decoder, post_processor=byte_level())
    yield "GPT-2 with a prefix space", changed("bytes", pre_tokenizer=byte_level(True), decoder=decoder)
    for name, pattern in dict(llama3=LLAMA3, qwen2=QWEN2, marks=MARKS, o200k=O200K).items():
        pre = sequence("pretokenizers", split(pattern), byte_level(regex=False))
        yield name, changed("bytes", normalizer={"type": "NFC"}, pre_tokenizer=pre, decoder=decoder)
        pre = sequence("pretokenizers", split(pattern, "Removed", True), byte_level(regex=False))
        yield name + " inverted, whole words", changed("bytes", pre_tokenizer=pre, decoder=decoder, model={"ignore_merges": True})
        # Spelled otherwise, the pattern goes through the regular expressions' machine.
        pre = sequence("pretokenizers", split("(?:" + pattern + ")"), byte_level(regex=False))
        yield name + " without scanner", changed("bytes", pre_tokenizer=pre, decoder=decoder)
    yield "deepseek", changed("bytes", pre_tokenizer=sequence("pretokenizers", *DEEPSEEK), decoder=decoder)
    digits = {"type": "Digits", "individual_digits": True}
    yield "starcoder", changed("bytes", pre_tokenizer=sequence("pretokenizers", digits, byte_level()), decoder=decoder)
    yield "bytes before digits", changed("bytes", pre_tokenizer=sequence("pretokenizers", byte_level(), digits))
    yield "bytes as normaliser", changed("bytes", normalizer={"type": "ByteLevel"}, pre_tokenizer=split(LLAMA3), decoder=decoder)
    extra = [("<|im|>", dict(special=True)), ("Word", dict(single_word=True)), ("  ", dict(normalized=True)),
             ("café", dict(normalized=True, lstrip=True)), ("日本", dict(rstrip=True))]
    yield "bytes with added tokens", added(changed("bytes", normalizer={"type": "NFC"}, decoder=decoder), *extra)

    space = {"String": "▁"}
    spm = sequence("decoders", {"type": "Replace", "pattern": space, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                   {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    prepend = sequence("normalizers", {"type": "Prepend", "prepend": "▁"},
                       {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    yield "Llama 2", changed("fallback", normalizer=prepend, pre_tokenizer=None, decoder=spm)
    yield "Llama 2 with added tokens", added(changed("fallback", normalizer=prepend, pre_tokenizer=None, decoder=spm), *extra)
    for scheme in ["always", "first", "never"]:
        for whole in [False, True]:
            metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": not whole}
            config = changed("fallback", pre_tokenizer=metaspace, decoder=metaspace)
            yield f"Metaspace {scheme}, {'whole' if whole else 'split'}", added(config, *extra)
    yield "Gemma", changed("fallback", normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                           pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
                           decoder=sequence("decoders", *spm["decoders"][:3]))
    yield "unknown runes", changed("runes", decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True})
    yield "unknown runes fused", changed("runes", model={"fuse_unk": True})
    yield "no unknown token", changed("runes", model={"unk_token": None})

    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}},
                         {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    yield "T5", changed("unigram", normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap()},
                        pre_tokenizer=sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace), decoder=metaspace, post_processor=template)
    runs = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    yield "XLM-R", changed("unigram", normalizer=sequence("normalizers", {"type": "Nmt"}, {"type": "NFKC"}, strip, runs),
                           pre_tokenizer=metaspace, decoder=metaspace)
    yield "ALBERT", changed("unigram", normalizer=sequence("normalizers", {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
                            {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}), pre_tokenizer=metaspace)
    first = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    yield "stripped and first", changed("unigram", normalizer={"type": "Strip", "strip_left": True, "strip_right": True}, pre_tokenizer=first)
    roberta = {"type": "RobertaProcessing", "sep": ["<s>", 1], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False}
    yield "RobertaProcessing", changed("runes", post_processor=roberta)
    yield "processors in sequence", changed("unigram", post_processor=sequence("processors", byte_level(), template))
    yield "CLIP", changed("clip", normalizer=sequence("normalizers", {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                          {"type": "Lowercase"}), decoder={"type": "BPEDecoder", "suffix": "</w>"})

    wordpiece = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    yield "words", changed("words", decoder=wordpiece)
    yield "words, no decoder", changed("words", pre_tokenizer={"type": "BertPreTokenizer"})
    ctc = {"type": "CTC", "pad_token": "<unk>", "word_delimiter_token": "the", "cleanup": True}
    yield "scripts", changed("words", pre_tokenizer=sequence("pretokenizers", {"type": "UnicodeScripts"}, {"type": "WhitespaceSplit"}), decoder=ctc)
    yield "delimiter", changed("words", pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": " "})
    yield "fixed length", changed("words", pre_tokenizer={"type": "FixedLength", "length": 2})
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        yield "Punctuation " + behavior, changed("runes", pre_tokenizer={"type": "Punctuation", "behavior": behavior})
        for invert in [False, True]:
            config = changed("runes", pre_tokenizer=split(r"\w+|[^\w\s]", behavior, invert))
            yield f"Split {behavior}{' inverted' if invert else ''}", config


def large():
    for name in ["gpt-neox", "mistral", "minilm"]:
        path = DATA / name / "tokenizer.json"
        if path.exists():
            config = json.loads(path.read_text())
            config["truncation"] = config["padding"] = None
            yield name, config
        else:
            print(f"skipped: {name}: {path} is not there")


def ids_of(rng, size):
    return [rng.randrange(size + 3) for _ in range(rng.randrange(0, 30))]


def compare(binary, name, config, count, seed, all_adversarial=False):
    from tokenizers import Tokenizer

    rng = random.Random(f"{seed} {name}")
    texts = list(adversarial())
    if not all_adversarial:
        texts = texts[:40] + rng.sample(texts, 60)
    while len(texts) < count:
        texts.append(random_text(rng))
    if any(part in name for part in THROUGH_REGEX):
        # The regular expressions' machine knows the characters of Unicode 14, and so does this interpreter.
        texts = ["".join(c for c in text if unicodedata.category(c) != "Cn") for text in texts]
    cases = []
    for text in texts[:count]:
        case = {"text": text, "max": 0, "fixed": rng.random() < 0.7}
        if rng.random() < 0.1:
            case["pair"] = random_text(rng)
        cases.append(case)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        reference = Tokenizer.from_file(file.name)
        size = reference.get_vocab_size()
        cases += [{"decode": ids_of(rng, size), "skip": rng.random() < 0.5} for _ in range(count // 5)]
        want = []
        for case in cases:
            if "decode" in case:
                want.append(reference.decode(case["decode"], skip_special_tokens=case["skip"]))
                continue
            encoding = reference.encode(case["text"], case.get("pair"), add_special_tokens=case["fixed"])
            want.append((encoding.ids, encoding.type_ids))
            if len(encoding.ids) < 60:
                cases.append({"decode": encoding.ids, "skip": False}) if len(cases) < 3 * count else None
        lines = "\n".join(json.dumps(case) for case in cases) + "\n"
        run = subprocess.run([binary, file.name], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(cases), f"{len(answers)} answers to {len(cases)} cases"
    wrong = 0
    fallback = "ByteFallback" in json.dumps(config["decoder"])
    for case, answer, wanted in zip(cases, answers, want):
        if "decode" in case:
            same = answer.get("text") == wanted
            # Byte tokens that are no UTF-8 are replaced one by one in a stream.
            if answer.get("stream") is not None and not (fallback and "\ufffd" in wanted):
                same = same and answer["stream"] == wanted
        else:
            same = (answer.get("ids"), answer.get("type_ids")) == tuple(wanted)
        if not same:
            wrong += 1
            if wrong <= 3:
                print(f"{name}: {json.dumps(case)[:600]}\n  want {str(wanted)[:600]}\n  got  {str(answer)[:600]}")
    print(f"{name}: {len(cases)} cases, {wrong} wrong", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=300, help="texts for each small vocabulary")
    parser.add_argument("--large", type=int, default=3000, help="texts for each large vocabulary; from 20000 on all adversarial ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    try:
        import tokenizers
    except ImportError:
        print("skipped: the Python package 'tokenizers' is not installed")
        return SKIPPED
    print(f"seed {arguments.seed}, tokenizers {tokenizers.__version__}")
    wrong = 0
    for name, config in configurations():
        if arguments.only in name:
            wrong += compare(arguments.binary, name, config, arguments.count, arguments.seed)
    for name, config in large():
        if arguments.only in name:
            wrong += compare(arguments.binary, name, config, arguments.large, arguments.seed, arguments.large >= 20000)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
