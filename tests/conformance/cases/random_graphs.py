"""Random graphs of random shapes against ONNX Runtime. The same seed makes the same graphs; a case is named by its own.

A graph grows value by value: an operator is drawn, operands that fit are picked among the values or made, and the new
value joins them. Extents are symbols or numbers, zero and one among them. The last values are the outputs.
"""

import numpy as np
import onnx
from case import session, write
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
UNARY = ("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Erf", "Sqrt", "LeakyRelu", "Elu", "Softplus", "HardSwish", "Exp")
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")
COMPARISONS = ("Less", "Greater", "Equal", "LessOrEqual")


class Graph:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []
        self.values = {}  # name: an array as ONNX would have it, for shapes and types
        self.inputs = []
        self.symbols = {}
        self.count = 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def extent(self):
        return int(self.pick(1, 2, 3, 5, 7, 8, 16, 17, 33) if self.rng.random() < 0.95 else 0)

    def shape(self, rank=None):
        return [self.extent() for _ in range(self.rng.integers(1, 5) if rank is None else rank)]

    def add_input(self, shape=None):
        name = self.name()
        shape = self.shape() if shape is None else shape
        self.values[name] = self.rng.standard_normal(shape).astype(np.float32)
        dims = [f"{name}_{i}" if self.rng.random() < 0.5 else d for i, d in enumerate(shape)]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return name

    def constant(self, array):
        name = self.name()
        self.weights.append(numpy_helper.from_array(array, name))
        self.values[name] = array
        return name

    def normal(self, shape):
        return self.constant((self.rng.standard_normal(shape) * 0.5).astype(np.float32))

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def node(self, op, inputs, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{self.count}", **attributes))
        return names

    def floats(self, at_least=0):
        return [n for n, v in self.values.items()
                if v.dtype == np.float32 and v.ndim >= at_least and n not in {w.name for w in self.weights}]

    def operand(self, at_least=0):
        names = self.floats(at_least)
        if not names or self.rng.random() < 0.1:
            return self.add_input(self.shape(max(at_least, 1)))
        return names[-1] if self.rng.random() < 0.5 else self.pick(*names)

    def like(self, x):
        """A value that broadcasts with x."""
        shape = self.values[x].shape
        fitting = [n for n in self.floats() if self.values[n].shape == shape and n != x]
        if fitting and self.rng.random() < 0.5:
            return self.pick(*fitting)
        cut = shape[self.rng.integers(0, len(shape) + 1):]
        cut = [d if self.rng.random() < 0.7 else 1 for d in cut]
        return self.normal(cut) if self.rng.random() < 0.7 else self.add_input(cut)

    # ---- Steps: each adds nodes and returns the names that it made ----

    def elementwise(self):
        x = self.operand()
        kind = self.rng.random()
        if kind < 0.4:
            return self.node(self.pick(*UNARY), [x])
        if kind < 0.8:
            op = self.pick(*BINARY)
            other = self.like(x)
            if op == "PRelu" and self.values[other].ndim > self.values[x].ndim:
                op = "Add"
            return self.node(op, [x, other])
        if kind < 0.9:
            (test,) = self.node(self.pick(*COMPARISONS), [x, self.like(x)])
            return self.node("Where", [test, x, self.like(x)])
        return self.node("Clip", [x, self.constant(np.float32(-0.5)), self.constant(np.float32(0.8))])

    def linear(self):
        x = self.operand(2)
        k, n = self.values[x].shape[-1], max(1, self.extent())
        if self.values[x].ndim == 2 and self.rng.random() < 0.5:
            return self.node("Gemm", [x, self.normal([n, k]), self.normal([n])], transB=1)
        (y,) = self.node("MatMul", [x, self.normal([k, n])])
        return self.node("Add", [y, self.normal([n])]) if self.rng.random() < 0.7 else [y]

    def product(self):
        x = self.operand(2)
        shape = self.values[x].shape
        perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        (turned,) = self.node("Transpose", [x], perm=perm)
        (scores,) = self.node("MatMul", [x, turned])
        (scaled,) = self.node("Mul", [scores, self.constant(np.float32(0.3))])
        (weights,) = self.node("Softmax", [scaled], axis=-1)
        return self.node("MatMul", [weights, x])

    def normalise(self):
        x = self.operand()
        width = self.values[x].shape[-1] if self.values[x].ndim else 1
        if self.values[x].ndim == 0 or width == 0:
            return self.elementwise()
        if self.rng.random() < 0.5:
            return self.node("LayerNormalization", [x, self.normal([width]), self.normal([width])], axis=-1)
        return self.node(self.pick("Softmax", "LogSoftmax"), [x], axis=int(self.rng.integers(self.values[x].ndim)))

    def reduce(self):
        x = self.operand(1)
        rank = self.values[x].ndim
        axes = sorted({int(a) for a in self.rng.integers(0, rank, self.rng.integers(1, rank + 1))})
        if any(self.values[x].shape[a] == 0 for a in axes):
            return self.elementwise()
        keep = int(self.rng.integers(2))
        op = self.pick("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
        if op == "ReduceSum":
            return self.node(op, [x, self.ints(*axes)], keepdims=keep)
        return self.node(op, [x], axes=axes, keepdims=keep)

    def move(self):
        x = self.operand(1)
        shape = self.values[x].shape
        kind = self.rng.integers(7)
        axis = int(self.rng.integers(len(shape)))
        if kind == 0:
            return self.node("Transpose", [x], perm=[int(p) for p in self.rng.permutation(len(shape))])
        if kind == 1 and shape[axis] > 1:
            cut = int(self.rng.integers(1, shape[axis]))
            return self.node("Split", [x, self.ints(cut, shape[axis] - cut)], 2, axis=axis)
        if kind == 2:
            return self.node("Concat", [x, x], axis=axis)
        if kind == 3:
            begin = int(self.rng.integers(0, shape[axis] + 1))
            return self.node("Slice", [x, self.ints(begin), self.ints(int(self.rng.integers(begin, shape[axis] + 2))),
                                       self.ints(axis), self.ints(1 + int(self.rng.integers(2)))])
        if kind == 4 and len(shape) < 6:
            return self.node("Unsqueeze", [x, self.ints(axis)])
        if kind == 5 and shape[axis] > 0:
            return self.node("Gather", [x, self.constant(self.rng.integers(0, shape[axis], self.shape()[:2]))], axis=axis)
        return self.node("Reshape", [x, self.ints(*(-1 if i == 0 and 0 not in shape else d for i, d in enumerate(shape)))])

    def model(self, outputs):
        graph = helper.make_graph(self.nodes, "random", self.inputs,
                                  [helper.make_empty_tensor_value_info(o) for o in outputs], self.weights)
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])

    def evaluate(self, names):
        """Shapes and types of what the nodes so far make, by ONNX Runtime."""
        runtime = session(self.model(names).SerializeToString())
        feed = {i.name: self.values[i.name] for i in self.inputs if i.name in {x.name for x in runtime.get_inputs()}}
        return runtime.run(None, feed)


