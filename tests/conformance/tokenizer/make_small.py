"""Makes small.json, the vocabulary of the tokenizer tests: WordPiece trained with PyPI `tokenizers` on this repository's
STYLE.md, the Apache licence and the test's own words in many scripts.

usage, from the repository root: build/venv/bin/python tests/conformance/tokenizer/make_small.py
"""

import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from tokenizer_test import WORDS  # noqa: E402

tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.decoder = decoders.WordPiece()
texts = [pathlib.Path(path).read_text() for path in ["STYLE.md", "/usr/share/common-licenses/Apache-2.0"]]
texts += [" ".join(WORDS)] * 3
specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=specials, show_progress=False)
tokenizer.train_from_iterator(texts, trainer)
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
tokenizer.save(str(HERE / "small.json"), pretty=False)
