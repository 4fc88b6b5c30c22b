#!/usr/bin/env bash
# Runs everything `make test` promises on a finished release build: CTest (unit, simulator, conformance, tidy) and the
# tests that drive the binary with real clients.
set -euo pipefail
cd "$(dirname "$0")/.."
printf '\n== test: ctest\n'
(cd build/release && ctest --output-on-failure --timeout 600 -j 2)
printf '\n== test: ONNX node tests\n'
grep -hE '^onnx node tests: .* of 1653' build/release/Testing/Temporary/LastTest.log | sort -u || true
printf '\n== test: real clients against the binary\n'
build/venv/bin/python -m pytest -q -rs tests/e2e
printf '\n== test: the Python package\n'
python/tests/run.sh
