"""Decision trees and the small operators of ai.onnx.ml, with random parameters."""

import numpy as np
from case import GRAPHS, session, write_with_runtime
from onnx import TensorProto, helper

ML = "ai.onnx.ml"
KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE,
         np.dtype(np.int64): TensorProto.INT64, np.dtype(np.int32): TensorProto.INT32,
         np.dtype(object): TensorProto.STRING}


def model_of(op, feed, outputs, version=3, **attributes):
    """A model of one operator; outputs: (name, type)."""
    node = helper.make_node(op, list(feed), [o[0] for o in outputs], domain=ML, name=op, **attributes)
    infos = [helper.make_tensor_value_info(k, KINDS[v.dtype], [None] + list(v.shape[1:])) for k, v in feed.items()]
    outs = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs]
    graph = helper.make_graph([node], op, infos, outs)
    return helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid(ML, version)])


def forest(rng, trees, depth, features, targets, modes=("BRANCH_LEQ",), missing=False, prefix="target"):
    """Attributes of `trees` random trees, each split by chance until `depth`; leaves hold one pair or several."""
    lists = {k: [] for k in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids",
                             "missing_value_tracks_true")}
    leaves = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        open_nodes, count = [(0, 0)], 1
        while open_nodes:
            node, level = open_nodes.pop(0)
            is_leaf = level == depth or (level > 1 and rng.random() < 0.3)
            lists["treeids"].append(tree)
            lists["nodeids"].append(node)
            lists["missing_value_tracks_true"].append(int(missing and rng.random() < 0.5))
            if is_leaf:
                row = ("LEAF", 0, 0.0, 0, 0)
                for target in rng.choice(targets, rng.integers(1, targets + 1), replace=False):
                    leaves["treeids"].append(tree)
                    leaves["nodeids"].append(node)
                    leaves["ids"].append(int(target))
                    leaves["weights"].append(float(np.float32(rng.standard_normal())))
            else:
                row = (str(rng.choice(modes)), int(rng.integers(features)),
                       float(np.float32(np.round(rng.standard_normal(), 1))), count, count + 1)
                open_nodes += [(count, level + 1), (count + 1, level + 1)]
                count += 2
            for key, value in zip(("modes", "featureids", "values", "truenodeids", "falsenodeids"), row):
                lists[key].append(value)
    if not missing:
        del lists["missing_value_tracks_true"]
    return {**{f"nodes_{k}": v for k, v in lists.items()}, **{f"{prefix}_{k}": v for k, v in leaves.items()}}


def rows(rng, count, features, dtype=np.float32, nans=False):
    x = np.round(rng.standard_normal((count, features)), 1).astype(dtype)  # so that equal values meet
    if nans:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x


def regressors(rng):
    every = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
    for name, trees, depth, targets, modes, extra in (
            ("one_tree", 1, 3, 1, every[:1], {}), ("boosted", 40, 6, 1, every[:1], {"base_values": [0.5]}),
            ("less", 10, 5, 1, every[1:2], {}), ("greater", 10, 5, 1, every[3:4], {}),
            ("mixed", 12, 5, 1, every, {}), ("targets", 12, 4, 3, every[:1], {"base_values": [0.1, 0.2, 0.3]}),
            ("average", 9, 4, 2, every[:1], {"aggregate_function": "AVERAGE"}),
            ("minimum", 9, 4, 2, every[:1], {"aggregate_function": "MIN"}),
            ("maximum", 9, 4, 1, every[:1], {"aggregate_function": "MAX"}),
            ("logistic", 9, 4, 2, every[:1], {"post_transform": "LOGISTIC"}),
            ("softmax", 9, 4, 3, every[:1], {"post_transform": "SOFTMAX"}),
            ("softmax_zero", 9, 4, 3, every[:1], {"post_transform": "SOFTMAX_ZERO"})):
        attributes = {**forest(rng, trees, depth, 5, targets, modes), "n_targets": targets, **extra}
        feeds = [{"x": rows(rng, n, 5)} for n in (1, 3, 40, 130)]
        yield (f"regressor_{name}", model_of("TreeEnsembleRegressor", feeds[0], [("y", TensorProto.FLOAT)],
                                             **attributes), feeds)
    for missing in (False, True):
        attributes = {**forest(rng, 10, 5, 4, 1, missing=missing), "n_targets": 1}
        feeds = [{"x": rows(rng, n, 4, nans=True)} for n in (1, 40)]
        yield (f"regressor_missing_{missing}", model_of("TreeEnsembleRegressor", feeds[0],
                                                        [("y", TensorProto.FLOAT)], **attributes), feeds)
    for dtype in (np.float64,):
        attributes = {**forest(rng, 10, 5, 4, 1), "n_targets": 1}
        feeds = [{"x": rows(rng, n, 4, dtype)} for n in (1, 40)]
        yield (f"regressor_{np.dtype(dtype).name}", model_of("TreeEnsembleRegressor", feeds[0],
                                                             [("y", TensorProto.FLOAT)], **attributes), feeds)


