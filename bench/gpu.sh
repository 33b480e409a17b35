#!/usr/bin/env bash
# Builds vl4pose on a machine with a GPU and runs there what needs one, in under nine minutes: the
# benchmarks, the tests, compute-sanitizer and ncu. Writes gpu.md, gpu.json and logs to OUT, seven
# files in all. A step that fails does not keep the others from running, but from exit status 0.
#
# Usage: [STEPS="build benchmark"] bench/gpu.sh OUT [WHEELS]
#
# Needs nvcc, CMake and a Python with torch (PYTHON, by default python3), but no package index: what
# else that Python lacks comes from WHEELS, a folder that bench/gpu_wheels.sh filled elsewhere.
# STEPS says which steps to run, by default all: build benchmark tests sanitize plant_bugs count.
# All but build need what it has built once. CUDAARCHS says what to compile for; by default the GPU
# that torch finds. Each step has its share of the time, which PATIENCE multiplies where a machine
# is slow.
set -uo pipefail

all="build benchmark tests sanitize plant_bugs count"
STEPS=${STEPS:-$all}
for name in $STEPS; do
  if [[ " $all " != *" $name "* ]]; then
    echo "bench/gpu.sh: STEPS must be some of $all, got $name" >&2
    exit 2
  fi
done
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: [STEPS=\"build benchmark\"] bench/gpu.sh OUT [WHEELS]" >&2
  exit 2
fi
machine=${PYTHON:-python3}
if ! capability=$("$machine" -c "
import sys, torch
if not torch.cuda.is_available(): sys.exit(1)
print('{}{}'.format(*torch.cuda.get_device_capability()))"); then
  echo "bench/gpu.sh: torch finds no GPU here" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
wheels=
if [ $# -eq 2 ]; then
  wheels=$(cd "$2" && pwd) || exit 2
fi
cd "$(dirname "$0")/.." || exit 2
work=$PWD/build/gpu
mkdir -p "$work"
python=$work/env/bin/python
CUDAARCHS=${CUDAARCHS:-$capability}
sanitizers="memcheck racecheck initcheck synccheck"
for folder in /usr/local/cuda/bin /opt/nvidia/nsight-compute/*/; do
  if [ -d "$folder" ]; then PATH=$PATH:$folder; fi
done
export PATH CUDAARCHS machine out wheels work python sanitizers
export PYTHONUNBUFFERED=1

# The steps, each in a shell of its own. What one writes last is what the report says of it. -------

build() {
  set -e
  # An environment of its own, which sees the machine's packages and, for bench/, this folder.
  rm -rf "$work/env"
  "$machine" -m venv --without-pip "$work/env"
  site=$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
  "$machine" -c "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\n')" \
    > "$site/machine.pth"
  pwd >> "$site/machine.pth"
  pip=("$python" -m pip --disable-pip-version-check install --no-index --no-deps)
  if [ -n "$wheels" ]; then "${pip[@]}" -q "$wheels"/*.whl; fi
  export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  "${pip[@]}" -v --no-build-isolation -C build-dir="$work/cmake" -C cmake.define.VL4POSE_CUDA=ON \
    -C cmake.define.CMAKE_CUDA_FLAGS="-lineinfo -Xptxas=-v" .
  arch=${CUDAARCHS%%[-;]*}
  if [ "$arch" != native ]; then arch=sm_$arch; fi
  nvcc -arch="$arch" -std=c++17 -lineinfo -o "$work/planted_bugs" bench/gpu/planted_bugs.cu
  "$python" -P -c "
import torch
from vl4pose import _core
info = _core.build_info()
assert info['cuda'], 'built without CUDA'
assert torch.cuda.is_available(), 'torch finds no GPU in the environment of the tests'
gpu = torch.cuda.get_device_name()
print(f\"{info['compiler']}, CUDA {info['cuda']}, architecture $CUDAARCHS, for {gpu}\")"
}

benchmark() {
  "$python" -P -m bench.gpu "$out"
}

tests() {
  # The tests of the core, on the GPU. Some have no business there: children that are forked have no
  # GPU, the memory that is counted is the host's, and to copy gigabytes of holes takes long.
  core="(cuda or test_cpu_capability) and not forked and not batch_is_never_copied"
  core+=" and not offsets_beyond_32_bits"
  cpus=$(nproc)
  # Other versions of other packages than those of constraints.txt deprecate other things. The
  # processes take turns on the GPU: more of them are no faster.
  OMP_NUM_THREADS=2 "$python" -P -m pytest -q -n "$((cpus < 8 ? cpus : 8))" --dist worksteal \
    -p no:cacheprovider --hypothesis-profile=short --tb=short --durations=15 \
    -o faulthandler_timeout=60 \
    -k "$core" -W default::DeprecationWarning -W default::FutureWarning \
    tests/test_cuda.py tests/test_without_cuda.py tests/test_local_maxima.py \
    tests/test_weights.py tests/test_log_likelihood.py tests/test_refine.py \
    tests/test_decode.py tests/test_score.py tests/test_gradients.py tests/test_cpu_capability.py
}

# Runs a command under one of compute-sanitizer's tools.
sanitizer() {
  options=(--tool "$1" --print-limit 20)
  # Errors of the CUDA interface are our own to check; others probe for what a driver has.
  if [ "$1" = memcheck ]; then options+=(--report-api-errors no); fi
  compute-sanitizer "${options[@]}" "${@:2}"
}

# Prints how many errors a tool found, or nothing where it did not come to an end.
errors_in() {
  sed -nE 's/^=+ (ERROR SUMMARY|RACECHECK SUMMARY): ([0-9]+) .*/\2/p' "$1" | tail -n 1
}

sanitize() {
  command -v compute-sanitizer || { echo "compute-sanitizer is not installed here"; return 1; }
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1 # so that the end of every array is seen
  for tool in $sanitizers; do
    { timeout -k 2 "$((limit - 5))" bash -c "sanitizer $tool '$python' -P -m bench.gpu.sanitized"
      echo "exit status $?"; } > "$work/$tool.log" 2>&1 &
  done
  wait
  said=
  failed=0
  for tool in $sanitizers; do
    printf '\n== %s\n' "$tool"
    cat "$work/$tool.log"
    errors=$(errors_in "$work/$tool.log")
    status=$(sed -n 's/^exit status //p' "$work/$tool.log" | tail -n 1)
    if [ "$errors" != 0 ] || [ "$status" != 0 ]; then failed=1; fi
    said+="$tool: ${errors:-no end, not known how many} errors, exit status ${status:-none}; "
  done
  echo "${said%; }"
  return $failed
}

plant_bugs() {
  command -v compute-sanitizer || { echo "compute-sanitizer is not installed here"; return 1; }
  for tool in $sanitizers; do
    for what in bug none; do
      timeout -k 2 "$((limit - 5))" bash -c "sanitizer $tool '$work/planted_bugs' $tool $what" \
        > "$work/$tool.$what.log" 2>&1 &
    done
  done
  wait
  said=
  failed=0
  for tool in $sanitizers; do
    for what in bug none; do
      printf '\n== %s, %s\n' "$tool" "$what"
      cat "$work/$tool.$what.log"
    done
    with_bug=$(errors_in "$work/$tool.bug.log")
    without=$(errors_in "$work/$tool.none.log")
    if [ "${with_bug:-0}" = 0 ] || [ "$without" != 0 ]; then failed=1; fi
    said+="$tool: ${with_bug:-no} errors with the bug, ${without:-unknown} without; "
  done
  echo "${said%; }"
  return $failed
}

count() {
  command -v ncu || { echo "ncu is not installed here"; return 1; }
  rm -f "$work/counted.ncu-rep"
  options=(--clock-control none --profile-from-start off --kernel-name regex:score_kernel
    --force-overwrite --export "$work/counted")
  for section in SpeedOfLight MemoryWorkloadAnalysis ComputeWorkloadAnalysis InstructionStats \
    SchedulerStats WarpStateStats Occupancy LaunchStats; do
    options+=(--section "$section")
  done
  metrics=$("$python" -P -c "
from bench.gpu.report import COUNTERS
print(','.join(COUNTERS))")
  # The leave of the administrator may be missing, or one of the counters: say which.
  ncu "${options[@]}" --metrics "$metrics" "$python" -P -m bench.gpu.profiled ||
    [ -e "$work/counted.ncu-rep" ] ||
    ncu "${options[@]}" "$python" -P -m bench.gpu.profiled
  if ! [ -e "$work/counted.ncu-rep" ]; then
    echo "ncu counted nothing: it may need the administrator's leave (ERR_NVGPUCTRPERM)"
    return 1
  fi
  ncu --import "$work/counted.ncu-rep" --page details
  ncu --import "$work/counted.ncu-rep" --page raw --csv --print-units base
  echo
  echo "counted"
}

export -f build benchmark tests sanitizer errors_in sanitize plant_bugs count

# Runs a step if it is wanted: its name, its log, its share of the time in seconds, and the signal
# that ends it when that is over. What former steps have left is added.
deadline=0
steps=
failed=0
step() {
  if [[ " $STEPS " != *" $1 "* ]]; then return; fi
  local start=$SECONDS status says
  deadline=$((deadline + $3 * ${PATIENCE:-1}))
  local limit=$((deadline - start))
  printf '== %s, until %d s at most ... ' "$1" "$deadline"
  if [ $limit -lt 10 ]; then limit=10; fi
  echo "==== $1" >> "$out/$2"
  # pytest, interrupted, waits ten seconds for a process that is stuck before it says what failed.
  limit=$limit timeout -s "$4" -k 20 "$limit" bash -c "$1" >> "$out/$2" 2>&1
  status=$?
  if [ $status -ne 0 ]; then failed=1; fi
  says=$(grep -v '^[[:space:]]*$' "$out/$2" | tail -n 1 | tr '\t' ' ' | cut -c 1-300)
  if [ $status -eq 124 ] || [ $status -eq 137 ]; then says="out of time; last: $says"; fi
  steps+="$1"$'\t'"$status"$'\t'"$((SECONDS - start))"$'\t'"$says"$'\n'
  echo "$((SECONDS - start)) s, exit status $status"
  "$machine" -m bench.gpu.report "$out" "$steps"
}

rm -f "$out"/gpu.{json,md} "$out"/{build,benchmark,tests,sanitize,ncu}.log
step build build.log 140 TERM
step benchmark benchmark.log 150 TERM
step tests tests.log 110 INT
step sanitize sanitize.log 70 TERM
step plant_bugs sanitize.log 20 TERM
step count ncu.log 30 TERM
cat "$out/gpu.md"
echo "$SECONDS s in all; everything is in $out"
exit $failed
