#!/usr/bin/env bash
# The benchmarks of the core on this machine: kernels against the measured roof, the loop, the tokeniser.
set -euo pipefail
cd "$(dirname "$0")/.."
printf '\n== bench: kernels\n'
build/release/tests/conformance/kernel_conformance --perf
for bench in build/release/bench/*_bench; do
  printf '\n== bench: %s\n' "$(basename "$bench")"
  "$bench"
done