def classifiers(rng):
    for name, classes, one, positive, extra in (
            ("three", 3, False, False, {}), ("three_softmax", 3, False, False, {"post_transform": "SOFTMAX"}),
            ("three_base", 3, False, False, {"base_values": [0.1, 0.2, 0.3], "post_transform": "LOGISTIC"}),
            ("two_ids", 2, False, False, {}), ("two_ids_softmax", 2, False, False, {"post_transform": "SOFTMAX"}),
            ("binary", 2, True, False, {}), ("binary_logistic", 2, True, False, {"post_transform": "LOGISTIC"}),
            ("binary_base", 2, True, False, {"base_values": [0.3], "post_transform": "LOGISTIC"}),
            ("binary_positive", 2, True, True, {})):
        attributes = forest(rng, 15, 4, 5, 1 if one else classes, prefix="class")
        if positive:
            attributes["class_weights"] = [abs(w) / 15 for w in attributes["class_weights"]]
        for labels in ({"classlabels_int64s": [i if classes == 2 else 10 + i for i in range(classes)]},
                       {"classlabels_strings": [f"c{i}" for i in range(classes)]}):
            kind = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
            feeds = [{"x": rows(rng, n, 5)} for n in (1, 40)]
            yield (f"classifier_{name}_{len(labels)}_{kind}", model_of(
                "TreeEnsembleClassifier", feeds[0], [("label", kind), ("scores", TensorProto.FLOAT)],
                **attributes, **labels, **extra), feeds)


def small(rng):
    x = rows(rng, 6, 4)
    f, i, s = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
    yield "scaler", model_of("Scaler", {"x": x}, [("y", f)], offset=[0.5, 0.0, -1.0, 2.0], scale=[2.0, 3.0, 4.0, 5.0]), [{"x": x}]
    for norm in ("MAX", "L1", "L2"):
        yield f"normalizer_{norm}", model_of("Normalizer", {"x": x}, [("y", f)], norm=norm), [{"x": x}]
    yield "binarizer", model_of("Binarizer", {"x": x}, [("y", f)], threshold=0.3), [{"x": x}]
    holes = rows(rng, 6, 4, nans=True)
    yield "imputer", model_of("Imputer", {"x": holes}, [("y", f)], imputed_value_floats=[1.0, 2.0, 3.0, 4.0],
                              replaced_value_float=float("nan")), [{"x": holes}]
    yield "linear_regressor", model_of("LinearRegressor", {"x": x}, [("y", f)], targets=2, coefficients=[
        float(v) for v in rng.standard_normal(8)], intercepts=[0.5, -0.5]), [{"x": x}]
    for name, classes, transform in (("linear_three", 3, "SOFTMAX"), ("linear_two", 2, "SOFTMAX"),
                                     ("linear_logistic", 3, "LOGISTIC")):
        yield name, model_of("LinearClassifier", {"x": x}, [("label", i), ("scores", f)],
                             classlabels_ints=list(range(classes)), post_transform=transform,
                             coefficients=[float(v) for v in rng.standard_normal(4 * classes)],
                             intercepts=[float(v) for v in rng.standard_normal(classes)]), [{"x": x}]
    at = np.array([[2, 0]], np.int64)
    yield "extractor", model_of("ArrayFeatureExtractor", {"x": x, "at": at}, [("y", f)]), [{"x": x, "at": at}]
    y = rows(rng, 6, 2)
    yield "vectorizer", model_of("FeatureVectorizer", {"x": x, "y": y}, [("z", f)], version=1,
                                 inputdimensions=[4, 2]), [{"x": x, "y": y}]
    ints = rng.integers(0, 6, (5, 2))
    words = np.array([f"w{v}" for v in ints.flat], object).reshape(ints.shape)
    yield "encoder_int_string", model_of("LabelEncoder", {"x": ints}, [("y", s)], keys_int64s=[5, 1, 3],
                                         values_strings=["five", "one", "three"], default_string="?"), [{"x": ints}]
    yield "encoder_string_int", model_of("LabelEncoder", {"x": words}, [("y", i)],
                                         keys_strings=["w2", "w0", "w4", "w2"], values_int64s=[2, 0, 4, 9]), [{"x": words}]
    numbers = np.array([[1.5, np.nan], [2.5, 7.0]], np.float32)
    yield "encoder_float", model_of("LabelEncoder", {"x": numbers}, [("y", f)], version=4,
                                    keys_floats=[1.5, float("nan"), 2.5], values_floats=[10.0, 20.0, 30.0],
                                    default_float=-4.0), [{"x": numbers}]


def make(folder, report):
    rng = np.random.default_rng(11)
    count = 0
    for cases in (regressors, classifiers, small):
        for name, model, feeds in cases(rng):
            write_with_runtime(folder, name, model, feeds)
            count += 1
    for path in sorted((GRAPHS.parent / "tree_models").glob("*.onnx")):
        (data,) = session(path.read_bytes()).get_inputs()
        write_with_runtime(folder, f"exported_{path.stem}", path.read_bytes(),
                           [{data.name: rng.standard_normal((n, 6)).astype(np.float32)} for n in (1, 40)])
        count += 1
    report(f"{count} models of ai.onnx.ml")
