"""What a simulation found out, written for people and for programs."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["terminal_summary", "write_outputs"]


def write_outputs(
    folder: str | os.PathLike[str], *, baseline: str | None = None, level: float = 0.95
) -> Any:
    """Write all outputs of a simulation, finished or not, from its records.

    ``folder`` holds ``runs/`` and, where there is one, ``simulation.json``; written beside them are
    cycles.csv, differences.csv, summary.json, curves.png and simulation.html (which shows picks.png
    and picks/*.png where they exist, so they are to be made before). Returns a
    `vl4pose.simulation.statistics.Summary`.
    """
    raise NotImplementedError


def terminal_summary(summary: Any, *, width: int = 80) -> Any:
    """Return what the terminal shows of a summary: a rich renderable, ``console.print`` it."""
    raise NotImplementedError
