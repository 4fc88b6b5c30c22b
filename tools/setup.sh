#!/usr/bin/env bash
# Everything a fresh Debian 12 needs to build, test and demonstrate Sluice: system packages and a pinned Python
# environment in build/venv. Idempotent: a second run does nothing and says so.
# usage: tools/setup.sh [build|compare|sanitize|format]...   (default: build)
set -euo pipefail
cd "$(dirname "$0")/.."

packages_build=(g++ cmake ninja-build make pkg-config ccache libboost1.81-dev libssl-dev libgrpc++-dev
  protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libhwy-dev libicu-dev libpcre2-dev libyaml-cpp-dev
  libsimdjson-dev zlib1g-dev python3-dev libgtest-dev libgmock-dev libbenchmark-dev python3 python3-venv binutils curl
  openssl ca-certificates)
packages_compare=(wrk nghttp2-client)
packages_sanitize=(clang-14 libclang-rt-14-dev)
packages_format=(clang-format-14)

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  if ! command -v sudo >/dev/null; then
    echo "setup: root or sudo is needed for: $*" >&2
    exit 1
  fi
  echo "setup: using sudo for: $*"
  sudo "$@"
}

install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then echo "system packages: all $# present"; return; fi
  echo "system packages: installing ${missing[*]}"
  as_root apt-get update -qq
  for package in "${missing[@]}"; do
    if ! apt-cache show "$package" >/dev/null 2>&1; then
      echo "setup: Debian package '$package' cannot be had from the configured sources" \
        "(this project is built on Debian 12 'bookworm')" >&2
      exit 1
    fi
  done
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

python_environment() {  # python_environment FOLDER REQUIREMENTS
  local folder=$1 requirements=$2 stamp
  stamp=$folder/.installed-$(sha256sum "$requirements" | cut -c1-16)
  if [ -e "$stamp" ]; then echo "python environment $folder: up to date"; return; fi
  echo "python environment $folder: installing $requirements"
  [ -x "$folder/bin/python" ] || /usr/bin/python3 -m venv "$folder"
  if ! "$folder/bin/pip" install -q --disable-pip-version-check -r "$requirements"; then
    echo "setup: a Python package of $requirements cannot be had; its message stands above" >&2
    exit 1
  fi
  touch "$stamp"
}

[ $# -gt 0 ] || set -- build
for part in "$@"; do
  printf '\n== setup: %s\n' "$part"
  case $part in
    build) install_packages "${packages_build[@]}"; mkdir -p build; python_environment build/venv tools/requirements.txt ;;
    compare) install_packages "${packages_compare[@]}"; python_environment build/venv-compare bench/compare/requirements.txt ;;
    sanitize) install_packages "${packages_sanitize[@]}" ;;
    format) install_packages "${packages_format[@]}" ;;
    *) echo "setup: unknown part '$part' (build, compare, sanitize, format)" >&2; exit 2 ;;
  esac
done
