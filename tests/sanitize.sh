#!/usr/bin/env bash
# Runs the core's tests on a build with the address and undefined-behaviour sanitizers.
# Usage: tests/sanitize.sh PYTHON [PYTEST ARGUMENTS], where PYTHON has the extra `test` installed.
set -euo pipefail
other=$(realpath -s "$(command -v "$1")")
shift
cd "$(dirname "$0")/.."
source tests/own_environment.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python=$(own_environment "$other" "$work/venv")
"$python" -m pip install -q --no-deps . -C build-dir="$work/build" -C cmake.build-type=Debug \
  -C cmake.define.VL4POSE_SANITIZE=address,undefined -C cmake.define.VL4POSE_CUDA=OFF \
  -C install.strip=false

# Python itself leaks at exit.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export LD_PRELOAD
core=$(cd "$work" && "$python" -c "import vl4pose._core as core; print(core.__file__)")
grep -q __asan_init "$core" || { echo "not a sanitized build: $core"; exit 1; }
# The tests run on every CPU capability; the widest vectors reach farthest.
widest=$(cd "$work" && "$python" -c "import vl4pose; print(vl4pose.cpu_capabilities()[-1])")
# What a sanitizer says goes to the file descriptor, hence --capture=sys. Two tests are left out: one
# measures memory, of which a sanitized process takes far more; the other forks during an
# allocation, which the sanitizer's allocator does not survive.
tests=(tests/test_local_maxima.py tests/test_weights.py tests/test_log_likelihood.py
  tests/test_refine.py tests/test_decode.py tests/test_score.py tests/test_k_centre.py)
"$python" -P -m pytest -q -n auto --capture=sys -p no:cacheprovider \
  --kernels "$widest" -k "$widest and not batch_is_never_copied and not forked_during" \
  "${@:-${tests[@]}}"
