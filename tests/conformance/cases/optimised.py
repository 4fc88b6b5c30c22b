"""Graphs as ONNX Runtime's optimisers write them: its own fused operators, com.microsoft, in place of ONNX's."""

import pathlib
import tempfile

import graph_inputs
import models
import numpy as np
import onnx
import onnxruntime
from case import GRAPHS, session, write
from onnx import TensorProto, helper

LEVELS = {"basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
          "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED}
SIZES = ((1, 3), (3, 5))


def saved(path, level):
    """The model that ONNX Runtime saves after its optimisations of `level`."""
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = LEVELS[level]
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return target.read_bytes()


def small_encoder(folder):
    """MiniLM's graph, smaller: two layers of width 32."""
    kept = dict(models.ENCODERS), models.WORD_PIECES, models.POSITIONS
    models.ENCODERS["small"], models.WORD_PIECES, models.POSITIONS = (32, 2, 4, 64), 100, 64
    try:
        models.encoder("small", folder / "encoder.onnx")
    finally:
        models.ENCODERS, models.WORD_PIECES, models.POSITIONS = kept
    return folder / "encoder.onnx"


def transformer_variants(folder):
    """(name, bytes) of encoders through onnxruntime.transformers.optimizer."""
    from onnxruntime.transformers import fusion_options, optimizer

    sources = {"encoder": small_encoder(folder)}
    sources.update({p.stem: p for p in GRAPHS.glob("bert_*.onnx")})
    for name, path in sources.items():
        for label, multi_head in (("attention", False), ("multi_head", True)):
            options = fusion_options.FusionOptions("bert")
            options.use_multi_head_attention = multi_head
            model = optimizer.optimize_model(str(path), model_type="bert", num_heads=0, hidden_size=0,
                                             opt_level=0, optimization_options=options)
            yield f"{name}_{label}", path, model.model.SerializeToString()


def _single(op, inputs, outputs, constants=(), opset=17, **attributes):
    """A model of one fused operator. inputs: (name, type, dims)."""
    infos = [helper.make_tensor_value_info(*i) for i in inputs]
    node = helper.make_node(op, [i[0] for i in inputs] if not constants else list(constants[0]),
                            [o[0] for o in outputs], domain="com.microsoft", name=op.lower(), **attributes)
    weights = list(constants[1]) if constants else []
    graph = helper.make_graph([node], op, infos, [helper.make_tensor_value_info(*o) for o in outputs], weights)
    return helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)])


