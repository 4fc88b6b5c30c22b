"""ONNX models of real shapes with seeded random weights, written as PyTorch's exporters write them.

The comparisons need shapes, not knowledge: weights are random, the graphs are what `torch.onnx.export` gives for
BERT-shaped encoders (Hugging Face's modelling code, attention written out), plain MLPs, a DeepFM and a DIN.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ENCODERS = {"minilm": (384, 6, 12, 1536), "bert": (768, 12, 12, 3072)}  # hidden, layers, heads, intermediate
WORD_PIECES = 30522
POSITIONS = 512
CLICK_VOCABULARY = 100_000
DLRM = {"tables": 26, "rows": 1_000_000, "dim": 64, "bag": 20, "dense": 13}
DIN_HISTORY = 50
MLPS = {"mlp_small": (256, 128, 64, 32), "mlp_large": (480, 1024, 512, 256, 64)}


class Writer:
    """Collects nodes and initialisers of one graph."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.count = [], [], 0

    def add(self, op, *inputs, **attributes):
        self.count += 1
        name = f"v{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"{op}_{self.count}", **attributes))
        return name

    def constant(self, value, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def normal(self, *shape, scale=0.02):
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def linear(self, x, width_in, width_out):
        """MatMul by a constant, then the bias as the left operand: the form of an nn.Linear on three dimensions."""
        product = self.add("MatMul", x, self.normal(width_in, width_out, scale=width_in**-0.5))
        return self.add("Add", self.normal(width_out), product)

    def gemm(self, x, width_in, width_out):
        """An nn.Linear on two dimensions."""
        return self.add("Gemm", x, self.normal(width_out, width_in, scale=width_in**-0.5), self.normal(width_out),
                        transB=1, alpha=1.0, beta=1.0)

    def norm(self, x, width):
        ones = self.constant((1 + self.rng.standard_normal(width) * 0.02).astype(np.float32))
        return self.add("LayerNormalization", x, ones, self.normal(width), axis=-1, epsilon=1e-12)

    def save(self, path, inputs, output, shape):
        onnx.save(self.model(path.stem, inputs, output, shape), path)

    def model(self, name, inputs, output, shape):
        graph = helper.make_graph(
            self.nodes, name,
            [helper.make_tensor_value_info(name, dtype, dims) for name, dtype, dims in inputs],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if not any(w.data_location for w in self.weights):
            onnx.checker.check_model(model)
        return model


def _attention(w, x, hidden, heads, mask):
    size = hidden // heads
    shape = w.constant(np.array([0, 0, heads, size], np.int64))

    def split(perm):
        return w.add("Transpose", w.add("Reshape", w.linear(x, hidden, hidden), shape), perm=perm)

    query, key, value = split([0, 2, 1, 3]), split([0, 2, 3, 1]), split([0, 2, 1, 3])
    scores = w.add("Div", w.add("MatMul", query, key), w.constant(np.float32(size**0.5)))
    weights = w.add("Softmax", w.add("Add", scores, mask), axis=-1)
    context = w.add("Transpose", w.add("MatMul", weights, value), perm=[0, 2, 1, 3])
    merged = w.add("Reshape", context, w.constant(np.array([0, 0, hidden], np.int64)))
    return w.linear(merged, hidden, hidden)


def encoder(name, path):
    """BERT-shaped encoder with mean pooling and L2 normalisation: ids, mask, types [B, S] -> embedding [B, hidden]."""
    hidden, layers, heads, inner = ENCODERS[name]
    w = Writer()
    mask = w.add("Cast", w.add("Unsqueeze", w.add("Unsqueeze", "attention_mask", w.constant(np.array([1]))),
                               w.constant(np.array([2]))), to=TensorProto.FLOAT)
    mask = w.add("Mul", w.add("Sub", w.constant(np.float32(1)), mask), w.constant(np.float32(np.finfo(np.float32).min)))
    length = w.add("Gather", w.add("Shape", "input_ids"), w.constant(np.array(1)), axis=0)
    positions = w.add("Slice", w.constant(np.arange(POSITIONS, dtype=np.int64)[None]), w.constant(np.array([0])),
                      w.add("Unsqueeze", length, w.constant(np.array([0]))), w.constant(np.array([1])))
    words = w.add("Gather", w.normal(WORD_PIECES, hidden), "input_ids", axis=0)
    types = w.add("Gather", w.normal(2, hidden), "token_type_ids", axis=0)
    places = w.add("Gather", w.normal(POSITIONS, hidden), positions, axis=0)
    x = w.norm(w.add("Add", w.add("Add", words, types), places), hidden)
    for _ in range(layers):
        x = w.norm(w.add("Add", _attention(w, x, hidden, heads, mask), x), hidden)
        up = w.linear(x, hidden, inner)
        erf = w.add("Erf", w.add("Div", up, w.constant(np.float32(2**0.5))))
        gelu = w.add("Mul", w.add("Mul", up, w.add("Add", erf, w.constant(np.float32(1)))), w.constant(np.float32(0.5)))
        x = w.norm(w.add("Add", w.linear(gelu, inner, hidden), x), hidden)
    weight = w.add("Cast", w.add("Unsqueeze", "attention_mask", w.constant(np.array([-1]))), to=TensorProto.FLOAT)
    total = w.add("ReduceSum", w.add("Mul", x, weight), w.constant(np.array([1])), keepdims=0)
    count = w.add("Clip", w.add("ReduceSum", weight, w.constant(np.array([1])), keepdims=0), w.constant(np.float32(1e-9)))
    mean = w.add("Div", total, count)
    norm = w.add("Clip", w.add("ReduceL2", mean, axes=[1], keepdims=1), w.constant(np.float32(1e-12)))
    w.nodes.append(helper.make_node("Div", [mean, norm], ["embedding"], name="normalize"))
    ids = [(n, TensorProto.INT64, ["B", "S"]) for n in ("input_ids", "attention_mask", "token_type_ids")]
    w.save(path, ids, "embedding", ["B", hidden])


def encoder_flops(name, batch, length):
    """Matrix and attention products only."""
    hidden, layers, _, inner = ENCODERS[name]
    per_token = 2 * hidden * 3 * hidden + 2 * hidden * hidden + 4 * hidden * inner
    return layers * (batch * length * per_token + batch * 4 * length * length * hidden)


def encoder_inputs(batch, length, seed=0):
    ids = np.random.default_rng(seed).integers(5, 30000, (batch, length)).astype(np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _tower(w, x, widths):
    for index, (a, b) in enumerate(zip(widths, widths[1:])):
        x = w.gemm(x, a, b)
        if index < len(widths) - 2:
            x = w.add("Relu", x)
    return x


def mlp(name, path):
    w = Writer()
    widths = MLPS[name]
    w.nodes.append(helper.make_node("Sigmoid", [_tower(w, "x", widths)], ["y"], name="head"))
    w.save(path, [("x", TensorProto.FLOAT, ["B", widths[0]])], "y", ["B", widths[-1]])


def deepfm(path, fields=26, dim=16, dense=13):
    """Second-order factorisation machine beside an MLP 400-400: ids [B, 26], dense [B, 13] -> y [B, 1]."""
    w = Writer()
    columns = [w.add("Gather", "ids", w.constant(np.array(i)), axis=1) for i in range(fields)]
    rows = [w.add("Gather", w.normal(CLICK_VOCABULARY, dim), c, axis=0) for c in columns]
    one = w.constant(np.array([1]))
    stacked = w.add("Concat", *[w.add("Unsqueeze", r, one) for r in rows], axis=1)
    two = w.constant(np.float32(2))
    square_of_sum = w.add("Pow", w.add("ReduceSum", stacked, one, keepdims=0), two)
    sum_of_square = w.add("ReduceSum", w.add("Pow", stacked, two), one, keepdims=0)
    pairs = w.add("Mul", w.add("ReduceSum", w.add("Sub", square_of_sum, sum_of_square), one, keepdims=1),
                  w.constant(np.float32(0.5)))
    first = w.gemm("dense", dense, 1)
    for c in columns:
        first = w.add("Add", first, w.add("Gather", w.normal(CLICK_VOCABULARY, 1), c, axis=0))
    deep = _tower(w, w.add("Concat", w.add("Flatten", stacked, axis=1), "dense", axis=1),
                  (fields * dim + dense, 400, 400, 1))
    w.nodes.append(helper.make_node("Sigmoid", [w.add("Add", w.add("Add", pairs, first), deep)], ["y"], name="head"))
    w.save(path, [("ids", TensorProto.INT64, ["B", fields]), ("dense", TensorProto.FLOAT, ["B", dense])], "y", ["B", 1])


def din(path, dim=36):
    """Target attention over a user's history: history [B, 50], item [B], user [B] -> y [B, 1]."""
    w = Writer()
    table = w.normal(CLICK_VOCABULARY, dim, scale=0.5)
    past, item = w.add("Gather", table, "history", axis=0), w.add("Gather", table, "item", axis=0)
    user = w.add("Gather", table, "user", axis=0)
    query = w.add("Expand", w.add("Unsqueeze", item, w.constant(np.array([1]))), w.add("Shape", past))
    x = w.add("Concat", query, past, w.add("Sub", query, past), w.add("Mul", query, past), axis=-1)
    for a, b in ((4 * dim, 80), (80, 40), (40, 1)):
        x = w.linear(x, a, b)
        if b > 1:
            x = w.add("Sigmoid", x)
    used = w.add("Unsqueeze", w.add("Greater", "history", w.constant(np.array(0))), w.constant(np.array([-1])))
    masked = w.add("Where", used, x, w.constant(np.float32(-1e9)))
    weights = w.add("Softmax", masked, axis=1)
    pooled = w.add("ReduceSum", w.add("Mul", weights, past), w.constant(np.array([1])), keepdims=0)
    x = w.add("Concat", pooled, item, user, axis=1)
    for a, b in ((3 * dim, 200), (200, 80), (80, 1)):
        x = w.gemm(x, a, b)
        if b > 1:
            x = w.add("Sigmoid", x)
    w.nodes.append(helper.make_node("Sigmoid", [x], ["y"], name="head"))
    ids = [("history", TensorProto.INT64, ["B", DIN_HISTORY]), ("item", TensorProto.INT64, ["B"]),
           ("user", TensorProto.INT64, ["B"])]
    w.save(path, ids, "y", ["B", 1])


def _external_tables(path, tables, rows, dim):
    """One file of `tables` tables; each its own stretch, so that look-ups meet as much memory as they would."""
    data = path.with_suffix(".tables")
    block = (np.random.default_rng(7).standard_normal((rows, dim)) * 0.1).astype(np.float32)
    with open(data, "wb") as file:
        for index in range(tables):
            np.roll(block, index, axis=0).tofile(file)
    initialisers = []
    for index in range(tables):
        tensor = TensorProto(name=f"tables.{index}.weight", data_type=TensorProto.FLOAT, dims=[rows, dim],
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", data.name), ("offset", index * block.nbytes), ("length", block.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        initialisers.append(tensor)
    return initialisers


def dlrm(path, tables, rows, dim, bag, dense):
    """Bags of 26 tables and a dense tower meet in dot products: dense [B, 13], ids [B, 26, 20] -> y [B, 1].

    The bags are written as Gather and ReduceSum, the form that peers run best: nn.EmbeddingBag itself is exported as a
    Loop over the bags.
    """
    w = Writer()
    bottom = w.add("Relu", w.gemm("dense", dense, dim))
    weights = _external_tables(path, tables, rows, dim)
    w.weights += weights
    one = w.constant(np.array([1]))
    features = [w.add("Unsqueeze", bottom, one)]
    for index, table in enumerate(weights):
        ids = w.add("Gather", "ids", w.constant(np.array(index)), axis=1)
        bags = w.add("ReduceSum", w.add("Gather", table.name, ids, axis=0), one, keepdims=0)
        features.append(w.add("Unsqueeze", bags, one))
    x = w.add("Concat", *features, axis=1)
    count = tables + 1
    products = w.add("Flatten", w.add("MatMul", x, w.add("Transpose", x, perm=[0, 2, 1])), axis=1)
    pairs = [i * count + j for i in range(count) for j in range(i)]
    met = w.add("Gather", products, w.constant(np.array(pairs)), axis=1)
    top = _tower(w, w.add("Concat", bottom, met, axis=1), (dim + len(pairs), 512, 256, 1))
    w.nodes.append(helper.make_node("Sigmoid", [top], ["y"], name="head"))
    model = w.model(path.stem, [("dense", TensorProto.FLOAT, ["B", dense]),
                                ("ids", TensorProto.INT64, ["B", tables, bag])], "y", ["B", 1])
    path.write_bytes(model.SerializeToString())


def zipf(rng, exponent, high, shape):
    """Ids in [0, high) with probability proportional to rank^-exponent, ranks scattered over the table."""
    weights = np.cumsum(np.arange(1, high + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(weights, rng.random(shape) * weights[-1])
    return (ranks.astype(np.int64) * 2654435761) % high


def click_inputs(name, batch, seed=0):
    rng = np.random.default_rng(seed)
    if name == "din":
        return {"history": np.repeat(rng.integers(1, CLICK_VOCABULARY - 1, (1, DIN_HISTORY)), batch, 0),
                "item": rng.integers(1, CLICK_VOCABULARY - 1, (batch,)),
                "user": np.repeat(rng.integers(1, CLICK_VOCABULARY - 1, (1,)), batch, 0)}
    if name.startswith("dlrm"):
        return {"dense": rng.standard_normal((batch, DLRM["dense"]), dtype=np.float32),
                "ids": zipf(rng, 1.05, dlrm_rows(name), (batch, DLRM["tables"], DLRM["bag"]))}
    if name in MLPS:
        return {"x": rng.standard_normal((batch, MLPS[name][0]), dtype=np.float32)}
    return {"ids": rng.integers(0, CLICK_VOCABULARY - 1, (batch, 26)),
            "dense": rng.standard_normal((batch, 13), dtype=np.float32)}


def dlrm_rows(name):
    """Rows of a table: a million, or what stands behind the dash."""
    return int(name.split("-")[1]) if "-" in name else DLRM["rows"]


def identity(path, width=16):
    w = Writer()
    w.nodes.append(helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"], name="identity"))
    w.save(path, [("INPUT0", TensorProto.FLOAT, ["B", width])], "OUTPUT0", ["B", width])


def write(name, folder):
    """Writes model `name` into `folder` unless it is there; returns its path."""
    path = pathlib.Path(folder) / f"{name}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in ENCODERS:
            encoder(name, path)
        elif name in MLPS:
            mlp(name, path)
        elif name == "deepfm":
            deepfm(path)
        elif name == "din":
            din(path)
        elif name.startswith("dlrm"):
            dlrm(path, **{**DLRM, "rows": dlrm_rows(name)})
        else:
            identity(path)
    return path
