#!/usr/bin/env bash
# Runs the core's tests on a build with the address and undefined-behaviour sanitizers.
# Usage: tests/sanitize.sh PYTHON [PYTEST ARGUMENTS]
# PYTHON has the extra `test` installed and pybind11 and cmake to build with.
set -euo pipefail
python=$(realpath -s "$1")
shift
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install -q --no-deps --target "$work/site" . \
  -C cmake.define.VL4POSE_SANITIZE=address,undefined -C cmake.build-type=Debug \
  -C build-dir="$work/build"
tests=(tests/test_local_maxima.py tests/test_weights.py tests/test_log_likelihood.py
  tests/test_refine.py tests/test_decode.py)
# Python itself leaks at exit, and torch brings its own sanitizer-unaware allocator: neither is asked.
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  PYTHONPATH="$work/site" "$python" -m pytest -q -p no:cacheprovider "${@:-${tests[@]}}"
