"""What the GPU kernels need of each architecture; fails if one spills registers or won't compile.

``python tests/check_kernels.py`` compiles csrc/*.cu for GPUs, which takes none, and prints what
ptxas says of every kernel: its registers, its bytes of static shared memory and of stack, and the
bytes that it spills. Two compilers do it:

- nvcc, for the architectures that CUDA 13 has. With ``--log FILE`` it compiles nothing: the file is
  what a build with ``-Xptxas=-v`` printed.
- NVRTC 12.9, for sm_70, which CUDA 13 no longer has. It comes with packages:
  ``pip install nvidia-cuda-{nvrtc,runtime,cccl}-cu12==12.9.*``. NVRTC knows no host code, so that
  of a source is within ``#if !defined(__CUDACC_RTC__)``, and kernels are instantiated explicitly
  outside of it. It fails if nvcc compiled a kernel that NVRTC did not.

The exit status is 1 if something failed, otherwise 2 if something is missing that may not be.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("nvcc", "nvrtc")
# As in CMakeLists.txt. NVRTC's -default-device is to it what --expt-relaxed-constexpr is to nvcc.
FLAGS = ("-std=c++20", "--fmad=false", "-Xptxas=-v", "-DVL4POSE_CPU_CAPABILITY=device")
NVCC_FLAGS = (*FLAGS, "--expt-relaxed-constexpr")
# NVRTC lacks that builtin, and knows no attributes of g++.
NVRTC_FLAGS = (
    *FLAGS,
    "-default-device",
    "-no-cache",
    "-D__builtin_sqrt=sqrt",
    "-diag-suppress=1097",
)
NVCC_ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
NVRTC_ARCHITECTURES = ("70",)
NVRTC_VERSION = "12.9"
# The packages, and of each a file that is needed.
NVRTC_PACKAGES = {
    "nvidia-cuda-nvrtc-cu12": "lib/libnvrtc.so.12",
    "nvidia-cuda-runtime-cu12": "include/cuda_runtime_api.h",
    "nvidia-cuda-cccl-cu12": "include/cuda/std/cstdint",
}


class MissingError(Exception):
    """A tool is not here."""


@dataclass(frozen=True)
class Job:
    """A source to compile for an architecture."""

    source: Path
    architecture: str

    def __str__(self) -> str:
        return f"{self.source.name} for sm_{self.architecture}"


@dataclass(frozen=True)
class Usage:
    """What a kernel needs, or a function that was not inlined: that has its kernel's registers."""

    name: str
    architecture: str
    registers: int | None = None
    shared: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0


def usages(log: str) -> list[Usage]:
    """Return what ptxas says in a log."""
    found: list[Usage] = []
    kernel, architecture = "", ""
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)' for '(\w+)'", line):
            kernel, architecture = match.groups()
        elif match := re.search(r"Function properties for (\S+)", line):
            found.append(Usage(match[1], architecture))
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) .* stores, (\d+) .* loads", line):
            stack, stores, loads = map(int, match.groups())
            found[-1] = replace(found[-1], stack=stack, spill_stores=stores, spill_loads=loads)
        elif (match := re.search(r"Used (\d+) registers", line)) and found[-1].name == kernel:
            shared = re.search(r"(\d+) bytes smem", line)
            shared_bytes = int(shared[1]) if shared else 0
            found[-1] = replace(found[-1], registers=int(match[1]), shared=shared_bytes)
    names = readable([usage.name for usage in found])
    return [replace(usage, name=name) for usage, name in zip(found, names, strict=True)]


def readable(names: Sequence[str]) -> list[str]:
    """Return the names of functions without namespaces, parameters and what they return."""
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    if tool is None:
        raise MissingError("c++filt")
    run = subprocess.run(
        [tool], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True
    )
    return [_shortened(name) for name in run.stdout.split("\n")[: len(names)]]


def _shortened(name: str) -> str:
    name = name.replace("(anonymous namespace)::", "")
    if name.endswith(")"):  # up to the parenthesis that opens the parameters
        end, depth = len(name) - 1, 1
        while depth > 0:
            end -= 1
            depth += {")": 1, "(": -1}.get(name[end], 0)
        name = name[:end]
    return re.sub(r"^\w+ (?=\w)|(\b\w+::)+", "", name)


