#!/usr/bin/env bash
# Runs every fuzz target under ASan and UBSan, one after another. usage: tools/fuzz.sh SECONDS [TARGET...]
# A target begins with its seeds in tests/fuzz/corpus/TARGET, where there are any, and keeps what it finds in
# build/fuzz/corpus/TARGET. The first crash stops the run and names the input that makes it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1; shift
[ $# -gt 0 ] || set -- $(cd build/fuzz/tests/fuzz && ls -1 | grep -E '_fuzz$')
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
for target in "$@"; do
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus" build/fuzz/crashes
  seeds=(); [ -d "tests/fuzz/corpus/$target" ] && seeds=("tests/fuzz/corpus/$target")
  printf '\n== fuzz: %s for %s s\n' "$target" "$seconds"
  "build/fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/crashes/$target-" "$corpus" "${seeds[@]}" >"build/fuzz/$target.log" 2>&1 || {
    tail -60 "build/fuzz/$target.log"
    exit 1
  }
  grep -E 'stat::number_of_executed_units|stat::peak_rss_mb' "build/fuzz/$target.log"
done
echo "fuzz: clean"
