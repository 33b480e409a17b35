#!/usr/bin/env bash
# Runs the tests that need libraries of others, in environments apart: what we export, read by them,
# what they write, imported, FiftyOne's samples, and pytorch-ood's detectors.
# Usage: tests/other_libraries.sh PYTHON WHEEL, where PYTHON has the extra `test` installed, and
# WHEEL is one of vl4pose.
set -euo pipefail
python=$1 wheel=$(realpath "$2")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run_all() {  # a test that is skipped, for want of a library, is an error here
  "$@" -P -m pytest -q -rs -p no:cacheprovider "${tests[@]}" | tee "$work/said"  # -P: not the folder
  if grep -q "^SKIPPED" "$work/said"; then exit 1; fi
}

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q -r tests/other_libraries.txt "$wheel"
# No torch there, and so no conftest.py.
tests=(--noconftest tests/test_exchange_readers.py tests/test_fiftyone.py)
run_all env VL4POSE_READERS=1 "$work/venv/bin/python"

# Beside the torch of PYTHON; torchvision without its compiled part, which wants a torch with CUDA.
"$python" -m pip install -q --no-deps --target "$work/packages" \
  torchvision==0.28.0 pytorch-ood==0.4.0
tests=(tests/test_pytorch_ood.py)
run_all env PYTHONPATH="$work/packages" "$python"
