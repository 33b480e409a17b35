#!/usr/bin/env bash
# Runs the core's conformance test on emulated CPUs of an architecture, a plain one and the richest.
# Usage: tests/emulate.sh PYTHON ARCH, where PYTHON has the extra `test` installed and ARCH is
# aarch64 or x86_64.
set -euo pipefail
python=$(realpath -s "$(command -v "$1")")
arch=$2
case $arch in
  aarch64) package=g++-aarch64-linux-gnu cpus=(cortex-a53 max) capabilities=(baseline) ;;
  x86_64) package=g++-x86-64-linux-gnu cpus=(qemu64 max) capabilities=(baseline avx2 avx512) ;;
  *) echo "ARCH must be aarch64 or x86_64, got $arch" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

PATH=$PATH:$(dirname "$python")  # where the extra `dev` puts CMake
need() {
  command -v "$1" > /dev/null || { echo "needs $1: apt-get install $2" >&2; exit 1; }
}
need cmake cmake
need "$arch-linux-gnu-g++" "$package"
need "qemu-$arch" qemu-user

mkdir -p build
work=$(mktemp -d "$PWD/build/emulate-XXXXXX")  # as deep as other builds, for ccache
trap 'rm -rf "$work"' EXIT
"$python" tests/golden.py "$work/golden"
# Linked statically, so that the emulator needs none of the architecture's libraries.
cmake -S . -B "$work" -DCMAKE_BUILD_TYPE=Release -DVL4POSE_CONFORMANCE=ON \
  -DVL4POSE_WERROR=ON -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR="$arch" \
  -DCMAKE_CXX_COMPILER="$arch-linux-gnu-g++" -DCMAKE_EXE_LINKER_FLAGS=-static > "$work/log"
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
cmake --build "$work" >> "$work/log" || { cat "$work/log"; exit 1; }
result=0
for cpu in "${cpus[@]}"; do
  echo "$arch, $cpu:"
  "qemu-$arch" -cpu "$cpu" "$work/conformance" "$work/golden" | tee -a "$work/found" ||
    result=1
done
for capability in "${capabilities[@]}"; do
  grep -q "^$capability: " "$work/found" ||
    echo "$capability: skipped, for qemu-$arch emulates no CPU that has it"
done
exit $result
