#!/usr/bin/env bash
# start: serves the demo's models, asks them real questions, prints the table; the server keeps running.
# stop:  ends the server that start left running.
set -euo pipefail
cd "$(dirname "$0")/.."

work=build/demo
pid_file=$work/server.pid
log=$work/server.log
url=${DEMO_URL:-127.0.0.1:8000}

stop_server() {
  local pid
  [ -f "$pid_file" ] || return 1
  pid=$(cat "$pid_file")
  rm -f "$pid_file"
  # The number may belong to another program by now.
  [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$(readlink -f build/release/sluice)" ] || return 1
  kill -TERM "$pid"
  for _ in $(seq 300); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  echo "the server did not end within 30 s of SIGTERM: killing it" >&2
  kill -KILL "$pid"
}

ready() { build/venv/bin/python - "$url" <<'PYTHON'
import sys, urllib.request
try:
    sys.exit(urllib.request.urlopen(f"http://{sys.argv[1]}/v2/health/ready", timeout=2).status != 200)
except OSError:
    sys.exit(1)
PYTHON
}

start_server() {
  mkdir -p "$work"
  if ready; then
    echo "something answers at http://$url already; stop it or set DEMO_URL" >&2
    exit 1
  fi
  # The encoder a second time, as a checkpoint of the same weights: the demo compares the two.
  rm -rf "$work/models"
  cp -r demo/models "$work/models"
  build/venv/bin/python demo/encoder_checkpoint.py demo/models/package_encoder/1 \
    "$work/models/package_encoder_native/1"
  # A session of its own: the server outlives this shell and a Ctrl-C in it.
  setsid build/release/sluice serve --models "$work/models" --http-port "${url##*:}" \
    >"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  for _ in $(seq 1500); do
    if ! kill -0 "$(cat "$pid_file")" 2>/dev/null; then
      echo "the server ended; the last lines of $log:" >&2
      tail -n 20 "$log" >&2
      rm -f "$pid_file"
      exit 1
    fi
    if ready; then return 0; fi
    sleep 0.2
  done
  echo "the server is not ready after 300 s; the last lines of $log:" >&2
  tail -n 20 "$log" >&2
  exit 1
}

case "${1:-}" in
  start)
    stop_server || true
    printf '\n== demo: starting the server (log: %s)\n' "$log"
    start_server
    printf '\n== demo: asking it\n'
    build/venv/bin/python demo/demo.py --url "$url"
    ;;
  stop)
    if stop_server; then echo "the demo's server has ended"; else echo "no server of the demo is running"; fi
    ;;
  *)
    echo "usage: demo/run.sh start|stop" >&2
    exit 2
    ;;
esac
