"""Exports tiny encoders of the families that people serve, with answers that PyTorch computed.

Every family goes through the TorchScript exporter and the dynamo exporter of the PyTorch that runs
this, with random seeded weights: opset 17 and 20 of a recent one, opset 14 and 18 of PyTorch 2.5,
whose files carry its name. Beside each FILE.onnx lies FILE.json: inputs of three sequences of
different lengths, padded, the outputs at them, and the versions that made both. ONNX Runtime must
agree before a file is kept. With --wide, DeBERTa at the sizes that people serve, for inputs up to
300 tokens: files whose weights are left out, to be drawn by whoever reads them
(tests/e2e/drawn_weights.py).

    python export_encoders.py ../tests/conformance/encoders
    python export_encoders.py --wide ../tests/conformance/wide_encoders
    # In an environment of torch==2.5.1 transformers==4.48.3 onnx==1.17.0 onnxscript==0.1.0 "numpy<2":
    python export_encoders.py ../tests/conformance/encoders
"""

import argparse
import json
import os
import warnings
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from transformers import (BertConfig, BertModel, DebertaV2Config, DebertaV2Model, DistilBertConfig,
                          DistilBertModel, ModernBertConfig, ModernBertModel, RobertaConfig,
                          RobertaModel)

SEED = 20261121
LENGTHS = (11, 7, 4)
WIDE_LENGTHS = (300, 137, 40, 5)
WEIGHTS_KEPT_MAX = 64  # elements of a tensor of floats that stays in a file without weights
SIZE_MAX = 100_000  # bytes of a file
OLD = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 9)
# Exporters by the ends of their files' names: opset, and what the name says besides.
TORCH = "_torch" + "".join(torch.__version__.split(".")[:2])
EXPORTERS = {"ts14" + TORCH: 14, "dynamo18" + TORCH: 18} if OLD else {"ts17": 17, "dynamo20": 20}
SIZES = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
             intermediate_size=32, max_position_embeddings=48)


class Encoder(torch.nn.Module):
    """A model's last hidden states, and their mean over the mask, normalised."""

    def __init__(self, model: torch.nn.Module, takes_types: bool) -> None:
        super().__init__()
        self.model = model
        self.takes_types = takes_types

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        """Hidden states [B, S, H] and sentence embeddings [B, H]."""
        more = {"token_type_ids": token_type_ids} if self.takes_types else {}
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask,
                            **more).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return hidden, torch.nn.functional.normalize(mean, dim=1)


def families():
    """Name, model class, configuration, attention implementation, whether it takes types."""
    deberta = dict(relative_attention=True, pos_att_type=["p2c", "c2p"])
    return [
        ("bert", BertModel, BertConfig(**SIZES), "sdpa", True),
        ("bert_eager", BertModel, BertConfig(**SIZES), "eager", True),
        ("roberta", RobertaModel, RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1),
         "sdpa", False),
        ("distilbert", DistilBertModel,
         DistilBertConfig(vocab_size=64, dim=32, n_layers=2, n_heads=2, hidden_dim=32,
                          max_position_embeddings=48), "sdpa", False),
        ("deberta_v2", DebertaV2Model,
         DebertaV2Config(**(SIZES | dict(hidden_size=16, intermediate_size=16, max_position_embeddings=12)),
                         type_vocab_size=2, **deberta), "eager", False),
        ("deberta_v3", DebertaV2Model,
         DebertaV2Config(**(SIZES | dict(intermediate_size=16)), type_vocab_size=0,
                         position_buckets=16, share_att_key=True, norm_rel_ebd="layer_norm", position_biased_input=False, **deberta),
         "eager", False),
        ("modernbert", ModernBertModel,
         ModernBertConfig(**SIZES, local_attention=8, global_attn_every_n_layers=2,
                          pad_token_id=0, bos_token_id=1,
                          eos_token_id=2, cls_token_id=1, sep_token_id=2), "sdpa", False),
    ]


def wide_families():
    """The same of DeBERTa v3 as served: heads of 64, distances in 256 buckets."""
    return [(f"deberta_v3_{width}", DebertaV2Model,
             DebertaV2Config(vocab_size=128, hidden_size=width, num_hidden_layers=2,
                             num_attention_heads=width // 64, intermediate_size=4 * width,
                             max_position_embeddings=512, type_vocab_size=0, position_buckets=256,
                             share_att_key=True, norm_rel_ebd="layer_norm",
                             position_biased_input=False, relative_attention=True,
                             pos_att_type=["p2c", "c2p"]), "eager", False) for width in (384, 768)]


def leave_out_weights(path: Path) -> None:
    """Empties the larger tensors of floats: their names and shapes stay."""
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) > WEIGHTS_KEPT_MAX:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    onnx.save(model, str(path))