def messages(log: str) -> list[str]:
    """Return what else a log says."""
    report = r"^ptxas (info|  +\.)|bytes stack frame|Architectures prior to|^\s*$"
    return [line for line in log.splitlines() if not re.search(report, line)]


# Compilers ----------------------------------------------------------------------------------------


class Nvcc:
    """nvcc, as CMake finds it."""

    def __init__(self) -> None:
        path = shutil.which(os.environ.get("CUDACXX") or "nvcc")
        if path is None:
            raise MissingError("nvcc")
        self._path = path
        run = subprocess.run([path, "--version"], stdout=subprocess.PIPE, text=True, check=True)
        version = re.search(r"V([\d.]+)", run.stdout)
        self.name = f"nvcc {version[1] if version else ''}"

    def compile(self, job: Job) -> tuple[bool, str]:
        """Return whether it compiles, and the log."""
        with tempfile.TemporaryDirectory() as folder:
            command = [self._path, f"-arch=sm_{job.architecture}", *NVCC_FLAGS]
            command += ["-cubin", "-o", f"{folder}/kernels.cubin", str(job.source)]
            run = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
        return run.returncode == 0, run.stdout


class Nvrtc:
    """NVRTC, as it is installed for this Python."""

    def __init__(self) -> None:
        library, runtime, libcudacxx = _nvrtc_files()
        self._nvrtc = ctypes.CDLL(str(library))
        self._nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        self._includes = [runtime.parent, libcudacxx.parents[2]]
        self._headers = standard_headers(libcudacxx.parent)
        self.name = f"NVRTC {importlib.metadata.version('nvidia-cuda-nvrtc-cu12')}"

    def compile(self, job: Job) -> tuple[bool, str]:
        """Return whether it compiles, and the log."""
        options = [f"-arch=sm_{job.architecture}", *NVRTC_FLAGS]
        options += [f"-I{path}" for path in (job.source.parent, *self._includes)]
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        self._call(
            "CreateProgram",
            ctypes.byref(program),
            job.source.read_bytes(),
            str(job.source).encode(),
            len(self._headers),
            _strings(self._headers.values()),
            _strings(self._headers),
        )
        status = self._nvrtc.nvrtcCompileProgram(program, len(options), _strings(options))
        self._call("GetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self._call("GetProgramLog", program, log)
        self._call("DestroyProgram", ctypes.byref(program))
        return status == 0, log.value.decode()

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._nvrtc, f"nvrtc{name}")(*arguments)
        if status != 0:
            raise RuntimeError(f"{name}: {self._nvrtc.nvrtcGetErrorString(status).decode()}")


def _nvrtc_files() -> list[Path]:
    files = []
    for name, wanted in NVRTC_PACKAGES.items():
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            package = None
        if package is None or not package.version.startswith(f"{NVRTC_VERSION}."):
            needed = " ".join(f"{name}=={NVRTC_VERSION}.*" for name in NVRTC_PACKAGES)
            raise MissingError(f"the packages {needed}")
        path = next(path for path in package.files or () if str(path).endswith(f"/{wanted}"))
        files.append(Path(str(package.locate_file(path))))
    return files


def _strings(texts: Iterable[str]) -> ctypes.Array[ctypes.c_char_p]:
    encoded = [text.encode() for text in texts]
    return (ctypes.c_char_p * len(encoded))(*encoded)


# NVRTC has no standard library, but with these headers the one in cuda::std is found in std.
USE_CUDA_STD = "namespace cuda::std {}\nnamespace std { using namespace ::cuda::std; }\n"
# What <cmath> has beyond cuda::std: built in, for float and double.
MATH = """cbrt copysign erf erfc exp2 expm1 fdim floor fma fmod frexp ldexp lgamma llrint llround
lrint lround modf nearbyint nextafter remainder rint round scalbln scalbn tgamma trunc"""
# These are long long in cuda::std, and with g++ they are long: a type of its own.
LONG = ("int64_t", "intmax_t", "intptr_t")


