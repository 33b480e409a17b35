"""What it is that measures: processor, caches, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

LIBRARIES = ("vl4pose", "numpy", "torch", "scikit-image", "scipy", "opencv-python-headless")


def machine() -> dict[str, Any]:
    """Return the machine and the versions of the libraries."""
    return {
        "cpu": cpu_name(),
        "cpus": num_cpus(),
        "last_cache_bytes": last_cache_bytes(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the version of each library."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def num_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_name() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def last_cache_bytes() -> int | None:
    """Return the size of the largest cache, or None where the system does not tell."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    kilobytes = [int(size.read_text(encoding="utf-8").strip().removesuffix("K")) for size in sizes]
    return max(kilobytes) * 1024 if kilobytes else None
