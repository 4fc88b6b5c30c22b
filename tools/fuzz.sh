#!/usr/bin/env bash
# Runs every fuzz target under ASan and UBSan, one after another. usage: tools/fuzz.sh CPU_SECONDS [TARGET...]
# The time is the target's own processor time, so a busy machine fuzzes as much as an idle one. A target begins with its
# seeds in tests/fuzz/corpus/TARGET, where there are any, and keeps what it finds in build/fuzz/corpus/TARGET. The first
# crash stops the run and names the input that makes it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1; shift
[ $# -gt 0 ] || set -- $(cd build/fuzz/tests/fuzz && ls -1 | grep -E '_fuzz$')
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
TIMEFORMAT='%U %S'
for target in "$@"; do
  corpus=build/fuzz/corpus/$target log=build/fuzz/$target.log
  mkdir -p "$corpus" build/fuzz/crashes
  seeds=(); [ -d "tests/fuzz/corpus/$target" ] && seeds=("tests/fuzz/corpus/$target")
  printf '\n== fuzz: %s for %s s of processor time\n' "$target" "$seconds"
  spent=0 runs=0 peak=0
  while [ "$spent" -lt "$seconds" ]; do
    left=$((seconds - spent))
    { time "build/fuzz/tests/fuzz/$target" -max_total_time="$((left < 10 ? 10 : left))" -timeout=60 \
      -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$target-" "$corpus" \
      "${seeds[@]}" >"$log" 2>&1; } 2>"$log.time" || {
      tail -60 "$log"
      exit 1
    }
    spent=$((spent + $(awk '{ print int($1 + $2) + 1 }' "$log.time")))
    runs=$((runs + $(awk '/stat::number_of_executed_units/ { print $2 }' "$log")))
    peak=$(awk -v peak="$peak" '/stat::peak_rss_mb/ { print ($2 > peak ? $2 : peak) }' "$log")
  done
  printf '%s: clean after %d s of processor time, %d inputs, peak %d MB\n' "$target" "$spent" "$runs" "$peak"
done
echo "fuzz: clean"
