#!/usr/bin/env bash
# Fills a folder with what bench/gpu_simulation.sh needs on a machine without a package index, 49
# MB: for CPython 3.12, or PYTHON_VERSION, on x86-64 Linux. That machine has torch and SciPy.
# Usage: bench/gpu_simulation_wheels.sh FOLDER [PYTHON], where PYTHON has pip.
set -euo pipefail
folder=${1:?usage: bench/gpu_simulation_wheels.sh FOLDER [PYTHON]}

packages=(pybind11 scikit-build-core pathspec packaging # to build
  typer pydantic pydantic-core annotated-types typing-inspection typing-extensions annotated-doc
  shellingham rich markdown-it-py mdurl pygments # the command line
  kornia kornia-rs safetensors pillow # training and its data
  matplotlib contourpy cycler fonttools kiwisolver pyparsing python-dateutil six # the figures
  usearch numkong tqdm) # Kaplan and Lensu's strategy
"$(dirname "$0")/download_wheels.sh" "$folder" "${2:-python3}" "${packages[@]}"