STEPS = ("elementwise", "elementwise", "linear", "product", "normalise", "reduce", "move", "move")


def grow(seed, steps):
    graph = Graph(seed)
    graph.add_input()
    for _ in range(steps):
        kept = len(graph.nodes), len(graph.inputs), len(graph.weights), dict(graph.values)
        names = getattr(graph, graph.pick(*STEPS))()
        made = [o for n in graph.nodes[kept[0]:] for o in n.output]
        try:
            arrays = graph.evaluate(made)
        except Exception:  # what was drawn does not fit: ONNX Runtime refuses it, and so do we below
            arrays = None
        small = arrays is not None and all(a.size <= 1 << 16 and np.all(np.isfinite(a)) for a in arrays)
        if not small:
            del graph.nodes[kept[0]:], graph.inputs[kept[1]:], graph.weights[kept[2]:]
            graph.values = kept[3]
            continue
        # Only what the step is for is read on; the rest stays inside and may be fused.
        graph.values.update({n: a for n, a in zip(made, arrays) if n in names})
    return graph


def make(folder, report, seed=1, count=60):
    nodes = 0
    for own in range(seed, seed + count):
        graph = grow(own, 4 + own % 9)
        read = {i for n in graph.nodes for i in n.input}
        made = [o for n in graph.nodes for o in n.output if o in graph.values]
        outputs = [m for m in made if m not in read][-3:]
        if not outputs:
            continue
        used, frontier = set(), set(outputs)
        for node in reversed(graph.nodes):
            if frontier & set(node.output):
                used.add(node.name)
                frontier |= set(node.input)
        graph.nodes = [n for n in graph.nodes if n.name in used]
        graph.inputs = [i for i in graph.inputs if i.name in frontier]
        graph.weights = [w for w in graph.weights if w.name in frontier]
        if not graph.inputs:
            continue
        answers = graph.evaluate(outputs)
        write(folder, f"seed_{own}", graph.model(outputs), [[graph.values[i.name] for i in graph.inputs]], [answers])
        nodes += len(graph.nodes)
    report(f"random graphs of seeds {seed} to {seed + count - 1}: {nodes} nodes")
