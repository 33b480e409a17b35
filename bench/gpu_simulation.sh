#!/usr/bin/env bash
# Does a piece of the paper's experiment (bench/lsp_paper.toml) on a machine with a GPU, in under
# nine minutes with all that it takes to build vl4pose there. Given again with the same OUT, it goes
# on; exit status 3 says that there is more to do, 0 that all is done.
#
# Usage: bench/gpu_simulation.sh OUT [WHEELS] [-- OPTION ...]
#
# VL4POSE_TEST_DATA is the folder of the data (bench/lsp_crops.py). Needs CMake, a C++20 compiler
# and a Python with torch and SciPy (PYTHON, by default python3), but no package index: what else
# that Python lacks comes from WHEELS, a folder that bench/gpu_simulation_wheels.sh filled elsewhere.
# Options after -- go to bench.lsp_simulation and from there to `vl4pose simulate`: --estimate says
# what all of it will cost, --small tries it out on a CPU. A piece ends after MINUTES, by default 8;
# tables and figures are made after that.
set -euo pipefail

usage="usage: bench/gpu_simulation.sh OUT [WHEELS] [-- OPTION ...]"
places=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  places+=("$1")
  shift
done
if [ $# -gt 0 ]; then shift; fi
if [ ${#places[@]} -lt 1 ] || [ ${#places[@]} -gt 2 ]; then
  echo "$usage" >&2
  exit 2
fi
: "${VL4POSE_TEST_DATA:?must be the folder of the data}"
machine=${PYTHON:-python3}
if [[ " $* " != *" --small "* ]] &&
  ! "$machine" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
  echo "bench/gpu_simulation.sh: torch finds no GPU here" >&2
  exit 2
fi
mkdir -p "${places[0]}"
out=$(cd "${places[0]}" && pwd)
wheels=
if [ ${#places[@]} -eq 2 ]; then wheels=$(cd "${places[1]}" && pwd); fi
data=$(cd "$VL4POSE_TEST_DATA" && pwd)
cd "$(dirname "$0")/.."
work=$PWD/build/gpu_simulation
python=$work/env/bin/python
mkdir -p "$work"

# An environment of its own, which sees the machine's packages and, for bench/, this folder.
if ! [ -e "$work/built" ]; then
  rm -rf "$work/env"
  "$machine" -m venv --without-pip "$work/env"
  site=$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
  "$machine" -c "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\n')" \
    > "$site/machine.pth"
  pwd >> "$site/machine.pth"
  pip=("$python" -m pip --disable-pip-version-check install --no-index --no-deps)
  if [ -n "$wheels" ]; then "${pip[@]}" -q "$wheels"/*.whl; fi
  # Of all that is computed, the scores of heatmaps are a thousandth: kernels for GPUs, which take
  # minutes to compile, would not pay.
  "${pip[@]}" -q --no-build-isolation -C build-dir="$work/cmake" -C cmake.define.VL4POSE_CUDA=OFF .
  # What is missing is said now, and not when the tables are to be made.
  "$python" -P -c "import kornia, matplotlib, PIL, rich, safetensors, scipy, typer, usearch"
  "$python" -P -c "import vl4pose"
  touch "$work/built"
fi

left=$("$python" -c "print(max(20, int(float('${MINUTES:-8}') * 60 - $SECONDS)))")
echo "$SECONDS s until here; $left s for the simulation"
status=0
"$python" -P -m bench.lsp_simulation --paper --data "$data" --out "$out" \
  --time-limit "${left}s" "$@" || status=$?
echo "$SECONDS s in all, exit status $status"
exit "$status"
