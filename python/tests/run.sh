#!/usr/bin/env bash
# Runs the Python package's tests on the release build's interpreter, build/release/sluice_python, which has the
# extension built in. usage: python/tests/run.sh [PYTEST FLAGS]   With PYTHON=FILE on an installed package instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -n "${PYTHON:-}" ]; then exec "$PYTHON" -m pytest -q -p no:cacheprovider "$@" python/tests; fi
site=$(build/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
PYTHONPATH=python:$site PYTHONDONTWRITEBYTECODE=1 exec build/release/sluice_python -m pytest -q -p no:cacheprovider "$@" python/tests
