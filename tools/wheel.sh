#!/usr/bin/env bash
# Builds the Python package as a user would: `pip wheel .` with its own build environment, installed into a fresh
# environment and tested there. The wheel lies in build/dist. usage: tools/wheel.sh
set -euo pipefail
cd "$(dirname "$0")/.."
printf '\n== wheel: build\n'
start=$SECONDS
/usr/bin/python3 -m venv --clear build/venv-wheel
rm -rf build/dist
build/venv-wheel/bin/pip wheel -q --disable-pip-version-check --no-deps -w build/dist .
wheel=$(ls build/dist/sluice-*.whl)
printf 'wheel: %s, %s bytes, %d s\n' "$wheel" "$(stat -c %s "$wheel")" $((SECONDS - start))
printf '\n== wheel: test\n'
build/venv-wheel/bin/pip install -q --disable-pip-version-check "$wheel" "$(grep '^onnx==' tools/requirements.txt)" \
  "$(grep '^onnxruntime==' tools/requirements.txt)" "$(grep '^pytest==' tools/requirements.txt)"
PYTHON=$PWD/build/venv-wheel/bin/python python/tests/run.sh
