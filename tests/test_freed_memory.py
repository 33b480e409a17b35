"""Memory that networks free stays with the process of the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Page faults of a block of 100 MB that is written, freed and allocated again.
COUNT = """
import resource
import numpy as np
from vl4pose._freed_memory import keep_freed_memory
{}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def faults(first: str) -> int:
    """Return the page faults of the second block."""
    command = [sys.executable, "-c", COUNT.format(first)]
    environment = {"NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc, of Linux")
def test_freed_memory_is_used_again() -> None:
    before = faults("")
    if before < 1000:
        pytest.skip(f"needs a malloc that returns large blocks: got {before} page faults")
    assert faults("keep_freed_memory()") < before / 10
