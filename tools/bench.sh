#!/usr/bin/env bash
# The benchmarks of the core on this machine: kernels against the measured roof, the loop, the tokeniser.
set -euo pipefail
cd "$(dirname "$0")/.."
printf '\n== bench: kernels\n'
build/release/tests/conformance/kernel_conformance --perf
for bench in loop text; do
  printf '\n== bench: %s\n' "$bench"
  "build/release/bench/${bench}_bench"
done
printf '\n== bench: a 2 us model beside BERT-base 8x128 on one core, with and without safepoints\n'
mkdir -p build/bench/bert
PYTHONPATH=bench/compare build/venv/bin/python - <<'PYTHON'
import pathlib, models
folder = pathlib.Path("build/bench/bert")
if not (folder / "model.onnx").exists():
    models.write("bert", folder).rename(folder / "model.onnx")
PYTHON
build/release/bench/safepoint_bench --model build/bench/bert --rows 8 --length 128 --seconds 10 --rounds 1 --rate 100
