#!/usr/bin/env bash
# Configures and builds one preset, saying how long it took. usage: tools/build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1; shift
printf '\n== build: %s\n' "$preset"
start=$SECONDS
[ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 || {
  cat "build/$preset.configure.log" >&2
  exit 1
}
if [ -t 1 ]; then
  ninja -C "build/$preset" "$@"
else  # no terminal: a line a minute instead of a line a file
  log=build/$preset.build.log
  ninja -C "build/$preset" "$@" >"$log" 2>&1 &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    for _ in $(seq 60); do kill -0 "$job" 2>/dev/null || break; sleep 1; done
    printf 'building: %s\n' "$(grep -o '^\[[0-9/]*\]' "$log" | tail -n 1)"
  done
  wait "$job" || { grep -vE '^\[[0-9/]+\] (Building|Linking)' "$log" | head -100 >&2; exit 1; }
fi
printf 'build %s: %d s\n' "$preset" $((SECONDS - start))