def standard_headers(libcudacxx: Path) -> dict[str, str]:
    """Return the contents of the standard headers by their names; ``libcudacxx`` is cuda/std."""
    names = {path.name for path in libcudacxx.iterdir() if path.is_file()}
    headers = {name: f"#include <cuda/std/{name}>\n{USE_CUDA_STD}" for name in names}
    if "__algorithm_" in names:
        headers["algorithm"] = headers["__algorithm_"]
    longs = [f"using {name} = long; using u{name} = unsigned long;" for name in LONG]
    built_in = [f"using ::{name};" for name in MATH.split()]
    headers["cstdint"] += "\n".join(["namespace std {", *longs, "}\n"])
    headers["cmath"] += "\n".join(["namespace std {", *built_in, "}\n"])
    headers["cstring"] = "namespace std { using ::memcpy; using ::memset; using ::size_t; }\n"
    return {name: "#pragma once\n" + text for name, text in headers.items()}


# The check ----------------------------------------------------------------------------------------


def compile_all(compiler: Nvcc | Nvrtc, jobs: Sequence[Job], threads: int) -> tuple[str, list[str]]:
    """Return the logs, and what failed; prints what else the compiler says."""
    logs, failures = [], []
    with ThreadPoolExecutor(threads) as pool:
        for job, (compiled, log) in zip(jobs, pool.map(compiler.compile, jobs), strict=True):
            if not compiled:
                failures.append(f"{job} does not compile")
            if said := messages(log):
                print(f"{job}:", *said, sep="\n")
            logs.append(log)
    return "\n".join(logs), failures


def table(needed: Sequence[Usage]) -> str:
    rows: list[tuple[str, ...]] = [
        ("kernel", "for", "registers", "shared", "stack", "spill stores", "loads")
    ]
    for usage in needed:
        registers = "called" if usage.registers is None else usage.registers
        numbers = (registers, usage.shared, usage.stack, usage.spill_stores, usage.spill_loads)
        rows.append((usage.name, usage.architecture, *map(str, numbers)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:2], widths, strict=False)]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def check(step: str, arguments: argparse.Namespace) -> tuple[set[str] | None, list[str]]:
    """Return the names of the kernels, if all compile, and what failed."""
    failures: list[str] = []
    if step == "nvcc" and arguments.log is not None:
        log = arguments.log.read_text()
    else:
        compiler = Nvcc() if step == "nvcc" else Nvrtc()
        architectures = arguments.architectures if step == "nvcc" else arguments.nvrtc_architectures
        jobs = [
            Job(source, architecture)
            for source in arguments.sources
            for architecture in architectures
        ]
        print(f"{compiler.name}: {len(jobs)} compilations", flush=True)
        log, failures = compile_all(compiler, jobs, arguments.jobs)
    all_compile = not failures
    needed = list(dict.fromkeys(usages(log)))
    needed.sort(key=lambda usage: (usage.name, len(usage.architecture), usage.architecture))
    print(table(needed))
    failures += [
        f"{usage.name} for {usage.architecture} spills: {usage.spill_stores} bytes of stores, "
        f"{usage.spill_loads} bytes of loads"
        for usage in needed
        if usage.spill_stores + usage.spill_loads > 0
    ]
    if not needed and not failures:
        failures.append("no kernels")
    kernels = {usage.name for usage in needed if usage.registers is not None}
    return kernels if all_compile else None, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("sources", nargs="*", type=Path, default=sorted((ROOT / "csrc").glob("*.cu")))
    add("--steps", nargs="+", choices=STEPS, default=STEPS)
    add("--architectures", nargs="+", default=NVCC_ARCHITECTURES, help="for nvcc")
    add("--nvrtc-architectures", nargs="+", default=NVRTC_ARCHITECTURES, help="for NVRTC")
    add("--log", type=Path, help="what a build printed: nvcc compiles nothing here")
    add("-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="at a time")
    add("--allow-missing", action="store_true", help="do not mind what is missing")
    arguments = parser.parse_args()
    kernels: list[set[str] | None] = []
    failures: list[str] = []
    is_missing = False
    for step in STEPS:
        if step not in arguments.steps:
            continue
        try:
            compiled, failed = check(step, arguments)
            kernels.append(compiled)
            failures += failed
        except MissingError as missing:
            print(f"{step} skipped: needs {missing}")
            is_missing = True
    match kernels:
        case set() as by_nvcc, set() as by_nvrtc:
            failures += [
                f"{name} is not compiled by NVRTC: no explicit instantiation of it?"
                for name in sorted(by_nvcc - by_nvrtc)
            ]
    for failure in failures:
        print(f"FAILED: {failure}")
    if failures:
        return 1
    return 2 if is_missing and not arguments.allow_missing else 0


if __name__ == "__main__":
    sys.exit(main())
