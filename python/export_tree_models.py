#!/usr/bin/env python3
r"""Small tree models as LightGBM's and scikit-learn's exporters write them, for the conformance tests.

    python -m venv build/venv-trees
    build/venv-trees/bin/pip install lightgbm==4.7.0 skl2onnx==1.20.0 \\
        onnxmltools==1.16.0 scikit-learn==1.9.1 onnx==1.20.1 packaging
    build/venv-trees/bin/python python/export_tree_models.py tests/conformance/tree_models

Seeded; the data are random and so is what the models know.
"""

import pathlib
import sys

import lightgbm
import numpy as np
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType as LightGbmFloats
from skl2onnx import to_onnx
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

FEATURES = 6


def data(classes):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, FEATURES)).astype(np.float32)
    signal = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2])
    if classes == 0:
        return x, signal
    return x, np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)

    def save(name, model):
        model.graph.name = name
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
        print(name, len(model.SerializeToString()))

    options = {"n_estimators": 12, "num_leaves": 9, "random_state": 1, "n_jobs": 1, "verbose": -1}
    kinds = [("input", LightGbmFloats([None, FEATURES]))]
    for name, model, classes in (("lightgbm_binary", lightgbm.LGBMClassifier(**options), 2),
                                 ("lightgbm_multiclass", lightgbm.LGBMClassifier(**options), 3),
                                 ("lightgbm_regression", lightgbm.LGBMRegressor(**options), 0)):
        x, y = data(classes)
        save(name, convert_lightgbm(model.fit(x, y), name, kinds, zipmap=False, target_opset=15))
    for name, model, classes in (
            ("sklearn_tree", DecisionTreeClassifier(max_depth=5, random_state=1), 3),
            ("sklearn_forest_binary", RandomForestClassifier(8, max_depth=4, random_state=1), 2),
            ("sklearn_forest_multiclass", RandomForestClassifier(8, max_depth=4, random_state=1), 3),
            ("sklearn_extra_trees", ExtraTreesRegressor(8, max_depth=4, random_state=1), 0),
            ("sklearn_boosting_binary", GradientBoostingClassifier(n_estimators=10, random_state=1), 2),
            ("sklearn_scaled_logistic", make_pipeline(StandardScaler(), LogisticRegression()), 2)):
        x, y = data(classes)
        model.fit(x, y)
        zipmap = {} if classes == 0 else {"options": {id(model): {"zipmap": False}}}
        save(name, to_onnx(model, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}, **zipmap))


if __name__ == "__main__":
    main()
