"""The work of ``vl4pose simulate``: processes, the screen, and what is printed at the end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.text import Text

from vl4pose.cli.errors import printable
from vl4pose.cli.simulation_screen import SimulationScreen, spoken_time
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.folder import SimulationFolder
from vl4pose.simulation.local_processes import run_processes
from vl4pose.simulation.pace import Pace, TimeUpError
from vl4pose.simulation.simulate import do_work, finish
from vl4pose.simulation.work import make_bench
from vl4pose.simulation.worker import Task

__all__ = ["MORE_TO_DO", "SimulationJob", "run_estimate", "run_simulation"]

MORE_TO_DO = 3  # exit code where a time limit has ended it: no error, and not all is done


@dataclass(frozen=True)
class SimulationJob:
    """What ``vl4pose simulate`` was asked for.

    Attributes
    ----------
    config_path : Path
    config : SimulationConfig
    folder : Path
    until : float, optional
        When to stop, on the clock of ``time.monotonic``.
    seconds : float, optional
        The time limit.
    engine : {"local", "ray"}
    ray_address, ray_gpus
        As for `vl4pose.pool.ray_options.RayOptions`.
    """

    config_path: Path
    config: SimulationConfig
    folder: Path
    until: float | None
    seconds: float | None
    engine: str
    ray_address: str | None
    ray_gpus: float | None


def run_simulation(job: SimulationJob, console: Console) -> None:
    """Do what is left, and print the table once nothing is.

    Parameters
    ----------
    job : SimulationJob
    console : rich.console.Console
        For the progress.

    Raises
    ------
    ValueError, SimulationError
        As `vl4pose.simulation.simulate.simulate`.
    """
    folder = SimulationFolder(job.folder)
    folder.check(job.config)
    rank, num_ranks = (
        int(os.environ.get(name, d)) for name, d in (("RANK", "0"), ("WORLD_SIZE", "1"))
    )
    screen = SimulationScreen(console, job.config, folder)
    try:
        with screen:
            pace = Pace(job.until, job.config.run.checkpoint_seconds, screen)
            bench = make_bench(job.config, job.folder, _device(job.config), pace)
            if job.config.run.processes > 1 and num_ranks == 1:
                run_processes(_tasks(job))
            do_work(bench)
            if rank > 0:
                return
            summary = finish(bench)
    except TimeUpError:
        if rank == 0:
            _say_how_to_go_on(job, folder, console)
        raise typer.Exit(MORE_TO_DO) from None
    from vl4pose.simulation.outputs import terminal_summary

    out = Console()
    out.print(terminal_summary(summary, width=out.width))
    out.print(Text(f"\nwritten to {printable(str(job.folder))}"), soft_wrap=True)


def run_estimate(job: SimulationJob, console: Console) -> None:
    raise NotImplementedError


def _device(config: SimulationConfig) -> torch.device:
    """Return the device of this process: where torchrun started it, its own GPU."""
    device = torch.device(config.run.device)
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return device


def _tasks(job: SimulationJob) -> list[Task]:
    run = job.config.run
    devices = [run.device]
    if run.device == "cuda":
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    threads = run.threads or max(1, torch.get_num_threads() // run.processes)
    return [
        Task(job.config, job.folder, devices[index % len(devices)], threads, job.until)
        for index in range(run.processes)
    ]


def _say_how_to_go_on(job: SimulationJob, folder: SimulationFolder, console: Console) -> None:
    assert job.seconds is not None
    options = job.config.simulation
    total = len(job.config.strategies) * len(options.seed_list) * options.cycles
    console.print(
        f"Stopped after {spoken_time(job.seconds)}, as asked: {folder.num_done():,} of {total:,} "
        "cycles are done. The same command goes on from here.",
        soft_wrap=True,
        highlight=False,
    )
