#!/usr/bin/env bash
# Fills a folder with wheels for a machine without a package index: CPython 3.12, or PYTHON_VERSION,
# on x86-64 Linux. What stood in the folder before goes.
# Usage: bench/download_wheels.sh FOLDER PYTHON PACKAGE..., where PYTHON has pip.
set -euo pipefail
folder=$1 python=$2
shift 2
constraints=$(dirname "$0")/../constraints.txt

platforms=()
for tag in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${tag}_x86_64"); done
mkdir -p "$folder"
rm -f "$folder"/*.whl
"$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
  --python-version "${PYTHON_VERSION:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 \
  -c "$constraints" -d "$folder" "$@"
du -sh "$folder"
