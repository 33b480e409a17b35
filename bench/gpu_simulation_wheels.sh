#!/usr/bin/env bash
# Fills a folder with what bench/gpu_simulation.sh needs on a machine without a package index, 49
# MB: for CPython 3.12, or PYTHON_VERSION, on x86-64 Linux. That machine has torch and SciPy.
# Usage: bench/gpu_simulation_wheels.sh FOLDER [PYTHON], where PYTHON has pip.
set -euo pipefail
folder=${1:?usage: bench/gpu_simulation_wheels.sh FOLDER [PYTHON]}
python=${2:-python3}
constraints=$(dirname "$0")/../constraints.txt

platforms=()
for tag in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${tag}_x86_64"); done
packages=(pybind11 scikit-build-core pathspec packaging # to build
  typer pydantic pydantic-core annotated-types typing-inspection typing-extensions annotated-doc
  shellingham rich markdown-it-py mdurl pygments # the command line
  kornia kornia-rs safetensors pillow # training and its data
  matplotlib contourpy cycler fonttools kiwisolver pyparsing python-dateutil six # the figures
  usearch numkong tqdm) # Kaplan and Lensu's strategy
mkdir -p "$folder"
rm -f "$folder"/*.whl
"$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
  --python-version "${PYTHON_VERSION:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 \
  -c "$constraints" -d "$folder" "${packages[@]}"
du -sh "$folder"
