"""Writes tiny encoders with their heads, and what sentence-transformers and transformers make of texts.

Every model is a folder as Hugging Face's hub has it, of seeded random weights, and besides
expected.json (`texts`, `pairs`, and of prompts `prompted`) and expected.safetensors:

    ids, types [sum], lengths [N]   the tokens of the texts, or of the pairs
    hidden [sum, hidden]            the last hidden states of the model's backbone, f32
    embedding [N, D]                what SentenceTransformer.encode gives, and `prompted` [N, D]
    logits [N, L], scores [N, L]    of a classifier, and what CrossEncoder.predict makes of them

    python export_sentence_encoders.py ../tests/conformance/sentence_encoders
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import sentence_transformers
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

SEED = 20261121
SIZE_MAX = 800_000  # bytes of a folder
POSITIONS = 96
SIZES = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
TEXTS = [
    "a",
    "Packages for reading and writing wide tables of numbers, quickly.",
    "The small library that parses dates!",
    "plots, charts and maps drawn from many columns of a table, with axes, legends and colours that "
    "a reader can tell apart",
    "tables of numbers",
    "Dates: parsing, printing, comparing; time zones too.",
]
PAIRS = [
    ("how to read a table", "Packages for reading and writing wide tables of numbers, quickly."),
    ("how to read a table", "parses dates"),
    ("time zones", "Dates: parsing, printing, comparing; time zones too."),
    ("a", "b"),
]
FIXED = {"bert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]"), "roberta": ("<s>", "</s>", "<pad>", "<unk>"),
         "modernbert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]")}


def make_tokenizer(kind: str) -> tokenizers.Tokenizer:
    """A tokenizer of the kind that the family has, trained on the texts themselves."""
    cls, sep, pad, unknown = FIXED[kind]
    # RoBERTa's padding has id 1, on which its positions depend.
    special = [cls, pad, sep, unknown]
    if kind == "bert":
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=160, special_tokens=special)
        single, pair = f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1"
    else:
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        middle = f"{sep} {sep}" if kind == "roberta" else sep
        single, pair = f"{cls} $A {sep}", f"{cls} $A {middle} $B {sep}"
    tokenizer.train_from_iterator(TEXTS + [text for both in PAIRS for text in both], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair,
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)])
    return tokenizer


def randomize(model: torch.nn.Module) -> None:
    """Weights that make attention and gates uneven, and norms and biases that are not the default."""
    generator = torch.Generator().manual_seed(SEED)
    for parameter in model.parameters():
        with torch.no_grad():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            else:
                spread = 1.5 / parameter.shape[-1] ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def make_config(family: str, vocabulary: int, **more):
    """The configuration of a family, with the sizes above."""
    if family == "modernbert":
        return transformers.ModernBertConfig(
            vocab_size=vocabulary, max_position_embeddings=POSITIONS, pad_token_id=1, cls_token_id=0,
            bos_token_id=0, sep_token_id=2, eos_token_id=2, local_attention=16,
            **{**SIZES, "num_hidden_layers": 4}, **more)
    kind = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig,
            "xlm-roberta": transformers.XLMRobertaConfig}[family]
    places = POSITIONS if family == "bert" else POSITIONS + 2
    return kind(vocab_size=vocabulary, max_position_embeddings=places, pad_token_id=1,
                type_vocab_size=2 if family == "bert" else 1, **SIZES, **more)


def dense(inputs: int, outputs: int) -> Dense:
    """A Dense module with weights of its own."""
    module = Dense(inputs, outputs, activation_function=torch.nn.Tanh())
    randomize(module)
    return module


EMBEDDERS = {
    "minilm": dict(family="bert", modules=lambda: [Pooling(64, "mean"), Normalize()],
                   prompts={"query": "query: ", "passage": "passage: "}),
    "bert_dense": dict(family="bert", config=dict(hidden_act="gelu_new"),
                       modules=lambda: [Pooling(64, ("cls", "max", "mean", "mean_sqrt_len_tokens",
                                                     "weightedmean", "lasttoken")), dense(384, 48)]),
    "roberta": dict(family="roberta", modules=lambda: [Pooling(64, "cls"), Normalize()]),
    "xlm_roberta": dict(family="xlm-roberta", modules=lambda: [Pooling(64, "mean"), Normalize()]),
    "modernbert": dict(family="modernbert", modules=lambda: [Pooling(64, "mean"), dense(64, 32),
                                                             Normalize()]),
}
RERANKERS = {
    "bert_reranker": dict(family="bert", labels=1, activation=torch.nn.Identity()),
    "roberta_classes": dict(family="roberta", labels=3, activation=torch.nn.Softmax(dim=-1)),
    "xlm_roberta_reranker": dict(family="xlm-roberta", labels=1),
    "modernbert_reranker": dict(family="modernbert", labels=1,
                                config=dict(classifier_pooling="mean", norm_bias=True,
                                            attention_bias=True, mlp_bias=True,
                                            classifier_bias=True)),
}


def save_backbone(spec, folder: Path, classifier: bool) -> None:
    """A transformers model and its tokenizer, as save_pretrained writes them."""
    kind = "roberta" if "roberta" in spec["family"] else spec["family"]
    cls, sep, pad, unknown = FIXED[kind]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(kind), cls_token=cls, sep_token=sep, pad_token=pad,
        unk_token=unknown, model_max_length=POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"]
        if kind == "bert" else ["input_ids", "attention_mask"])
    more = dict(spec.get("config", {}))
    if classifier:
        more["num_labels"] = spec["labels"]
    config = make_config(spec["family"], len(tokenizer), **more)
    factory = (transformers.AutoModelForSequenceClassification if classifier
               else transformers.AutoModel)
    torch.manual_seed(SEED)
    model = factory.from_config(config, attn_implementation="eager").float().eval()
    randomize(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def hidden_states(folder: Path, first: list[str], second) -> dict[str, torch.Tensor]:
    """Tokens and last hidden states of each text or pair by itself."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
    model = model.float().eval()
    ids, types, lengths, hidden = [], [], [], []
    for i, text in enumerate(first):
        encoded = tokenizer(text, second[i] if second else None, return_tensors="pt")
        with torch.no_grad():
            hidden.append(model(**encoded).last_hidden_state[0])
        ids.append(encoded["input_ids"][0])
        types.append(encoded.get("token_type_ids", torch.zeros_like(encoded["input_ids"]))[0])
        lengths.append(len(ids[-1]))
    return {"ids": torch.cat(ids).int(), "types": torch.cat(types).int(),
            "lengths": torch.tensor(lengths, dtype=torch.int32), "hidden": torch.cat(hidden)}


