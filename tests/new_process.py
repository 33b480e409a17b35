"""Python code in a process of its own, in which nothing is loaded yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["run_python"]


def run_python(code: str, directory: Path, *, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run code where warnings are errors and no source tree is near; it must end with a status."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == status, process.stderr
    return process
