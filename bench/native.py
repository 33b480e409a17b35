"""Compiles this folder's C++ for the machine that it runs on."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = "-O3 -march=native -ffinite-math-only -fno-signed-zeros -std=c++20 -shared -fPIC -pthread"


@functools.cache
def shared_library(name: str) -> Path:
    """Return ``name``.cpp of this folder as a shared library, which lives as long as the process.

    ``CXX`` names the compiler; ``c++`` by default.
    """
    source = Path(__file__).with_name(f"{name}.cpp")
    library = Path(_folder().name) / f"{name}.so"
    command = [*shlex.split(os.environ.get("CXX", "c++")), *FLAGS.split(), str(source)]
    try:
        subprocess.run([*command, "-o", str(library)], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(f"bench: {source.name} needs a C++20 compiler: {error}")
    return library


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vl4pose-bench-")
