"""``vl4pose doctor``: what is installed, and what this machine offers."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from vl4pose import __version__, _core, cpu_capabilities, get_cpu_capability

__all__ = ["doctor"]

# Distribution, its module, and the extra that brings it (none for what vl4pose cannot be without).
_PACKAGES = (
    ("numpy", "numpy", None),
    ("torch", "torch", "torch"),
    ("pyarrow", "pyarrow", "cli"),
    ("pillow", "PIL", "cli"),
    ("matplotlib", "matplotlib", "cli"),
    ("typer", "typer", "cli"),
    ("rich", "rich", "cli"),
    ("fsspec", "fsspec", "remote"),
    ("ray", "ray", "ray"),
    ("usearch", "usearch", "ann"),
    ("sleap-io", "sleap_io", "sleap"),
    ("faster-coco-eval", "faster_coco_eval", "metrics"),
)
_X86_SETS = (
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_fp16",
)
_ARM_SETS = ("asimd", "asimdhp", "sve", "sve2")


def doctor() -> None:
    """Print versions, compiled features, instruction sets, threads and the state of CUDA.

    Put its output into a report of a problem.
    """
    for title, lines in (
        ("versions", _versions()),
        ("compiled core", _core_features()),
        ("machine", _machine()),
        ("torch", _torch_state()),
    ):
        print(title)
        for name, value in lines:
            print(f"  {name:<18} {value}")


def _versions() -> Iterator[tuple[str, str]]:
    yield "vl4pose", f"{__version__} ({Path(__file__).parents[1]})"
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for name, module, extra in _PACKAGES:
        try:
            importlib.import_module(module)
            yield name, version(name)
        except ModuleNotFoundError:
            yield name, f"not installed: pip install 'vl4pose[{extra}]'"
        except (ImportError, OSError, RuntimeError) as error:
            # A package that is there and broken is what people run this command for.
            yield name, f"installed, but its import fails: {error}"


def _core_features() -> Iterator[tuple[str, str]]:
    for name, value in _core.build_info().items():
        if name == "cuda" and value is None:
            value = "none: this build has CPU kernels only"
        yield name, str(value)
    if _core.build_info()["cuda"] is not None:
        try:
            yield "GPUs", ", ".join(_core.cuda_devices())
        except RuntimeError as error:
            yield "GPUs", f"none: {error}"
    try:
        yield "kernels used", f"{get_cpu_capability()}, of {', '.join(cpu_capabilities())}"
    except ValueError as error:  # of the environment variable
        yield "kernels used", str(error)


def _machine() -> Iterator[tuple[str, str]]:
    yield "platform", platform.platform()
    yield "processor", _cpuinfo("model name") or platform.processor() or platform.machine()
    flags = set((_cpuinfo("flags") or _cpuinfo("Features") or "").split())
    known = [name for name in (*_X86_SETS, *_ARM_SETS) if name in flags]
    yield "instruction sets", " ".join(known) or "unknown"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "CPUs", f"{os.cpu_count()}, usable by this process: {usable}"
    yield "default threads", f"{usable}, or torch's number where torch is imported"
    yield "OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set")


def _cpuinfo(key: str) -> str | None:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _torch_state() -> Iterator[tuple[str, str]]:
    try:
        import torch
    except ImportError:
        yield "torch", "no models without it: pip install 'vl4pose[torch]'"
        return
    yield "threads", str(torch.get_num_threads())
    yield "CPU capability", torch.backends.cpu.get_cpu_capability()
    if torch.version.cuda is None:
        yield "CUDA", "torch is a build for CPUs"
    elif not torch.cuda.is_available():
        yield "CUDA", f"torch is built for {torch.version.cuda}, but finds no usable device"
    else:
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            major, minor = torch.cuda.get_device_capability(index)
            name = torch.cuda.get_device_name(index)
            yield f"cuda:{index}", f"{name}, {memory:.0f} GiB, compute capability {major}.{minor}"
