#!/usr/bin/env bash
# Runs the core's tests on the kernels of GPUs, on emulated threads (tests/emulated_group.h).
# Usage: tests/emulate_cuda.sh PYTHON [PYTEST ARGUMENTS], where PYTHON has the extra `test` installed.
set -euo pipefail
other=$(realpath -s "$(command -v "$1")")
shift
cd "$(dirname "$0")/.."
source tests/own_environment.sh
mkdir -p build
work=$(mktemp -d) build=$(mktemp -d "$PWD/build/emulate_cuda-XXXXXX")  # as deep as others, for ccache
trap 'rm -rf "$work" "$build"' EXIT

python=$(own_environment "$other" "$work/venv")
"$python" -m pip install -q --no-deps . -C build-dir="$build" \
  -C cmake.define.VL4POSE_EMULATE_CUDA=ON -C cmake.define.VL4POSE_CUDA=OFF

"$build/emulated_group_test" > "$work/log" || { cat "$work/log"; exit 1; }
# Two tests are left out: one measures memory, of which the emulated threads' stacks take more; the
# other forks while threads run.
tests=(tests/test_local_maxima.py tests/test_weights.py tests/test_log_likelihood.py
  tests/test_refine.py tests/test_decode.py tests/test_score.py tests/test_gradients.py)
"$python" -P -m pytest -q -n auto -p no:cacheprovider \
  --kernels cuda_emulated -k "cuda_emulated and not batch_is_never_copied and not forked_during" \
  "${@:-${tests[@]}}"
# Bit for bit the results of every CPU capability; but there is one more of these.
"$python" -P -m pytest -q -n auto -p no:cacheprovider tests/test_cpu_capability.py \
  --deselect tests/test_cpu_capability.py::test_names