def draw(takes_types: bool, pad: int, lengths=LENGTHS) -> dict[str, torch.Tensor]:
    """Sequences of different lengths, padded."""
    length = max(lengths)
    mask = (torch.arange(length)[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(3, 60, mask.shape) * mask + (1 - mask) * pad
    drawn = {"input_ids": ids, "attention_mask": mask}
    if takes_types:
        drawn["token_type_ids"] = (torch.arange(length)[None] > 2).long() * mask
    return drawn


def export(module, inputs, exporter: str, path: Path, longest: int) -> None:
    """Writes ONNX with the batch and the length, of at most `longest`, left open."""
    names = ["hidden", "sentence_embedding"]
    opset = EXPORTERS[exporter]
    if exporter.startswith("ts"):
        axes = {name: {0: "batch", 1: "length"} for name in [*inputs, "hidden"]}
        torch.onnx.export(module, tuple(inputs.values()), str(path), opset_version=opset,
                          input_names=list(inputs), output_names=names,
                          dynamic_axes=axes | {"sentence_embedding": {0: "batch"}}, dynamo=False)
        return
    batch = torch.export.Dim("batch", min=1, max=64)
    # The old exporter sees that a whole table of positions needs no slice and refuses to promise less.
    length = torch.export.Dim("length", min=2, max=longest - 1 if OLD else longest)
    torch.onnx.export(module, tuple(inputs.values()), str(path), opset_version=opset,
                      input_names=list(inputs), output_names=names,
                      dynamic_shapes=tuple({0: batch, 1: length} for _ in inputs), dynamo=True,
                      external_data=False, verbose=False)


def rename(graph, short: dict[str, str]) -> None:
    """Gives every value and node of a graph and of those inside it a short name."""
    for value in graph.initializer:
        value.name = short.setdefault(value.name, f"v{len(short)}")
    for node in graph.node:
        node.name = f"{node.op_type}_{len(short)}"
        node.ClearField("doc_string")
        node.input[:] = [short.setdefault(name, f"v{len(short)}") for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                rename(attribute.g, short)
        node.output[:] = [short.setdefault(name, f"v{len(short)}") for name in node.output]
    for value in graph.output:
        value.name = short.setdefault(value.name, f"v{len(short)}")


def strip(path: Path) -> None:
    """Removes traces of the exporting machine."""
    model = onnx.load(str(path))
    parts = [model, model.graph, *model.graph.node, *model.functions, *model.graph.initializer,
             *model.graph.value_info, *model.graph.input, *model.graph.output]
    for part in parts:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del model.graph.value_info[:]
    # Names of modules are half of a small file.
    rename(model.graph, {v.name: v.name for v in [*model.graph.input, *model.graph.output]} | {"": ""})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def main() -> None:
    """Exports every family both ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="families; all when none is named")
    parser.add_argument("--wide", action="store_true", help="sizes as served, weights left out")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for name, cls, config, attention, takes_types in wide_families() if arguments.wide else families():
        if arguments.names and name not in arguments.names:
            continue
        torch.manual_seed(SEED)
        config._attn_implementation = attention
        module = Encoder(cls(config).eval(), takes_types).eval()
        inputs = draw(takes_types, 1 if name == "roberta" else 0,
                      WIDE_LENGTHS if arguments.wide else LENGTHS)
        with torch.no_grad():
            expected = dict(zip(("hidden", "sentence_embedding"), module(*inputs.values())))
        answer = {"torch": torch.__version__, "transformers": transformers.__version__,
                  "lengths": LENGTHS,
                  "inputs": {k: v.tolist() for k, v in inputs.items()},
                  "outputs": {k: [float(f"{x:.7g}") for x in v.flatten().tolist()]
                              for k, v in expected.items()}}
        for exporter in EXPORTERS:
            path = arguments.folder / f"{name}_{exporter}.onnx"
            try:
                export(module, inputs, exporter, path, config.max_position_embeddings)
            except Exception as error:  # not every exporter of every version takes every family
                print(path.name, "was refused by the exporter:", str(error).splitlines()[0])
                continue
            strip(path)
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            known = {i.name for i in session.get_inputs()}
            got = session.run(None, {k: v.numpy() for k, v in inputs.items() if k in known})
            # At padding, where every key may be hidden, anything may stand.
            real = inputs["attention_mask"].numpy()[..., None]
            for ours, theirs, kept in zip(got, expected.values(), (real, 1)):
                np.testing.assert_allclose(ours * kept, theirs.numpy() * kept, rtol=1e-3, atol=1e-4)
            if arguments.wide:
                leave_out_weights(path)
            else:
                path.with_suffix(".json").write_text(json.dumps(answer) + "\n", encoding="utf-8")
            if path.stat().st_size > SIZE_MAX:
                raise SystemExit(f"{path} has {path.stat().st_size} bytes")
            print(path.name, path.stat().st_size, "bytes", flush=True)


if __name__ == "__main__":
    main()
