"""Makes the extension that build/release/sluice_python has built in the package's own."""

import importlib
import pathlib
import sys

import pytest

if "_sluice_native" in sys.builtin_module_names:
    sys.modules["sluice._native"] = importlib.import_module("_sluice_native")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GRAPHS = ROOT / "tests" / "conformance" / "graphs"
DEMO = ROOT / "demo" / "models"
sys.path.insert(0, str(ROOT / "tests" / "e2e"))  # graph_inputs.py


@pytest.fixture
def click():
    import sluice

    return sluice.Model(DEMO / "click" / "1")


@pytest.fixture
def encoder():
    import sluice

    return sluice.Model(DEMO / "package_encoder" / "1")
