"""The work of ``vl4pose simulate``: processes, the screen, and what is printed at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vl4pose._sentences import network_reason
from vl4pose.cli.errors import printable
from vl4pose.cli.simulation_screen import SimulationScreen, spoken_duration, spoken_time
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.estimate import PARTS, Estimate, estimate
from vl4pose.simulation.folder import SimulationFolder
from vl4pose.simulation.local_processes import run_processes
from vl4pose.simulation.outputs import terminal_summary
from vl4pose.simulation.pace import Pace, SimulationError, TimeUpError
from vl4pose.simulation.simulate import do_work, finish
from vl4pose.simulation.work import is_complete, make_bench, pieces
from vl4pose.simulation.worker import Task
from vl4pose.simulation.workload import num_cycles
from vl4pose.training.reporting import Reporter

__all__ = ["MORE_TO_DO", "SimulationJob", "run_estimate", "run_simulation"]

MORE_TO_DO = 3  # exit code where a time limit has ended it: no error, and not all is done


@dataclass(frozen=True)
class SimulationJob:
    """What ``vl4pose simulate`` was asked for.

    Attributes
    ----------
    config : SimulationConfig
    folder : Path
    until : float, optional
        When to stop, on the clock of ``time.monotonic``.
    seconds : float, optional
        The time limit.
    started : float
        When the command began, on the same clock.
    engine : {"local", "ray"}
    ray_address, ray_gpus
        As for `vl4pose.pool.ray_options.RayOptions`.
    """

    config: SimulationConfig
    folder: Path
    until: float | None
    seconds: float | None
    started: float
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
    rank, num_ranks = _rank_and_number()
    tasks = _tasks(job) if num_ranks == 1 else []
    here = not tasks  # else this process only watches
    try:
        with SimulationScreen(console, job.config, folder) as screen:
            pace = Pace(job.until, job.config.run.checkpoint_seconds, screen)
            device = _device(job.config) if here else torch.device("cpu")
            bench = make_bench(job.config, job.folder, device, pace)
            if here:
                do_work(bench)
            elif not is_complete(job.config, folder):
                _run_elsewhere(job, tasks, screen)
                if not is_complete(job.config, folder):
                    raise SimulationError("the processes have ended before everything was done")
            if rank > 0:
                return
            screen.stage("drawing", 1)
            summary = finish(bench)
    except TimeUpError:
        if rank == 0:
            _say_how_to_go_on(job, folder, console)
        # Of torchrun, any other code would be a failure.
        raise typer.Exit(MORE_TO_DO if num_ranks == 1 else 0) from None
    out = Console()
    out.print(terminal_summary(summary, width=out.width))
    out.print(Text(f"\nwritten to {printable(str(job.folder))}"), soft_wrap=True)


def run_estimate(job: SimulationJob, console: Console) -> None:
    """Time what a simulation does, print what all of it will take, and write nothing.

    Parameters
    ----------
    job, console
        As for `run_simulation`, whose errors it raises too.
    """
    with SimulationScreen(console, job.config, SimulationFolder(job.folder)) as screen:
        pace = Pace(None, job.config.run.checkpoint_seconds, screen)
        bench = make_bench(job.config, job.folder, _device(job.config), pace, begin=False)
        pace.reporter = Reporter()
        screen.stage("timing", 1)
        try:
            found = estimate(bench, job.started)
        except (RuntimeError, TypeError, ValueError) as error:
            raise SimulationError(network_reason(error)) from error
    out = Console()
    out.print(_estimate_table(job.config, found))
    config = job.config
    kind = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "CPU"
    lines = [
        f"A step of training takes {spoken_duration(found.step)} here ({kind}), a look at an image "
        f"{spoken_duration(found.image)}, a start {spoken_time(found.start)}.",
        f"All of it: about {spoken_time(found.total)} of one process.",
    ]
    processes = config.run.processes
    if processes > 1:
        together = spoken_time(found.total / processes + found.start)
        lines.append(
            f"{processes} processes: about {together}, if each is as fast as this one alone."
        )
    if job.seconds is not None:
        number = found.num_pieces(job.seconds, processes)
        limit = spoken_time(job.seconds)
        lines.append(
            f"In pieces of {limit}: {number}."
            if number is not None
            else f"Pieces of {limit} are too short: a start alone takes {spoken_time(found.start)}."
        )
    done = len(bench.folder.done())
    if done:
        lines.append(f"Of these, {done:,} of {num_cycles(config):,} cycles are done.")
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def _estimate_table(config: SimulationConfig, found: Estimate) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("all seeds and cycles")
    for heading in (*PARTS, "together"):
        table.add_column(heading, justify="right")

    def row(title: str, parts: Mapping[str, float]) -> None:
        seconds = [parts.get(part, 0.0) for part in PARTS]
        table.add_row(title, *(spoken_time(value) for value in (*seconds, sum(seconds))))

    row("start sets, shared", found.shared)
    for chosen in config.strategies:
        row(chosen.title, found.strategies[chosen.label])
    return table


def _rank_and_number() -> tuple[int, int]:
    """Return which process this is of those that torchrun has started, and how many there are."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _device(config: SimulationConfig) -> torch.device:
    """Return the device of this process: where torchrun started it, its own GPU."""
    device = torch.device(config.run.device)
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def _tasks(job: SimulationJob) -> list[Task]:
    """Return what other processes are to do; nothing where this one does it all."""
    run = job.config.run
    number = min(run.processes, len(pieces(job.config)))
    if job.engine == "local" and number == 1:
        return []
    devices, cores = [run.device], torch.get_num_threads()
    if job.engine == "local" and run.device == "cuda":
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    threads = run.threads or max(1, cores // number)
    until = None if job.until is None else time.time() + job.until - time.monotonic()
    # Another working directory may be that of processes elsewhere.
    folder = job.folder.absolute()
    return [
        Task(job.config, folder, devices[index % len(devices)], threads, until)
        for index in range(number)
    ]


def _run_elsewhere(job: SimulationJob, tasks: list[Task], screen: SimulationScreen) -> None:
    if job.engine == "ray":
        from vl4pose.pool.ray_options import RayOptions
        from vl4pose.simulation.ray_processes import run_on_ray

        run_on_ray(tasks, RayOptions(job.ray_address, gpus=job.ray_gpus))
        return
    for how in run_processes(tasks):
        screen.note(f"A process {how}; the others have done its work.")


def _say_how_to_go_on(job: SimulationJob, folder: SimulationFolder, console: Console) -> None:
    assert job.seconds is not None
    total = num_cycles(job.config)
    console.print(
        f"Stopped after {spoken_time(job.seconds)}, as asked: {len(folder.done()):,} of {total:,} "
        "cycles are done. The same command goes on from here.",
        soft_wrap=True,
        highlight=False,
    )
