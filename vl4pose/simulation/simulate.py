"""A simulation from its configuration to its outputs."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.outputs import write_outputs
from vl4pose.simulation.pace import Pace, TimeUpError
from vl4pose.simulation.picks import write_picks
from vl4pose.simulation.runs import Bench
from vl4pose.simulation.statistics import Summary
from vl4pose.simulation.work import Activity, make_bench, work
from vl4pose.training.reporting import Reporter

__all__ = ["do_work", "finish", "simulate"]


def simulate(
    config: SimulationConfig,
    folder: Path,
    *,
    device: torch.device | str | None = None,
    seconds: float | None = None,
    reporter: Reporter | None = None,
) -> Summary | None:
    """Do what is left of a simulation, and write its outputs once nothing is.

    Any number of processes, on any number of machines that see the folder, may call this at the
    same time: each takes runs that no other has taken.

    Parameters
    ----------
    config : SimulationConfig
        Of `vl4pose.simulation.config.read_config`.
    folder : Path
        Made if it is not there. One that holds a part of the same simulation is gone on with.
    device : torch.device or str, optional
        None is what the configuration says.
    seconds : float, optional
        After which to stop at the next safe point; the same call goes on from there.
    reporter : Reporter, optional
        Is told of the reading of the data.

    Returns
    -------
    summary : Summary or None
        None where the time was over before everything was done.

    Raises
    ------
    ValueError
        About the configuration, ``<table>.<key> must <rule>, got <value>``; or
        `OtherSimulationError`, where the folder is of another simulation.
    SimulationError
        If something goes wrong on the way: a loss that is no longer finite, an image that cannot
        be read.
    """
    until = None if seconds is None else time.monotonic() + seconds
    pace = Pace(until, config.run.checkpoint_seconds, reporter)
    place = torch.device(config.run.device if device is None else device)
    bench = make_bench(config, folder, place, pace)
    try:
        do_work(bench)
    except TimeUpError:
        return None
    return finish(bench)


def do_work(bench: Bench) -> None:
    """Do all that is left and that no other process does; raises as `work` does."""
    activity = Activity()
    bench.pace.reporter = activity
    work(bench, activity)


def finish(bench: Bench) -> Summary:
    """Write the figures of the picks, the tables, the curves and the page."""
    config, path = bench.config, bench.folder.path
    if config.simulation.cycles > 1:
        write_picks(
            path,
            bench.data,
            config.skeleton,
            config.transform,
            bench.network.heatmap_size,
            titles={chosen.label: chosen.title for chosen in config.strategies},
        )
    return write_outputs(path, baseline=config.baseline, level=config.report.level)
