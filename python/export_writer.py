"""Writes a trained writer as a Llama checkpoint's folder: bf16 safetensors, tokenizer, template.

    python export_writer.py --work DIR --out ../demo/models/package_writer/1
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from writer_model import Writer, WriterShape
from writer_tokenizer import CHAT_TEMPLATE, END, load_tokenizer, tokenizer_config


def load_writer(path: Path) -> Writer:
    """The writer of a checkpoint of train_writer.py."""
    state = torch.load(path, map_location="cpu")
    writer = Writer(WriterShape(**state["shape"]))
    writer.load_state_dict(state["model"])
    return writer.eval()


def write_json(path: Path, value: dict) -> None:
    """One object, indented."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Rounds the weights to bf16 and writes what stands beside them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of train_writer.py")
    parser.add_argument("--checkpoint", default="writer.pt")
    parser.add_argument("--out", type=Path, required=True, help="the model's version folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    writer = load_writer(options.work / options.checkpoint)
    tokenizer = load_tokenizer(options.work / "tokenizer.json")
    assert tokenizer.get_vocab_size() == writer.shape.vocabulary
    end = tokenizer.token_to_id(END)
    # The output layer is the embeddings: config.json ties them, and they are written once.
    weights = {name: value.to(torch.bfloat16).contiguous()
               for name, value in writer.state_dict().items()}
    save_file(weights, options.out / "model.safetensors", metadata={"format": "pt"})
    write_json(options.out / "config.json", writer.shape.config() | {
        "bos_token_id": None, "eos_token_id": end, "pad_token_id": end})
    write_json(options.out / "generation_config.json", {
        "eos_token_id": end, "pad_token_id": end, "do_sample": False, "max_new_tokens": 32})
    write_json(options.out / "tokenizer_config.json", tokenizer_config(writer.shape.positions))
    (options.out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    shutil.copyfile(options.work / "tokenizer.json", options.out / "tokenizer.json")
    size = (options.out / "model.safetensors").stat().st_size
    print(f"{options.out}: {sum(w.numel() for w in weights.values()):,} weights, {size:,} bytes")


if __name__ == "__main__":
    main()