def single_operators():
    """(name, model, feed) of fused operators that no small graph leads to."""
    rng = np.random.default_rng(7)
    f = TensorProto.FLOAT

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def case(name, op, feed, outputs=1, **attributes):
        kinds = {np.dtype(np.float32): f, np.dtype(np.int32): TensorProto.INT32,
                 np.dtype(np.int64): TensorProto.INT64, np.dtype(np.uint8): TensorProto.UINT8,
                 np.dtype(np.int8): TensorProto.INT8, np.dtype(np.bool_): TensorProto.BOOL}
        dtype, dtype1 = attributes.pop("out", f), attributes.pop("out1", f)
        initial = attributes.pop("constant", ())
        infos = [(k, kinds[v.dtype], v.shape) for k, v in feed.items() if v is not None and k not in initial]
        names = [k if v is not None else "" for k, v in feed.items()]
        weights = [onnx.numpy_helper.from_array(feed[k], k) for k in initial]
        outs = [(f"y{i}", dtype if i == 0 else dtype1, None) for i in range(outputs)]
        model = _single(op, infos, outs, (names, weights), **attributes)
        return name, model, {k: v for k, v in feed.items() if v is not None and k not in initial}

    x, w, b = normal(2, 5, 8), normal(8, 24), normal(24)
    lengths = np.array([3, 5], np.int32)
    mask2 = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    yield case("attention_lengths", "Attention", {"x": x, "w": w, "b": b, "m": lengths}, num_heads=2)
    yield case("attention_mask", "Attention", {"x": x, "w": w, "b": b, "m": mask2}, num_heads=2)
    yield case("attention_causal", "Attention", {"x": x, "w": w, "b": b}, num_heads=2, unidirectional=1)
    yield case("attention_past", "Attention", {"x": x, "w": w, "b": b, "m": None, "past": normal(2, 2, 2, 3, 4)},
               outputs=2, num_heads=2, unidirectional=1)
    yield case("attention_bias", "Attention",
               {"x": x, "w": w, "b": b, "m": mask2, "past": None, "bias": normal(2, 2, 5, 5)}, num_heads=2)
    yield case("attention_sizes", "Attention", {"x": x, "w": normal(8, 28), "b": normal(28)}, num_heads=2,
               qkv_hidden_sizes=[8, 8, 12], scale=0.3)
    q, k, v = normal(2, 5, 8), normal(2, 6, 8), normal(2, 6, 8)
    keys = np.array([[1, 1, 1, 1, 0, 0], [1] * 6], np.int32)
    yield case("mha", "MultiHeadAttention", {"q": q, "k": k, "v": v, "b": b, "m": keys}, num_heads=4)
    yield case("mha_bias", "MultiHeadAttention",
               {"q": q, "k": k, "v": v, "b": None, "m": None, "a": normal(1, 4, 5, 6)}, num_heads=4)
    yield case("mha_cross", "MultiHeadAttention", {"q": q, "k": normal(2, 4, 6, 2), "v": normal(2, 4, 6, 2)},
               num_heads=4)
    yield case("mha_past", "MultiHeadAttention",
               {"q": q, "k": q, "v": q, "b": None, "m": None, "a": None, "pk": normal(2, 4, 3, 2),
                "pv": normal(2, 4, 3, 2)}, outputs=3, num_heads=4, unidirectional=1)
    for form in (0, 1):
        yield case(f"rotary_{form}", "RotaryEmbedding",
                   {"x": normal(2, 5, 8), "p": np.array([3], np.int64), "c": normal(16, 2), "s": normal(16, 2)},
                   interleaved=form)
    yield case("rotary_positions", "RotaryEmbedding",
               {"x": normal(2, 2, 5, 4), "p": rng.integers(0, 16, (2, 5)), "c": normal(16, 2), "s": normal(16, 2)})
    yield from grouped_attention(case, normal)
    g = normal(8)
    yield case("skip_norm", "SkipLayerNormalization", {"x": x, "s": normal(2, 5, 8), "g": g, "be": g, "bi": g})
    yield case("skip_norm_broadcast", "SkipLayerNormalization", {"x": x, "s": normal(1, 5, 8), "g": g})
    yield case("skip_rms", "SkipSimplifiedLayerNormalization", {"x": x, "s": x, "g": g, "bi": g})
    for op in ("Gelu", "FastGelu", "QuickGelu"):
        yield case(op.lower(), op, {"x": x})
    yield case("bias_gelu", "BiasGelu", {"x": x, "b": g})
    yield case("fast_gelu_bias", "FastGelu", {"x": x, "b": g})
    yield case("fused_matmul", "FusedMatMul", {"a": normal(3, 8, 5), "b": normal(3, 6, 8)}, transA=1, transB=1,
               alpha=0.5)
    yield case("fused_gemm", "FusedGemm", {"a": normal(4, 8), "b": normal(5, 8), "c": normal(5)}, transB=1,
               alpha=0.5, activation="LeakyRelu", activation_alpha=0.2)
    yield case("fused_matmul_batch", "FusedMatMul", {"a": normal(5, 2, 8), "b": normal(6, 2, 8)}, transBatchA=1,
               transBatchB=1, transB=1)
    for act, params in (("Relu", []), ("Clip", [-0.5, 0.5]), ("LeakyRelu", [0.1]), ("Sigmoid", [])):
        yield case(f"fused_conv_{act.lower()}", "FusedConv", {"x": normal(1, 3, 6, 6), "w": normal(4, 3, 3, 3),
                   "b": normal(4)}, activation=act, pads=[1, 1, 1, 1], kernel_shape=[3, 3],
                   **({"activation_params": params} if params else {}))
    a8, b8 = rng.integers(0, 255, (5, 8)).astype(np.uint8), rng.integers(-127, 127, (8, 6)).astype(np.int8)
    one = np.array(0.02, np.float32)
    columns = np.abs(normal(6))
    yield case("matmul_integer_to_float", "MatMulIntegerToFloat",
               {"a": a8, "b": b8, "as": one, "bs": columns, "az": np.array(128, np.uint8), "bz": None,
                "bias": normal(6)})
    yield case("dynamic_matmul", "DynamicQuantizeMatMul", {"a": normal(5, 8), "b": b8, "bs": columns})
    u8 = TensorProto.UINT8
    z = np.array(120, np.uint8)
    c8 = rng.integers(0, 255, (5, 8)).astype(np.uint8)
    for op in ("QLinearAdd", "QLinearMul"):
        yield case(op.lower(), op, {"a": a8, "as": one, "az": z, "b": c8, "bs": one, "bz": z,
                                    "cs": np.array(0.05, np.float32), "cz": z}, out=u8)
    yield case("qlinear_sigmoid", "QLinearSigmoid",
               {"a": a8, "as": one, "az": z, "cs": np.array(1 / 256, np.float32), "cz": np.array(0, np.uint8)},
               out=u8, constant=("as", "az", "cs", "cz"))
    yield case("qlinear_average", "QLinearGlobalAveragePool",
               {"a": rng.integers(0, 255, (1, 3, 4, 4)).astype(np.uint8), "as": one, "az": z, "cs": one, "cz": z},
               out=u8)
    yield case("qgemm", "QGemm", {"a": a8, "as": one, "az": z, "b": np.ascontiguousarray(b8.T), "bs": columns,
                                  "bz": np.zeros(6, np.int8), "c": rng.integers(-99, 99, 6).astype(np.int32)},
               transB=1, constant=("b", "bz"))
    yield case("qlinear_where", "QLinearWhere",
               {"c": normal(5, 8) > 0, "a": a8, "as": one, "az": z, "b": c8, "bs": one, "bz": z,
                "cs": np.array(0.03, np.float32), "cz": z}, out=u8)
    for axis in (0, 1):
        yield case(f"contrib_quantize_{axis}", "QuantizeLinear",
                   {"a": normal(5, 8), "s": np.abs(normal((5, 8)[axis])) + 0.1,
                    "z": rng.integers(0, 9, (5, 8)[axis]).astype(np.uint8)}, out=u8, axis=axis)
    yield case("contrib_dequantize", "DequantizeLinear", {"a": a8, "s": one, "z": z})
    words = {n: rng.integers(0, 255, (r, 8)).astype(np.uint8) for n, r in (("w", 20), ("p", 8), ("t", 2))}
    ids = {"ids": rng.integers(0, 20, (2, 5)).astype(np.int32), "types": rng.integers(0, 2, (2, 5)).astype(np.int32)}
    rows = {n: rng.integers(0, 255, 8).astype(np.uint8) for n in ("g", "be")}
    scales = {f"s{i}": np.array(0.01 * (i + 1), np.float32) for i in range(5)}
    zeros = {f"z{i}": np.array(100 + i, np.uint8) for i in range(5)}
    tables = {**words, **rows}
    yield case("qembed", "QEmbedLayerNormalization", {**ids, **tables, "m": mask2, **scales, **zeros}, outputs=2,
               out1=TensorProto.INT32,
               constant=tuple(tables) + tuple(scales) + tuple(zeros))
    for bits, block, width in ((4, 16, 32), (4, 32, 48), (8, 16, 32)):
        blocks = -(-width // block)
        weights = rng.integers(0, 255, (6, blocks, block * bits // 8)).astype(np.uint8)
        zeros = rng.integers(0, 255, (6, -(-blocks * bits // 8))).astype(np.uint8)
        for label, zero in (("", None), ("_zeros", zeros)):
            feed = {"a": normal(5, width), "b": weights, "s": np.abs(normal(6, blocks)), "z": zero}
            yield case(f"matmul_{bits}_bits_{block}{label}", "MatMulNBits", feed, K=width, N=6, bits=bits,
                       block_size=block, constant=("b", "s") + (("z",) if zero is not None else ()))


def grouped_attention(case, normal):
    """GroupQueryAttention: two sequences, four heads of queries, two of keys, each of width 16."""
    i32 = np.int32
    tables = {"c": normal(32, 8), "s": normal(32, 8)}

    def qkv(length):
        return {"q": normal(2, length, 64), "k": normal(2, length, 32), "v": normal(2, length, 32)}

    def of(length, past, **more):
        past_rows = {n: normal(2, 2, past, 16) if past else None for n in ("pk", "pv")}
        counts = {"len": np.full(2, past + length - 1, i32), "total": np.array(past + length, i32)}
        return {**qkv(length), **past_rows, **counts, **more}

    heads = {"num_heads": 4, "kv_num_heads": 2}
    yield case("gqa", "GroupQueryAttention", of(5, 0), outputs=3, **heads)
    yield case("gqa_rotary", "GroupQueryAttention", of(5, 0, **tables), outputs=3, do_rotary=1, **heads)
    yield case("gqa_interleaved", "GroupQueryAttention", of(5, 0, **tables), outputs=3, do_rotary=1,
               rotary_interleaved=1, **heads)
    yield case("gqa_window_softcap", "GroupQueryAttention", of(7, 0), outputs=3, local_window_size=3,
               softcap=2.0, scale=0.4, **heads)
    yield case("gqa_past", "GroupQueryAttention", of(1, 4, **tables), outputs=3, do_rotary=1, **heads)
    yield case("gqa_past_window", "GroupQueryAttention", of(1, 6), outputs=3, local_window_size=4, **heads)
    packed = of(5, 0, **tables)
    packed.update({"q": normal(2, 5, 128), "k": None, "v": None})
    yield case("gqa_packed", "GroupQueryAttention", packed, outputs=3, do_rotary=1, **heads)
    biased = of(5, 0, c=None, s=None, p=None, bias=normal(1, 4, 5, 5))
    yield case("gqa_bias", "GroupQueryAttention", biased, outputs=3, **heads)
    yield case("gqa_both_ways", "GroupQueryAttention", of(5, 0), outputs=3, causal=0, **heads)


def quantised_recurrent():
    """(name, model, feed, model whose answers count) of DynamicQuantizeLSTM. ONNX Runtime rounds activations as well,
    so ONNX's LSTM on the weights that the bytes stand for tells what is right; both must be near each other."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((6, 2, 8)).astype(np.float32)
    for directions, by_column in ((1, False), (2, True)):
        hidden = 8
        weights = {"w": (directions, 8, 4 * hidden), "r": (directions, hidden, 4 * hidden)}
        constants, real = {}, {}
        for name, shape in weights.items():
            per = (directions, 4 * hidden) if by_column else (directions,)
            constants[name] = rng.integers(-127, 128, shape).astype(np.int8)
            constants[name + "s"] = rng.uniform(0.001, 0.004, per).astype(np.float32)
            constants[name + "z"] = np.zeros(per, np.int8) if by_column else rng.integers(-5, 5, per).astype(np.int8)
            spread = (slice(None), None) if by_column else (slice(None), None, None)
            value = (constants[name].astype(np.float32) - constants[name + "z"][spread]) * constants[name + "s"][spread]
            real[name] = np.ascontiguousarray(value.transpose(0, 2, 1))
        real["b"] = constants["b"] = rng.standard_normal((directions, 8 * hidden)).astype(np.float32)
        order = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
        models = []
        for op, domain, names, values in (("DynamicQuantizeLSTM", "com.microsoft", order, constants),
                                          ("LSTM", "", order[:4], real)):
            node = helper.make_node(op, names, ["y", "h", "c"], domain=domain, name="lstm", hidden_size=hidden,
                                    direction="bidirectional" if directions == 2 else "forward")
            graph = helper.make_graph([node], op, [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
                                      [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "yhc"],
                                      [onnx.numpy_helper.from_array(v, n) for n, v in values.items()])
            models.append(helper.make_model(graph, ir_version=10, opset_imports=[
                helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]))
        rounded, right = (session(m.SerializeToString()).run(None, {"x": x}) for m in models)
        for a, b in zip(rounded, right):
            np.testing.assert_allclose(a, b, atol=0.05)
        yield f"quantised_lstm_{directions}", models[0], {"x": x}, models[1]


def make(folder, report):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        fused = set()

        def add(name, path, data):
            model = onnx.load_from_string(data)
            fused.update(n.op_type for n in model.graph.node if n.domain == "com.microsoft")
            feeds = [graph_inputs.inputs(path, {"batch": batch, "*": size}, seed)
                     for seed, (batch, size) in enumerate(SIZES)]
            # What the graph says before anything was fused.
            runtime = session(path.read_bytes())
            names = [i.name for i in model.graph.input if i.name not in {w.name for w in model.graph.initializer}]
            write(folder, name, data, [[feed[n] for n in names] for feed in feeds],
                  [runtime.run(None, feed) for feed in feeds])

        for path in sorted(GRAPHS.glob("*.onnx")) + [small_encoder(scratch)]:
            for level in LEVELS:
                add(f"{level}_{path.stem}", path, saved(path, level))
        for name, path, data in transformer_variants(scratch):
            add(f"transformers_{name}", path, data)
        for name, model, feed, *right in [*single_operators(), *quantised_recurrent()]:
            fused.update(n.op_type for n in model.graph.node)
            runtime = session((right or [model])[0].SerializeToString())
            names = [i.name for i in model.graph.input]
            write(folder, f"single_{name}", model, [[feed[n] for n in names]], [runtime.run(None, feed)])
        report("fused operators: " + " ".join(sorted(fused)))