def finish(name: str, folder: Path, tensors: dict[str, torch.Tensor], expected: dict) -> None:
    """Writes what is expected, takes out what no server reads, and checks the size."""
    save_file({key: value.contiguous() for key, value in tensors.items()},
              folder / "expected.safetensors",
              metadata={"transformers": transformers.__version__, "torch": torch.__version__,
                        "sentence_transformers": sentence_transformers.__version__})
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for path in folder.rglob("*"):
        if path.name in ("README.md", "tokenizer_config.json", "special_tokens_map.json"):
            path.unlink()
    for path in list(folder.rglob("*")):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= SIZE_MAX, f"{name}: {size} bytes"
    print(f"{name}: {size} bytes, {sorted(tensors)}")


def export_embedder(name: str, folder: Path, scratch: Path) -> None:
    """One sentence embedder."""
    spec = EMBEDDERS[name]
    save_backbone(spec, scratch, classifier=False)
    model = SentenceTransformer(modules=[Transformer(str(scratch)), *spec["modules"]()],
                                prompts=spec.get("prompts"), device="cpu").float().eval()
    model.save_pretrained(str(folder), create_model_card=False)
    model = SentenceTransformer(str(folder), device="cpu")
    tensors = hidden_states(scratch, TEXTS, None)
    expected = {"texts": TEXTS}
    # One by one: padding must not matter, and here it cannot.
    tensors["embedding"] = torch.cat([model.encode([text], convert_to_tensor=True, prompt="")
                                      for text in TEXTS])
    if "prompts" in spec:
        tensors["prompted"] = torch.cat([model.encode([text], convert_to_tensor=True,
                                                      prompt_name="query") for text in TEXTS])
        expected["prompted"] = "query"
    finish(name, folder, tensors, expected)


def export_reranker(name: str, folder: Path, scratch: Path) -> None:
    """One classifier of pairs."""
    spec = RERANKERS[name]
    save_backbone(spec, scratch, classifier=True)
    more = {"activation_fn": spec["activation"]} if "activation" in spec else {}
    model = CrossEncoder(str(scratch), device="cpu", **more)
    model.model.float().eval()
    model.save_pretrained(str(folder))
    tensors = hidden_states(scratch, [a for a, _ in PAIRS], [b for _, b in PAIRS])

    def predict(activation):
        return torch.stack([model.predict([pair], convert_to_tensor=True,
                                          activation_fn=activation)[0].reshape(-1)
                            for pair in PAIRS])

    tensors["logits"] = predict(torch.nn.Identity())
    tensors["scores"] = predict(None)
    finish(name, folder, tensors, {"pairs": PAIRS})


def main() -> None:
    """All models, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    for name in (*EMBEDDERS, *RERANKERS):
        if arguments.only and name not in arguments.only.split(","):
            continue
        folder = arguments.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            (export_embedder if name in EMBEDDERS else export_reranker)(name, folder, Path(scratch))


if __name__ == "__main__":
    main()
