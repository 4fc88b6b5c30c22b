#!/usr/bin/env bash
# The unit, simulator and server tests under ASan+UBSan and under TSan.
set -euo pipefail
cd "$(dirname "$0")/.."
for preset in asan tsan; do
  tools/build.sh "$preset"
  printf '\n== sanitize: %s\n' "$preset"
  (
    cd "build/$preset"
    # Debian's gRPC and Abseil carry no instrumentation: their internals would be reported as races.
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$PWD/../../tools/tsan.supp halt_on_error=1"
    export UBSAN_OPTIONS=print_stacktrace=1
    ctest --output-on-failure --timeout 1800 -j 2 -LE slow
  )
done
