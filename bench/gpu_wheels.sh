#!/usr/bin/env bash
# Fills a folder with what bench/gpu.sh needs on a machine without a package index, 34 MB: for
# CPython 3.12 on x86-64 Linux and CUDA 13. That machine has torch, SciPy and, for cuCIM, CuPy.
# Usage: bench/gpu_wheels.sh FOLDER [PYTHON], where PYTHON has pip.
set -euo pipefail
folder=${1:?usage: bench/gpu_wheels.sh FOLDER [PYTHON]}
python=${2:-python3}
constraints=$(dirname "$0")/../constraints.txt

platforms=()
for tag in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${tag}_x86_64"); done
packages=(pybind11 scikit-build-core pathspec packaging # to build
  pytest iniconfig pluggy pygments pytest-xdist execnet hypothesis sortedcontainers # to test
  scikit-image lazy-loader # what the tests compare with
  cucim-cu13 click) # what the benchmarks compare with
mkdir -p "$folder"
rm -f "$folder"/*.whl
"$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
  --python-version 3.12 "${platforms[@]}" --platform manylinux2014_x86_64 -c "$constraints" \
  -d "$folder" "${packages[@]}"
du -sh "$folder"
