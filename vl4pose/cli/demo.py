"""``vl4pose demo``: all of it from nothing, on drawn people and networks trained on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vl4pose.cli.errors import Stopped, UsageError, needing_extras
from vl4pose.cli.options import demo as opt
from vl4pose.cli.options import shared

if TYPE_CHECKING:
    from vl4pose.demo.folder import DemoFolder

__all__ = ["demo"]


def demo(
    out: opt.Out = Path("vl4pose-demo"),
    seed: opt.Seed = 0,
    quick: opt.Quick = False,
    num_threads: shared.NumThreads = None,
) -> None:
    """Check the command line and run the demo."""
    with needing_extras():
        from vl4pose.demo.folder import DemoFolder
    folder = DemoFolder(out)
    _check_out(folder)
    with needing_extras():
        import matplotlib  # noqa: F401
        import torch

        from vl4pose.cli.demo_run import FULL, QUICK, run_demo
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    try:
        run_demo(folder, QUICK if quick else FULL, seed, Console(stderr=True))
    except Stopped as stop:
        stop.add_note(f"what is in '{out}' is not complete")
        raise


def _check_out(folder: DemoFolder) -> None:
    """Raise an error unless the demo can have the folder to itself."""
    path = folder.path
    if path.exists() and not path.is_dir():
        raise UsageError(f"--out must be a folder, got the file '{path}'")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--out must be in a folder that exists, got '{path}'")
    foreign = folder.foreign()
    if foreign is not None:
        raise UsageError(
            f"--out must be a new folder or that of an earlier demo, got '{path}' with "
            f"'{foreign.relative_to(path)}' in it"
        )
