"""Trains the writer's byte-level BPE, and says how a prompt and its answer are written.

    <|user|>LONG DESCRIPTION<|assistant|>ONE LINE<|endoftext|>
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END, USER, ASSISTANT = "<|endoftext|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = ("{%- for message in messages -%}"
                 "{%- if message['role'] == 'assistant' -%}"
                 "{{- '<|assistant|>' + message['content'] + '<|endoftext|>' -}}"
                 "{%- else -%}"
                 "{{- '<|user|>' + message['content'] -}}"
                 "{%- endif -%}"
                 "{%- endfor -%}"
                 "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}")


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of `vocabulary` tokens, bytes and the three special tokens included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END, USER, ASSISTANT],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Reads a tokenizer.json."""
    return Tokenizer.from_file(str(path))


def tokenizer_config(positions: int) -> dict:
    """tokenizer_config.json of transformers."""
    return {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": END,
            "pad_token": END, "unk_token": None, "model_max_length": positions,
            "clean_up_tokenization_spaces": False, "add_bos_token": False,
            "chat_template": CHAT_TEMPLATE}
