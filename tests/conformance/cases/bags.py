"""Bags of rows where some are empty (the first, the last, all), in every form that exporters write.

The graphs keep each length at 1 or more, which is taken away here."""

import graph_inputs
import numpy as np
import onnx
from case import GRAPHS, write_with_runtime
from onnx import helper

LENGTHS = {"first": [0, 2, 1], "middle": [2, 0, 3], "last": [1, 3, 0], "all": [0, 0, 0]}
SLOTS = 4


def take_lengths_as_they_are(model):
    """Whether there was a floor under the lengths."""
    for at, node in enumerate(model.graph.node):
        if node.op_type in ("Clip", "Max") and node.input[0] == "lengths":
            model.graph.node.remove(node)
            model.graph.node.insert(at, helper.make_node("Identity", ["lengths"], node.output))
            return True
    return False


def make(folder, report):
    made = []
    for path in sorted(GRAPHS.glob("*bag*.onnx")):
        if "lengths" not in [name for name, *_ in graph_inputs.declared(path)]:
            continue
        model = onnx.load(path)
        if not take_lengths_as_they_are(model):
            continue
        feeds = []
        for seed, lengths in enumerate(LENGTHS.values()):
            feed = graph_inputs.inputs(path, {"batch": len(lengths), "*": SLOTS}, seed)
            feed["lengths"] = np.array(lengths, feed["lengths"].dtype)
            feeds.append(feed)
        write_with_runtime(folder, path.stem, model, feeds)
        made.append(path.stem)
    report("empty bags: " + " ".join(made))
