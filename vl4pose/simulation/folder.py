"""The folder of a simulation: where everything is, and whether it is this simulation's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vl4pose import __version__
from vl4pose._atomic_file import write_atomically
from vl4pose.simulation.config import SimulationConfig
from vl4pose.simulation.records import PLAN, CycleRecord, read_plan, read_record, record_path

__all__ = ["OtherSimulationError", "SimulationFolder"]

_SHARED = "done.json"


class OtherSimulationError(ValueError):
    """The folder is not of this simulation.

    Attributes
    ----------
    difference : str
        What is not the same: ``training.epochs``, ``version``, ...
    """

    def __init__(self, folder: Path, difference: str, before: object, now: object) -> None:
        self.difference = difference
        super().__init__(
            f"folder must be of the same simulation, got '{folder}' with another {difference}: "
            f"{_short(before)} there, {_short(now)} now"
        )


class SimulationFolder:
    """Paths in the folder of a simulation.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    path : Path

    Notes
    -----
    ``simulation.json`` is what was asked for; ``runs/STRATEGY/seed-S/cycle-C.json`` are the
    records, with the work that is not done yet in a folder ``work`` beside them;
    ``shared/seed-S`` is the network of cycle 0, which all strategies of a seed share; ``claims``
    are files that processes lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, config: SimulationConfig) -> None:
        """Make sure, before any data are read, that the folder can be this simulation's.

        Raises
        ------
        OtherSimulationError, ValueError
            As `begin`.
        """
        if (self.path / PLAN).is_file():
            there = read_plan(self.path)
            _compare(self.path, "version", there.get("version"), __version__)
            _compare(self.path, "", there.get("config"), config.to_json())
        elif self.path.is_dir() and any(
            not path.name.startswith(f".{PLAN}.") for path in self.path.iterdir()
        ):
            raise ValueError(f"folder must be new or of a simulation, got '{self.path}'")

    def begin(self, config: SimulationConfig, data: Mapping[str, Any]) -> None:
        """Write what the simulation is, or make sure that the folder is of the same.

        Parameters
        ----------
        config : SimulationConfig
        data : mapping
            Digests and sizes of the data.

        Raises
        ------
        OtherSimulationError
            ``folder must be of the same simulation, got '...' with another ...``.
        ValueError
            ``folder must be new or of a simulation``.
        """
        plan = _plan(config, data)
        path = self.path / PLAN
        if path.is_file():
            self.check(config)
            _compare(self.path, "data", read_plan(self.path).get("data"), plan["data"])
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(plan, indent=1, default=str) + "\n").encode())

    def done(self) -> set[tuple[str, int, int]]:
        """Return the strategy, seed and cycle of every record."""
        return {
            (path.parts[-3], int(path.parts[-2].removeprefix("seed-")), _number(path))
            for path in self.path.glob("runs/*/seed-*/cycle-*.json")
        }

    def is_done(self, strategy: str, seed: int, cycle: int) -> bool:
        """Return whether a cycle has a record."""
        return record_path(self.path, strategy, seed, cycle).is_file()

    def selected(self, strategy: str, seed: int, num_cycles: int) -> list[list[int]]:
        """Return what was labelled after each of the first cycles of a run."""
        return [self.record(strategy, seed, cycle).selected for cycle in range(num_cycles)]

    def record(self, strategy: str, seed: int, cycle: int) -> CycleRecord:
        """Return the record of a cycle that is done."""
        return read_record(record_path(self.path, strategy, seed, cycle))

    def shared(self, seed: int) -> Path:
        """Return where the network of cycle 0 of a seed is."""
        return self.path / "shared" / f"seed-{seed}"

    def is_start_shared(self, seed: int) -> bool:
        """Return whether all is done that the strategies of a seed share."""
        return (self.shared(seed) / _SHARED).is_file()

    def set_start_shared(self, seed: int) -> None:
        """Take note that it is."""
        write_atomically(self.shared(seed) / _SHARED, b"{}\n")

    def work(self, strategy: str, seed: int, cycle: int) -> Path:
        """Return where the work of a cycle is until it has a record."""
        return record_path(self.path, strategy, seed, cycle).parent / "work" / f"cycle-{cycle}"

    def network(self, strategy: str, seed: int, cycle: int) -> Path:
        """Return where the network of a cycle is: that of cycle 0 is shared."""
        return self.shared(seed) if cycle == 0 else self.work(strategy, seed, cycle)

    def sweep(self, folder: Path) -> None:
        """Delete what a kill has left of writes into the folder of a claim that this process has.

        Parameters
        ----------
        folder : Path
            Of this one.
        """
        for leftover in folder.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    def discard(self, strategy: str, seed: int, before: int) -> None:
        """Delete the work of cycles before the given one."""
        for path in self.work(strategy, seed, 0).parent.glob("cycle-*"):
            if _number(path) < before:
                shutil.rmtree(path, ignore_errors=True)
        folder = self.work(strategy, seed, 0).parent
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def claim(self, name: str) -> Path:
        """Return the file that a process locks for a piece of work."""
        return self.path / "claims" / name


def start_set(num_images: int, num_labels: int, seed: int) -> list[int]:
    """Return which images are labelled at the beginning, in order."""
    generator = np.random.default_rng([seed, num_labels])
    chosen: list[int] = np.sort(generator.permutation(num_images)[:num_labels]).tolist()
    return chosen


def _number(path: Path) -> int:
    """Return the number of a cycle's file or folder."""
    return int(path.stem.removeprefix("cycle-"))


def _plan(config: SimulationConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    options, cycles = config.simulation, range(config.simulation.cycles)
    return {
        "version": __version__,
        "strategies": {chosen.label: chosen.title for chosen in config.strategies},
        "seeds": options.seed_list,
        "num_labels": [config.num_labels(cycle) for cycle in cycles],
        "metrics": config.evaluation.metrics,
        "baseline": config.baseline,
        "data": dict(data),
        "start_sets": {
            str(seed): start_set(data["num_training_images"], options.start, seed)
            for seed in options.seed_list
        },
        "config": config.to_json(),
    }


def _compare(folder: Path, name: str, there: Any, now: Any) -> None:
    """Raise an error that names the first difference."""
    if isinstance(there, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in there if key not in now)]:
            _compare(folder, f"{name}.{key}".lstrip("."), there.get(key), now.get(key))
    elif there != json.loads(json.dumps(now, default=str)):
        raise OtherSimulationError(folder, name, there, now)


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
