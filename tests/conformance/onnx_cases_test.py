"""Generated ONNX models through the reader and both executions, against ONNX Runtime.

    onnx_cases_test.py --binary onnx_node_test [--cases optimised,opsets,...] [--seed N] [--count N] [--keep FOLDER]

Each kind of case is a module of cases/ that writes folders like those of ONNX's node tests; onnx_node_test runs them.
"""

import argparse
import importlib
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests/conformance/cases", "tests/e2e", "bench/compare")]

KINDS = ("optimised", "trees", "opsets", "bags", "light", "random_graphs")
MODES = ("interpreter", "compiled")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--cases", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=1, help="of random graphs")
    parser.add_argument("--count", type=int, default=60, help="random graphs")
    parser.add_argument("--keep", help="a folder for the cases; by default they are thrown away")
    arguments = parser.parse_args()
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        print("skipped: onnx and onnxruntime are not installed")
        return 77
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for kind in arguments.cases.split(","):
            folder = pathlib.Path(arguments.keep or scratch) / kind
            folder.mkdir(parents=True)
            module = importlib.import_module(kind)
            module.make(folder, print, **({"seed": arguments.seed, "count": arguments.count}
                                          if kind == "random_graphs" else {}))
            skips = pathlib.Path(__file__).parent / "cases" / f"{kind}_skips.txt"
            if not skips.exists():
                skips = pathlib.Path(scratch) / "no_skips.txt"
                skips.write_text("")
            for mode in getattr(module, "MODES", MODES):
                print(f"{kind}, {mode}:", flush=True)
                run = subprocess.run([arguments.binary, str(folder), str(skips), f"--mode={mode}",
                                      "--absolute=1e-5"])
                failed = failed or run.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
