"""Exports the small graphs with PyTorch's two exporters and checks each with ONNX Runtime.

Every graph goes through the TorchScript exporter at an opset of 13 to 17, every second one also
through the dynamo exporter at an opset of 18 to 22. A file carries what a test needs to feed it:
its model metadata has `high.NAME` for each integer input (values are drawn below it) and
`example.NAME` with the example's shape.

    python export_small_graphs.py ../tests/conformance/graphs
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from small_graphs import embedding, operators, ranking, recommendation, text
from small_graphs.spec import Graph

SEED = 20261121


def export_torchscript(graph: Graph, module: torch.nn.Module, opset: int, path: Path) -> None:
    """Traces `module` and writes ONNX."""
    torch.onnx.export(module, tuple(graph.inputs.values()), str(path), opset_version=opset,
                      input_names=list(graph.inputs), dynamic_axes=graph.dynamic_axes(),
                      do_constant_folding=True, dynamo=False)


def export_dynamo(graph: Graph, module: torch.nn.Module, opset: int, path: Path) -> None:
    """Exports `module` through torch.export and writes ONNX."""
    symbols = {name: torch.export.Dim(name, min=1, max=64)
               for axes in graph.dynamic_axes().values() for name in axes.values()}
    shapes = tuple({at: symbols[name] for at, name in graph.dynamic_axes().get(key, {}).items()}
                   for key in graph.inputs)
    torch.onnx.export(module, tuple(graph.inputs.values()), str(path), opset_version=opset,
                      input_names=list(graph.inputs), dynamic_shapes=shapes, dynamo=True,
                      external_data=False, verbose=False)


def finish(graph: Graph, path: Path) -> None:
    """Removes traces of the exporting machine and adds the metadata that a test reads."""
    model = onnx.load(str(path))
    nodes = list(model.graph.node)
    for part in [model.graph, *nodes, *model.functions, *model.graph.initializer,
                 *model.graph.value_info, *model.graph.input, *model.graph.output]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    facts = {f"example.{name}": ",".join(map(str, tensor.shape))
             for name, tensor in graph.inputs.items()}
    facts |= {f"high.{name}": str(high) for name, high in graph.high.items()}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def draw_inputs(graph: Graph, sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    """Fresh inputs whose dynamic dimensions have the given sizes."""
    drawn = {}
    for name, example in graph.inputs.items():
        shape = list(example.shape)
        for at, symbol in graph.dynamic_axes().get(name, {}).items():
            shape[at] = sizes[symbol]
        drawn[name] = (torch.randint(0, graph.high[name], shape) if name in graph.high
                       else torch.randn(shape))
    return drawn


def check(graph: Graph, module: torch.nn.Module, path: Path) -> None:
    """Compares ONNX Runtime with PyTorch at two sizes of the dynamic dimensions."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    for offset in (1, 4):
        symbols = {s for axes in graph.dynamic_axes().values() for s in axes.values()}
        inputs = draw_inputs(graph, {s: offset + 4 * (s != "batch") for s in symbols})
        with torch.no_grad():
            expected = module(*inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        got = session.run(None, {k: v.numpy() for k, v in inputs.items() if k in known})
        assert len(got) == len(expected), path
        for ours, theirs in zip(got, expected):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4,
                                       err_msg=str(path))


def main() -> None:
    """Exports all graphs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="graphs whose name begins so")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    graphs = recommendation.graphs() + text.graphs() + operators.graphs() + embedding.graphs()
    graphs += ranking.graphs()
    for at, graph in enumerate(graphs):
        if not graph.name.startswith(arguments.only):
            continue
        torch.manual_seed(SEED + at)
        module = graph.module().eval()
        opset = 13 + at % 5
        if graph.name.startswith("attention_"):
            opset = max(opset, 14)
        plan = [(export_torchscript, opset, f"{graph.name}_ts{opset}.onnx")]
        if at % 2 == 0 or graph.both:
            opset = 18 + (at // 2) % 5
            plan.append((export_dynamo, opset, f"{graph.name}_dynamo{opset}.onnx"))
        for export, opset, name in plan:
            path = folder / name
            try:
                export(graph, module, opset, path)
                finish(graph, path)
                check(graph, module, path)
            except Exception as error:
                raise RuntimeError(f"{name}: {error}") from error
            print(f"{name} {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
