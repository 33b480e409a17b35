"""``vl4pose simulate``: which strategy saves labels, on a dataset that has them all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from vl4pose.cli.checks import check_file, parse_device
from vl4pose.cli.errors import (
    RunError,
    Stopped,
    UsageError,
    needing_extras,
    network_reason,
    reason,
)
from vl4pose.cli.options import simulate as opt
from vl4pose.skeleton import nearest

__all__ = ["simulate"]

ENGINES = ("local", "ray")


def simulate(
    config: opt.Config = None,
    out: opt.Out = None,
    example: opt.Example = False,
    estimate: opt.Estimate = False,
    time_limit: opt.TimeLimit = None,
    device: opt.Device = None,
    num_threads: opt.NumThreads = None,
    processes: opt.Processes = None,
    engine: opt.Engine = "local",
    ray_address: opt.RayAddress = None,
    ray_gpus: opt.RayGpus = None,
) -> None:
    """Check the command line and the configuration, simulate, and print a table."""
    start = time.monotonic()
    if engine not in ENGINES:
        raise UsageError(f"--engine must be {nearest(engine, ENGINES)}, got {engine!r}")
    for name, value in {"address": ray_address, "gpus": ray_gpus}.items():
        if value is not None and engine != "ray":
            raise UsageError(f"--ray-{name} goes with --engine ray, got --engine {engine}")
    with needing_extras():
        from vl4pose.simulation.config import example_config, read_config
        from vl4pose.simulation.pace import parse_duration
    if example:
        typer.echo(example_config(), nl=False)
        return
    if config is None:
        raise UsageError("CONFIG.toml must be given, or --example, which prints one")
    seconds = None
    if time_limit is not None:
        try:
            seconds = parse_duration(time_limit)
        except ValueError as error:
            raise UsageError(str(error).replace("time limit", "--time-limit", 1)) from error
    check_file("CONFIG.toml", config)
    folder = config.with_suffix("") if out is None else out
    _check_folder(folder)
    try:
        settings = read_config(config)
    except OSError as error:
        raise UsageError(f"'{config}': {reason(error)}") from error
    except ValueError as error:
        raise UsageError(f"'{config}': {error}") from error
    options = {"device": device, "threads": num_threads, "processes": processes}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    settings = replace(settings, run=replace(settings.run, **given))
    try:
        parse_device(settings.run.device, is_here=engine == "local")
    except (RunError, UsageError) as error:
        if device is None:
            message = str(error).replace("--device", f"'{config}': run.device", 1)
            raise type(error)(message) from error
        raise
    until = None if seconds is None else start + seconds
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    with needing_extras():
        from vl4pose.cli.simulation_run import SimulationJob, run_estimate, run_simulation
    job = SimulationJob(
        config=settings,
        folder=folder,
        until=until,
        seconds=seconds,
        started=start,
        engine=engine,
        ray_address=ray_address,
        ray_gpus=ray_gpus,
    )
    with _naming_config(config), needing_extras():
        if estimate:
            run_estimate(job, console)
            return
        try:
            run_simulation(job, console)
        except Stopped as stop:
            stop.add_note("the same command goes on from the last checkpoint")
            raise


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out must be a folder, got the file '{folder}'")
    if not folder.resolve().parent.is_dir():
        raise UsageError(f"--out must be in a folder that exists, got '{folder}'")


@contextmanager
def _naming_config(path: Path) -> Iterator[None]:
    """Turn an error about a key into one about the configuration's file."""
    from vl4pose.simulation.folder import OtherSimulationError
    from vl4pose.simulation.pace import SimulationError
    from vl4pose.simulation.records import DamagedFileError

    try:
        yield
    except OtherSimulationError as error:
        raise UsageError(
            f"{str(error).replace('folder must', '--out must', 1)}: choose another --out for "
            "another simulation"
        ) from error
    except (SimulationError, DamagedFileError) as error:
        raise RunError(str(error)) from error
    except ValueError as error:
        message = str(error)
        if message.startswith("folder must"):
            raise UsageError(message.replace("folder must", "--out must", 1)) from error
        raise UsageError(f"'{path}': {message}") from error
    except typer.Exit:  # which is a RuntimeError too
        raise
    except RuntimeError as error:  # of torch: too little memory, a device that fails
        raise RunError(network_reason(error)) from error
