#!/usr/bin/env bash
# Runs the core's tests on the kernels of GPUs as nvcc compiles them, on an interpreter that sees what
# compute-sanitizer does (tests/interpreted_cuda). Needs nvcc, and no GPU. On which of the interpreted
# GPUs, and for which architecture, a call runs depends on the shapes of its arguments.
# Usage: tests/interpret_cuda.sh PYTHON [PYTEST ARGUMENTS], where PYTHON has the extra `test`
# installed.
set -euo pipefail
other=$(realpath -s "$(command -v "$1")")
shift
cd "$(dirname "$0")/.."
source tests/own_environment.sh
mkdir -p build
work=$(mktemp -d) build=$(mktemp -d "$PWD/build/interpret_cuda-XXXXXX")  # as deep as others, for ccache
trap 'rm -rf "$work" "$build"' EXIT

python=$(own_environment "$other" "$work/venv")
"$python" -m pip install -q --no-deps . -C build-dir="$build" \
  -C cmake.define.VL4POSE_INTERPRET_CUDA=ON

# Does it see what it is there to see?
for test in interpreter_test cudart_test; do
  "$build/$test" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
done
for tool in memcheck racecheck initcheck synccheck; do
  "$build/planted_bugs" $tool none
  if said=$("$build/planted_bugs" $tool bug 2>&1) || ! grep -q "$tool: " <<< "$said"; then
    echo "$tool misses its planted bug: $said"
    exit 1
  fi
done

# Left out: an array that spans gigabytes, for the interpreter keeps notes of each byte; what measures
# memory; what forks while threads run; and a third of the half precision numbers, which take longest.
without="not beyond_32_bits and not batch_is_never_copied and not forked_during"
without+=" and not (every_half_precision_number and interpreted-7)"
tests=(tests/test_local_maxima.py tests/test_weights.py tests/test_log_likelihood.py
  tests/test_refine.py tests/test_decode.py tests/test_score.py tests/test_gradients.py)
"$python" -P -m pytest -q -n auto -p no:cacheprovider \
  --kernels cuda_interpreted -k "cuda_interpreted and $without" "${@:-${tests[@]}}"
# Bit for bit the results of every CPU capability, and for arrays of any library.
"$python" -P -m pytest -q -n auto -p no:cacheprovider \
  tests/test_cpu_capability.py tests/test_interpreted_gpu.py
