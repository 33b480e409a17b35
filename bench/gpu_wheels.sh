#!/usr/bin/env bash
# Fills a folder with what bench/gpu.sh needs on a machine without a package index, 34 MB: for
# CPython 3.12 on x86-64 Linux and CUDA 13. That machine has torch, SciPy and, for cuCIM, CuPy.
# Usage: bench/gpu_wheels.sh FOLDER [PYTHON], where PYTHON has pip.
set -euo pipefail
folder=${1:?usage: bench/gpu_wheels.sh FOLDER [PYTHON]}

packages=(pybind11 scikit-build-core pathspec packaging # to build
  pytest iniconfig pluggy pygments pytest-xdist execnet hypothesis sortedcontainers # to test
  scikit-image lazy-loader # what the tests compare with
  cucim-cu13 click) # what the benchmarks compare with
"$(dirname "$0")/download_wheels.sh" "$folder" "${2:-python3}" "${packages[@]}"
